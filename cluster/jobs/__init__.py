"""Submitted jobs, whatever their kind: submit, list, stop.

Read first: submit.py.
"""
