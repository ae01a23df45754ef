"""The hypotheses about the place of the optimum (H1 to H3, H5), each by its rule in README.md.

A hypothesis is supported if both estimators say so, contradicted if both say the opposite, and otherwise not decided.
`prediction.py` has H4, `worth.py` H6, `same.py` H7. Beside its verdict each answer tells what its single lines say, and
whether that can still change: an answer waits for all its trials, a line only for its own.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy.stats import ttest_ind

from analysis.rows.means import LEVEL
from analysis.rows.sweep import Dataset
from studies.answers import Answer, interval_text
from studies.interior_optimum.estimators import CUBIC, QUADRATIC, Estimate, Line, estimates, neurons
from studies.interior_optimum.rows import of_connectivity
from studies.interior_optimum.task import BUDGETS, SMALLER, Task
from studies.statistics import FloatArray, best_at_budgets, gain, interval, log_slope
from theory.fit.f_tests import holm

SUPPORTED, CONTRADICTED, NOT_DECIDED = "supported", "contradicted", "not decided"

NOT_RUN = "not run yet"
"""Verdict of a hypothesis some of whose planned trials have no row."""

ESTIMATORS = (QUADRATIC, CUBIC)

H5_BUDGET = 10_000
"""Where H5 asks whether training was long enough."""

PARTS = "parts"
"""Key of an answer's numbers that holds its lines, as dictionaries of `Part`."""


class Part(NamedTuple):
    """What one line or one budget says to a hypothesis."""

    place: str
    budget: float
    verdict: str
    told: str
    settled: bool
    """Whether the rows of other lines, to come, can no longer change the verdict by their part in Holm's correction."""


class Estimated(NamedTuple):
    """A line with ln d_m* by each estimator."""

    line: Line
    by: dict[str, Estimate]
    """Without an estimator that has too few levels."""

    @property
    def is_estimated(self) -> bool:
        """Whether both estimators have an estimate."""
        return len(self.by) == len(ESTIMATORS)


def estimated(lines: Iterable[Line]) -> list[Estimated]:
    """All lines with their estimates."""
    return [Estimated(line, estimates(line)) for line in lines]


def agreed(verdicts: Collection[str]) -> str:
    """What several verdicts say together: what all of them say, else that nothing is decided.

    >>> agreed([SUPPORTED, SUPPORTED]), agreed([SUPPORTED, CONTRADICTED]), agreed([])
    ('supported', 'not decided', 'not decided')
    """
    return next(iter(verdicts)) if len(set(verdicts)) == 1 else NOT_DECIDED


def p_worse(theirs: FloatArray, ours: FloatArray, alternative: Literal["greater", "two-sided"] = "greater") -> float:
    """Welch's test of whether one loss is larger than another.

    Args:
        theirs: Losses of the seeds that are expected to be worse.
        ours: Losses of the others.
        alternative: `greater` or `two-sided`.

    Returns:
        The chance; 1 where one of them has a single seed, for nothing can be told then.
    """
    if min(len(theirs), len(ours)) < 2:
        return 1.0
    return float(ttest_ind(theirs, ours, equal_var=False, alternative=alternative).pvalue)


