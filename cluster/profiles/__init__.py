"""What a user writes about a cluster, checked.

Read first: profile.py, then target.py.
"""
