"""The closed forms: the effective-information law, its parts, its rivals, and laws of one's own.

A law maps sizes and parameters to a predicted metric, with its derivatives.
Read first: base.py, then effective.py; registry.py finds a law by its name.
"""
