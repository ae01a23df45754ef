"""From a grid file to trials: sizes solved from budgets, identities, order and forecast cost.

Nothing here needs torch or ray.
Read first: grid.py, then expand.py.
"""
