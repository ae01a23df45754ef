"""A single ELM neuron with a linear read-out of its memory."""

import pkgutil
from dataclasses import dataclass, field
from typing import Any

from model.architecture import Architecture, Counts, Flops, Size, from_units
from model.architectures.mlp import mlp_params, mlp_weights
from model.config import ADDED, ModelConfig, check_timescales, kept_share, require

TAU_MARGIN = 1e-6
"""Distance of learnt timescales from either bound before training (the authors' PyTorch code)."""


@dataclass(frozen=True, kw_only=True)
class ElmNeuronConfig(ModelConfig):
    """A single ELM neuron with a linear read-out of its memory (Spieler et al. 2024)."""

    # The defaults of the timescales and of lambda are the published settings for NeuronIO.
    d_m: int
    """memory units"""
    d_tree: int = 0
    """branches; 0 means none: the MLP reads every synapse (the paper's first, "vanilla" neuron)"""
    d_branch: int | None = None
    """synapses per branch; None means n_in / d_tree, every channel read once. Larger windows overlap"""
    d_mlp: int | None = None
    """hidden width of the MLP; None means 2 * d_m"""
    l_mlp: int = 1
    """hidden layers of the MLP"""
    dt: float = field(default=1.0, metadata=ADDED)
    """time that passes in one step, in the unit of the timescales; at 1 they are counted in time steps"""
    tau_m_min: float = 1.0
    """shortest memory timescale, in the unit of dt"""
    tau_m_max: float = 150.0
    """longest memory timescale, in the unit of dt"""
    learn_tau_m: bool = field(default=False, metadata=ADDED)
    """whether the memory timescales are trained, between tau_m_min and tau_m_max"""
    tau_b: float = 5.0
    """timescale of the synapse or branch traces, in the unit of dt"""
    lambda_: float = 5.0
    """how much faster memory absorbs than it forgets"""
    lambda_as_ratio: bool = True
    """True: absorption 1 - exp(-lambda / tau_m); False: lambda (1 - exp(-1 / tau_m)), the form of the first paper"""
    interleaved: bool = False
    """whether windows run over the two halves of the channels in turn (excitatory and inhibitory inputs of NeuronIO)"""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self, "d_m", self.d_m >= 1, "an integer >= 1")
        require(self, "d_tree", self.d_tree >= 0, "an integer >= 0; 0 means no branches")
        require(self, "d_mlp", self.d_mlp is None or self.d_mlp >= 1, "an integer >= 1, or nothing for 2 * d_m")
        require(self, "l_mlp", self.l_mlp >= 0, "an integer >= 0")
        if self.d_branch is None:
            # Without a window every channel is read once, which needs branches of equal size.
            whole = self.d_tree == 0 or self.n_in % self.d_tree == 0
            require(self, "d_branch", whole, f"the synapses per branch, for d_tree does not divide n_in = {self.n_in}")
        else:
            # windows may overlap, but a channel that none of them covers would be input that cannot be seen
            covers = self.d_tree > 0 and self.d_branch <= self.n_in <= self.d_tree * self.d_branch
            require(self, "d_branch", covers, f"branches that cover the channels: d_tree * d_branch >= {self.n_in}")
        check_timescales(self)
        if self.learn_tau_m:
            room = self.tau_m_max - self.tau_m_min > 4 * TAU_MARGIN
            require(self, "tau_m_max", room, f"a number above tau_m_min = {self.tau_m_min}, or learn_tau_m: false")
        for name in ("dt", "tau_b", "lambda_"):
            require(self, name, getattr(self, name) > 0.0, "a number > 0")
        require(self, "interleaved", not self.interleaved or self.n_in % 2 == 0, "an even n_in, or false")

    @property
    def n_rec(self) -> int:
        """Always 1: there is one neuron, and no number of them to choose."""
        return 1

    @property
    def mlp_width(self) -> int:
        """Hidden width of the MLP with the default 2 * d_m filled in."""
        return 2 * self.d_m if self.d_mlp is None else self.d_mlp

    @property
    def kappa_b(self) -> float:
        """Share of a synapse's or branch's trace that a step keeps."""
        return kept_share(self.tau_b, self.dt)

    @property
    def k_c(self) -> int:
        """Trained synapses."""
        return self.n_in if self.d_branch is None else self.d_tree * self.d_branch


class ElmNeuron(Architecture):
    """One neuron, whose synapses follow from its input channels; a budget decides its memory."""

    config = ElmNeuronConfig
    module = "model.networks.neuron:ElmNeuron"
    reads = ("spikes", "real")

    def sizes(self) -> tuple[Size, ...]:
        """Return the complexity: there is one neuron, and its synapses follow from the task."""
        return (Size(name="k_e", field="d_m", target="k_e"),)

    def counts(self, config: ElmNeuronConfig) -> Counts:
        """Count the parameters; fixed are timescales that are not learnt and, with windows, index and validity."""
        # Without branches the MLP reads every synapse.
        width_in = (config.d_tree or config.k_c) + config.d_m
        learnt, fixed = (config.d_m, 0) if config.learn_tau_m else (0, config.d_m)
        k_e = mlp_params(width_in, config.mlp_width, config.d_m, config.l_mlp) + learnt
        windows = 0 if config.d_branch is None else 2 * config.k_c
        return from_units(1, k_e, config.k_c, config.n_out * (config.d_m + 1), fixed=windows + fixed)

    def flops(self, config: ElmNeuronConfig) -> Flops:
        """Count the operations."""
        mlp = mlp_weights(config.d_tree or config.k_c, config.d_m, config.mlp_width, config.l_mlp)
        return Flops(synapses=2 * config.k_c, mlps=2 * mlp, readout=2 * config.n_out * config.d_m)

    def saved_bytes(self, config: ElmNeuronConfig, *, device: str, batch: int, steps: int, itemsize: int) -> int:
        """Estimate what is kept for differentiation: a rough count (assumption)."""
        learnt = config.d_m if config.learn_tau_m else 0  # the memory before each step
        return itemsize * batch * steps * (4 * config.d_m + learnt + config.d_tree + 2 * config.mlp_width + 4)

    def network(self, config: ElmNeuronConfig, *, generator: Any, dtype: Any, backend: str) -> Any:
        """Build the network with one of its back ends."""
        return pkgutil.resolve_name(self.module)(config, generator, dtype, backend)


ARCHITECTURES = {"elm_neuron": ElmNeuron()}
