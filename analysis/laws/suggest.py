"""The next grid: runs that narrow a target most within some hours, written so that `sweeper launch` takes them."""

import json
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError
from analysis.laws.step_grid import description
from analysis.rows.learning_rates import power_rule, rule_setting
from analysis.rows.load import distinct_specs
from analysis.rows.sweep import Dataset, Sweep
from cluster.errors import SettingError
from cluster.yaml_reader import write_yaml
from model.registry import architecture, architecture_names
from sweeper.plan.descriptions import DESCRIBED, written
from sweeper.plan.grid import Block, parse_grid
from sweeper.plan.targets import Target, TargetError, read_target
from sweeper.search.grid_space import GridSpace
from sweeper.search.space import Observation, Point, Sizes
from sweeper.search.theory import Interval, TheorySearcher
from sweeper.search.theory_frame import REACH
from sweeper.status import store_cost_model
from sweeper.words import counted
from theory.errors import TheoryError

MOST = 96
"""Most runs of one suggestion: beyond, look at the first ones before choosing more."""

EXTEND = 2.0
"""Factor by which the range of d_m grows on a side where the best measured network is the last one. Assumption."""

SHARE = 0.25
"""A target's own budget becomes a candidate if one run there takes at most this share of the hours. Assumption."""

SEEDS = 8
"""Replicates that a configuration may get in all. Assumption."""

SUFFIX = "-next"

FREE = ("model.n_rec", "model.d_m", "training.learning_rate")
"""Settings of the specs that a suggestion chooses itself, or replaces by a rule."""


@dataclass(frozen=True, kw_only=True)
class SuggestSettings:
    """What runs are wanted for, and what they may cost."""

    target: str
    """Such as ``optimum at P=1e6``; see `sweeper.plan.targets`."""
    hours: float
    """Trial time to spend, on one lane."""
    name: str | None = None
    """Name of the new grid; default: the sweep's with ``-next``."""
    seed: int = 0
    """Seed of fits and draws."""


class Run(NamedTuple):
    """One suggested run."""

    budget: int
    d_m: int
    n_rec: float
    seed: int
    why: str
    hours: float


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """Runs, what they are expected to bring, and the grid that asks for them."""

    target: str
    """What they are for."""
    runs: tuple[Run, ...]
    """In order of worth; the grid holds all of them."""
    before: Interval
    """The target's 95 % interval now, by the law that fits best."""
    after: Interval
    """The interval expected afterwards."""
    sentences: tuple[str, ...]
    """What the choice rests on, fallbacks included."""
    grid: str
    """Text of the grid."""

    @property
    def hours(self) -> float:
        """Expected trial time of all runs."""
        return sum(run.hours for run in self.runs)


def suggest(sweep: Sweep, data: Dataset, settings: SuggestSettings) -> Suggestion:
    """Choose runs for a target.

    Args:
        sweep: all rows, with their store.
        data: the group of rows to go on from.
        settings: the target and the time to spend.

    Raises:
        AnalysisError: the rows are no sweep that could be launched again.
        TargetError: the target cannot be read, or lies outside of what this design reaches.
    """
    hours, name = settings.hours, settings.name or sweep.label + SUFFIX
    target = read_target(settings.target)
    if hours <= 0:
        raise AnalysisError(f"--hours: {hours:g} leaves no time for a run")
    data, sentences = _of_one_connectivity(data)
    # The grid is written as text and read again: what is suggested has then passed every check that a launch makes.
    base, notes = _base(sweep, data, target, name)
    sentences += notes
    # The searcher of `sweeper` does the choosing, because next runs are chosen by one designer everywhere.
    space = GridSpace(
        grid=parse_grid(_text(base, "theory")), costs=store_cost_model(sweep.store) if sweep.store else _no_store(sweep)
    )
    searcher = TheorySearcher(space=space.space, targets=(target,), seed=settings.seed)
    history = _history(data, space)
    # Costs can only be asked once there is a space, so it is made anew if a budget falls out.
    allowed = _affordable(space, hours, target)
    if allowed != space.space.budgets:
        space = replace(space, grid=parse_grid(_text({**base, "budgets": list(allowed)}, "theory")))
        # What was remembered belongs to the old space.
        searcher = replace(searcher, space=space.space, cache={})
    points, reasons, before, after, basis = _choose(searcher, space, history, target, hours)
    if not points:
        raise AnalysisError(
            f"--hours: {hours:g} h does not pay for a single run; the cheapest takes {_cheapest(space):.3g} h"
        )
    runs = tuple(_run(point, why, space) for point, why in zip(points, reasons, strict=True))
    # The reasons stand in the grid as comments: whoever launches it next week still sees what the runs are for.
    text = _notes(settings.target, runs, before, after) + space.header(name) + space.blocks_text(points)
    return Suggestion(
        target=settings.target, runs=runs, before=before, after=after, sentences=(*sentences, *basis), grid=text
    )