def interior(lines: Sequence[Estimated], family: int) -> Answer:
    """H1: at each P and k_c an optimum lies strictly inside the range of d_m that was run.

    Rule for each line: supported if the means at both outermost levels are worse than the best mean (one-sided Welch
    tests, 5 %, Holm over all ends of all lines) and at least 97.5 % of the draws of each estimator lie between the
    outermost levels; contradicted if an outermost level is the best and is better than the second best level by the
    same test. All lines must support it; one line can contradict it, since it speaks of each.

    Args:
        lines: those that have been run.
        family: most lines that the design can have, by which it is told which verdicts can still change.
    """
    question = "H1: at each P and k_c the best d_m lies inside the range that was run"
    lines = [entry for entry in lines if entry.is_estimated]
    tests = [_ends(one.line) for one in lines]
    at_ends = holm([p for test in tests for p in test.worse])
    beaten = holm([test.best for test in tests if test.best is not None])
    rows: list[dict[str, Any]] = []
    parts = []
    for i, (one, test) in enumerate(zip(lines, tests, strict=True)):
        earlier = sum(other.best is not None for other in tests[:i])
        adjusted = Ends((at_ends[2 * i], at_ends[2 * i + 1]), None if test.best is None else beaten[earlier])
        found = _judged(one, adjusted)
        best = float(one.line.d_m[np.argmin(one.line.means)])
        # Whatever the tests to come say, Holm gives each chance at least itself and at most its multiple by all tests.
        most = Ends((2 * family * test.worse[0], 2 * family * test.worse[1]), test.best and family * test.best)
        settled = _judged(one, test) == _judged(one, most)
        parts.append(Part(one.line.place, one.line.budget, found, f"best d_m {best:.0f}", settled)._asdict())
        rows.append(
            _place(one)
            | {
                "verdict": found,
                "best_d_m": best,
                "range": [float(one.line.d_m[0]), float(one.line.d_m[-1])],
                "p_ends_holm": list(adjusted.worse),
                "p_best_end_holm": adjusted.best,
                "inside": {name: one.by[name].inside for name in ESTIMATORS},
            }
        )
    verdicts = [row["verdict"] for row in rows]
    verdict = CONTRADICTED if CONTRADICTED in verdicts else agreed(verdicts)
    told = "; ".join(f"{row['place']}: best d_m {row['best_d_m']:.0f}, {row['verdict']}" for row in rows)
    sentence = f"{verdicts.count(SUPPORTED)} of {len(rows)} lines support it. {told}."
    numbers = {"lines": rows, PARTS: parts}
    return Answer(question, verdict, sentence if rows else "No line has four levels of d_m.", numbers)


class Ends(NamedTuple):
    """Chances of Welch's tests at the ends of one line."""

    worse: tuple[float, float]
    """That an outermost level is no worse than the best one; 1 where it is the best."""
    best: float | None
    """That the second best level is no worse than an outermost one that is the best; None where none is."""


def _ends(line: Line) -> Ends:
    best, second = np.argsort(line.means, kind="stable")[:2].tolist()
    last = len(line.d_m) - 1
    # The best level itself is no worse than itself, so an end that is the best can never pass.
    low, high = (1.0 if end == best else p_worse(line.losses[end], line.losses[best]) for end in (0, last))
    return Ends((low, high), p_worse(line.losses[second], line.losses[best]) if best in (0, last) else None)


def _judged(one: Estimated, chances: Ends) -> str:
    """The verdict of one line by its chances, after whichever correction."""
    if chances.best is not None and chances.best < 1 - LEVEL:
        return CONTRADICTED
    worse = all(p < 1 - LEVEL for p in chances.worse)
    return SUPPORTED if worse and all(one.by[name].is_interior for name in ESTIMATORS) else NOT_DECIDED


def movement(lines: Sequence[Estimated], k_c: float) -> tuple[Answer, Answer]:
    """H2: d_m* grows with P, and n_rec* with the recurrent parameters, at one k_c.

    Rule: supported if the slopes by both estimators, with all budgets and without the smallest one, have 95 % intervals
    above zero; contradicted if all of them lie below zero.
    """
    here = [one for one in lines if one.line.k_c == k_c and one.is_estimated]
    return (
        _grows("d_m", f"H2: d_m* grows with P at k_c = {k_c:.0f}", here, _of_d_m),
        _grows("n_rec", f"H2: n_rec* grows with the recurrent parameters at k_c = {k_c:.0f}", here, _of_n_rec),
    )


Place = Callable[[Line, Estimate], tuple[float, FloatArray]]


def _of_d_m(line: Line, estimate: Estimate) -> tuple[float, FloatArray]:
    return line.budget, np.exp(estimate.draws)


def _of_n_rec(line: Line, estimate: Estimate) -> tuple[float, FloatArray]:
    assert line.cost is not None  # ELM Networks are counted by their own formula
    return line.budget - line.cost.readout_params, neurons(line, estimate)


