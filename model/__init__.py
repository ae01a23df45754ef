"""ELM Networks, their single neurons and baselines, and exact parameter counts."""
