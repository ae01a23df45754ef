"""The report as typed values, in reading order; `report_json` writes them down, the writers lay them out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from analysis.laws.evidence import EvidenceSettings
from analysis.laws.findings import EMPTY, OMIT, SCREEN, Evidence, RefusedLaw, plain
from analysis.laws.next_steps import NextStep
from analysis.laws.theory_fit import FitSettings
from analysis.rows.alarms import Alarm
from analysis.rows.axes import Inflation, Pair
from analysis.rows.sweep import Measure, Selection
from analysis.rows.weights import Level
from theory.fit.result import FitResult
from theory.optimum.allocation import Allocation
from theory.uncertainty.axes import Interaction

FORMAT = 2
"""Version of the JSON document's layout."""


@dataclass(frozen=True, kw_only=True)
class SweepPart:
    """The whole sweep in numbers."""

    label: str
    uri: str
    trials: int
    by_status: dict[str, int]


@dataclass(frozen=True, kw_only=True)
class MetricPart:
    """What is measured."""

    column: str
    title: str
    direction: str
    chance: float | None


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """One entry of the ledger."""

    rule: str
    why: str
    rows: int
    trial_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DataPart:
    """Rows in, rows out, and why."""

    rows: int
    configurations: int
    budgets: tuple[float, ...]
    d_m: tuple[float, ...]
    k_c: tuple[float, ...]
    seeds: tuple[int, ...]
    seed_noise: float | None
    seed_noise_freedom: int
    excluded: tuple[LeftOut, ...]


@dataclass(frozen=True, kw_only=True)
class LawPart:
    """The fitted law with its numbers and what they do not mean."""

    fit: FitResult
    formula: str
    meanings: dict[str, str]
    """Meaning of each parameter and coefficient."""

    def to_plain(self) -> dict[str, Any]:
        """As JSON values; the rows themselves stay in the store."""
        return self.fit.to_dict() | {"formula": self.formula, "meanings": self.meanings}


