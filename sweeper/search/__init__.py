"""Choosing trials instead of listing them: random, Optuna, and by the theory.

Read first: space.py, then choose.py.
"""
