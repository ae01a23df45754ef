"""From stored rows to data sets that may be fitted together, and what can be read off them without a law.

Read first: load.py.
"""
