"""The fast path through the compiled layer: the reference's network over a whole sequence at once, on the processor."""

from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor
from torch.nn.functional import linear

from model.interface import DropoutMasks, RunResult, stack_results
from model.layer import TANH_SCALE, ElmLayer
from model.native_abi import Kernel
from model.native_layer import LayerPlan, layer_plan, run_native_layer
from model.state import ElmState

if TYPE_CHECKING:
    from model.elm_network import ElmNetwork


class _Plans(NamedTuple):
    """Plans of a network's two layers."""

    hidden: LayerPlan
    readout: LayerPlan


class NativeBackend:
    """Runs an ELM Network through the compiled layer; keeps the plans of the wiring it last saw."""

    name = "native"

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._plans: list[_Plans] = []
        self._key: tuple[Any, ...] = ()

    def run(
        self, network: "ElmNetwork", x: Tensor, state: ElmState, masks: DropoutMasks | None, keep_activity: bool
    ) -> RunResult:
        """Run a segment of a sequence; see `model.backends.Backend.run`.

        Stacked networks run one after the other: the kernel gains nothing from running several as one.
        """
        plans = self._current_plans(network)
        hidden, readout = layer_tensors(network.hidden), layer_tensors(network.readout)
        output = [network.output.weight, network.output.bias]
        if not network.stacked:
            return _run(plans[0], hidden, readout, output, x, state, masks, keep_activity)
        results = [
            _run(
                plan,
                [tensor[k] for tensor in hidden],
                [tensor[k] for tensor in readout],
                [tensor[k] for tensor in output],
                x[k],
                ElmState(*(tensor[k] for tensor in state)),
                None if masks is None else DropoutMasks(*(mask[k] for mask in masks)),
                keep_activity,
            )
            for k, plan in enumerate(plans)
        ]
        return stack_results(results)

    def _current_plans(self, network: "ElmNetwork") -> list[_Plans]:
        """Plans of the layers of every stacked network, made anew when the wiring was changed."""
        layers = (network.hidden, network.readout)
        key = tuple((layer.connectome.data_ptr(), layer.connectome._version) for layer in layers)
        if key != self._key:
            wirings = [layer.connectome if network.stacked else layer.connectome.unsqueeze(0) for layer in layers]
            self._plans = [
                _Plans(
                    layer_plan(network.hidden.config, hidden_NC, self._kernel, recurrent=True),
                    layer_plan(network.readout.config, readout_NC, self._kernel, recurrent=False),
                )
                for hidden_NC, readout_NC in zip(*wirings, strict=True)
            ]
            self._key = key
        return self._plans


def layer_tensors(layer: ElmLayer) -> list[Tensor]:
    """List a layer's trained quantities as the compiled layer takes them."""
    rates = layer.rates()
    gain_ND = TANH_SCALE * rates.absorb_ND
    return [layer.synapse_weight, rates.keep_ND, gain_ND, layer.readout_weight, layer.bias, *layer.mlp_tensors()]


def _run(
    plans: _Plans,
    hidden: list[Tensor],
    readout: list[Tensor],
    output: list[Tensor],
    x: Tensor,
    state: ElmState,
    masks: DropoutMasks | None,
    keep_activity: bool,
) -> RunResult:
    """Run one network."""
    if masks is not None and x.is_floating_point():
        x = x * masks.input_BI.unsqueeze(1)
    hidden_masks = (None, None) if masks is None else (masks.input_BI, masks.recurrent_BN)
    activity_TNB, *final, magnitude_NB, mlp_out_BTND = run_native_layer(
        plans.hidden, hidden_masks, keep_activity, x, *state[:4], *hidden
    )
    seen_TNB = activity_TNB if masks is None else activity_TNB * masks.readout_BN.T
    nothing = state.activity_BN[:, :0]
    before = (nothing, state.readout_memory_BOD, nothing, state.readout_branch_BOR)
    y_TOB, readout_memory_BOD, _, readout_branch_BOR, *_ = run_native_layer(
        plans.readout, (None, None), False, seen_TNB, *before, *readout
    )
    steps, d_m = activity_TNB.shape[0], state.memory_BND.shape[2]
    return RunResult(
        logits=linear(y_TOB.permute(2, 0, 1), *output),
        state=ElmState(activity_TNB[-1].T, final[0], final[1], final[2], readout_memory_BOD, readout_branch_BOR),
        mlp_out_BN=magnitude_NB.T / (steps * d_m),
        activity=activity_TNB.mean(),
        activity_BTN=activity_TNB.detach().permute(2, 0, 1) if keep_activity else None,
        mlp_out_BTND=mlp_out_BTND,
    )
