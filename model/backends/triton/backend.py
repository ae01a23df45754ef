"""The network over a whole sequence in fused kernels: one launch, or one a step, for all neurons, steps and networks.

Several networks of one shape can run as one: tensors get a leading axis K, and the neurons of all networks stand side
by side. A single network is the case K = 1.
"""

import importlib.util
import os
from typing import Any

import torch
from torch import Tensor

from model.backends.batch_last import FlatLayer, batch_first, batch_last, dense_synapses
from model.backends.triton.plan import Tiling, TritonPlan, choose_tiling, tiling_of, triton_plan
from model.backends.triton.readout import run_readout_scan
from model.backends.triton.recurrence import run_recurrence
from model.cell.interface import DropoutMasks, RunResult
from model.cell.layer import TANH_SCALE
from model.cell.parts import NetworkParts
from model.cell.state import ElmState
from model.config import ConfigError

_MOST_NUMBERS = 2**31
"""numbers of a trace that the kernels' 32-bit places reach"""
_PROCESSORS = 132
"""multiprocessors to plan for where there is no device to ask: an H100's"""


class TritonUnavailable(Exception):
    """The kernels cannot run here; the message says why."""


def check_installed() -> None:
    """Check that Triton is installed.

    Raises:
        TritonUnavailable: it is not.
    """
    if importlib.util.find_spec("triton") is None:
        raise TritonUnavailable("the package triton, which torch for CUDA brings along, is not installed")


def check_triton(device: torch.device) -> None:
    """Check that the kernels can run on a device.

    Raises:
        TritonUnavailable: Triton is missing, or neither a GPU nor Triton's interpreter runs the network.
    """
    check_installed()
    if device.type != "cuda" and not interpreted():
        raise TritonUnavailable(
            f"it runs on CUDA, and on {device.type} only with TRITON_INTERPRET=1, slowly, as a test"
        )


def interpreted() -> bool:
    """Whether Triton runs kernels as Python, as it does for the whole process or not at all."""
    return os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "yes", "on", "y")


