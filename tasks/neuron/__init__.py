"""Input and output of a simulated cortical neuron: specification, files and batches.

Read first: neuronio.py.
"""
