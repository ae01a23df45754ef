"""A long-lived worker: asks for trials, tries them, writes their rows, and reports.

Read first: lane.py, then attempt.py.
"""
