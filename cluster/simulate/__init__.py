"""Forecasts a sweep on a cluster that need not exist, and replays one that ran.

Read first: simulate.py.
"""
