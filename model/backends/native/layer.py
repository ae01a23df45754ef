"""One compiled layer of ELM neurons: what it is told once, and what for every call."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from model.backends.native.abi import Kernel, LayerStruct
from model.cell.layer import TANH_SCALE, TANH_SLOPE
from model.config import ElmConfig


@dataclass(frozen=True, kw_only=True)
class LayerPlan:
    """What of a layer stays the same from call to call."""

    config: ElmConfig
    """the layer's configuration"""
    kernel: Kernel
    """the compiled layer in its precision"""
    wiring: tuple[Tensor, ...]
    """the tensors that `description` points to"""
    description: LayerStruct
    """sizes, switches, constants and wiring filled in, the rest empty"""

    def describe(self, network: int, networks: int, weights: Sequence[Tensor]) -> LayerStruct:
        """Copy the description and add the weights of one of several stacked networks.

        Args:
            network: which network.
            networks: how many there are.
            weights: as `layer_tensors` lists them, contiguous.
        """
        # a copy for each call: two passes of one network may be under way at once
        layer = LayerStruct.from_buffer_copy(self.description)
        synapse, keep, absorb, readout, out_bias = weights[:5]
        layer.point(network, networks, synapse=synapse, keep=keep, absorb=absorb, readout=readout, out_bias=out_bias)
        layer.point_each("weight", network, networks, weights[5::2])
        layer.point_each("bias", network, networks, weights[6::2])
        return layer


def layer_plan(config: ElmConfig, connectome_NC: Tensor, kernel: Kernel, recurrent: bool) -> LayerPlan:
    """Invert a layer's wiring: the recurrent layer's activity gets gradients, and the read-out layer's input does.

    Args:
        config: the layer's configuration.
        connectome_NC: what every synapse reads.
        kernel: the compiled layer.
        recurrent: True for the recurrent layer; the read-out layer reads its input only and is not rectified.
    """
    # Gradients are gathered source by source, so the kernel needs for every source the synapses that read it. Sources
    # that get none (the recurrent layer's input channels) are left out.
    first_graded, graded = (config.n_in, config.n_rec) if recurrent else (0, config.n_in)
    source = connectome_NC.flatten() - first_graded
    synapse = torch.nonzero(source >= 0).squeeze(1)
    # stable, so that gradients are always summed in one order
    synapse = synapse[torch.argsort(source[synapse], stable=True)]
    first_reader = torch.zeros(graded + 1, dtype=torch.int64)
    first_reader[1:] = torch.bincount(source[synapse], minlength=graded).cumsum(0)
    wiring = {
        # 32 bits are enough for any layer, and halve what the gather reads beside the values
        "source": connectome_NC.int().contiguous(),
        "readers": (synapse // config.d_branch).int(),
        "reader_synapse": synapse.int(),
        "first_reader": first_reader,
    }
    description = _description(config, recurrent)
    description.point(0, 1, **wiring)
    return LayerPlan(config=config, kernel=kernel, wiring=tuple(wiring.values()), description=description)


def _description(config: ElmConfig, recurrent: bool) -> LayerStruct:
    layer = LayerStruct()
    layer.n, layer.d_m, layer.d_tree, layer.d_branch = config.n_rec, config.d_m, config.d_tree, config.d_branch
    layer.n_in = config.n_in
    layer.matrices = config.l_mlp + 1
    sizes = [config.d_tree + config.d_m, *[config.mlp_width] * config.l_mlp, config.d_m]
    for place, size in enumerate(sizes):
        layer.dims[place] = size
    layer.recurrent = layer.rectified = recurrent
    # The recurrent layer's activity goes to the read-out layer, batch last, as the kernel computes it; the read-out's
    # goes to torch, batch first.
    layer.batch_first = not recurrent
    layer.filtered, layer.traced = config.tau_r is not None, config.tau_b is not None
    layer.kappa_r, layer.kappa_b = config.kappa_r or 0.0, config.kappa_b or 0.0
    layer.input_scale, layer.embedding_scale = config.input_scale, config.embedding_scale
    layer.tanh_slope, layer.tanh_height = TANH_SLOPE, TANH_SCALE
    return layer
