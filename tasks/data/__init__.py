"""How data sets get here: downloads, the cache, and safe reading of pickles.

Read first: fetch.py.
"""
