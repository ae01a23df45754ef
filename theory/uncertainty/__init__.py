"""How sure a fit is: intervals, profiles, resampling, calibration, and comparisons between laws.

Read first: intervals.py.
"""
