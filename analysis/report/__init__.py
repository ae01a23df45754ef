"""What is said of a fit: the sections, written to a terminal or to a page, and their verification.

Read first: report.py.
"""
