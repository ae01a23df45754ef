"""The fast path in pure torch: the reference's network over a whole sequence at once, on any device.

Several networks of one shape can run as one: tensors get a leading axis K, and the neurons of all networks stand side
by side in the recurrence. A single network is the case K = 1.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model.backends.batch_last import FlatLayer, batch_first, batch_last, dense_synapses, synapse_places
from model.backends.scratch import empty_like_kept
from model.backends.torch.forward import run_recurrence
from model.backends.torch.plan import RecurrencePlan, recurrence_plan
from model.backends.torch.readout_scan import memory_map, run_readout_scan
from model.backends.torch.sparse_map import SparseMap
from model.cell.interface import DropoutMasks, RunResult
from model.cell.layer import TANH_SCALE
from model.cell.parts import NetworkParts
from model.cell.state import ElmState


@dataclass(frozen=True, kw_only=True)
class TorchPlan:
    """What follows from a network's wiring alone."""

    recurrence: RecurrencePlan
    """structure of the recurrent layer"""
    readout_place: Tensor
    """place of every read-out synapse in a dense matrix [K * O, R, N], flattened"""
    readout_memory: SparseMap
    """structure of the read-out neurons' linear map on their memory"""


class TorchBackend:
    """Runs an ELM Network through `Recurrence` and `ReadoutScan`; keeps the plan of the wiring it last saw."""

    name = "torch"

    def __init__(self) -> None:
        # One plan and no table of them: a back end belongs to one network.
        self._plan: TorchPlan | None = None
        self._key: tuple[Any, ...] = ()

    def plan(self, network: NetworkParts) -> TorchPlan:
        """Return the network's plan, made anew when its wiring was changed or moved to another device."""
        wirings = (network.hidden.connectome, network.readout.connectome)
        # the version counts writes in place, such as load_state_dict; the pointer changes when a network is moved
        key = tuple((wiring.data_ptr(), wiring._version, wiring.device) for wiring in wirings)
        if self._plan is None or key != self._key:
            self._plan, self._key = _torch_plan(network), key
        return self._plan

    def run(
        self, network: NetworkParts, x: Tensor, state: ElmState, masks: DropoutMasks | None, keep_activity: bool
    ) -> RunResult:
        """Run a segment of a sequence; see `model.backends.choose.Backend.run`."""
        plan = self.plan(network)
        if network.stacked:
            return _run(network, plan, x, state, masks, keep_activity)
        # a single network is a stack of one, so that there is one path to test
        state = ElmState(*(tensor.unsqueeze(0) for tensor in state))
        masks = None if masks is None else DropoutMasks(*(mask.unsqueeze(0) for mask in masks))
        return _run(network, plan, x.unsqueeze(0), state, masks, keep_activity).single()


def _torch_plan(network: NetworkParts) -> TorchPlan:
    hidden, readout = network.hidden, network.readout
    config, readout_config = hidden.config, readout.config
    hidden_KNC = hidden.connectome if network.stacked else hidden.connectome.unsqueeze(0)
    neurons = readout.connectome.shape[:-1].numel()
    return TorchPlan(
        recurrence=recurrence_plan(hidden_KNC, config),
        readout_place=synapse_places(network),
        readout_memory=memory_map(neurons, readout_config.d_m, hidden_KNC.device),
    )


def _run(
    network: NetworkParts,
    plan: TorchPlan,
    x: Tensor,
    state: ElmState,
    masks: DropoutMasks | None,
    keep_activity: bool,
) -> RunResult:
    """Run K networks; every tensor has the leading axis K."""
    # Stacked networks share no numbers, so their neurons are simply more neurons of one layer.
    hidden, readout = FlatLayer(network.hidden, network.stacked), FlatLayer(network.readout, network.stacked)
    k, batch, steps = x.shape[:3]
    drop_NB = None if masks is None else batch_last(masks.recurrent_BN)
    # The recurrence runs first and as a whole: the read-out feeds nothing back into it.
    activity_TNB, memory_NDB, average_NB, branch_NRB, magnitude_NB, mlp_out_TNDB = run_recurrence(
        plan.recurrence,
        _filled_table(plan.recurrence, network, x, None if masks is None else masks.input_BI),
        drop_NB,
        keep_activity,
        torch.is_grad_enabled(),
        *(batch_last(tensor) for tensor in state[:4]),
        hidden.synapse_NC,
        hidden.keep_ND,
        hidden.absorb_ND,
        hidden.readout_ND,
        hidden.bias_N,
        *hidden.mlp,
    )
    seen_TNB = activity_TNB if masks is None else activity_TNB * batch_last(masks.readout_BN)
    y_TOB, readout_memory_ODB, readout_branch_ORB = _run_readout(readout, plan, seen_TNB, state, k)
    # Time and batch become one axis, so that the dense map is a single product over the sequence.
    y_KLO = y_TOB.view(steps, k, -1, batch).permute(1, 3, 0, 2).reshape(k, batch * steps, -1)
    weight, bias = network.output.weight, network.output.bias
    weight_KOO = weight.view(k, *weight.shape[-2:])
    logits_KLO = torch.baddbmm(bias.view(k, 1, -1), y_KLO, weight_KOO.transpose(1, 2))
    final = (activity_TNB[-1], memory_NDB, average_NB, branch_NRB, readout_memory_ODB, readout_branch_ORB)
    # the sum over steps comes from the recurrence, which does not keep the MLPs' outputs unless asked to
    mean_NB = magnitude_NB / (steps * hidden.config.d_m)
    mlp_shape = (steps, k, -1, hidden.config.d_m, batch)
    return RunResult(
        logits=logits_KLO.view(k, batch, steps, -1),
        state=ElmState(*(batch_first(tensor, k) for tensor in final)),
        mlp_out_BN=batch_first(mean_NB, k),
        activity=activity_TNB.view(steps, k, -1).mean((0, 2)),
        activity_BTN=activity_TNB.detach().view(steps, k, -1, batch).permute(1, 3, 0, 2) if keep_activity else None,
        mlp_out_BTND=mlp_out_TNDB.view(mlp_shape).permute(1, 4, 0, 2, 3) if keep_activity else None,
    )


