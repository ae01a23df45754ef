"""ELM Networks, their single neurons and baselines, and exact parameter counts.

Tensor names end in their shape, one letter per axis: B batch, T time, N neurons, D memory units, H hidden units of the
neuron's MLP, R branches (dendrites), S synapses per branch, C synapses per neuron (R * S), I input channels, O outputs,
U = I + N (all that a synapse can read), P = R + D (what the MLP reads).
"""
