"""What a fitted law says of a budget: the best allocation, and the frontier over budgets.

Read first: allocation.py.
"""
