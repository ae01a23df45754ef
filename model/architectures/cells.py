"""Architectures that are torch modules: a person's class, and ours that are written in the same way.

This file needs no torch: the class is loaded when sizes must be counted or a network is built. What was counted is part
of the configuration, so that rows are read where neither the class nor torch is.
"""

import pkgutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

from cluster import code
from cluster.errors import CodeError
from model.architecture import DECIDED_BY_TASK, Architecture, Counts, Size, largest
from model.config import ConfigError, ModelConfig, without_added

ENTRY_POINTS = "elm_sweeper.architectures"
"""Group of entry points by which an installed package offers architectures."""
_COUNTED = tuple(field.name for field in fields(Counts))


@dataclass(frozen=True, kw_only=True)
class CellConfig(ModelConfig):
    """Settings of a cell with what was counted for them; a setting is read as an attribute."""

    architecture: str
    """full name of the architecture"""
    n_rec: int
    """recurrent units"""
    values: tuple[tuple[str, Any], ...]
    """arguments of the constructor but n_in and n_out, by name, in alphabetical order"""
    counted: Counts
    """parameters"""

    def __post_init__(self) -> None:
        """Leave out what the base class checks: the counting has looked at every value."""

    def __getattr__(self, name: str) -> Any:
        for key, value in self.__dict__.get("values", ()):
            if key == name:
                return value
        raise AttributeError(f"{type(self).__name__} has no {name}")

    def plain(self) -> dict[str, Any]:
        """Return settings and counts as JSON keeps them, side by side."""
        sizes = {"n_in": self.n_in, "n_out": self.n_out, "n_rec": self.n_rec}
        return {**sizes, **dict(self.values), **asdict(self.counted)}


RESERVED = frozenset({"architecture", "counted", "plain", "values", *_COUNTED})
"""Names that no argument of a constructor may have."""


class Argument(NamedTuple):
    """An argument of a cell's constructor that a grid may set."""

    name: str
    """name"""
    kind: Any
    """type, such as int or float | None"""
    required: bool
    """whether it has no default"""
    default: Any
    """default, where it has one"""


