"""The networks that a trial can train: the ELM Network, its single neurons, and the baselines.

Read first: elm_network.py.
"""
