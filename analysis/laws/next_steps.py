"""What to run next, and what it would cost: rules for what these rows leave open."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from analysis.laws.findings import ChosenRun, ChosenRuns, Refusal
from analysis.laws.step_grid import StepPoint
from analysis.laws.view import View
from analysis.rows.alarms import PLAIN, Alarm
from analysis.rows.axes import VIF_LIMIT, listed
from analysis.rows.learning_rates import power_rule, rule_setting
from analysis.rows.means import configuration
from sweeper.store.schema import DIVERGED, FINISHED
from sweeper.words import counted
from theory.data.design import Design
from theory.errors import TheoryError
from theory.next_runs.points import next_points

BUDGETS = 3
"""Budgets from which exponents can be told."""

SEEDS = 3
"""Runs per configuration that give a usable seed noise."""

STEP = 1.5
"""Factor between neighbouring values of d_m of an extension. Assumption."""

PICKS = 8
"""Runs that the law chooses at once. Assumption."""

CANDIDATES = 12
"""Values of d_m per budget among which it chooses, besides those that were run. Assumption."""

MORE_SEEDS = 2
"""Replicates that answer an alarm about seeds."""

RATE_STEP = 3.0
"""Factor from the best learning rate to the next one beyond those tried. Assumption."""

NAMED = 2
"""Design points that a step names; of more it gives the number."""

SWEEP = 7
"""Points of a sweep of n_rec at fixed d_m."""


class NextStep(NamedTuple):
    """One suggestion, most useful first."""

    what: str
    why: str
    trials: int
    hours: float | None
    """Wall time of all its trials, from the times of finished ones; None where there are none."""
    budget: float | None = None
    """The budget whose optimum it is about; None where it is about all of them."""
    k_c: float | None = None
    """The connectivity it is about; None where it is about all of them."""
    points: tuple[StepPoint, ...] = ()
    """Its very runs, which `analysis suggest --step` writes as a grid; empty where that takes a grid of one's own."""


class TimeModel(NamedTuple):
    """Seconds per trial as a power of the trainable parameters."""

    ln_scale: float
    exponent: float

    def seconds(self, params: float) -> float:
        """Expected wall time of one trial."""
        return float(np.exp(self.ln_scale + self.exponent * np.log(params)))


def next_steps(view: View) -> list[NextStep]:
    """List what would answer the questions that these rows leave open.

    Args:
        view: one group of rows.
    """
    if not len(view.table):
        return [_nothing_finished(view)]
    model = time_model(view)
    # In the order of usefulness: without budgets there is no exponent, without a bracket no optimum, without seeds no
    # interval.
    steps = [
        *_budgets(view, model),
        *_edges(view, model),
        *_seeds(view, model),
        *_axes(view, model),
        *_alarms(view, model),
    ]
    return steps or [
        NextStep("nothing urgent", "every question of this report has an answer within its interval", 0, None)
    ]


def _nothing_finished(view: View) -> NextStep:
    diverged = sum(len(entry.trial_ids) for entry in view.data.excluded if entry.rule == DIVERGED)
    # Most often networks diverge because their rate is too high.
    if diverged:
        reason = f"{counted(diverged, 'trial')} diverged and none finished"
        return NextStep("the grid with a learning rate ten times smaller", reason, diverged, None)
    left = sum(len(entry.trial_ids) for entry in view.data.excluded)
    return NextStep("the grid again, after a look at `sweeper status`", "no finished trial has a value", left, None)


def chosen_runs(view: View) -> ChosenRuns | Refusal:
    """Runs that narrow the optimum of the largest budget most, chosen by the fitted law, with their time.

    Args:
        view: one group of rows with a fitted law.
    """
    fit, law = view.law.fit, view.law
    # At the connectivity that most configurations have: a choice for several would have to compare their gains.
    lines = [a for a in law.allocations if a.k_c == view.table["k_c"].mode().iloc[0]]
    if fit is None or not fit.free or not lines:
        return Refusal(reason="no law that could guide a choice, or no optimum to narrow")
    cost, target = law.costs[lines[-1].k_c], lines[-1].budget
    at_k_c = view.table[(view.table["k_c"] == lines[-1].k_c) & view.table["budget"].notna()]
    # Values between those that were run are candidates too: the best place to learn about an optimum need not have been
    # on the grid.
    points = [
        (int(cost.n_rec(budget, d_m)), d_m, budget)
        for budget in sorted(at_k_c["budget"].unique())
        for d_m in np.union1d(np.geomspace(at_k_c["d_m"].min(), at_k_c["d_m"].max(), CANDIDATES).round(), at_k_c["d_m"])
        if cost.n_rec(budget, d_m) >= 1
    ]
    n_rec, d_m, budget = (np.array(column, dtype=np.float64) for column in zip(*points, strict=True))
    design = Design(
        n_rec=n_rec,
        k_e=cost.complexity(d_m),
        k_c=np.full(len(n_rec), cost.k_c),
        trainable_params=cost.trainable_params(n_rec, d_m),
        budget=budget,
        d_m=d_m,
    )
    try:
        chosen = next_points(fit, design, [target], cost, PICKS)
    except (TheoryError, np.linalg.LinAlgError) as error:
        return Refusal(reason=str(error))
    model = time_model(view)
    picks = tuple(
        ChosenRun(
            budget=float(budget[pick.row]),
            d_m=float(d_m[pick.row]),
            n_rec=pick.n_rec,
            trainable_params=pick.trainable_params,
            sd_after=pick.target_sd[0],
            why=pick.reason,
            hours=_hours(model, [pick.trainable_params]),
        )
        for pick in chosen.picks
    )
    return ChosenRuns(
        target=chosen.targets[0],
        sd_now=chosen.target_sd[0],
        law=chosen.law,
        sentences=tuple(chosen.sentences),
        picks=picks,
    )


