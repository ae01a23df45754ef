"""Cluster profiles, rendered job files and connections to Ray clusters."""
