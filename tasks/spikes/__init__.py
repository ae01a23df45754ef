"""Spoken digits as spikes, alone and as sums: specification, recordings and batches.

Read first: shd.py.
"""
