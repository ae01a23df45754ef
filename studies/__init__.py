"""Studies that were made with the platform, each with its grids, rows, laws and verdicts.

Read first: paper_in_miniature/study.py.
"""
