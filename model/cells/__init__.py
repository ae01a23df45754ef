"""Recurrent cells as plain torch modules: the interface for cells of a person's own, and ours that are written in it.

Read first: base.py, then min_gru.py.
"""
