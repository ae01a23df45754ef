"""The ELM Network as fused Triton kernels, for GPUs.

Read backend.py first, then recurrence.py and the kernels; docs/gpu.md has the design on paper. No GPU has run it yet.
"""
