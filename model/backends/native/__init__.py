"""The fast path through a compiled C++ layer, on the processor.

The source is in kernel/; build.py compiles it once per machine.
Read first: backend.py.
"""
