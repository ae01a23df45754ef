"""Connects to a running Ray cluster and finds out what it can run.

Read first: connect.py.
"""