class CellArchitecture(Architecture):
    """A torch module `(x, state) -> Output`, as `model.cells.base.Cell` describes it."""

    light = False

    def __init__(
        self,
        name: str,
        path: str | None = None,
        where: str = "architecture",
        added: Mapping[str, Any] | None = None,
    ) -> None:
        """Declare an architecture without loading it.

        Args:
            name: full name.
            path: "module:Class" of one of ours; None for a person's class.
            where: path of the architecture in the grid file, for messages.
            added: arguments that came after trials were stored, with their defaults; see `model.config.ADDED`.
        """
        self.name, self.path, self.where, self._added = name, path, where, added or {}
        self._configurations: dict[tuple[tuple[str, Any], ...], CellConfig] = {}

    @cached_property
    def cell_class(self) -> Any:
        """The class, checked member by member.

        Raises:
            CodeError: it cannot be imported or does not follow the interface.
        """
        if self.path is None:
            kind = code.load_named(self.name, ENTRY_POINTS, "architecture", (), self.where)
        else:
            kind = pkgutil.resolve_name(self.path)
        pkgutil.resolve_name("model.cells.counting:check_class")(kind, self.short_name, self.where)
        return kind

    def added(self) -> Mapping[str, Any]:
        """Return the arguments that came after trials were stored."""
        return self._added

    @property
    def short_name(self) -> str:
        """Name of the class, for messages."""
        wanted = code.reference(self.name)
        return self.name if wanted is None else wanted.name

    @cached_property
    def arguments(self) -> tuple[Argument, ...]:
        """What a grid may set, in the order of the constructor."""
        listed: tuple[Argument, ...] = pkgutil.resolve_name("model.cells.counting:arguments")(
            self.cell_class, self.short_name, self.where
        )
        return listed

    def settings(self) -> Mapping[str, Any]:
        """Return the arguments of the constructor with their types."""
        return {argument.name: argument.kind for argument in self.arguments}

    def sizes(self) -> tuple[Size, ...]:
        """Return the whole numbers without default."""
        return tuple(Size(name=a.name, field=a.name) for a in self.arguments if a.required and a.kind is int)

    @property
    def must_give(self) -> Mapping[str, str]:  # type: ignore[override]  # read like the mapping of a class
        """Other arguments without default."""
        words = f"an argument of {self.short_name} without default"
        return {a.name: words for a in self.arguments if a.required and a.kind is not int}

    def configure(self, values: Mapping[str, Any]) -> CellConfig:
        """Build the cell without memory and count it.

        Raises:
            CodeError: the constructor fails, or there is nothing to train.
        """
        key = tuple(sorted(values.items()))
        if key not in self._configurations:
            # Defaults are part of what is compared: a grid that names one and one that does not ask for the same trial.
            whole = {a.name: a.default for a in self.arguments if not a.required} | dict(values)
            n_rec, counted = pkgutil.resolve_name("model.cells.counting:count")(self.cell_class, whole, self._place)
            rest = without_added(whole, self._added) | {"n_rec": n_rec}
            self._configurations[key] = CellConfig(
                architecture=self.name,
                n_in=values["n_in"],
                n_out=values["n_out"],
                n_rec=n_rec,
                values=tuple(sorted((n, v) for n, v in rest.items() if n not in DECIDED_BY_TASK)),
                counted=counted,
            )
        return self._configurations[key]

    @property
    def _place(self) -> tuple[str, str, str | None]:
        """Where it stands in the grid, its name, and its file: what messages about it begin with."""
        wanted = code.reference(self.name)
        return self.where, self.short_name, None if wanted is None else wanted.path

    def read(self, values: Mapping[str, Any]) -> CellConfig:
        """Return the configuration whose `plain` form this is, without looking at the class."""
        return read_cell(self.name, values)

    def counts(self, config: CellConfig) -> Counts:
        """Return what was counted."""
        return config.counted

    def saved_bytes(self, config: CellConfig, *, device: str, batch: int, steps: int, itemsize: int) -> int:
        """Estimate what is kept for differentiation.

        Nothing is known about the module, so this is a guess (assumption): 16 numbers per unit, and as many as a unit
        has parameters, for each time step and sequence.
        """
        per_step = 16 * config.n_rec + config.counted.trainable_params // config.n_rec
        return itemsize * batch * steps * per_step

    def solve(self, values: Mapping[str, Any], name: str, budget: int) -> int:
        """Find the largest value of one argument within a budget.

        Raises:
            BudgetError: 1 does not fit.
            CodeError: the parameters do not grow with it.
        """

        def params(value: int) -> int:
            return self._params(values, name, value)

        first = [params(value) for value in (1, 2, 3)]
        for value, (before, after) in enumerate(pairwise(first), start=1):
            if after <= before:
                raise CodeError(
                    f"{self.where}: {self.short_name}: its parameters do not grow with {name}: {before:,} at {name} = "
                    f"{value} and {after:,} at {value + 1}, so no budget decides it; give it in `model`"
                )
        # Most cells have weights between units, so the count is a parabola, which hits its mark at once.
        bend = (first[2] - 2 * first[1] + first[0]) / 2
        slope = first[1] - first[0] - 3 * bend
        room = max(0.0, budget - first[0] + slope + bend)
        root = room / slope if bend <= 0 else (-slope + (slope**2 + 4 * bend * room) ** 0.5) / (2 * bend)
        return largest(params, name, budget, guess=max(1, int(root)))

    def network(self, config: CellConfig, *, generator: Any, dtype: Any, backend: str) -> Any:
        """Build the network.

        Raises:
            ConfigError: a back end other than `auto` was asked for.
            CodeError: the constructor fails, or its parameters cannot be trained here.
        """
        names = {argument.name for argument in self.arguments}
        values = {name: value for name, value in config.values if name in names}
        if backend != "auto":
            raise ConfigError(f"backend: {backend!r} is not valid for {self.short_name}; give auto")
        build = pkgutil.resolve_name("model.cells.network:build_cell")
        return build(self.cell_class, config, values, self._place, generator.initial_seed(), dtype)


def read_cell(name: str, values: Mapping[str, Any]) -> CellConfig:
    """Return the configuration of an architecture whose `plain` form this is, without looking at its class."""
    counted = Counts(**{key: values[key] for key in _COUNTED})
    settings = {key: value for key, value in values.items() if key not in (*DECIDED_BY_TASK, *_COUNTED)}
    rest = without_added(settings, ARCHITECTURES[name].added() if name in ARCHITECTURES else {})
    return CellConfig(
        architecture=name,
        n_in=values["n_in"],
        n_out=values["n_out"],
        n_rec=values["n_rec"],
        values=tuple(sorted(rest.items())),
        counted=counted,
    )


ARCHITECTURES = {
    "lru": CellArchitecture("lru", "model.cells.lru:Lru", added={"dropout_in": 0.0}),
    "min_gru": CellArchitecture("min_gru", "model.cells.min_gru:MinGru", added={"dropout_in": 0.0}),
}