class TritonBackend:
    """Runs an ELM Network through `Recurrence` and `ReadoutScan`; keeps the plan of the wiring it last saw."""

    name = "triton"

    def __init__(self, *, persistent: bool | None = None) -> None:
        """Make a back end; `persistent` fixes what `choose_tiling` else decides (see `Tiling`)."""
        self._persistent = persistent
        # One plan and no table of them: a back end belongs to one network.
        self._plan: TritonPlan | None = None
        self._key: tuple[Any, ...] = ()

    def plan(self, network: NetworkParts) -> TritonPlan:
        """Return the network's plan, made anew when its wiring was changed or moved to another device."""
        wirings = (network.hidden.connectome, network.readout.connectome)
        # the version counts writes in place, such as load_state_dict; the pointer changes when a network is moved
        key = tuple((wiring.data_ptr(), wiring._version, wiring.device) for wiring in wirings)
        if self._plan is None or key != self._key:
            self._plan, self._key = triton_plan(network), key
        return self._plan

    def tiling(self, plan: TritonPlan, batch: int) -> Tiling:
        """Cut the work of a step into programs."""
        if self._persistent is not None:
            return tiling_of(plan, batch, persistent=self._persistent)
        device = plan.source.device
        on_gpu = device.type == "cuda"
        processors = torch.cuda.get_device_properties(device).multi_processor_count if on_gpu else _PROCESSORS
        return choose_tiling(plan, batch, processors)

    def run(
        self, network: NetworkParts, x: Tensor, state: ElmState, masks: DropoutMasks | None, keep_activity: bool
    ) -> RunResult:
        """Run a segment of a sequence; see `model.backends.choose.Backend.run`.

        Raises:
            ConfigError: the kernels cannot run on the network's device, or the segment is too long for them.
        """
        # Not when it is chosen: a network is built in main memory and moved afterwards.
        try:
            check_triton(x.device)
        except TritonUnavailable as error:
            raise ConfigError(f"backend: 'triton' is not valid here ({error}); give auto, torch or reference") from None
        plan = self.plan(network)
        # Triton launches on the current device, torch on that of its arguments
        with torch.cuda.device_of(x):  # type: ignore[no-untyped-call]  # untyped in torch
            if network.stacked:
                return self._run(network, plan, x, state, masks, keep_activity)
            # a single network is a stack of one, so that there is one path to test
            state = ElmState(*(tensor.unsqueeze(0) for tensor in state))
            masks = None if masks is None else DropoutMasks(*(mask.unsqueeze(0) for mask in masks))
            return self._run(network, plan, x.unsqueeze(0), state, masks, keep_activity).single()

    def _run(
        self,
        network: NetworkParts,
        plan: TritonPlan,
        x: Tensor,
        state: ElmState,
        masks: DropoutMasks | None,
        keep_activity: bool,
    ) -> RunResult:
        """Run K networks; every tensor has the leading axis K."""
        k, batch, steps = x.shape[:3]
        _check_size(plan, batch, steps)
        hidden, readout = FlatLayer(network.hidden, network.stacked), FlatLayer(network.readout, network.stacked)
        activity_NTB, memory_NDB, average_NB, branch_NRB, magnitude_NB, mlp_out_NDTB = run_recurrence(
            plan,
            self.tiling(plan, batch),
            _filled_table(plan, network, x, None if masks is None else masks.input_BI),
            None if masks is None else batch_last(masks.recurrent_BN),
            keep_activity,
            torch.is_grad_enabled(),
            *(batch_last(tensor) for tensor in state[:4]),
            hidden.synapse_NC,
            hidden.keep_ND,
            TANH_SCALE * hidden.absorb_ND,
            hidden.readout_ND,
            hidden.bias_N,
            *hidden.mlp,
        )
        seen_NTB = activity_NTB if masks is None else activity_NTB * batch_last(masks.readout_BN).unsqueeze(1)
        y_OTB, readout_memory_ODB, readout_branch_ORB = _run_readout(readout, plan, seen_NTB, state, k)
        # Time and batch become one axis, so that the dense map is a single product over the sequence.
        y_KLO = y_OTB.view(k, -1, steps, batch).permute(0, 3, 2, 1).reshape(k, batch * steps, -1)
        weight, bias = network.output.weight, network.output.bias
        weight_KOO = weight.view(k, *weight.shape[-2:])
        logits_KLO = torch.baddbmm(bias.view(k, 1, -1), y_KLO, weight_KOO.transpose(1, 2))
        final = (activity_NTB[:, -1], memory_NDB, average_NB, branch_NRB, readout_memory_ODB, readout_branch_ORB)
        # the sum over steps comes from the recurrence, which does not keep the MLPs' outputs unless asked to
        mean_NB = magnitude_NB / (steps * plan.d_m)
        mlp_shape = (k, -1, plan.d_m, steps, batch)
        return RunResult(
            logits=logits_KLO.view(k, batch, steps, -1),
            state=ElmState(*(batch_first(tensor, k) for tensor in final)),
            mlp_out_BN=batch_first(mean_NB, k),
            activity=activity_NTB.view(k, -1).mean(1),
            activity_BTN=activity_NTB.detach().view(k, -1, steps, batch).permute(0, 3, 2, 1) if keep_activity else None,
            mlp_out_BTND=mlp_out_NDTB.view(mlp_shape).permute(0, 4, 3, 1, 2) if keep_activity else None,
        )


def _check_size(plan: TritonPlan, batch: int, steps: int) -> None:
    rows = max(plan.n * max(plan.d_tree + plan.d_m, plan.layers * plan.width), plan.channels + plan.n)
    if rows * (steps + 1) * batch >= _MOST_NUMBERS:
        raise ConfigError(
            f"backend: 'triton' is not valid for {plan.n} neurons, {steps} steps and {batch} rows, whose trace has "
            f"{_MOST_NUMBERS:,} numbers or more; set the network's segment to fewer steps, or give auto or torch"
        )


