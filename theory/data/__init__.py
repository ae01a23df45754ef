"""Turns measured rows into the arrays of a fit.

Designs (sizes, metrics, weights), the cost of a trial in these terms, and the published tables.
Read first: design.py.
"""
