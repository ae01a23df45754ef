"""How often do 95 % intervals of the optimum hold it: `python -m theory.simulations.coverage`.

For every world of `theory.simulations.worlds` sweeps are simulated, all laws are fitted to each, and two intervals of
the best d_m are counted: that of the law which AICc chose (delta method), and that averaged over the laws
(`theory.uncertainty.averaging`). A sweep has warned where the chosen law shows lack of fit or ends at a bound, or its
averaged interval is open. Every fit of a sweep starts from the world's own fit and from points around it.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy import stats

from theory.data.design import IntArray
from theory.errors import TheoryError
from theory.fit.fit import aicc, fit_law
from theory.fit.misfit import misfit
from theory.fit.restore import restore
from theory.fit.result import FitResult
from theory.fit.statuses import MISFIT, TIE
from theory.laws.base import Law
from theory.laws.registry import get_law
from theory.simulations.worlds import BUDGETS, COST, World, worlds
from theory.types import FloatArray
from theory.uncertainty.averaging import Evidence, average, evidence, leave_out, weights_of, widen
from theory.uncertainty.quantities import Draws, Quantity, best_d_m
from theory.uncertainty.resample import refit_many

TABLE = Path(__file__).parent / "coverage.md"
LEVEL = 0.95
TARGET = (0.92, 0.97)
"""Coverage that intervals of nominally 95 % should have."""

STARTS = 6
"""Searches per sweep and law."""


def laws() -> dict[str, Law]:
    """Return the laws that an analysis compares by default and that have an optimum."""
    # Every floor under every link, because the interval is to carry the choice between them.
    variants = {
        f"{floor} floor, {link}": get_law("effective_information", floor=floor, link=link)
        for floor in ("additive", "max", "none")
        for link in ("affine", "boxcox")
    }
    variants |= {
        f"{floor} floor, affine, alpha(n_rec)": get_law("effective_information", floor=floor, alpha_of_n=True)
        for floor in ("additive", "max", "none")
    }
    return variants | {"separable": get_law("separable_power_law"), "quadratic": get_law("quadratic")}


@dataclass(frozen=True, kw_only=True, eq=False)
class Fitted:
    """One law fitted to all sweeps of a world."""

    fit: FitResult
    """The fit of the first sweep."""
    draws: Draws
    """Parameters of every sweep."""
    evidence: Evidence
    chosen_low: FloatArray
    """Delta interval of the law alone, [sweeps, quantities]."""
    chosen_high: FloatArray
    aicc: FloatArray
    """AICc of the rows, [sweeps]."""
    p: int
    wrong: npt.NDArray[np.bool_]
    """Whether lack of fit was found, [sweeps]."""
    bound: npt.NDArray[np.bool_]
    """Whether a parameter ended at a bound, [sweeps]."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was counted in one world at one budget."""

    world: str
    budget: float
    chosen: float
    """Coverage of the chosen law's interval."""
    averaged: float
    """Coverage of the averaged interval."""
    width: float
    """Median width of the averaged intervals in the logarithm."""
    wider: float
    """Median ratio of the widths, averaged to chosen."""
    silent: float
    """Share of sweeps whose averaged interval misses the truth without a warning."""
    warned: float
    """Share of sweeps that warned."""
    sweeps: int


def _fit(law: Law, world: World, metric: FloatArray, quantities: list[Quantity]) -> Fitted:
    # One full search for each law and world; the sweeps differ by noise alone, so they start from its end.
    fit = fit_law(law, world.design, metric[0], starts=16)
    restored = restore(fit)
    refits = refit_many(fit, metric=metric, starts=STARTS)
    # A sweep that is missing under one law could not be compared with the others.
    if len(refits.draws) < len(metric):
        raise TheoryError(f"{law.label}: {len(metric) - len(refits.draws)} refits gave no finite value")
    compiled, problem, draws = restored.compiled, restored.problem, refits.draws
    means = len(problem.design)
    within = compiled.merge(metric)[1]
    total = refits.variance * restored.degrees
    # What a law misses of the means, without the spread between seeds.
    rss = np.maximum(total - within, 1e-300)
    law_says = evidence(restored, refits.draws, rss, quantities)
    # the delta method of the fit by itself takes the variance of the runs
    ratio = np.sqrt(refits.variance / (rss / law_says.degrees))[:, None]
    half = stats.t.ppf(0.5 + LEVEL / 2, restored.degrees) * law_says.standard_error * ratio
    # Refits are clipped to their bounds, so a parameter that rests there equals it.
    bound = np.asarray(((draws.x <= problem.lower) | (draws.x >= problem.upper)).any(axis=1), dtype=np.bool_)
    spare = compiled.n - means
    merged = compiled.merge(metric)[0]
    misses = np.array(
        [
            (missed := misfit(problem.with_data(merged[k]), draws.x[k], draws.coefficients[k], within[k], spare))
            is not None
            and missed.p_value < MISFIT
            for k in range(len(metric))
        ]
    )
    # Scale 1 is that of the problem's residuals; only differences between laws of one sweep are used.
    scores = [aicc(float(value), compiled.n, compiled.p, 1.0) for value in total]
    return Fitted(
        fit=fit,
        draws=refits.draws,
        evidence=law_says,
        chosen_low=law_says.estimate - half,
        chosen_high=law_says.estimate + half,
        aicc=np.array([np.inf if score is None else score for score in scores]),
        p=compiled.p,
        wrong=misses,
        bound=bound,
    )