def _grows(name: str, question: str, lines: Sequence[Estimated], place: Place) -> Answer:
    budgets = {"all": list(lines), "without the smallest": list(lines[1:])}
    slopes: dict[str, dict[str, tuple[float, float, float]]] = {}
    for estimator in ESTIMATORS:
        slopes[estimator] = {}
        for which, part in budgets.items():
            if len(part) >= 2:
                sizes, places = zip(*(place(one.line, one.by[estimator]) for one in part), strict=True)
                slopes[estimator][which] = interval(log_slope(np.array(sizes), np.stack(places, axis=-1)))
    optima = [
        _place(one) | {estimator: interval(place(one.line, one.by[estimator])[1]) for estimator in ESTIMATORS}
        for one in lines
    ]
    parts = [_optimum(name, one, {n: row[n] for n in ESTIMATORS}) for one, row in zip(lines, optima, strict=True)]
    numbers = {"quantity": name, "slopes": slopes, "optima": optima, PARTS: parts}
    if len(lines) < 3:
        sentence = f"{len(lines)} budgets with an optimum; three are needed, so that two are left without the smallest."
        return Answer(question, NOT_DECIDED, sentence, numbers)
    verdict = agreed([sign(ends) for of in slopes.values() for ends in of.values()])
    told = "; ".join(
        f"{estimator}: {interval_text(of['all'])} with all budgets, {interval_text(of['without the smallest'])} "
        "without the smallest"
        for estimator, of in slopes.items()
    )
    return Answer(question, verdict, f"Exponent of {name}*, {told}.", numbers)


def sign(ends: tuple[float, float, float]) -> str:
    """What an interval says about a growth.

    >>> sign((0.2, 0.1, 0.3)), sign((0.0, -0.1, 0.1)), sign((-0.2, -0.3, -0.1))
    ('supported', 'not decided', 'contradicted')
    """
    return SUPPORTED if ends[1] > 0 else CONTRADICTED if ends[2] < 0 else NOT_DECIDED


def _optimum(name: str, one: Estimated, ends: dict[str, tuple[float, float, float]]) -> dict[str, Any]:
    told = ", ".join(f"{estimator} {interval_text(of)}" for estimator, of in ends.items())
    return Part(one.line.place, one.line.budget, "estimate", f"{name}* {told}", settled=True)._asdict()


def connectivity(data: Dataset, task: Task) -> Answer:
    """H3, first half: at each P the best point at the higher k_c is better than the best one at the lower k_c.

    Rule: supported if it is at each P (two-sided Welch test on the seeds, 5 %, Holm over budgets); contradicted if it
    is significantly worse at any. The best point is the one of the best validation metric.
    """
    question = f"H3: at each P the best network of k_c = {task.high} is better than the best of k_c = {task.low}"
    runs = {k_c: dict(best_at_budgets(of_connectivity(data, k_c))) for k_c in (task.low, task.high)}
    budgets = sorted(set(runs[task.low]) & set(runs[task.high]))
    pairs = [tuple(-gain(runs[k_c][budget], data.direction) for k_c in (task.low, task.high)) for budget in budgets]
    chances = [p_worse(few, many, "two-sided") for few, many in pairs]
    rows: list[dict[str, Any]] = []
    parts = []
    for budget, (few, many), raw, p in zip(budgets, pairs, chances, holm(chances), strict=True):
        better = float(few.mean() - many.mean())
        by_correction = [_direction(better, chance) for chance in (p, raw, len(BUDGETS) * raw)]
        d_m = {str(k_c): float(runs[k_c][budget]["d_m"].iloc[0]) for k_c in runs}
        rows.append({"budget": budget, "gain": better, "p_holm": p, "d_m": d_m, "verdict": by_correction[0]})
        told, settled = f"gain {better:+.3f} (p = {p:.2g})", by_correction[1] == by_correction[2]
        parts.append(Part(f"P = {budget:,.0f}", budget, by_correction[0], told, settled)._asdict())
    verdicts = [row["verdict"] for row in rows]
    verdict = CONTRADICTED if CONTRADICTED in verdicts else agreed(verdicts)
    listed = "; ".join(f"{row['gain']:+.3f} at P = {row['budget']:,.0f} (p = {row['p_holm']:.2g})" for row in rows)
    unit = "nats of the test loss" if data.measure.is_loss else task.unit
    sentence = f"Gain of k_c = {task.high} in {unit}: {listed}." if rows else "No P has both k_c."
    more = task.added is not None and any((r["budget"], r["verdict"]) == (SMALLER, SUPPORTED) for r in rows)
    if more:
        sentence += f" It is better at P = {SMALLER:,}, so that the design adds k_c = {task.added}."
    return Answer(question, verdict, sentence, {"budgets": rows, "adds_k_c": more, PARTS: parts})


