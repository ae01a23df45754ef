"""The fast path through the compiled layer: the reference's network over a whole sequence at once, on the processor."""

from typing import Any

import torch
from torch import Tensor

from model.backends.native.abi import Kernel
from model.backends.native.autograd import NetworkPlan, run_native_network
from model.backends.native.layer import layer_plan
from model.cell.interface import DropoutMasks, RunResult
from model.cell.layer import ElmLayer
from model.cell.parts import NetworkParts
from model.cell.state import ElmState


class NativeBackend:
    """Runs an ELM Network through the compiled layer; keeps the plans of the wiring it last saw."""

    name = "native"

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._plans: list[NetworkPlan] = []
        self._key: tuple[Any, ...] = ()

    def run(
        self, network: NetworkParts, x: Tensor, state: ElmState, masks: DropoutMasks | None, keep_activity: bool
    ) -> RunResult:
        """Run a segment of a sequence; see `model.backends.choose.Backend.run`.

        Stacked networks run one after the other in one call: the kernel gains nothing from running several as one, but
        everything around it does.
        """
        # Spread out, because an autograd function sees only tensors that are arguments of its own.
        logits, *final, mlp_out_BN, activity, activity_TNB, mlp_out_BTND = run_native_network(
            self._current_plans(network),
            masks,
            keep_activity,
            # Asked here, since it is always off inside of an autograd function.
            torch.is_grad_enabled(),
            x,
            *state,
            *layer_tensors(network.hidden),
            *layer_tensors(network.readout),
            network.output.weight,
            network.output.bias,
        )
        return RunResult(
            logits=logits,
            state=ElmState(*final),
            mlp_out_BN=mlp_out_BN,
            activity=activity,
            # The kernel computes with the batch last; callers read it first.
            activity_BTN=activity_TNB.movedim(-1, -3) if keep_activity else None,
            mlp_out_BTND=mlp_out_BTND,
        )

    def _current_plans(self, network: NetworkParts) -> list[NetworkPlan]:
        """Plans of the layers of every stacked network, made anew when the wiring was changed."""
        layers = (network.hidden, network.readout)
        # the version counts writes in place, such as load_state_dict
        key = tuple((layer.connectome.data_ptr(), layer.connectome._version) for layer in layers)
        # Inverting the wiring sorts all synapses, which a step need not do again.
        if key != self._key:
            wirings = [layer.connectome if network.stacked else layer.connectome.unsqueeze(0) for layer in layers]
            self._plans = [
                NetworkPlan(
                    layer_plan(network.hidden.config, hidden_NC, self._kernel, recurrent=True),
                    layer_plan(network.readout.config, readout_NC, self._kernel, recurrent=False),
                )
                # Each network of a stack has a wiring of its own, and so a plan of its own.
                for hidden_NC, readout_NC in zip(*wirings, strict=True)
            ]
            self._key = key
        return self._plans


def layer_tensors(layer: ElmLayer) -> list[Tensor]:
    """List a layer's trained quantities as the compiled layer takes them."""
    rates = layer.rates()
    return [
        layer.synapse_weight,
        rates.keep_ND,
        rates.absorb_ND,
        layer.readout_weight,
        layer.bias,
        *layer.mlp_tensors(),
    ]
