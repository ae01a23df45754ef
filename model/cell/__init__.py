"""The ELM neuron: its layer, its state, and what goes into a network and comes out.

Read first: layer.py.
"""
