"""Trains one trial, or several of one shape at once, from its spec; knows no queue and no ray.

Read first: training.py.
"""