def time_model(view: View) -> TimeModel | None:
    """Fit wall time of finished trials against trainable parameters; the exponent is 1 where sizes hardly differ."""
    trials = view.sweep.trials
    done = trials[(trials["status"] == FINISHED) & (trials["wall_s"].astype("float64") > 0)]
    if not len(done):
        return None
    x, y = np.log(done["trainable_params"].to_numpy(float)), np.log(done["wall_s"].to_numpy(float))
    # Sizes that differ by less than a factor of two say little about how time grows, and noise would give any exponent.
    slope = float(np.polyfit(x, y, 1)[0]) if np.ptp(x) > np.log(2) else 1.0
    return TimeModel(float(np.mean(y) - slope * np.mean(x)), slope)


def _hours(model: TimeModel | None, params: list[float]) -> float | None:
    return None if model is None else sum(model.seconds(p) for p in params) / 3600


def _runs(view: View) -> int:
    # New points get as many seeds as the design has elsewhere.
    return max(1, int(view.table["n"].median()))


def _budgets(view: View, model: TimeModel | None) -> list[NextStep]:
    budgets = sorted(view.table["budget"].dropna().unique())
    d_m = sorted(view.table["d_m"].dropna().unique())
    if not d_m:
        return []
    if not budgets:
        what = "launch a grid with 3 `budget` values over a decade and 7 values of d_m"
        return [NextStep(what, "no trial has a budget, so nothing can be compared at equal size", 3 * 7, None)]
    if len(budgets) >= BUDGETS:
        return []
    top = float(budgets[-1])
    # Upwards, to a decade beyond: the question is where the optimum goes, and exponents need a decade to be told.
    new = [round(top * factor) for factor in (3.0, 10.0)][: BUDGETS - len(budgets)]
    count = len(d_m) * _runs(view)
    noun = "budget" if len(new) == 1 else "budgets"
    what = f"{noun} {' and '.join(f'{p:,}' for p in new)} with the same values of d_m"
    why = f"exponents need {BUDGETS} budgets over a decade or more, these rows have {len(budgets)}"
    hours = _hours(model, [float(p) for p in new for _ in range(count)])
    # As the largest budget was trained; rates that follow the sizes go on along their rule.
    top_rows, seeds, points = view.data.rows[view.data.rows["budget"] == top], tuple(range(_runs(view))), []
    for size in d_m:
        like = top_rows.loc[(top_rows["d_m"].astype(float) / size - 1).abs().idxmin(), "trial_id"]
        points += [StepPoint(like, seeds, p, {"d_m": int(size)}, _rate(view)) for p in new]
    return [NextStep(what, why, count * len(new), hours, budget=float(new[0]), points=tuple(points))]


def _edges(view: View, model: TimeModel | None) -> list[NextStep]:
    steps = []
    # "more values of d_m" names no side on which to go on.
    for optimum in view.optima:
        if optimum.extend not in ("smaller d_m", "larger d_m"):
            continue
        edge = configuration(view.table, optimum.best)["d_m"]
        factor = STEP if optimum.extend == "larger d_m" else 1 / STEP
        new = sorted({max(1, round(edge * factor**power)) for power in (1, 2)} - {round(edge)})
        if not new:
            continue
        trials = len(new) * _runs(view)
        what = f"d_m = {', '.join(map(str, new))} at P = {optimum.budget:,.0f}, k_c = {optimum.k_c:g}"
        why = f"the optimum there is not bracketed: the best d_m is the {'largest' if factor > 1 else 'smallest'}"
        hours = _hours(model, [optimum.budget] * trials)
        like, seeds = _trials(view, optimum.best)[0], tuple(range(_runs(view)))
        points = tuple(StepPoint(like, seeds, int(optimum.budget), {"d_m": size}, _rate(view)) for size in new)
        steps.append(NextStep(what, why, trials, hours, optimum.budget, optimum.k_c, points))
    return steps


def _seeds(view: View, model: TimeModel | None) -> list[NextStep]:
    unknown = view.table["noise"].isna().all()
    # By the median: a few configurations that lost a seed to a failure call for no further runs.
    if not unknown and float(view.table["n"].median()) >= SEEDS:
        return []
    missing = (SEEDS - view.table["n"]).clip(lower=0)
    params = np.repeat(view.table["trainable_params"].to_numpy(float), missing.to_numpy(int)).tolist()
    why = "one run per configuration gives no interval" if unknown else "few replicates make wide intervals"
    what = f"{SEEDS} seeds of every configuration"
    points = tuple(_more_seeds(view, place, int(count)) for place, count in enumerate(missing) if count)
    return [NextStep(what, why, len(params), _hours(model, params), points=points)] if params else []


