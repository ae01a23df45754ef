"""What lanes run on: Ray Tune, or plain child processes.

Read first: processes.py, then ray_tune.py.
"""