def _filled_table(plan: TritonPlan, network: NetworkParts, x: Tensor, mask_KBI: Tensor | None) -> Tensor:
    """Make the table that synapses read [rows, T + 1, B] with its input rows, and nothing else, filled in."""
    k, batch, steps = x.shape[:3]
    weight = network.output.weight
    table_XTB = weight.new_empty(plan.channels + plan.n, steps + 1, batch)
    input_XTB = table_XTB[: plan.channels, :steps]
    if x.dim() == 4:
        masked = x if mask_KBI is None else x * mask_KBI.unsqueeze(2)
        input_XTB.copy_(masked.permute(0, 3, 2, 1).reshape(-1, steps, batch))
        return table_XTB
    # A dropped channel takes its symbol with it: the height of the one-hot code is that of the mask.
    height_KBT = torch.full_like(x, 1, dtype=weight.dtype) if mask_KBI is None else mask_KBI.gather(2, x)
    # ids become rows of the one table that all stacked networks share
    channel_KBT = x + network.config.n_in * torch.arange(k, device=x.device).view(-1, 1, 1)
    height_KTB = network.config.embedding_scale * height_KBT.transpose(1, 2)
    # Zeros and one number a column: the dense code is never made beside the table.
    input_XTB.zero_().scatter_(0, channel_KBT.transpose(1, 2), height_KTB)
    return table_XTB


def _run_readout(
    readout: FlatLayer, plan: TritonPlan, seen_NTB: Tensor, state: ElmState, k: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Run the read-out neurons of K networks.

    Their synapses and linear map are one dense matrix per network: what they read is known for all steps.

    Returns:
        Outputs [K * O, T, B], memory [K * O, D, B] and branch traces [K * O, R or 0, B] after the last step.
    """
    config, (_, steps, batch) = readout.config, seen_NTB.shape
    neurons, d_tree = readout.bias_N.shape[0], config.d_tree
    dense_ORN = dense_synapses(readout, plan.readout_places)
    weight_ODP, bias_OD = readout.mlp
    branch_weight_ODR = weight_ODP[..., :d_tree]
    # branches have no nonlinearity, so branch weights and synapses are multiplied before the sequence is
    matrix_KXN = torch.bmm(branch_weight_ODR, dense_ORN).view(k, -1, config.n_in)
    # a neuron's row of all steps and batch rows lies in one piece, so the sequence is an operand as it is
    drive_KXL = torch.bmm(matrix_KXN, seen_NTB.reshape(k, config.n_in, -1))
    branch_ORB, driven_ODB = seen_NTB.new_empty(neurons, 0, batch), None
    kappa_b = plan.kappa_b
    if kappa_b is not None:
        start_ORB = batch_last(state.readout_branch_BOR)
        # the scan filters what the branches contribute, a linear function of the traces, in place of the traces
        driven_ODB = torch.bmm(branch_weight_ODR, start_ORB)
        decay_T1 = kappa_b ** torch.arange(steps - 1, -1, -1, device=seen_NTB.device, dtype=seen_NTB.dtype).view(-1, 1)
        seen_KNB = (seen_NTB * decay_T1).sum(1).view(k, config.n_in, batch)
        last_KXB = torch.bmm(dense_ORN.view(k, -1, config.n_in), seen_KNB)
        branch_ORB = kappa_b**steps * start_ORB + last_KXB.view(neurons, d_tree, batch)
    y_OTB, memory_ODB = run_readout_scan(
        plan.decays,
        kappa_b is not None,
        torch.is_grad_enabled(),
        drive_KXL.view(neurons, -1, steps, batch),
        batch_last(state.readout_memory_BOD),
        driven_ODB,
        weight_ODP[..., d_tree:],
        bias_OD,
        readout.keep_ND,
        TANH_SCALE * readout.absorb_ND,
        readout.readout_ND,
        readout.bias_N,
    )
    return y_OTB, memory_ODB, branch_ORB
