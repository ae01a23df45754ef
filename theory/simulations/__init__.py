"""Simulations that measure what fits and intervals are worth; their tables lie beside them."""
