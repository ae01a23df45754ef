"""The next symbol of a text: specification, corpora and batches.

Read first: text.py.
"""
