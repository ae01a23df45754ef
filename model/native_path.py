"""The fast path through the compiled layer: the reference's network over a whole sequence at once, on the processor."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from model.layer import TANH_SCALE, ElmLayer
from model.native_abi import Kernel
from model.native_layer import LayerPlan, layer_plan, run_native_layer
from model.state import ElmState

if TYPE_CHECKING:
    from model.network import DropoutMasks, ElmNetwork


class NativeBackend:
    """Runs an ELM Network through the compiled layer; keeps the plans of the wiring it last saw."""

    name = "native"

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._plans: tuple[LayerPlan, LayerPlan] | None = None
        self._key: tuple[Any, ...] = ()

    def run(
        self, network: "ElmNetwork", x: Tensor, state: ElmState, masks: "DropoutMasks | None", keep_activity: bool
    ) -> tuple[Any, ...]:
        """Run a segment of a sequence; see `model.backends.Backend.run`."""
        hidden_plan, readout_plan = self._current_plans(network)
        if masks is not None and x.is_floating_point():
            x = x * masks.input_BI.unsqueeze(1)
        hidden_masks = (None, None) if masks is None else (masks.input_BI, masks.recurrent_BN)
        activity_TNB, memory_BND, average_BN, branch_BNR, magnitude_NB, mlp_out_BTND = run_native_layer(
            hidden_plan, hidden_masks, keep_activity, x, *state[:4], *_tensors(network.hidden)
        )
        seen_TNB = activity_TNB if masks is None else activity_TNB * masks.readout_BN.T
        nothing = state.activity_BN[:, :0]
        y_TOB, readout_memory_BOD, _, readout_branch_BOR, *_ = run_native_layer(
            readout_plan,
            (None, None),
            False,
            seen_TNB,
            nothing,
            state.readout_memory_BOD,
            nothing,
            state.readout_branch_BOR,
            *_tensors(network.readout),
        )
        mean_NB = magnitude_NB / (activity_TNB.shape[0] * network.config.d_m)
        return (
            network.output(y_TOB.permute(2, 0, 1)),
            ElmState(activity_TNB[-1].T, memory_BND, average_BN, branch_BNR, readout_memory_BOD, readout_branch_BOR),
            mean_NB.square().mean(),
            activity_TNB.mean(),  # rectified already
            activity_TNB.detach().permute(2, 0, 1) if keep_activity else None,
            mlp_out_BTND,
        )

    def _current_plans(self, network: "ElmNetwork") -> tuple[LayerPlan, LayerPlan]:
        """Plans of the network's layers, made anew when its wiring was changed."""
        layers = (network.hidden, network.readout)
        key = tuple((layer.connectome.data_ptr(), layer.connectome._version) for layer in layers)
        if self._plans is None or key != self._key:
            self._plans = (
                layer_plan(layers[0].config, layers[0].connectome, self._kernel, recurrent=True),
                layer_plan(layers[1].config, layers[1].connectome, self._kernel, recurrent=False),
            )
            self._key = key
        return self._plans


def _tensors(layer: ElmLayer) -> list[Tensor]:
    """List a layer's trained quantities as the compiled layer takes them."""
    rates = layer.rates()
    gain_ND = TANH_SCALE * rates.absorb_ND
    return [layer.synapse_weight, rates.keep_ND, gain_ND, layer.readout_weight, layer.bias, *layer.mlp_tensors()]
