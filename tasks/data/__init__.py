"""Where data sets come from: the registry, downloads, the cache, and safe reading of pickles.

Read first: registry.py.
"""
