"""Row layout and sparse structure of the linear part of a recurrent layer's time step."""

from dataclasses import dataclass

import torch
from torch import Tensor

from model.backends.torch.sparse_map import SparseMap, sparse_map
from model.cell.layer import TANH_SCALE
from model.config import ElmConfig


@dataclass(frozen=True, kw_only=True)
class RecurrencePlan:
    """What of a recurrent layer stays the same from call to call; `n` counts the neurons of all stacked networks.

    Everything the linear part of step t reads stands in one table of rows, [one | x_t | a_(t-1) | r_(t-1) | m_(t-1)],
    with the batch as columns: a constant one, the input channels, the activity, the running average and the memory.
    """

    n: int
    """neurons"""
    d_m: int
    """memory units per neuron"""
    d_tree: int
    """branches per neuron"""
    channels: int
    """input channels of all stacked networks"""
    kappa_r: float | None
    """decay of the running average that high-passes the output; None without one"""
    kappa_b: float | None
    """decay of the branch traces; None without them"""
    synapse_source: Tensor
    """table rows that the synapses read, [n * R, S]"""
    drive: SparseMap
    """what the MLPs read, [b_t ; kappa_m m_(t-1) - g ; one] of every neuron; from gradients without the one, those for
    [a ; m]"""
    emit: SparseMap
    """from the tables of two consecutive steps, outputs z_t and averages r_t; gradients for [m_t ; r_(t-1)]"""

    @property
    def activity_row(self) -> int:
        """First row of the activity."""
        return 1 + self.channels

    @property
    def average_row(self) -> int:
        """First row of the running averages."""
        return self.activity_row + self.n

    @property
    def memory_row(self) -> int:
        """First row of the memory."""
        return self.average_row + (self.n if self.kappa_r is not None else 0)

    @property
    def rows(self) -> int:
        """Rows of a table."""
        return self.memory_row + self.n * self.d_m


def recurrence_plan(connectome_KNC: Tensor, config: ElmConfig) -> RecurrencePlan:
    """Lay out the tables of K stacked layers of one shape.

    Args:
        connectome_KNC: what every synapse reads: a channel below n_in, a neuron of the same network from there on.
        config: the layers' common configuration.
    """
    networks, neurons, _ = connectome_KNC.shape
    # Neurons and channels of all networks stand in one table, so that a stack takes no more calls than one network.
    n, channels = networks * neurons, networks * config.n_in
    network_K11 = torch.arange(networks, device=connectome_KNC.device).view(-1, 1, 1)
    # from the numbering of one network to rows of the common table, behind its first row of ones
    source_KNC = torch.where(
        connectome_KNC < config.n_in,
        1 + network_K11 * config.n_in + connectome_KNC,
        1 + channels + network_K11 * neurons + connectome_KNC - config.n_in,
    )
    source_NC = source_KNC.view(n, -1)
    return RecurrencePlan(
        n=n,
        d_m=config.d_m,
        d_tree=config.d_tree,
        channels=channels,
        kappa_r=config.kappa_r,
        kappa_b=config.kappa_b,
        synapse_source=source_NC.reshape(n * config.d_tree, -1),
        drive=_drive_map(source_NC, channels, config.d_m, config.d_tree, config.tau_r is not None),
        emit=_emit_map(n, channels, config.d_m, config.tau_r is not None, connectome_KNC.device),
    )


def drive_weights(synapse_NC: Tensor, keep_ND: Tensor, absorb_ND: Tensor) -> Tensor:
    """Weights of the entries of `RecurrencePlan.drive`.

    The memory is made of kappa_m m_(t-1) - g and 2 g sigmoid(2 x), which is kappa_m m_(t-1) + g tanh(x).
    """
    # in the order in which `_drive_map` lists the entries
    entries_L = torch.cat([synapse_NC, keep_ND], 1).flatten()
    return torch.cat([entries_L, entries_L.new_ones(keep_ND.shape[0]), -TANH_SCALE * absorb_ND.flatten()])


