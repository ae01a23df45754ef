"""What would stop a sweep, here or on a cluster, each with its remedy.

Read first: doctor.py.
"""
