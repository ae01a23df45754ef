"""What is found out about a fitted law, as typed values: intervals, held-out errors, residuals, variants, chosen runs.

`analysis.laws.evidence` fills them in, `analysis.report` lays them out. `plain` writes any of them as JSON values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any

import numpy as np

from theory.fit.result import Status
from theory.uncertainty.calibration import Calibration
from theory.uncertainty.heldout import Exclusion, HeldOut, Regime
from theory.uncertainty.intervals import Interval

OMIT = {"absent": "omit"}
"""Metadata of a field that has no key in the JSON document where it is None."""

SCREEN = {"absent": "always"}
"""Metadata of a field that is shown and not stored: sentences made of numbers that stand elsewhere in the document."""

EMPTY = {"absent": "empty"}
"""Metadata of a field that is {} in the JSON document where it is None."""


def plain(value: Any) -> Any:
    """Write a value as JSON: records as dictionaries, tuples as lists, missing and infinite numbers as null.

    >>> plain(Refusal(reason="too few rows"))
    {'reason': 'too few rows'}
    >>> plain({"d_m": float("nan"), "band": (1, 2)})
    {'d_m': None, 'band': [1, 2]}
    """
    # First, because a record may know better than its fields how it is written.
    if hasattr(value, "to_plain"):
        return plain(value.to_plain())
    if is_dataclass(value) and not isinstance(value, type):
        return _record(value)
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {name: plain(part) for name, part in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    # As Python's own numbers, which the last line can test for NaN.
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    # JSON has no NaN: architectures without memory units have no d_m, and a reader finds null there
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _record(value: Any) -> dict[str, Any]:
    record = {}
    # How a missing value is written depends on the field: readers of the document know null, {} and an absent key
    # apart.
    for item in fields(value):
        part, absent = getattr(value, item.name), item.metadata.get("absent")
        if absent == "always":
            continue
        if part is not None or absent is None:
            record[item.name] = plain(part)
        elif absent == "empty":
            record[item.name] = {}
    return record


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why something could not be computed."""

    reason: str


@dataclass(frozen=True)
class RefusedLaw:
    """A law that could not be fitted, or the optimum of one that could not be located."""

    law: str
    """Its name in the comparison, or what was asked of it; empty where no law was tried at all."""
    reason: str
    """Without the name."""

    @property
    def sentence(self) -> str:
        """Both in one line."""
        return f"{self.law}: {self.reason}" if self.law else self.reason

    def to_plain(self) -> str:
        """The line, which is what the report's document stores."""
        return self.sentence


@dataclass(frozen=True, kw_only=True)
class NoInterval:
    """Stands where an interval could not be computed."""

    reason: str
    estimate: None = None
    low: None = None
    high: None = None


Estimate = Interval | NoInterval


@dataclass(frozen=True, kw_only=True)
class ComputeSplit:
    """The best split of some training compute."""

    compute: float
    """Floating-point operations of training, C."""
    within: bool
    """Whether the data reach that far."""
    n: Interval
    """Trainable parameters, N*."""
    tokens: Interval
    """Tokens, D*."""
    ratio: Interval
    """D* / N*."""
    metric: Interval
    """Metric that the law expects there, on the fitted scale."""


@dataclass(frozen=True, kw_only=True)
class ComputeSplits:
    """Best splits of training compute between parameters and tokens."""

    flop: float
    """Operations per parameter and token."""
    n: Interval
    """Exponent of N* in C."""
    tokens: Interval
    """Exponent of D* in C."""
    splits: tuple[ComputeSplit, ...]


@dataclass(frozen=True, kw_only=True)
class OptimumIntervals:
    """Where the law's optimum of one budget lies."""

    budget: float
    k_c: float
    d_m: Estimate
    n_rec: Estimate
    metric: Estimate
    """In metric units."""


@dataclass(frozen=True, kw_only=True)
class Exponents:
    """Local exponents d ln size / d ln P of the law's optimum at one budget."""

    budget: float
    k_c: float
    n_rec: Estimate
    k_e: Estimate
    d_m: Estimate


@dataclass(frozen=True, kw_only=True)
class DrawsUsed:
    """The bootstrap behind the intervals."""

    asked: int
    failed: int
    kind: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class LawIntervals:
    """Intervals that come from the same draws."""

    parameters: tuple[Interval, ...]
    optimum_intervals: tuple[OptimumIntervals, ...]
    exponents: tuple[Exponents, ...]
    compute: ComputeSplits | Refusal | None
    """Best splits of training compute; None where the law knows no tokens."""
    draws: DrawsUsed


@dataclass(frozen=True, kw_only=True)
class HeldOutErrors:
    """Errors on the largest budget and on each k_e in turn, or the reasons why there are none."""

    budget: tuple[HeldOut, ...] | None = field(default=None, metadata=OMIT)
    budget_reason: str | None = field(default=None, metadata=OMIT)
    k_e: tuple[HeldOut, ...] | None = field(default=None, metadata=OMIT)
    k_e_reason: str | None = field(default=None, metadata=OMIT)