def _axes(view: View, model: TimeModel | None) -> list[NextStep]:
    tangled = [row.axis for row in view.axes.inflation if row.vif is not None and row.vif > VIF_LIMIT]
    if not tangled or not view.has_d_m:
        return []
    # A neuron from the middle of the design stands for the others best.
    middle = view.table.iloc[(view.table["d_m"] - view.table["d_m"].median()).abs().argsort().iloc[0]]
    # Further down than up: small networks cost little, and a sweep over more than a decade tells n_rec from k_e.
    sizes = np.geomspace(float(middle["n_rec"]) / 10, float(middle["n_rec"]) * 3, SWEEP).round()
    cost = float(middle["k_e"] + middle["k_c"])
    # A network of one neuron has no recurrence.
    params = [float(max(n, 2) * cost + middle["readout_params"]) for n in sizes]
    neurons = ", ".join(f"{max(n, 2):.0f}" for n in sizes)
    what = f"n_rec = {neurons} at d_m = {middle['d_m']:.0f}"
    why = f"{listed(tangled)} cannot be told apart in this design"
    like = _trials(view, int(str(middle.name)))[0]
    points = tuple(StepPoint(like, (0,), None, {"n_rec": int(max(n, 2))}) for n in sizes)
    return [NextStep(what, why, SWEEP, _hours(model, params), points=points)]


def _alarms(view: View, model: TimeModel | None) -> list[NextStep]:
    steps = []
    for kind, what in (
        ("under-trained", "twice the steps at"),
        ("learning rate at its bound", "learning rates beyond those tried at"),
        ("seed spread", f"{MORE_SEEDS} more seeds at"),
        ("collapsed", f"{MORE_SEEDS} more seeds at"),
    ):
        alarms = [alarm for alarm in view.alarms if alarm.kind == kind]
        if not alarms:
            continue
        points = [point for alarm in alarms for point in _answers(view, alarm)]
        rows = view.data.rows.set_index("trial_id")
        params = [float(str(rows.loc[point.like, "trainable_params"])) for point in points for _ in point.seeds]
        hours = _hours(model, params)
        # Twice the steps take twice the time.
        hours = 2.0 * hours if hours is not None and kind == "under-trained" else hours
        why = f"{counted(len(alarms), 'design point')} {PLAIN[kind]}"
        steps.append(NextStep(f"{what} {_places(alarms)}", why, len(params), hours, points=tuple(points)))
    return steps


def _answers(view: View, alarm: Alarm) -> list[StepPoint]:
    """The runs that answer an alarm."""
    rows = view.data.rows
    own = rows[rows["trial_id"].isin(alarm.trial_ids)]
    place = int(np.flatnonzero(view.table["configuration"] == own["configuration"].iloc[0])[0])
    if alarm.kind in ("seed spread", "collapsed"):
        return [_more_seeds(view, place, MORE_SEEDS)]
    budget = None if alarm.budget is None else int(alarm.budget)
    seeds, like = tuple(sorted(int(seed) for seed in own["seed"])), str(own["trial_id"].iloc[0])
    if alarm.kind == "under-trained":
        return [StepPoint(like, seeds, budget, {}, {"steps": 2 * int(own["steps"].iloc[0])})]
    rate = float(own["learning_rate"].iloc[0])
    factor = 1 / RATE_STEP if "try smaller" in alarm.why else RATE_STEP
    return [StepPoint(like, seeds, budget, {}, {"learning_rate": float(f"{factor * rate:.3g}")})]


def _trials(view: View, place: int) -> list[str]:
    """Trials of one configuration of the table."""
    rows = view.data.rows
    return list(rows.loc[rows["configuration"] == view.table["configuration"].iloc[place], "trial_id"])


def _more_seeds(view: View, place: int, count: int) -> StepPoint:
    """Further replicates of one configuration."""
    trials = _trials(view, place)
    used = set(view.data.rows.loc[view.data.rows["trial_id"].isin(trials), "seed"])
    seeds = tuple(seed for seed in range(len(used) + count) if seed not in used)[:count]
    budget = view.table["budget"].iloc[place]
    return StepPoint(trials[0], seeds, None if np.isnan(budget) else int(budget))


def _rate(view: View) -> dict[str, Any]:
    """The learning rate of networks that were not run: by the rule of those that were, where they differ in it."""
    if view.data.rows["learning_rate"].nunique() < 2:
        return {}
    return {"learning_rate": rule_setting(power_rule(view.data.rows))}


def _places(alarms: Sequence[Alarm]) -> str:
    """The design points of some alarms, by name where they are few."""
    if len(alarms) > NAMED:
        return f"the {len(alarms)} design points that the report lists"
    return " and ".join(alarm.place for alarm in alarms)