@dataclass(frozen=True, kw_only=True)
class WeightsPart:
    """Weights of the rows, and why; those of single rows follow from it."""

    kind: str
    p_value: float | None
    by_budget: tuple[Level, ...]
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The best measured configuration of a budget; d_m is NaN where the architecture has none."""

    n_rec: float
    d_m: float
    k_e: float
    trainable_params: float
    metric: float
    half_width: float | None
    """Of the 95 % interval of the mean; None for one run."""
    runs: int


@dataclass(frozen=True, kw_only=True)
class AsGood:
    """Range of each size that cannot be told from the best one; None where nobody can tell."""

    n_rec: tuple[float, float] | None
    d_m: tuple[float, float] | None
    k_e: tuple[float, float] | None
    trainable_params: tuple[float, float] | None
    configurations: int
    tolerance: float | None
    rule: str


@dataclass(frozen=True, kw_only=True)
class OptimumPart:
    """Measured and predicted optimum of one budget and connectivity."""

    budget: float
    k_c: float
    measured: Measured
    as_good: AsGood
    bracketed: bool | None
    bracket: str
    """The same in a few words."""
    extend: str | None
    theory: Allocation | None


@dataclass(frozen=True, kw_only=True)
class Rival:
    """One fitted law in the order of AICc."""

    name: str
    label: str
    n: int
    p: int
    aicc: float | None
    delta: float | None
    tied: bool
    pearson_r: float | None
    rmse: float
    usable: bool
    warnings: tuple[str, ...]
    chosen: bool
    """Whether this is the law that is reported and drawn."""


@dataclass(frozen=True, kw_only=True)
class AxesPart:
    """What the design says about its axes."""

    correlations: tuple[Pair, ...]
    inflation: tuple[Inflation, ...]
    interactions: tuple[Interaction, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class OtherRate:
    """The metric of a design point at a learning rate that was not chosen."""

    rate: float
    metric: float


@dataclass(frozen=True, kw_only=True)
class RatePoint:
    """One design point that was run with several learning rates."""

    size: float | None
    d_m: float | None
    d_tree: float | None
    d_branch: float | None
    n_rec: float
    best: float
    metric: float
    others: tuple[OtherRate, ...]
    diverged: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class RateOptimum:
    """Best d_m of one size with the best rate of each point, and with one rate for all."""

    size: float
    k_c: float
    best_of: float
    single: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class LearningRates:
    """What other learning rates would have said."""

    points: tuple[RatePoint, ...]
    optima: tuple[RateOptimum, ...]
    sentences: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Group:
    """Everything found out about one group of rows."""

    label: str
    keys: dict[str, str]
    metric: MetricPart
    answer: tuple[str, ...] = field(default=(), metadata=SCREEN)
    """`analysis.report.answer.answer_lines`."""
    question: str
    data: DataPart
    law: LawPart | None
    scale: str
    weights: WeightsPart
    optima: tuple[OptimumPart, ...]
    rivals: tuple[Rival, ...]
    verdict: str | None
    refused: tuple[RefusedLaw, ...]
    evidence: Evidence | None = field(default=None, metadata=EMPTY)
    alarms: tuple[Alarm, ...]
    axes: AxesPart
    next: tuple[NextStep, ...]
    cannot_conclude: tuple[str, ...]
    learning_rates: LearningRates | None = field(default=None, metadata=OMIT)


@dataclass(frozen=True, kw_only=True)
class JointLevel:
    """One level of a setting that was varied."""

    level: str
    rows: int
    configurations: int


@dataclass(frozen=True, kw_only=True)
class JointModel:
    """One joint fit, by what varies in it."""

    model: str
    vary: dict[str, str]
    p: int
    n: int
    rmse: float
    aicc: float | None
    delta: float | None
    usable: bool
    warnings: tuple[str, ...]
    f: float | None
    df: tuple[int, int] | None
    p_value: float | None
    p_holm: float | None


@dataclass(frozen=True, kw_only=True)
class JointParameter:
    """Value of a varying parameter at one level."""

    model: str
    parameter: str
    level: str
    setting: str
    value: float
    low: float | None
    high: float | None
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Joint:
    """Joint fits over the levels of one setting."""

    family: str
    setting: str
    scale: str
    levels: tuple[JointLevel, ...]
    left_out: tuple[JointLevel, ...]
    law: str | None
    models: tuple[JointModel, ...]
    parameters: tuple[JointParameter, ...]
    sentences: tuple[str, ...]
    weights: str | None = field(default=None, metadata=OMIT)


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What the numbers were made from and with: enough to make them again."""

    rows_sha256: dict[str, str]
    grids_sha256: dict[str, str]
    schema_version: int
    code_versions: tuple[str, ...]
    measure: Measure | None = field(default=None, metadata=EMPTY)
    where: str | None
    group: str | None = field(default=None, metadata=OMIT)
    fit: FitSettings | None = field(default=None, metadata=EMPTY)
    evidence: EvidenceSettings | None
    versions: dict[str, str | None]
    vary: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """Everything a report is asked for; `Provenance` stores it, so that the report can be computed again."""

    selection: Selection = field(default_factory=Selection)
    """Rows and metric."""
    fit: FitSettings = field(default_factory=FitSettings)
    """How every law is fitted."""
    evidence: EvidenceSettings | None = None
    """How much computing goes into intervals, held-out fits and calibration; None leaves all of it out."""
    vary: tuple[str, ...] = ()
    """What may vary in joint fits over ablations (see `analysis.laws.joint.joint_fits`); empty for every setting that
    differs, unless `evidence` is left out."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """The whole report."""

    format: int = FORMAT
    sweep: SweepPart
    groups: tuple[Group, ...]
    joint: tuple[Joint, ...]
    provenance: Provenance

    def to_dict(self) -> dict[str, Any]:
        """The JSON document, numbers unrounded."""
        document: dict[str, Any] = plain(self)
        return document


def report_json(document: Mapping[str, Any]) -> str:
    """The JSON document as text."""
    return json.dumps(document, indent=1, allow_nan=False) + "\n"
