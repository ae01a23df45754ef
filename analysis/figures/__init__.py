"""The figures, each in two halves: numbers that are tested, and a drawing of them.

Read first: isobudget.py.
"""
