"""The report as typed values, in reading order; `report_json` writes them down, the writers lay them out."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from analysis.laws.evidence import EvidenceSettings
from analysis.laws.findings import (
    EMPTY,
    OMIT,
    SCREEN,
    Evidence,
    FixedExponents,
    MeasuredValue,
    Refusal,
    RefusedLaw,
    plain,
)
from analysis.laws.next_steps import NextStep
from analysis.laws.theory_fit import FitSettings
from analysis.rows.alarms import Alarm
from analysis.rows.axes import Inflation, Pair
from analysis.rows.sweep import Measure, Selection
from analysis.rows.weights import Level
from theory.fit.result import FitResult
from theory.optimum.allocation import Allocation
from theory.uncertainty.axes import Interaction

# Raised whenever a key moves or changes its meaning: `verify` refuses documents of another number.
FORMAT = 3
"""Version of the JSON document's layout."""


@dataclass(frozen=True, kw_only=True)
class SweepPart:
    """The whole sweep in numbers."""

    label: str
    uri: str
    trials: int
    by_status: dict[str, int]
    first: str = field(default="", metadata=SCREEN)
    """What to do before anything can be analysed, where nothing can."""


@dataclass(frozen=True, kw_only=True)
class MetricPart:
    """What is measured."""

    column: str
    """Column of the table of trials."""
    title: str
    """Title of the axis in figures."""
    direction: str
    """`min` or `max`."""
    chance: float | None
    """Metric of a model that knows nothing; None where it is unknown."""


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """One entry of the ledger: rows that were left out by one rule."""

    rule: str
    """Short name of the rule."""
    why: str
    """The reason in one sentence."""
    rows: int
    """How many they are."""
    trial_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DataPart:
    """Which rows of a group entered the fit, and which were left out and why."""

    rows: int
    """Runs that entered the fit."""
    configurations: int
    budgets: tuple[float, ...]
    d_m: tuple[float, ...]
    k_c: tuple[float, ...]
    seeds: tuple[int, ...]
    seed_noise: str | None
    """Standard deviation of a single run at the quietest and the noisiest budget; None where nothing was run twice."""
    excluded: tuple[LeftOut, ...]


@dataclass(frozen=True, kw_only=True)
class LawPart:
    """The fitted law with its numbers, and what each of them means."""

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
    """`equal` or `replicates`."""
    p_value: float | None
    """Chance of noise this different between budgets if it were the same (Bartlett)."""
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
    """Side to extend where the best lies at the end of the sampled range."""
    theory: Allocation | None
    """Best split by the law; None without a law or a range of d_m."""


@dataclass(frozen=True, kw_only=True)
class Rival:
    """One fitted law in the order of AICc."""

    name: str
    label: str
    n: int
    """Rows."""
    p: int
    """Parameters and coefficients."""
    aicc: float | None
    delta: float | None
    """AICc behind the best of the laws."""
    tied: bool
    """Whether that is within a tie."""
    pearson_r: float | None
    rmse: float
    usable: bool
    """Whether its numbers may be reported at all."""
    warnings: tuple[str, ...]
    """Codes of its warnings and errors."""
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
    """The rate whose runs enter the fit."""
    metric: float
    """Mean metric at it."""
    others: tuple[OtherRate, ...]
    diverged: tuple[float, ...]
    """Rates at which at least one seed diverged."""


@dataclass(frozen=True, kw_only=True)
class RateOptimum:
    """Best d_m of one size with the best rate of each point, and with one rate for all."""

    size: float
    k_c: float
    best_of: float
    """Best d_m where each point has its own best rate."""
    single: dict[str, float]
    """Best d_m by rate, for rates that every d_m was run with."""


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
    """The reported law; None where no law could be fitted."""
    scale: str
    """The scale it was fitted on, as a sentence."""
    weights: WeightsPart
    optima: tuple[OptimumPart, ...]
    rivals: tuple[Rival, ...]
    verdict: str | None
    """What the ranking of the laws shows, as a sentence."""
    refused: tuple[RefusedLaw, ...]
    evidence: Evidence | None = field(default=None, metadata=EMPTY)
    """Intervals and held-out errors; None in a quick report."""
    alarms: tuple[Alarm, ...]
    axes: AxesPart
    next: tuple[NextStep, ...]
    cannot_conclude: tuple[str, ...]
    """What these rows cannot show whatever law is fitted."""
    learning_rates: LearningRates | None = field(default=None, metadata=OMIT)
    fixed: FixedExponents | Refusal | None = field(default=None, metadata=OMIT)
    """The law with measured values fixed, where that was asked for."""


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
    """What varies, as its name in the table."""
    vary: dict[str, str]
    """Setting by parameter that varies with it."""
    p: int
    """Parameters and coefficients."""
    n: int
    """Rows."""
    rmse: float
    aicc: float | None
    delta: float | None
    """AICc behind the best of these fits."""
    usable: bool
    warnings: tuple[str, ...]
    f: float | None
    """F statistic against the fit that it is tested against; None for that one."""
    df: tuple[int, int] | None
    """Its degrees of freedom: parameters that were added, and rows that are left."""
    p_value: float | None
    p_holm: float | None
    """The same chance, adjusted for the number of fits that were tested (Holm)."""


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
    tokens: bool | None = field(default=None, metadata=OMIT)
    fit: FitSettings | None = field(default=None, metadata=EMPTY)
    evidence: EvidenceSettings | None
    versions: dict[str, str | None]
    vary: tuple[str, ...]
    fixed: tuple[MeasuredValue, ...] | None = field(default=None, metadata=OMIT)


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
    fixed: tuple[MeasuredValue, ...] = ()
    """Values that were measured before the fit; every law is then fitted with them fixed as well."""


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


def report_json(document: Mapping[str, Any], *, unfinished: bool = False) -> str:
    """The JSON document as text; one that is soon replaced in a single line, which takes a tenth of the time."""
    return json.dumps(document, indent=None if unfinished else 1, allow_nan=False) + "\n"