@dataclass(frozen=True, kw_only=True)
class StoredEvidence:
    """What a stored report says about a group's law, as far as a page shows it."""

    parameters: tuple[Interval, ...]
    exponents: tuple[Exponents, ...]
    held_out: HeldOutErrors
    intervals_reason: str | None
    source: str
    """Name of the report's file."""

    @property
    def of_quick_report(self) -> bool:
        """Whether the report was made without intervals and held-out fits."""
        return not self.parameters and not self.exponents and self.intervals_reason is None


@dataclass(frozen=True, kw_only=True)
class PowerLaw:
    """metric = E + A (P / p_ref)^-exponent through the frontier."""

    E: float
    A: float
    p_ref: float
    exponent: float
    rmse: float
    interval: tuple[Interval, ...] | Refusal
    statuses: tuple[Status, ...]


@dataclass(frozen=True, kw_only=True)
class FrontierLaw:
    """The frontier's points and the power law through them."""

    sizes: tuple[float, ...]
    metric: tuple[float, ...]
    power_law: PowerLaw | None = field(default=None, metadata=OMIT)
    power_law_reason: str | None = field(default=None, metadata=OMIT)
    regime: Regime


@dataclass(frozen=True, kw_only=True)
class LackOfFit:
    """F test of the residuals of the means against the noise between seeds."""

    ratio: float
    p: float
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Place:
    """Sizes of one configuration."""

    n_rec: float
    k_e: float
    trainable_params: float


@dataclass(frozen=True, kw_only=True)
class Residuals:
    """Means minus law, metric units."""

    rms: float
    largest: float
    largest_at: Place
    lack_of_fit: LackOfFit | None


@dataclass(frozen=True, kw_only=True)
class VariantPlace:
    """Optimal d_m of one variant at one budget; None with the reason."""

    budget: float
    k_c: float
    d_m: float | None
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Variant:
    """The fit under another choice of the analyst."""

    choice: str
    rmse: float
    parameters: dict[str, float]
    d_m: tuple[VariantPlace, ...]


@dataclass(frozen=True, kw_only=True)
class RefusedVariant:
    """A choice under which nothing could be fitted."""

    choice: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class NeuronForm:
    """One noise law of single neurons."""

    form: str
    alpha: float | None
    alpha_se: float | None
    floor: float | None
    aicc: float | None
    delta: float | None


@dataclass(frozen=True, kw_only=True)
class NeuronLaws:
    """Noise laws of single neurons, ranked."""

    error: str
    """What is called the error."""
    forms: tuple[NeuronForm, ...]


@dataclass(frozen=True, kw_only=True)
class MeasuredValue:
    """A parameter of the law that was measured before the fit."""

    parameter: str
    """Its name."""
    value: float
    """Its value."""
    source: str
    """By what, and how well."""


@dataclass(frozen=True, kw_only=True)
class FixedLaw:
    """A fit of the law, free or with measured values fixed."""

    name: str
    values: dict[str, float]
    """All parameters, fixed ones included."""
    p: int
    """Searched parameters and coefficients."""
    aicc: float | None
    rmse: float
    held_out: float | None
    """Root mean square error on the largest budget by a fit without it; None where it cannot be had."""
    held_out_sds: float | None
    """The same in seed noises."""
    held_out_reason: str | None
    """Why there is none."""
    usable: bool


@dataclass(frozen=True, kw_only=True)
class FixedExponents:
    """The law with measured values fixed beside the free one."""

    values: tuple[MeasuredValue, ...]
    laws: tuple[FixedLaw, ...]
    held_out_reason: str | None
    """Why no budget could be left out."""
    sentence: str


@dataclass(frozen=True, kw_only=True)
class ChosenRun:
    """A run that the law asks for."""

    budget: float
    d_m: float
    n_rec: float
    trainable_params: float
    sd_after: float
    why: str
    hours: float | None


@dataclass(frozen=True, kw_only=True)
class ChosenRuns:
    """Runs that narrow one quantity most."""

    target: str
    sd_now: float
    law: str
    sentences: tuple[str, ...]
    picks: tuple[ChosenRun, ...]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All evidence about one group's law."""

    exponents: tuple[Exponents, ...]
    held_out: HeldOutErrors
    frontier: FrontierLaw
    residuals: Residuals
    sensitivity: tuple[Variant | RefusedVariant, ...]
    flagged: tuple[Exclusion, ...]
    neuron: NeuronLaws | Refusal | None = field(default=None, metadata=EMPTY)
    intervals_reason: str | None = field(default=None, metadata=OMIT)
    parameters: tuple[Interval, ...] | None = field(default=None, metadata=OMIT)
    optimum_intervals: tuple[OptimumIntervals, ...] | None = field(default=None, metadata=OMIT)
    compute: ComputeSplits | Refusal | None = field(default=None, metadata=OMIT)
    draws: DrawsUsed | None = field(default=None, metadata=OMIT)
    identifiability: str | None = field(default=None, metadata=OMIT)
    calibration: Calibration | Refusal | None = field(default=None, metadata=OMIT)
    design: ChosenRuns | Refusal | None = field(default=None, metadata=OMIT)