def _filled_table(plan: RecurrencePlan, network: NetworkParts, x: Tensor, mask_KBI: Tensor | None) -> Tensor:
    """Make the recurrence's tables [T + 1, rows, B] with their ones and input rows, and nothing else, filled in."""
    k, batch, steps = x.shape[:3]
    weight = network.output.weight
    table_TXB = empty_like_kept(weight, steps + 1, plan.rows, batch)
    table_TXB[:, 0].fill_(1.0)  # what biases and constants are weights on
    input_TXB = table_TXB[:steps, 1 : plan.activity_row]
    if x.dim() == 4:
        masked = x if mask_KBI is None else x * mask_KBI.unsqueeze(2)
        input_TXB.copy_(masked.permute(2, 0, 3, 1).reshape(steps, -1, batch))
        return table_TXB
    # A dropped channel takes its symbol with it: the height of the one-hot code is that of the mask.
    height_KBT = torch.full_like(x, 1, dtype=weight.dtype) if mask_KBI is None else mask_KBI.gather(2, x)
    # ids become rows of the one table that all stacked networks share
    channel_KBT = x + network.config.n_in * torch.arange(k, device=x.device).view(-1, 1, 1)
    height_TKB = network.config.embedding_scale * height_KBT.permute(2, 0, 1)
    # Zeros and one number a column: the dense code is never made beside the table.
    input_TXB.zero_().scatter_(1, channel_KBT.permute(2, 0, 1), height_TKB)
    return table_TXB


def _run_readout(
    readout: FlatLayer, plan: TorchPlan, seen_TNB: Tensor, state: ElmState, k: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the read-out neurons of K networks.

    Their synapses and linear map are one dense matrix per network: what they read is known for all steps.

    Returns:
        Outputs [T, K * O, B], memory [K * O, D, B] and branch traces [K * O, R or 0, B] after the last step.
    """
    config = readout.config
    steps, _, batch = seen_TNB.shape
    neurons, d_tree = readout.bias_N.shape[0], config.d_tree
    dense_ORN = dense_synapses(readout, plan.readout_place)
    weight_ODP, bias_OD = readout.mlp
    branch_weight_ODR, memory_weight_ODD = weight_ODP[..., :d_tree], weight_ODP[..., d_tree:]
    # branches have no nonlinearity, so branch weights and synapses are multiplied before the sequence is
    matrix_KXN = torch.bmm(branch_weight_ODR, dense_ORN).view(k, -1, config.n_in)
    kappa_b = config.kappa_b
    if kappa_b is not None:
        seen_TNB = _traced(seen_TNB, kappa_b)
    # Networks of a stack share no weights, so each multiplies its own part of the sequence in one batched product.
    seen_KNL = seen_TNB.view(steps, k, -1, batch).permute(1, 2, 0, 3).reshape(k, config.n_in, -1)
    drive_KXL = torch.baddbmm(bias_OD.view(k, -1, 1), matrix_KXN, seen_KNL)
    drive_ODTB = drive_KXL.view(neurons, -1, steps, batch)
    branch_ORB = seen_TNB.new_empty(neurons, 0, batch)
    if kappa_b is not None:
        start_ORB = batch_last(state.readout_branch_BOR)
        decay_T = kappa_b ** torch.arange(1, steps + 1, device=seen_TNB.device, dtype=seen_TNB.dtype)
        # what the traces held before the first step decays on its own, beside what the sequence adds
        drive_ODTB = drive_ODTB + decay_T.view(-1, 1) * torch.bmm(branch_weight_ODR, start_ORB).unsqueeze(2)
        last_KXB = torch.bmm(dense_ORN.view(k, -1, config.n_in), seen_TNB[-1].view(k, -1, batch))
        branch_ORB = kappa_b**steps * start_ORB + last_KXB.view(neurons, d_tree, batch)
    # the scan's memory is divided by this, so that a step adds the bare tanh (see readout_scan.py)
    gain_OD = TANH_SCALE * readout.absorb_ND
    y_TOB, memory_ODB = run_readout_scan(
        plan.readout_memory,
        drive_ODTB,
        batch_last(state.readout_memory_BOD) / gain_OD.unsqueeze(-1),
        memory_weight_ODD * (readout.keep_ND * gain_OD).unsqueeze(1),
        readout.keep_ND,
        readout.readout_ND * gain_OD,
        readout.bias_N,
    )
    return y_TOB, memory_ODB * gain_OD.unsqueeze(-1), branch_ORB


def _traced(seen_TNB: Tensor, kappa_b: float) -> Tensor:
    """Filter what synapses read; a branch trace is linear in it, so this equals filtering every branch sum."""
    traces = [seen_TNB[0]]
    for seen_NB in seen_TNB[1:]:
        traces.append(torch.add(seen_NB, traces[-1], alpha=kappa_b))
    return torch.stack(traces)
