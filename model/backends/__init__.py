"""The ways to run an ELM Network: a readable reference, and fast paths that are compared with it.

Read first: reference.py, then choose.py.
"""
