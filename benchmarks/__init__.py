"""Measurements of the whole platform, one module per package; each is run as `python -m benchmarks.NAME`.

They are no part of the installed packages, and made-up data that tests and benchmarks share stand here too.
Read first: sweeper.py.
"""
