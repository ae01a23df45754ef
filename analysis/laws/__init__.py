"""Fits the theory to data sets, compares laws, and proposes the next runs.

Read first: theory_fit.py.
"""