def _no_store(sweep: Sweep) -> Any:
    raise AnalysisError(
        f"{sweep.uri}: nothing can be launched on from here; suggestions need a results directory "
        "that `sweeper launch` made"
    )


def _of_one_connectivity(data: Dataset) -> tuple[Dataset, list[str]]:
    """The rows at the connectivity that most of them have: a suggestion varies d_m at one."""
    k_cs = data.rows["k_c"]
    if k_cs.nunique() < 2:
        return data, []
    most = float(k_cs.mode().iloc[0])
    others = ", ".join(f"{k_c:g}" for k_c in sorted(k_cs.unique()) if k_c != most)
    told = (
        f"these runs vary d_m at k_c = {most:g}, which most rows have; --where 'k_c == ...' chooses another ({others})"
    )
    return replace(data, rows=data.rows[k_cs == most]), [told]


def _base(sweep: Sweep, data: Dataset, target: Target, name: str) -> tuple[dict[str, Any], list[str]]:
    """The grid that describes the group's family of networks, open in d_m."""
    # A published table has no directory whose trials a launch could complete.
    if sweep.store is None:
        _no_store(sweep)
    rows, sentences = data.rows, []
    if not len(rows) or rows["d_m"].isna().any() or rows["budget"].isna().all():
        raise AnalysisError(
            f"{data.label}: suggestions need finished trials of ELM Networks with `budgets`, found none"
        )
    specs = Counter(rows["spec"])
    spec = json.loads(specs.most_common(1)[0][0])
    if "model" not in spec:
        raise AnalysisError(f"{data.label}: these rows carry no settings, so that nothing can be launched")
    name_of = spec["architecture"]
    if name_of not in architecture_names() or not architecture(name_of).light:
        raise AnalysisError(
            f"{data.label}: suggestions solve sizes by formulas, and {name_of} is counted from its torch module; give "
            "its grid a `search:` of kind theory instead"
        )
    _check_alike(data)
    # Left out is what follows from the task, what the budget solves, and what is searched.
    model = {k: v for k, v in spec["model"].items() if k not in ("n_in", "n_out", "n_rec", "d_m")}
    low, high, notes = _range_of_d_m(rows, data.direction)
    training = dict(spec["training"])
    # New points lie between those that were run, so that no list of best rates has one for them.
    if rows["learning_rate"].nunique() > 1:
        rule = power_rule(rows)
        training["learning_rate"] = rule_setting(rule)
        sentences.append(f"the learning rate follows a rule through the best rates of these rows ({rule.yaml()})")
    budgets = sorted({int(budget) for budget in rows["budget"].dropna()})
    if target.budget is not None and round(target.budget) not in budgets:
        target_budget = target.budget
        nearest = min(budgets, key=lambda budget: abs(np.log(budget / target_budget)))
        if max(nearest / target_budget, target_budget / nearest) > REACH:
            raise TargetError(
                f"target: P = {target.budget:g} is more than a factor of {REACH:g} from the nearest budget of these "
                f"rows, {nearest:g}; run a budget nearer to it first"
            )
        budgets = sorted([*budgets, round(target.budget)])
    content = {
        "name": name,
        "task": {"name": spec["task"], **spec["task_options"]},
        "architecture": spec["architecture"],
        "budgets": budgets,
        "model": {"d_m": {"from": low, "to": high}, **model},
        "training": training,
        # The most that the search may use; it asks for as many as help.
        "seeds": SEEDS,
    }
    if limits := _limits(sweep, rows):
        content["limits"] = limits
    if (described := description(sweep, content["task"])) is not None:
        content[DESCRIBED] = written([described])
    return content, [*sentences, *notes]


