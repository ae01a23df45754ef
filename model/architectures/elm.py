"""The ELM Network: a recurrent layer of ELM neurons, a read-out layer of ELM neurons, a dense linear map."""

import pkgutil
from collections.abc import Mapping
from typing import Any

from model.architecture import N_REC, Architecture, Counts, Flops, Size, from_units
from model.architectures.mlp import mlp_params, mlp_weights
from model.config import READOUT_D_M, READOUT_L_MLP, ElmConfig
from model.gpu_choice import gpu_backend
from model.memory import saved_bytes


class Elm(Architecture):
    """ELM neurons, of which number, complexity and connectivity can each follow from a budget."""

    config = ElmConfig
    module = "model.networks.elm_network:ElmNetwork"
    joint = True
    native = True
    # k_c = d_tree x d_branch is solved through d_branch, so d_tree has to be known before.
    must_give = {"d_tree": "the number of dendritic branches per neuron"}  # noqa: RUF012

    def sizes(self) -> tuple[Size, ...]:
        """Return number of neurons, complexity and connectivity."""
        return N_REC, Size(name="k_e", field="d_m", target="k_e"), Size(name="k_c", field="d_branch", target="k_c")

    def counts(self, config: ElmConfig) -> Counts:
        """Count the parameters."""
        k_e = _k_e(config.d_m, config.mlp_width, config.l_mlp, config)
        # The read-out neurons share everything else with the recurrent ones, also whether timescales are learnt; see
        # `model.cell.layer.readout_config`.
        readout_k_e = _k_e(READOUT_D_M, 0, READOUT_L_MLP, config)
        # Read-out neurons with their synapses, then the dense map n_out x n_out with its bias.
        readout_params = config.n_out * (readout_k_e + config.k_c) + config.n_out * config.n_out + config.n_out
        # one index for each synapse, of the recurrent and of the read-out neurons
        wiring = (config.n_rec + config.n_out) * config.k_c
        fixed_tau = 0 if config.learn_tau_m else config.n_rec * config.d_m + config.n_out * READOUT_D_M
        return from_units(config.n_rec, k_e, config.k_c, readout_params, fixed=wiring + fixed_tau)

    def flops(self, config: ElmConfig) -> Flops:
        """Count the operations."""
        # The output weights are one more use of the memory.
        mlp = mlp_weights(config.d_tree, config.d_m, config.mlp_width, config.l_mlp) + config.d_m
        readout_mlp = mlp_weights(config.d_tree, READOUT_D_M, 0, READOUT_L_MLP) + READOUT_D_M
        readout = config.n_out * (config.k_c + readout_mlp + config.n_out)
        return Flops(synapses=2 * config.n_rec * config.k_c, mlps=2 * config.n_rec * mlp, readout=2 * readout)

    def saved_bytes(self, config: ElmConfig, *, device: str, batch: int, steps: int, itemsize: int) -> int:
        """Count what is kept for differentiation, as measured."""
        # Each back end keeps other tensors for the backward pass.
        backend = "native" if device == "cpu" else gpu_backend()
        return saved_bytes(config, backend=backend, batch=batch, steps=steps, itemsize=itemsize)

    def nearest(self, values: Mapping[str, Any], size: Size, count: int) -> int:
        """Find the setting nearest to a target."""
        if size.target == "k_c":
            # k_c = d_tree x d_branch, of which only whole branches can be had
            return max(1, round(count / int(values["d_tree"])))
        return super().nearest(values, size, count)

    def network(self, config: ElmConfig, *, generator: Any, dtype: Any, backend: str) -> Any:
        """Build the network with one of its back ends."""
        return pkgutil.resolve_name(self.module)(config, generator, dtype, backend)


def _k_e(d_m: int, width: int, hidden_layers: int, config: ElmConfig) -> int:
    """Count one ELM neuron without its synapses: MLP, output weights, bias and, where learnt, timescales."""
    timescales = d_m if config.learn_tau_m else 0
    return mlp_params(config.d_tree + d_m, width, d_m, hidden_layers) + d_m + 1 + timescales


ARCHITECTURES = {"elm": Elm()}
