"""Asks on two embedded tasks which of the paper's statements hold at sizes that a laptop trains.

Read first: study.py.
"""