def _limits(sweep: Sweep, rows: pd.DataFrame) -> dict[str, list[float | None]]:
    """The limits of the grids that these rows come from; where several differ, the widest, since that was run."""
    blocks: list[Block] = []
    for name in rows["sweep"].unique():
        try:
            blocks += parse_grid(sweep.grids[name]).blocks
        except (KeyError, SettingError):  # rows without a stored grid, or one of a version that knew other keys
            continue
    limits: dict[str, list[float | None]] = {}
    for name in blocks[0].limits if blocks else ():
        ends = [block.limits.get(name, (None, None)) for block in blocks]
        lows, highs = [low for low, _ in ends if low is not None], [high for _, high in ends if high is not None]
        widest = [min(lows) if len(lows) == len(ends) else None, max(highs) if len(highs) == len(ends) else None]
        if widest != [None, None]:
            limits[name] = widest
    return limits


def _check_alike(data: Dataset) -> None:
    """Refuse rows whose settings follow the budget or d_m: the new grid holds one value of each.

    Raises:
        AnalysisError: a setting differs that is neither a size nor the learning rate.
    """
    table, _ = distinct_specs(data.rows["spec"])
    settings = [
        name for name in map(str, table.columns) if name.startswith(("model.", "training.")) and name not in FREE
    ]
    differing = [name for name in settings if table[name].nunique(dropna=False) > 1]
    if differing:
        top = float(data.rows["budget"].max())
        raise AnalysisError(
            f"{data.label}: the rows differ in {', '.join(differing)}, and a suggested grid holds one value of each; "
            f"choose rows of one value, for example --where 'budget == {top:.0f}'"
        )


def _range_of_d_m(rows: pd.DataFrame, direction: str) -> tuple[int, int, list[str]]:
    """The sampled range, wider on a side where a budget's best network is the last one."""
    low, high, sentences = int(rows["d_m"].min()), int(rows["d_m"].max()), []
    means = rows.groupby(["budget", "d_m"])["value"].mean().reset_index()
    places = means.groupby("budget")["value"].agg("idxmin" if direction == "min" else "idxmax")
    best = means.loc[places, "d_m"]
    if low == high:
        wide = max(1, int(low / EXTEND)), int(high * EXTEND)
        return *wide, [f"only d_m = {low} was run: the range is opened to {wide[0]} to {wide[1]}"]
    # No neuron has less than one memory unit.
    if (best == low).any() and low > 1:
        low = max(1, int(low / EXTEND))
        sentences.append(f"a budget's best d_m is the smallest: the range is extended down to {low}")
    if (best == high).any():
        high = int(high * EXTEND)
        sentences.append(f"a budget's best d_m is the largest: the range is extended up to {high}")
    return low, high, sentences


def _text(content: dict[str, Any], kind: str) -> str:
    return write_yaml({**content, "search": {"kind": kind}})


def _history(data: Dataset, space: GridSpace) -> list[Observation]:
    """The rows as points of the space, metric as a loss; the analysis's own choice of rows, split and learning rate."""
    # The searcher minimises.
    sign = 1.0 if data.direction == "min" else -1.0
    # Points of the space lie on budget lines, where rows without a budget have no place.
    rows = data.rows[data.rows["budget"].notna()]
    observations = []
    for budget, d_m, seed, value in zip(rows["budget"], rows["d_m"], rows["seed"], rows["value"], strict=True):
        point = space.space.point(int(budget), {"d_m": int(d_m)}, int(seed))
        # A row whose sizes the new grid cannot make is no point of this space.
        if isinstance(space.measure(point), Sizes):
            observations.append(Observation(point, sign * float(value)))
    return observations


