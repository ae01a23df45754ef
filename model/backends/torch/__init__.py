"""The fast path in pure torch, on any device, and its recording as CUDA graphs.

Forward pass, backward pass and weight gradients stand in files of their own.
Read first: backend.py.
"""