def measure(world: World, sweeps: int, seed: int) -> list[Row]:
    """Count the coverage in one world."""
    metric, quantities = world.sweeps(sweeps, seed), [best_d_m(budget, COST) for budget in BUDGETS]
    fitted = [_fit(law, world, metric, quantities) for law in laws().values()]
    # One weight for each law and sweep, as an analysis of that sweep would give it.
    weight = weights_of([one.evidence for one in fitted])
    evidences = []
    for one, share in zip(fitted, weight.T, strict=True):
        law = one.evidence
        if share.any():  # the jackknife is dear, and a law without weight has no say
            left_out = leave_out(one.fit, one.draws, wrong=one.wrong, metric=metric)
            law = widen(law, left_out, quantities, wrong=one.wrong, level=LEVEL)
        evidences.append(law)
    low, high = average(evidences, weight, LEVEL)
    chosen, index = _choose(fitted), np.arange(sweeps)

    def pick(part: Callable[[Fitted], FloatArray]) -> FloatArray:
        return np.asarray(np.stack([part(one) for one in fitted])[chosen, index], dtype=np.float64)

    single_low, single_high = pick(lambda one: one.chosen_low), pick(lambda one: one.chosen_high)
    warned = pick(lambda one: (one.wrong | one.bound).astype(np.float64)) > 0
    rows = []
    for k, budget in enumerate(BUDGETS):
        truth = np.log(world.best_d_m(budget))
        # Ends that are infinite hold everything, so open intervals count as holding the truth.
        inside = (low[:, k] <= truth) & (truth <= high[:, k])
        closed = np.isfinite(low[:, k]) & np.isfinite(high[:, k])
        single_inside = (single_low[:, k] <= truth) & (truth <= single_high[:, k])
        # In the logarithm, as the quantity's intervals are built.
        width, single_width = high[:, k] - low[:, k], single_high[:, k] - single_low[:, k]
        # Intervals may be open in both methods, whose ratio means nothing.
        with np.errstate(invalid="ignore", divide="ignore"):
            wider = float(np.nanmedian((width / single_width)[closed])) if closed.any() else np.inf
        rows.append(
            Row(
                world=world.name,
                budget=budget,
                chosen=float(single_inside.mean()),
                averaged=float(inside.mean()),
                width=float(np.median(width)),
                wider=wider,
                # The worst case for a reader: a wrong interval that nothing warned of.
                silent=float((~inside & ~warned).mean()),
                warned=float((warned | ~closed).mean()),
                sweeps=sweeps,
            )
        )
    return rows


def _choose(fitted: list[Fitted]) -> IntArray:
    """Smallest AICc; within a tie the fewest parameters: the place of the chosen law, [sweeps]."""
    score = np.stack([one.aicc for one in fitted])
    # The same choice as an analysis makes, which is what the coverage is about.
    tied = score <= score.min(axis=0) + TIE
    # The small share of the score only decides between laws with equally many parameters.
    rank = np.array([one.p for one in fitted])[:, None] + 1e-6 * (score - score.min(axis=0))
    return np.asarray(np.argmin(np.where(tied, rank, np.inf), axis=0), dtype=np.int64)


def table(rows: list[Row], sweeps: int, seed: int) -> str:
    """Write the counts as a Markdown page."""
    sentences = {world.name: world for world in worlds()}
    error = 100 * float(np.sqrt(LEVEL * (1 - LEVEL) / sweeps))
    lines = [
        "# Coverage of 95 % intervals of the best d_m",
        "",
        f"Made by `python -m theory.simulations.coverage --sweeps {sweeps} --seed {seed}`: {sweeps} simulated sweeps "
        f"in each world (Monte Carlo error of a coverage near 95 %: {error:.1f} points), 3 budgets x up to 9 d_m x 3 "
        "seeds.",
        "",
        "*chosen*: the law that AICc chose, by itself (delta method). *averaged*: over all laws, "
        "`theory.uncertainty.averaging`. *wider*: median ratio of their widths. *warned*: lack of fit, a bound, or an "
        "open interval. *silent*: the averaged interval misses the truth and nothing warned. Target of *averaged*: 92 "
        "to 97 %.",
        "",
        "| world | budget | chosen % | averaged % | in target | width in ln d_m | wider | warned % | silent % |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        verdict = "below" if row.averaged < TARGET[0] else "above" if row.averaged > TARGET[1] else "yes"
        lines.append(
            f"| {row.world} | {row.budget:.3g} | {100 * row.chosen:.0f} | {100 * row.averaged:.0f} | {verdict} | "
            f"{row.width:.3f} | {row.wider:.2f} | {100 * row.warned:.0f} | {100 * row.silent:.0f} |"
        )
    lines += ["", "## The worlds", ""]
    for name in dict.fromkeys(row.world for row in rows):
        world = sentences[name]
        lines.append(f"- **{name}** ({'right' if world.right else 'wrong'}): {world.sentence}.")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Simulate, print the table, and write it beside this file if asked."""
    parser = argparse.ArgumentParser(prog="python -m theory.simulations.coverage", description=_FIRST_LINE)
    parser.add_argument("--sweeps", type=int, default=150, help="simulated sweeps in each world")
    parser.add_argument("--seed", type=int, default=0, help="of the noise")
    parser.add_argument("--world", action="append", help="only this world (may be repeated)")
    parser.add_argument("--write", action="store_true", help=f"write {TABLE.name} beside this module")
    options = parser.parse_args(arguments)
    rows: list[Row] = []
    for world in worlds():
        if options.world and world.name not in options.world:
            continue
        rows += measure(world, options.sweeps, options.seed)
        print(f"{world.name}: done", file=sys.stderr)
    text = table(rows, options.sweeps, options.seed)
    print(text, end="")
    if options.write:
        TABLE.write_text(text, encoding="utf-8")
    return 0


_FIRST_LINE = "How often do 95 %% intervals of the optimum hold it?"

if __name__ == "__main__":
    sys.exit(main())
