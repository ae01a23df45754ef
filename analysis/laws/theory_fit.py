"""The one adapter between stored rows and `theory`: it takes rows and gives fitted laws, allocations, predictions."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.errors import AnalysisError
from analysis.laws.findings import OMIT, RefusedLaw
from analysis.laws.law_choice import BEST, candidates, rivals
from analysis.rows.means import budget_lines
from analysis.rows.sweep import Dataset, Exclusion
from analysis.rows.weights import CHOICES, Weighting, weigh
from cluster.errors import unknown_name
from theory.data.cost import Cost, elm_cost, interpolated_cost
from theory.data.design import Design
from theory.errors import TheoryError
from theory.fit.fit import LOSSES, fit_law
from theory.fit.result import Direction, FitResult
from theory.laws.base import Law
from theory.laws.links import from_logit, to_logit
from theory.optimum.allocation import Allocation, optimum
from theory.uncertainty.selection import Comparison, compare

FloatArray = npt.NDArray[np.float64]

NUMERICAL = (TheoryError, ArithmeticError, ValueError, np.linalg.LinAlgError)
"""What odd rows may raise far inside a fit. An unknown law or option is an AnalysisError, which ends the command."""

TIE = 2.0
"""Differences of AICc up to this are ties; the variant with fewer parameters is then taken."""


def one_line(error: Exception) -> str:
    """An error as one line of a report; the name of its class where it says nothing.

    >>> one_line(ValueError("made-up\\nfault")), one_line(ZeroDivisionError())
    ('made-up fault', 'ZeroDivisionError')
    """
    return " ".join(str(error).split()) or type(error).__name__


class Scale(NamedTuple):
    """The scale a law is fitted on."""

    name: str
    """`metric` itself, or `logit` between chance and 1."""
    chance: float
    sentence: str

    def to(self, values: FloatArray) -> FloatArray:
        """Metric to the fitted scale."""
        return values if self.name == "metric" else to_logit(values, chance=self.chance)

    def back(self, values: FloatArray) -> FloatArray:
        """Fitted scale to the metric."""
        return values if self.name == "metric" else from_logit(values, chance=self.chance)


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How to fit."""

    law: str = BEST
    """`best`, a law's name, or a name with options such as ``effective_information:floor=max,link=log``."""
    loss: str = "least_squares"
    """`least_squares`, `tukey` or `huber`."""
    huber_threshold: float | None = field(default=None, metadata=OMIT)
    """Residual beyond which `huber` is linear, on the fitted scale; None: 1.345 standard deviations of replicates."""
    starts: int = 32
    """Searches of every fit."""
    seed: int = 0
    """Seed of the starting points."""
    weights: str = "auto"
    """`equal`, `replicates` (1 / seed variance of the budget), or `auto`: replicates where budgets differ in noise."""

    def __post_init__(self) -> None:
        if self.weights not in CHOICES:
            raise AnalysisError(unknown_name("--weights", self.weights, CHOICES))
        if self.loss not in LOSSES:
            raise AnalysisError(unknown_name("--loss", self.loss, LOSSES))
        if self.huber_threshold is not None and (self.loss != "huber" or not 0 < self.huber_threshold < np.inf):
            raise AnalysisError(
                f"--huber-threshold {self.huber_threshold:g}: needs --loss huber (here {self.loss}) and a value above 0"
            )


@dataclass(frozen=True, kw_only=True)
class LawFit:
    """A group of rows with its fitted law, or the reason why there is none."""

    data: Dataset
    """The rows."""
    scale: Scale
    """The scale of metric, residuals and coefficients of the fit."""
    fit: FitResult | None
    """The chosen law; None where no law could be fitted."""
    comparison: Comparison | None
    """The chosen law, its variants and its rivals by AICc."""
    fits: Mapping[str, FitResult]
    """All fits of the comparison, by name."""
    candidates: tuple[str, ...]
    """Names of the laws among which AICc was to choose; one where a law was named."""
    refused: tuple[RefusedLaw, ...]
    """Laws that could not be fitted, each with the reason."""
    excluded: tuple[Exclusion, ...]
    """Rows left out by the fit beyond those of the dataset."""
    costs: Mapping[float, Cost]
    """Parameter counts by k_c."""
    allocations: tuple[Allocation, ...]
    """Best split of each budget and k_c."""
    weighting: Weighting
    """Weights of the rows, and why."""

    def predict(self, design: Design) -> FloatArray:
        """Mean metric of each row of a design, in metric units."""
        if self.fit is None:
            raise AnalysisError(f"{self.data.label}: no law was fitted: {'; '.join(r.sentence for r in self.refused)}")
        return self.scale.back(self.fit.predict(design))