def _affordable(space: GridSpace, hours: float, target: Target) -> tuple[int | None, ...]:
    """Budgets to choose from: all that were run, and the target's own where one run does not eat up the hours."""
    budgets = []
    for budget in space.space.budgets:
        # One run in the middle of the range stands for the budget's price.
        middle = space.space.dimensions[0].levels(3)[1]
        sizes = space.measure(Point(budget, (("d_m", middle),), 0))
        dear = isinstance(sizes, Sizes) and sizes.seconds > SHARE * hours * 3600
        if not (dear and target.budget is not None and budget == round(target.budget)):
            budgets.append(budget)
    return tuple(budgets) if len(budgets) else space.space.budgets


def _choose(
    searcher: TheorySearcher, space: GridSpace, history: list[Observation], target: Target, hours: float
) -> tuple[list[Point], list[str], Interval, Interval, list[str]]:
    """Runs within the hours: by the law, or filling the space where no law can be fitted."""
    # Numbers that nobody knows stay unknown; the reason stands beside them.
    unknown = Interval(float("nan"), float("nan"), float("nan"), "no law can be fitted yet")
    try:
        chosen = searcher.affordable(history, MOST, hours * 3600)
    except TheoryError as error:
        # No law yet is the beginning of every sweep, and not an error: runs far from each other then teach most.
        points = searcher.fill(history, MOST)
        paid = _within(points, space, hours)
        fallback = f"no law guides the choice ({error}): these runs fill the space; ask again when they have finished"
        return paid, ["spread"] * len(paid), unknown, unknown, [fallback]
    before, after = searcher.expected(history, chosen, target)
    sentences: list[str] = list(chosen.sentences)
    whole = searcher.interval(history, target)
    # The gain is computed within one law; that others are still possible must not be hidden by a narrow interval.
    if whole.reason is None and (whole.low < before.low or whole.high > before.high):
        sentences.append(
            f"with the other laws that these rows do not rule out the interval is {whole.low:.4g} to {whole.high:.4g}; "
            "the gain below is within the law that fits best"
        )
    return list(chosen.points), list(chosen.reasons), before, after, sentences


def _within(points: tuple[Point, ...], space: GridSpace, hours: float) -> list[Point]:
    left, paid = hours * 3600, []
    for point in points:
        sizes = space.measure(point)
        # A run that no longer fits is passed over, since a cheaper one behind it may.
        if isinstance(sizes, Sizes) and sizes.seconds <= left:
            left -= sizes.seconds
            paid.append(point)
    return paid


def _cheapest(space: GridSpace) -> float:
    seconds = [
        sizes.seconds
        for budget in space.space.budgets
        for d_m in space.space.dimensions[0].levels(5)
        if isinstance(sizes := space.measure(Point(budget, (("d_m", d_m),), 0)), Sizes)
    ]
    return min(seconds) / 3600


def _run(point: Point, why: str, space: GridSpace) -> Run:
    sizes = space.measure(point)
    assert isinstance(sizes, Sizes), "a suggested point can be run"
    assert point.budget is not None, "a suggested point has a budget"
    return Run(point.budget, point.values["d_m"], sizes.n_rec, point.seed, why, sizes.seconds / 3600)


def _notes(target: str, runs: tuple[Run, ...], before: Interval, after: Interval) -> str:
    """Comments at the top of the grid."""
    hours = sum(run.hours for run in runs)
    lines = [f"{counted(len(runs), 'run')} for: {target}. Expected: {hours:.3g} h of trial time."]
    lines += [f"{'; '.join(gain_texts(before, after))}."]
    return "".join(f"# {line}\n" for line in lines)


def gain_texts(before: Interval, after: Interval) -> list[str]:
    """What a suggestion is expected to bring, in one or two sentences without a full stop."""
    if before.reason is not None and before.reason == after.reason:
        return [f"Interval by the best law, now and afterwards: {interval_text(before)}"]
    return [f"Interval by the best law now: {interval_text(before)}", f"expected afterwards: {interval_text(after)}"]


def interval_text(interval: Interval) -> str:
    """An interval in words."""
    if interval.reason is not None:
        return f"none ({interval.reason})"
    half = 100 * interval.half_width
    return f"{interval.estimate:.4g}, 95 % from {interval.low:.4g} to {interval.high:.4g} (± {half:.2g} %)"
