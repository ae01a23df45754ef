"""The interface of an architecture, `Architecture`: what a grid may set, what a network costs, how it is built.

Standard library alone: planning a sweep must not wait for torch. What builds a network is therefore named as text.
"""

import pkgutil
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, ClassVar

from model.config import ConfigError, ModelConfig, added_settings


class BudgetError(ValueError):
    """No size fits the budget; the message names the smallest budget that has a solution."""


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Trainable scalars of a network, by where they sit."""

    k_e: float
    """effective complexity: trained scalars of one recurrent neuron that are not synapses"""
    k_c: float
    """connectivity: trained synapses of one recurrent neuron"""
    recurrent_params: int
    """trained scalars of the recurrent layer"""
    readout_params: int
    """trained scalars of everything behind it"""
    trainable_params: int
    """trained scalars of the whole network"""
    total_params: int
    """trainable_params plus the fixed numbers a checkpoint must hold: wiring indices and untrained timescales"""


@dataclass(frozen=True, kw_only=True)
class Flops:
    """Operations of the forward pass for one time step of one sequence."""

    synapses: int
    """weighted sums of what the recurrent neurons read"""
    mlps: int
    """the recurrent neurons' MLPs and read-outs of their memory"""
    readout: int
    """everything behind the recurrent layer"""

    @property
    def forward(self) -> int:
        """All operations of the forward pass."""
        return self.synapses + self.mlps + self.readout

    @property
    def training(self) -> int:
        """Forward pass and both products of every backward one: gradients of the inputs and of the weights."""
        return 3 * self.forward


@dataclass(frozen=True, kw_only=True)
class Size:
    """A size that a budget can be solved for."""

    name: str
    """what people call it"""
    field: str
    """setting that the solver fills in"""
    target: str | None = None
    """count that may be asked for instead of the setting, such as `k_e`"""

    @property
    def settings(self) -> tuple[str, ...]:
        """Keys of a grid that fix it."""
        return (self.field,) if self.target is None else (self.field, self.target)


N_REC = Size(name="n_rec", field="n_rec")
"""number of recurrent neurons"""
DECIDED_BY_TASK = ("n_in", "n_out")
"""settings that no grid gives"""
_LARGEST_TARGET = 1 << 20
"""The size at which the search for a target gives up: no network that anybody could train is as large."""


class Architecture:
    """An architecture: ours as a class like this one, a person's as a torch module that `CellArchitecture` wraps.

    `counts` must be given, and `module` or `network`; the rest has defaults. An instance keeps nothing that two trials
    could disagree about.
    """

    config: ClassVar[type[ModelConfig]]
    """Settings as fields with defaults; what a grid must give has none."""
    module: ClassVar[str]
    """"module:Class" of the network, called with a configuration, a generator and a precision."""
    reads: tuple[str, ...] = ("ids", "spikes", "real")
    """Kinds of input (`tasks.base.TaskSpec.input_kind`) that it takes."""
    joint: ClassVar[bool] = False
    """Whether several networks of one shape can be trained in one go (`model.networks.stacking`)."""
    native: ClassVar[bool] = False
    """Whether a compiled kernel runs it on processors (`model.backends.native`)."""
    light: ClassVar[bool] = True
    """Whether its sizes are counted by formulas, so that planning needs no torch."""
    must_give: ClassVar[Mapping[str, str]] = {}
    """Settings without default that no budget decides, with what they are."""

    def settings(self) -> Mapping[str, Any]:
        """Return what a grid may set, with the type of each."""
        return _settings_of(self.config)  # type: ignore[arg-type]  # a class is hashable

    def added(self) -> Mapping[str, Any]:
        """Return settings that a stored configuration lacks where they have their default, with that default."""
        return added_settings(self.config)  # type: ignore[arg-type]  # a class is hashable

    def sizes(self) -> tuple[Size, ...]:
        """Return the sizes that a budget can be solved for; all but one of them must be given."""
        return (N_REC,)

    def configure(self, values: Mapping[str, Any]) -> ModelConfig:
        """Return the configuration of these settings, n_in and n_out among them.

        Raises:
            ConfigError: they describe no network.
        """
        return self.config(**values)

    def read(self, values: Mapping[str, Any]) -> ModelConfig:
        """Return the configuration whose `plain` form this is."""
        return self.config(**values)

    def counts(self, config: Any) -> Counts:
        """Count the parameters of a configuration exactly."""
        raise NotImplementedError

    def flops(self, config: Any) -> Flops:
        """Count the multiplications and additions of weighted sums for one time step of one sequence."""
        counted = self.counts(config)
        # Without a formula: every trained scalar is one weight that is used once in each step.
        return Flops(synapses=0, mlps=2 * counted.recurrent_params, readout=2 * counted.readout_params)

    def saved_bytes(self, config: Any, *, device: str, batch: int, steps: int, itemsize: int) -> int:
        """Estimate what is kept for differentiation, bytes.

        A rough count (assumption): 16 numbers per neuron, time step and sequence.
        """
        return itemsize * batch * steps * 16 * int(config.n_rec)

    def network(self, config: Any, *, generator: Any, dtype: Any, backend: str) -> Any:
        """Build the network, drawn from a torch generator alone; see `model.network.build_network`.

        Raises:
            ConfigError: there is no such back end.
        """
        # Most have one way to run, and asking them for another is a mistake in the grid.
        if backend != "auto":
            raise ConfigError(f"backend: {backend!r} is not valid for {type(config).__name__}; give auto")
        return pkgutil.resolve_name(self.module)(config, generator, dtype)

    def solve(self, values: Mapping[str, Any], name: str, budget: int) -> int:
        """Find the largest value of one setting whose network has at most `budget` trainable parameters.

        Args:
            values: all other settings.
            name: the setting; the count grows strictly with it.
            budget: trainable parameters.

        Raises:
            BudgetError: 1 does not fit.
        """
        return largest(lambda value: self._params(values, name, value), name, budget)

    def _params(self, values: Mapping[str, Any], name: str, value: int) -> int:
        return self.counts(self.configure({**values, name: value})).trainable_params

    def nearest(self, values: Mapping[str, Any], size: Size, count: int) -> int:
        """Find the value of a size's setting whose `size.target` is nearest to the one asked for, on a ratio scale."""
        assert size.target is not None, "a size without a target is given by its setting"
        target = size.target

        def achieved(value: int) -> float:
            return float(getattr(self.counts(self.configure({**values, size.field: value})), target))

        # Doubling, then halving: the target is counted, and only known to rise with the setting.
        low, high = 1, 2
        while achieved(high) < count and high < _LARGEST_TARGET:
            low, high = high, 2 * high
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if achieved(middle) < count else (low, middle)
        # The two neighbours of the target; on a ratio scale, because budgets and sizes are spaced in ratios.
        return min((low, high), key=lambda value: max(achieved(value) / count, count / achieved(value)))