def fit_dataset(data: Dataset, settings: FitSettings) -> LawFit:
    """Fit the chosen law and its rivals to one group of rows.

    A law that these rows cannot support is listed with the reason; nothing is raised for poor data.

    Raises:
        AnalysisError: the law's name or options are unknown.
    """
    scale, rows, excluded = scaled(data)
    chosen = candidates(settings.law, rows)
    metric = scale.to(rows["value"].to_numpy(float))
    # Noise is pooled on the fitted scale, where the residuals live: on the logit, equal noise in accuracy is not equal
    # noise.
    weighting = weigh(rows, metric, settings.weights)
    if len(rows):
        # A logit grows with the accuracy, so a fit on it looks for the maximum.
        design = design_of(rows)
        direction: Direction = "max" if scale.name == "logit" or data.direction == "max" else "min"
        compute = partial(
            fit_law,
            design=design,
            metric=metric,
            weights=weighting.values,
            direction=direction,
            starts=settings.starts,
            seed=settings.seed,
        )
        # A rival that is also among the chosen laws is fitted once.
        laws = chosen | {name: law for name, law in rivals(rows, design).items() if name not in chosen}
        fits, best, refused = _fit_all(laws, tuple(chosen), settings, compute)
    else:
        fits, best, refused = {}, None, [RefusedLaw("", "no finished trial with a value")]
    costs = {
        k_c: cost
        for k_c in rows["k_c"].astype(float).unique()
        if (cost := line_cost(rows[rows["k_c"] == k_c])) is not None
    }
    # Before the reasons are gathered, since each budget may add one.
    allocations = _allocations(best, rows, costs, refused) if best is not None else ()
    # A robust loss has no likelihood and so no AICc (`theory.fit.fit`); such a fit stands outside of the ranking.
    comparable = {name: fit for name, fit in fits.items() if fit.inputs.loss == "least_squares"}
    return LawFit(
        data=data,
        scale=scale,
        fit=best,
        # The verdict calls the laws as the table under it does; only `--law` knows them by their keys.
        comparison=compare(comparable, titles={name: fit.law.label for name, fit in comparable.items()})
        if comparable
        else None,
        fits=fits,
        candidates=tuple(chosen),
        refused=tuple(refused),
        excluded=excluded,
        costs=costs,
        allocations=allocations,
        weighting=weighting,
    )


def _fit_all(
    laws: Mapping[str, Law], chosen: tuple[str, ...], settings: FitSettings, compute: Callable[..., FitResult]
) -> tuple[dict[str, FitResult], FitResult | None, list[RefusedLaw]]:
    """Fit the laws and choose the one that is reported, for which alone a robust loss is meant.

    Args:
        laws: by name, rivals included.
        chosen: names of those among which one is to be reported.
        settings: the loss that was asked for.
        compute: fits a law with a loss.

    Returns:
        The fits by name; the one that is reported; the laws that could not be fitted. Poor data are no mistake of the
        user's, so that the report goes on without those and says why.
    """
    fits: dict[str, FitResult] = {}
    refused: list[RefusedLaw] = []
    loss = settings.loss
    options = {loss: {"loss": loss, "huber_threshold": settings.huber_threshold}}
    options.setdefault("least_squares", {"loss": "least_squares"})
    # AICc chooses among laws and ranks rivals, and needs the likelihood of least squares, which a robust loss has not.
    # Where there are several laws to choose from, the loss that was asked for therefore comes after the choice.
    losses = {name: loss if chosen == (name,) else "least_squares" for name in laws}
    for name, law in laws.items():
        try:
            fits[name] = compute(law, **options[losses[name]])
        except TheoryError as error:
            refused.append(RefusedLaw(name, str(error)))
    best = _choose({name: fits[name] for name in chosen if name in fits})
    if best is None:
        return fits, None, refused
    if losses[best] != loss:
        try:
            fits[best] = compute(laws[best], **options[loss])
        except TheoryError as error:
            # Neither another law nor another loss in its place: that would not be what was asked for.
            return fits, None, [*refused, RefusedLaw(best, str(error))]
    return fits, fits[best] if fits[best].usable else None, refused


def _tokens(rows: pd.DataFrame) -> FloatArray | None:
    """Tokens of all rows; None where one lacks them."""
    tokens = rows["tokens"].to_numpy(dtype=float)
    return tokens if len(tokens) and (np.isfinite(tokens) & (tokens > 0)).all() else None


def _choose(fits: Mapping[str, FitResult]) -> str | None:
    """Name of the law with the smallest AICc; within a tie the fewest parameters, then the smaller AICc."""
    usable = {name: fit for name, fit in fits.items() if fit.usable}
    # A law that was named has no AICc where its loss is robust, and needs none.
    scored = [(np.inf if fit.aicc is None else fit.aicc, fit.p, name) for name, fit in usable.items()]
    lowest = min((score for score, _, _ in scored), default=np.inf)
    tied = [(p, score, name) for score, p, name in scored if score <= lowest + TIE]
    return min(tied)[2] if tied else None


