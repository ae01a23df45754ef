"""The results directory: Parquet rows, their schemas, and conditions on their columns.

Nothing here needs torch or ray.
Read first: store.py; the folder that it stands on is folder.py.
"""
