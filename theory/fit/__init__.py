"""Fits a law to a design: from the problem in bounded coordinates to a result that says how far to trust it.

Solver, starts, robust losses and the statuses that a fit can carry.
Read first: fit.py.
"""
