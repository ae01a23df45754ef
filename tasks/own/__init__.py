"""Tasks made of a person's own data: arrays with labels or values, and tables of time series.

Read first: spec.py, then array_files.py.
"""
