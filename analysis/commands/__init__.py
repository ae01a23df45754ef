"""What the commands of `analysis` do, behind the command line; a command loads its module alone.

Read first: fits.py.
"""