def emit_weights(readout_ND: Tensor, bias_N: Tensor, kappa_r: float | None) -> Tensor:
    """Weights of the entries of `RecurrencePlan.emit`.

    With r_t = kappa_r r_(t-1) + (1 - kappa_r) y_t, the high-passed y_t - r_t is kappa_r (y_t - r_(t-1)).
    """
    bias_N1 = bias_N.unsqueeze(1)
    if kappa_r is None:
        return torch.cat([bias_N1, readout_ND], 1).flatten()
    kappa_N1 = torch.full_like(bias_N1, kappa_r)
    # One sparse product for outputs and averages: written out in the state, both are sums over the same rows.
    return torch.cat([bias_N1, kappa_r * readout_ND, -kappa_N1, (1.0 - kappa_r) * readout_ND, kappa_N1], 1).flatten()


def _drive_map(source_NC: Tensor, channels: int, d_m: int, d_tree: int, filtered: bool) -> SparseMap:
    """Entries of each neuron: its synapses, then its memory units; after all of them, a one for every
    neuron, and what is taken from the memory."""
    n, device = source_NC.shape[0], source_NC.device
    width = d_tree + d_m  # rows that one neuron's MLP reads, without the one
    first_N1 = width * torch.arange(n, device=device).unsqueeze(1)
    # Synapses of one branch follow each other in the wiring, `d_branch` of them.
    branch_C = torch.arange(d_tree, device=device).repeat_interleave(source_NC.shape[1] // d_tree)
    memory_D = torch.arange(d_m, device=device)
    memory_ND = torch.arange(n * d_m, device=device).view(n, d_m)
    activity_row = 1 + channels
    memory_row = activity_row + (2 * n if filtered else n)
    # input channels get no gradient: -1; nor do the constants below, so the way back is laid out before they are added
    synapse_grad_NC = torch.where(source_NC >= activity_row, source_NC - activity_row, -1)
    out_row = torch.cat([first_N1 + branch_C, first_N1 + d_tree + memory_D], 1).flatten()
    in_row = torch.cat([source_NC, memory_row + memory_ND], 1).flatten()
    grad_row = torch.cat([synapse_grad_NC, n + memory_ND], 1).flatten()
    transposed = sparse_map(out_row, in_row, grad_row, n * width, n + n * d_m).transposed
    # forward every neuron has one row more, the one that its first layer's bias is a weight on (see `_ForwardLoop`)
    neuron_N = torch.arange(n, device=device)
    memory_out_ND = (width + 1) * neuron_N.unsqueeze(1) + d_tree + memory_D
    out_row = torch.cat([out_row + out_row // width, (width + 1) * neuron_N + width, memory_out_ND.flatten()])
    in_row = torch.cat([in_row, torch.zeros_like(neuron_N), torch.zeros_like(memory_ND).flatten()])
    forward = sparse_map(out_row, in_row, torch.full_like(in_row, -1), n * (width + 1), 0).forward
    return SparseMap(forward, transposed)


def _emit_map(n: int, channels: int, d_m: int, filtered: bool, device: torch.device) -> SparseMap:
    """Entries of each neuron: bias, memory (and average) for its output; memory and average for its new average."""
    neuron_N1 = torch.arange(n, device=device).unsqueeze(1)
    memory_ND = torch.arange(n * d_m, device=device).view(n, d_m)
    average_row = 1 + channels + n
    memory_row = average_row + (n if filtered else 0)
    # The outputs read the memory of the table after the step, which lies behind the one before it.
    second_table = memory_row + n * d_m
    # Row 0 is the row of ones, on which biases are weights.
    one_N1, average_N1 = torch.zeros_like(neuron_N1), average_row + neuron_N1
    memory_now_ND = second_table + memory_row + memory_ND
    no_grad_N1, average_grad_N1 = torch.full_like(neuron_N1, -1), n * d_m + neuron_N1
    # in the order in which `emit_weights` lists the weights
    out_row, in_row, grad_row = [neuron_N1.expand(-1, 1 + d_m)], [one_N1, memory_now_ND], [no_grad_N1, memory_ND]
    if filtered:
        out_row += [neuron_N1, (n + neuron_N1).expand(-1, d_m + 1)]
        in_row += [average_N1, memory_now_ND, average_N1]
        grad_row += [average_grad_N1, memory_ND, average_grad_N1]
    return sparse_map(
        out_row=torch.cat(out_row, 1).flatten(),
        in_row=torch.cat(in_row, 1).flatten(),
        grad_row=torch.cat(grad_row, 1).flatten(),
        n_out=2 * n if filtered else n,
        n_grad=n * d_m + (n if filtered else 0),
    )