@cache
def _settings_of(config: Any) -> Mapping[str, Any]:
    types = typing.get_type_hints(config)
    return {field.name: types[field.name] for field in fields(config) if field.name not in DECIDED_BY_TASK}


def from_units(units: int, k_e: int, k_c: int, readout_params: int, *, fixed: int) -> Counts:
    """Count a network of equal recurrent units.

    Args:
        units: number of recurrent units.
        k_e: trained scalars of a unit that are not synapses.
        k_c: trained synapses of a unit.
        readout_params: trained scalars behind the recurrent layer.
        fixed: numbers that are not trained and that a checkpoint must hold.
    """
    recurrent_params = units * (k_e + k_c)
    return Counts(
        k_e=k_e,
        k_c=k_c,
        recurrent_params=recurrent_params,
        readout_params=readout_params,
        trainable_params=recurrent_params + readout_params,
        total_params=recurrent_params + readout_params + fixed,
    )


def largest(params: Callable[[int], int], name: str, budget: int, guess: int = 1) -> int:
    """Search for the largest whole number whose count is within the budget; the count grows strictly with it.

    Args:
        params: the count.
        name: what the number is, for messages.
        budget: the budget.
        guess: where the number is expected; a good one saves most of the counting.

    Raises:
        BudgetError: 1 does not fit.
    """
    # The smallest network decides whether any fits, and its count is what the message can offer.
    low, least = 1, params(1)
    if least > budget:
        raise BudgetError(f"budget: {budget} is too small for {name} = 1; the smallest feasible budget is {least}")
    high = most = 0  # no number is known to be too large
    rise = 0.0
    places = [guess, guess + 1]
    while places or not high:
        # Beyond the guess: one further than a count that goes on rising as it last did would reach.
        near = places.pop(0) if places else low + 1 + min(int((budget - least) / rise), 64 * low) if rise else low + 1
        if near <= low or (high and near >= high):
            continue
        count = params(near)
        if count > budget:
            high, most = near, count
        else:
            low, least, rise = near, count, (count - least) / (near - low)
    # The gap closes where a straight line between its ends meets the budget, and in every other step in its middle:
    # most counts are straight lines, and on others the line alone would creep.
    halve = False
    while high - low > 1:
        line = low + (budget - least) * (high - low) // (most - least)
        near = (low + high) // 2 if halve else min(max(line, low + 1), high - 1)
        count = params(near)
        if count > budget:
            high, most = near, count
        else:
            low, least = near, count
        halve = not halve
    return low
