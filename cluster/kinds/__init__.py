"""One file per kind of cluster: the job file it needs, and how to start it, look at it and end it.

Read first: base.py, then slurm.py.
"""
