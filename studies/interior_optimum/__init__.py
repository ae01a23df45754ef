"""Asks whether a fixed budget has an interior optimum and whether it moves, by rules older than the first trial.

Read first: README.md, then hypotheses.py.
"""