def scaled(data: Dataset) -> tuple[Scale, pd.DataFrame, tuple[Exclusion, ...]]:
    """Choose the scale: accuracies between chance and 1 on the logit, where rows at or below chance have no place."""
    rows, chance = data.rows, data.chance
    # A logit exists for shares between chance and 1; errors and scores of other ranges stay as they are.
    if data.direction != "max" or chance is None or not 0 <= chance < 1 or not rows["value"].between(0, 1).all():
        return Scale("metric", 0.0, "fitted in the metric's own units"), rows, ()
    scale = Scale(
        "logit", chance, f"fitted as ln((metric - {chance:.4g}) / (1 - metric)), the logit between chance and 1"
    )
    # At or beyond the ends the logit is infinite; clipping would make a number of nothing, so such rows are left out
    # and named.
    outside = ~((rows["value"] > chance) & (rows["value"] < 1))
    if not outside.any():
        return scale, rows, ()
    why = f"at or below chance ({chance:.4g}) or perfect: no place on the logit scale"
    return scale, rows[~outside], (Exclusion("logit scale", why, tuple(rows.loc[outside, "trial_id"])),)


def design_of(rows: pd.DataFrame) -> Design:
    """Sizes of rows (or configurations) as `theory` wants them."""
    budget = rows["budget"].to_numpy(dtype=float)
    d_m = rows["d_m"].to_numpy(dtype=float)
    return Design(
        n_rec=rows["n_rec"].to_numpy(float),
        k_e=rows["k_e"].to_numpy(float),
        k_c=rows["k_c"].to_numpy(float),
        trainable_params=rows["trainable_params"].to_numpy(float),
        # A column with gaps cannot be used for any row: laws that need it then refuse, instead of fitting the rest of
        # the rows.
        budget=budget if np.isfinite(budget).all() else None,
        d_m=d_m if np.isfinite(d_m).all() else None,
        tokens=_tokens(rows),
    )


def line_cost(rows: pd.DataFrame) -> Cost | None:
    """Parameter counts along d_m as these rows realise them.

    Returns:
        The ELM Network's own formula where it reproduces every row, else a monotone interpolation of the rows; None
        where there is no d_m, the read-out varies, or a single d_m leaves nothing to interpolate.
    """
    # With a read-out that varies, d_m alone would not say what a neuron costs.
    if rows["d_m"].isna().any() or rows["readout_params"].nunique() != 1:
        return None
    d_m, k_e = rows["d_m"].to_numpy(float), rows["k_e"].to_numpy(float)
    readout = float(rows["readout_params"].iloc[0])
    ratio, layers = rows["mlp_ratio"].unique(), rows["l_mlp"].unique()
    trees = rows[["d_tree", "d_branch"]].drop_duplicates()
    known = len(ratio) == len(layers) == len(trees) == 1 and trees.notna().all(axis=None)
    if known and layers[0] in (0, 1):  # a single neuron without branches has no d_branch
        cost = elm_cost(
            d_tree=int(trees["d_tree"].iloc[0]),
            d_branch=int(trees["d_branch"].iloc[0]),
            readout_params=readout,
            mlp_ratio=2.0 if np.isnan(ratio[0]) else float(ratio[0]),
            l_mlp=int(layers[0]),
        )
        # Compared exactly, since both are whole numbers: rows of another formula, such as a wider MLP, must not be
        # described by it.
        if np.array_equal(cost.complexity(d_m), k_e):
            return cost
    # Rows of one d_m share their k_e, so the first stands for all.
    levels, index = np.unique(d_m, return_index=True)
    if len(levels) < 2:
        return None
    return interpolated_cost(levels, k_e[index], k_c=float(rows["k_c"].iloc[0]), readout_params=readout)


def _allocations(
    fit: FitResult, rows: pd.DataFrame, costs: Mapping[float, Cost], refused: list[RefusedLaw]
) -> tuple[Allocation, ...]:
    allocations = []
    for k_c, budget, part in budget_lines(rows):
        # The optimum is looked for within the sampled range of that budget: the law is not trusted beyond it.
        span = (float(part["d_m"].min()), float(part["d_m"].max()))
        if k_c not in costs or not span[0] < span[1]:
            continue
        try:
            allocations.append(optimum(fit, budget, costs[k_c], d_m_range=span))
        except TheoryError as error:
            refused.append(RefusedLaw(f"optimum at P = {budget:g}", str(error)))
    return tuple(allocations)
