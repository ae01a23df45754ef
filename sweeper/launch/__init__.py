"""A launch from beginning to end: what is missing, rounds of trials, the search loop, submission.

Read first: launch.py.
"""
