"""Grids, plans, trials, the results store and the orchestration of sweeps."""
