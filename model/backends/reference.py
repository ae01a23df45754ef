"""The readable loop over time that defines the ELM Network; every fast path is compared with it."""

import torch
from torch import Tensor

from model.cell.interface import DropoutMasks, RunResult, dense_input
from model.cell.parts import NetworkParts
from model.cell.state import ElmState


class ReferenceBackend:
    """Runs a network step by step under plain autograd."""

    name = "reference"

    def run(
        self, network: NetworkParts, x: Tensor, state: ElmState, masks: DropoutMasks | None, keep_activity: bool
    ) -> RunResult:
        """Run a segment of a sequence; see `model.backends.choose.Backend.run`."""
        return run_reference(network, x, state, masks, keep_activity)


def run_reference(
    network: NetworkParts, x: Tensor, state: ElmState, masks: DropoutMasks | None, keep_activity: bool
) -> RunResult:
    """Run `network` step by step; arguments and result as for `model.backends.choose.Backend.run`."""
    x_BTI = dense_input(x, network.config.n_in, network.config.embedding_scale, network.output.weight.dtype)
    if masks is not None:
        x_BTI = x_BTI * masks.input_BI.unsqueeze(1)
    rates, readout_rates = network.hidden.rates(), network.readout.rates()
    # Lists that are stacked at the end: writing into one tensor would be an operation in place at every step, which
    # autograd would have to track.
    logits, activities, mlp_outs = [], [], []
    for x_BI in x_BTI.unbind(1):
        recurrent_BN = state.activity_BN if masks is None else state.activity_BN * masks.recurrent_BN
        u_BU = torch.cat([x_BI, recurrent_BN], dim=-1)
        # The recurrent layer's step comes first: the read-out reads its activity of the same step.
        hidden = network.hidden.step(u_BU, state.memory_BND, state.readout_average_BN, state.branch_BNR, rates)
        activity_BN = torch.relu(hidden.output_BN)
        seen_BN = activity_BN if masks is None else activity_BN * masks.readout_BN
        readout = network.readout.step(
            # an empty average: read-out neurons have no high-pass filter
            seen_BN,
            state.readout_memory_BOD,
            state.activity_BN[:, :0],
            state.readout_branch_BOR,
            readout_rates,
        )
        logits.append(network.output(readout.output_BN))
        activities.append(activity_BN)
        mlp_outs.append(hidden.mlp_out_BND)
        state = ElmState(
            activity_BN,
            hidden.memory_BND,
            hidden.average_BN,
            hidden.branch_BNR,
            readout.memory_BND,
            readout.branch_BNR,
        )
    activity_BTN, mlp_out_BTND = torch.stack(activities, 1), torch.stack(mlp_outs, 1)
    return RunResult(
        logits=torch.stack(logits, 1),
        state=state,
        mlp_out_BN=mlp_out_BTND.abs().mean((1, 3)),
        activity=activity_BTN.mean(),
        activity_BTN=activity_BTN.detach() if keep_activity else None,
        mlp_out_BTND=mlp_out_BTND.detach() if keep_activity else None,
    )