def _direction(better: float, chance: float) -> str:
    """What a two-sided test says about a gain."""
    return NOT_DECIDED if chance >= 1 - LEVEL else SUPPORTED if better > 0 else CONTRADICTED


def shift(lines: Sequence[Estimated], task: Task) -> Answer:
    """H3, second half: ln d_m* differs between the two k_c at the same P.

    Rule: supported if by both estimators the 95 % interval of the difference is without zero at each P. That two
    optima are the same place cannot be shown, so that nothing contradicts it.
    """
    question = f"H3: d_m* differs between k_c = {task.low} and k_c = {task.high} at the same P"
    by_place = {(one.line.k_c, one.line.budget): one for one in lines if one.is_estimated}
    budgets = sorted({P for k_c, P in by_place if k_c == task.low} & {P for k_c, P in by_place if k_c == task.high})
    rows: list[dict[str, Any]] = []
    parts = []
    for budget in budgets:
        few, many = by_place[task.low, budget], by_place[task.high, budget]
        ends = {name: interval(many.by[name].draws - few.by[name].draws) for name in ESTIMATORS}
        differs = all(sign(e) != NOT_DECIDED for e in ends.values())
        rows.append({"budget": budget, "difference": ends, "differs": differs})
        told = ", ".join(f"{name} {interval_text(e)}" for name, e in ends.items())
        found = SUPPORTED if differs else NOT_DECIDED
        parts.append(Part(f"P = {budget:,.0f}", budget, found, f"difference of ln d_m* {told}", settled=True)._asdict())
    verdict = SUPPORTED if rows and all(row["differs"] for row in rows) else NOT_DECIDED
    listed = "; ".join(f"{part['place']}: {part['told'].removeprefix('difference of ln d_m* ')}" for part in parts)
    sentence = f"Difference of ln d_m*, {listed}." if rows else "No P has both k_c."
    return Answer(question, verdict, sentence, {"budgets": rows, PARTS: parts})


def far_enough(short: Sequence[Estimated], long: Sequence[Estimated], task: Task) -> Answer:
    """H5: four times as many steps leave ln d_m* at P = 10,000 and the smaller k_c where it was.

    Rule: supported if the estimate of the longer training lies within the 95 % interval of the shorter one by both
    estimators; contradicted if it lies outside by both.

    Args:
        short: the lines of the study's own steps.
        long: the lines of four times as many.
        task: the half.
    """
    question = f"H5: four times as many steps leave d_m* at P = {H5_BUDGET:,}, k_c = {task.low} where it was"
    before, after = (
        next((one for one in lines if (one.line.budget, one.line.k_c) == (H5_BUDGET, task.low)), None)
        for lines in (short, long)
    )
    if before is None or after is None or not (before.is_estimated and after.is_estimated):
        return Answer(question, NOT_DECIDED, "One of the two trainings has no four levels of d_m with two seeds.", {})
    verdicts, told, numbers = [], [], {}
    for name in ESTIMATORS:
        ends, moved = before.by[name].interval, float(after.by[name].draws[0])
        verdicts.append(SUPPORTED if ends[1] <= moved <= ends[2] else CONTRADICTED)
        told.append(f"{name}: {moved:.2f} against {interval_text(ends)}")
        numbers[name] = {"short": ends, "long": after.by[name].interval}
    verdict = agreed(verdicts)
    sentence = f"ln d_m* after {task.converged:,} steps against the interval of {task.steps:,}, {'; '.join(told)}."
    if verdict != SUPPORTED:
        sentence += f" So H1 and H2 are about {task.steps:,} steps only."
    return Answer(question, verdict, sentence, numbers)


def _place(one: Estimated) -> dict[str, Any]:
    return {"place": one.line.place, "budget": one.line.budget, "k_c": one.line.k_c}
