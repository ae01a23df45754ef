"""The broker that feeds lanes, and what it knows of failures and progress.

Read first: broker.py.
"""
