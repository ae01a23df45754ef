"""Classification of long sequences: images, nested lists and paths.

Read first: sequences.py.
"""
