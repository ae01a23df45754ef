"""Tensors with the batch last, and the neurons of all stacked networks along one axis: what fast back ends share."""

import torch
from torch import Tensor

from model.cell.layer import ElmLayer
from model.cell.parts import NetworkParts


class FlatLayer:
    """A layer's trained quantities with the neurons of all stacked networks along one axis."""

    def __init__(self, layer: ElmLayer, stacked: bool) -> None:
        def flat(tensor: Tensor) -> Tensor:
            return tensor.flatten(0, 1) if stacked else tensor

        self.config = layer.config
        self.synapse_NC = layer.config.input_scale * flat(layer.synapse_weight)
        rates = layer.rates()
        self.keep_ND, self.absorb_ND = flat(rates.keep_ND), flat(rates.absorb_ND)
        self.readout_ND, self.bias_N = flat(layer.readout_weight), flat(layer.bias)
        self.mlp = [flat(tensor) for tensor in layer.mlp_tensors()]


def batch_last(x_KBN: Tensor) -> Tensor:
    """Bring [K, B, N, ...] to [K * N, ..., B]."""
    return x_KBN.movedim(1, -1).flatten(0, 1).contiguous()


def batch_first(x_NB: Tensor, k: int) -> Tensor:
    """Bring [K * N, ..., B] to [K, B, N, ...]."""
    return x_NB.view(k, x_NB.shape[0] // k, *x_NB.shape[1:]).movedim(-1, 1).contiguous()


def synapse_places(network: NetworkParts) -> Tensor:
    """Place of every read-out synapse in the dense matrix [K * O, R, N] of `dense_synapses`, flattened."""
    config, connectome = network.readout.config, network.readout.connectome
    neurons = connectome.shape[:-1].numel()
    branch_X1 = torch.arange(neurons * config.d_tree, device=connectome.device).unsqueeze(1)
    return (branch_X1 * config.n_in + connectome.reshape(-1, config.d_branch)).flatten()


def dense_synapses(readout: FlatLayer, places: Tensor) -> Tensor:
    """Spread the read-out's synapses to a dense matrix [K * O, R, N], for what they read is known for all steps."""
    config, neurons = readout.config, readout.bias_N.shape[0]
    dense_ORN = readout.synapse_NC.new_zeros(neurons * config.d_tree * config.n_in)
    # index_add, because synapses of one branch may read the same neuron twice
    dense_ORN = dense_ORN.index_add(0, places, readout.synapse_NC.flatten())
    return dense_ORN.view(neurons, config.d_tree, config.n_in)
