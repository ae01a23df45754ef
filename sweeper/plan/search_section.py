"""The `search:` section of a grid: which search, how many trials, what for. Light: nothing here searches."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from cluster.values import check_keys, number, one_of, text, whole_within
from sweeper.errors import GridError
from sweeper.plan.targets import TargetError, read_rule, read_target

KINDS = ("grid", "random", "optuna", "theory")
SAMPLERS = ("tpe", "nsga2", "gp")
OBJECTIVES = ("per_budget", "pareto")
PRUNINGS = ("none", "median", "asha")


@dataclass(frozen=True, kw_only=True)
class Range:
    """A setting that may take any value of a range, in a grid that is searched."""

    low: float
    """Smallest value."""
    high: float
    """Largest value."""
    log: bool
    """Whether steps are even on the logarithmic scale."""
    whole: bool
    """Whether values are whole numbers."""

    def at(self, share: float) -> Any:
        """The value at a share from 0 (low) to 1 (high)."""
        value = self.low * (self.high / self.low) ** share if self.log else self.low + (self.high - self.low) * share
        # Six digits: the value is written into a grid and read back, and must name the same trial then.
        return round(value) if self.whole else float(f"{value:.6g}")

    def levels(self, count: int) -> tuple[Any, ...]:
        """Distinct values, evenly spaced, the ends included."""
        # Whole numbers of a short range repeat themselves.
        return tuple(dict.fromkeys(self.at(i / (count - 1)) for i in range(count)))

    def share(self, value: float) -> float:
        """Where a value lies, from 0 to 1; outside beyond."""
        if self.log:
            from math import log

            return log(value / self.low) / log(self.high / self.low)
        return (value - self.low) / (self.high - self.low)


@dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """How a search chooses its trials."""

    kind: str = "grid"
    """`grid` (the product), `random`, `optuna` or `theory`."""
    trials: int = 64
    """Trials after which the search ends, those that failed included."""
    batch: int = 9
    """Trials proposed at once, from everything known by then; at least the number of lanes keeps all of them busy."""
    seed: int = 0
    """Seed of the search; the same rows and seed give the same proposals."""
    sampler: str = "tpe"
    """optuna: `tpe`, `nsga2` or `gp`."""
    objective: str = "per_budget"
    """optuna: `per_budget` (a study of the metric for each budget) or `pareto` (metric against parameters)."""
    pruning: str = "none"
    """random and optuna: end hopeless trials by the `median` of earlier ones or by successive halving (`asha`)."""
    min_steps: int | None = None
    """pruning: steps before which no trial is ended: beyond the plateau of tasks that show nothing at first."""
    target: tuple[str, ...] = ("optimum",)
    """theory: what shall become certain, such as `optimum at P=1e6`; see `sweeper.plan.targets`."""
    cost_power: float = 0.5
    """theory: a trial's worth is its information divided by its expected seconds to this power; 0 ignores cost."""
    until: str | None = None
    """Rule that ends the search early, such as `ci(d_m_opt @ 1e6) < 20%`; see `sweeper.plan.targets`."""

    @property
    def adaptive(self) -> bool:
        """Whether trials depend on the results of others, so that no plan can list them."""
        return self.kind != "grid"


_OF_KIND = {
    "sampler": ("optuna",),
    "objective": ("optuna",),
    "pruning": ("random", "optuna"),
    "min_steps": ("random", "optuna"),
    "target": ("theory",),
    "cost_power": ("theory",),
}
_WHOLE = {
    "trials": whole_within("trials"),
    "batch": whole_within("trials"),
    "seed": whole_within("seed"),
    "min_steps": whole_within("steps"),
}
_CHOICES = {"kind": KINDS, "sampler": SAMPLERS, "objective": OBJECTIVES, "pruning": PRUNINGS}


def read_search(entry: object) -> SearchSettings:
    """Read the section: a kind, or a mapping with `kind` and its settings.

    Raises:
        GridError: a key or value is not understood, or belongs to another kind of search.
    """
    section = {"kind": entry} if isinstance(entry, str) else entry
    if not isinstance(section, dict):
        raise GridError(f"search: expected one of {', '.join(KINDS)}, or a mapping with `kind`, got {entry!r}")
    valid = [field.name for field in fields(SearchSettings)]
    check_keys("search.", section, valid)
    if "kind" not in section:
        raise GridError(f"search.kind: missing. Valid: {', '.join(KINDS)}")
    for key, choices in _CHOICES.items():
        if key in section:
            one_of(*choices)(section[key], f"search.{key}")
    # A setting of another kind of search would be read and then do nothing.
    for key, kinds in _OF_KIND.items():
        if key in section and section["kind"] not in kinds:
            raise GridError(f"search.{key}: belongs to search kind {' or '.join(kinds)}, not to {section['kind']!r}")
    settings = SearchSettings(**_typed(section))
    _check(settings)
    return settings


def _typed(section: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(section)
    for key, read in _WHOLE.items():
        # Null is a value of `min_steps` alone, where it means that no number was set.
        if key in values and (key != "min_steps" or values[key] is not None):
            values[key] = read(values[key], f"search.{key}")
    if "target" in values:
        listed = values["target"] if isinstance(values["target"], list) else [values["target"]]
        values["target"] = tuple(text(target, "search.target") for target in listed)
    if "cost_power" in values:
        values["cost_power"] = number(values["cost_power"], "search.cost_power")
    if values.get("until") is not None:
        values["until"] = text(values["until"], "search.until")
    return values


def _check(settings: SearchSettings) -> None:
    # No default: how long a task shows nothing is known to whoever chose the task.
    if settings.pruning != "none" and settings.min_steps is None:
        raise GridError(
            f"search.min_steps: pruning {settings.pruning!r} needs the number of steps before which no trial is ended; "
            "some tasks show nothing for their first thousand steps and would all be ended too early"
        )
    if not 0 <= settings.cost_power <= 2:
        raise GridError(f"search.cost_power: expected 0 to 2, got {settings.cost_power:g}")
    if not settings.target:
        raise GridError(
            "search.target: an empty list leaves nothing to become certain; leave the key out for `optimum`"
        )
    try:
        for target in settings.target:
            read_target(target)
        if settings.until is not None:
            read_rule(settings.until)
    except TargetError as error:
        raise GridError(f"search.{error}") from error
