"""All hypotheses about one half of the study by the rows there are, complete or not."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.rows.alarms import Alarm, find_alarms, tail_gains
from analysis.rows.load import read_sweep
from analysis.rows.means import configurations
from analysis.rows.sweep import Dataset, Measure, Sweep, among
from studies.answers import Answer
from studies.interior_optimum.estimators import lines
from studies.interior_optimum.hypotheses import (
    H5_BUDGET,
    NOT_RUN,
    PARTS,
    Estimated,
    connectivity,
    estimated,
    far_enough,
    interior,
    movement,
    shift,
)
from studies.interior_optimum.prediction import FILE, predicted
from studies.interior_optimum.rows import (
    LOSS,
    Ledger,
    elm,
    is_near_its_end,
    ledger,
    others,
    replaced,
    up_to,
    with_rows,
)
from studies.interior_optimum.task import (
    BASELINES,
    CONVERGED,
    HOLDOUT,
    K_C_128,
    LARGEST,
    LONGER,
    MAIN,
    SMALLER,
    Task,
)
from studies.interior_optimum.worth import worth, yardstick
from sweeper.store.schema import FINISHED
from sweeper.words import counted

UNDER_TRAINED = "under-trained"
"""The alarm whose points are trained twice as long."""

WAITS = "waits"
"""Key of a part: what it still waits for, in words; empty where it is final."""

OTHER_LINES = "other lines count in Holm's correction"


@dataclass(frozen=True, kw_only=True)
class Half:
    """One task with the rows that there are."""

    task: Task
    """What differs from the other half."""
    sweep: Sweep | None
    """The rows of all its grids but the pilots; None where nothing has been run."""
    predictions: dict[str, Any]
    """What was written before the largest budget was run, by kind of measure; empty before."""

    @cached_property
    def own(self) -> Dataset | None:
        """Its networks by the task's own metric; None where none has finished."""
        return None if self.sweep is None else elm(self.sweep, self.task.steps)

    @cached_property
    def data(self) -> Dataset | None:
        """Its networks by the measure that is judged."""
        if self.sweep is None or self.own is None or not is_near_its_end(self.task, self.own):
            return self.own
        return elm(self.sweep, self.task.steps, LOSS)

    @cached_property
    def ledger(self) -> Ledger:
        """What its grids ask for."""
        return ledger(self.task, self.sweep)

    @cached_property
    def found(self) -> list[Estimated]:
        """Its lines with their optima."""
        return [] if self.data is None else estimated(lines(self.data))

    @property
    def begun(self) -> bool:
        """Whether the largest budget has rows."""
        return self.data is not None and bool(self.data.rows["budget"].eq(LARGEST).any())

    @property
    def parts(self) -> tuple[str, ...]:
        """Parts behind H1 to H3: the largest budget and an added k_c belong to them once their rows come in, since a
        verdict without all of them would then be early."""
        adds = self.data is not None and self.task.added in self.data.rows["k_c"].unique()
        return (MAIN, *[HOLDOUT] * self.begun, *[K_C_128] * adds)

    @property
    def smaller(self) -> list[Estimated]:
        """The lines of the smaller k_c, for H7."""
        return [one for one in self.found if one.line.k_c == self.task.low]


def read_half(task: Task, results: Path) -> Half:
    """The rows of one half, where its folder in the study's results exists."""
    folder = results / task.name
    path = folder / FILE
    return Half(
        task=task,
        sweep=read_sweep(folder) if folder.exists() else None,
        predictions=json.loads(path.read_text(encoding="utf-8")) if path.exists() else {},
    )


def answers(half: Half) -> Iterator[Answer]:
    """H1 to H6, the exclusions, and H1 to H4 with points that were trained twice as long, in the order of the page."""
    if half.sweep is None or half.data is None or half.own is None:
        last = 6 if half.task.has_baselines else 5
        lack = half.ledger.of(MAIN).lack
        yield Answer(f"H1 to H{last}", NOT_RUN, f"{lack}. No ELM Network of the study has finished.", {})
        return

    def planned(budget: float | None = None) -> str:
        return half.ledger.of(*half.parts, budget=budget).lack

    yield from _judged(half, half.data, planned)
    if half.data is not half.own:
        for answer in _judged(half, half.own, planned):
            yield answer._replace(question=f"{answer.question} (by {half.task.unit}, which is near its end: reported)")
    yield _long_enough(half, half.sweep, half.data.measure)
    if half.task.has_baselines:
        yield _worth(half, half.sweep, half.data)
    flagged = _alarms(half.sweep, half.data)
    longer = elm(half.sweep, half.task.longer, half.data.measure)
    yield _exclusions(half.sweep, half.data, flagged, longer)
    if longer is not None:
        yield from _with_replacement(half, half.data, longer, flagged)


Missing = Callable[[float | None], str]
"""What an answer's rows lack at one budget, or at all of them (None), in words; empty where nothing."""


def _judged(half: Half, data: Dataset, missing: Missing) -> Iterator[Answer]:
    """H1 to H4 by some rows, each kept back until all its trials have been run.

    Args:
        half: the half.
        data: its networks, some of them perhaps trained longer.
        missing: what these rows lack.
    """
    found = estimated(lines(data))
    place = [interior(found, half.task.lines)]
    for k_c in sorted(data.rows["k_c"].unique()):
        place += movement(found, float(k_c))
    place += [connectivity(data, half.task), shift(found, half.task)]
    for answer in place:
        told = unless_run(_with_waits(answer, missing, complete=half.begun), missing(None))
        yield told if half.begun else told._replace(sentence=f"{told.sentence} P = {LARGEST:,} has not been run yet.")
    stored = half.predictions.get(data.measure.kind)
    answer = predicted(stored, data.rows[data.rows["budget"] == LARGEST])
    yield unless_run(answer, half.ledger.of(HOLDOUT).lack or missing(None))


def _with_replacement(half: Half, data: Dataset, longer: Dataset, flagged: list[Alarm]) -> Iterator[Answer]:
    """H1 to H4 with those points exchanged that raised the alarm and were trained twice as long."""
    title = "flagged points trained twice as long"

    def missing(budget: float | None = None) -> str:
        lack = half.ledger.of(*half.parts, LONGER, budget=budget).lack
        # A point that raises the alarm now, and did not when the grid was written, is to be added to it.
        return lack or _unreplaced(half, [one for one in flagged if budget in (None, one.budget)])

    # A budget is exchanged as a whole: beside neighbours that were trained half as long any point would look better.
    budgets = [P for P in longer.rows["budget"].unique() if not half.ledger.of(LONGER, budget=P).lack]
    if not budgets:
        yield Answer(f"H1 to H4 ({title})", NOT_RUN, f"{half.ledger.of(LONGER).lack}.", {})
        return
    whole = with_rows(longer, longer.rows[longer.rows["budget"].isin(budgets)])
    for answer in _judged(half, replaced(data, whole), missing):
        yield answer._replace(question=f"{answer.question} ({title})")


def _long_enough(half: Half, sweep: Sweep, measure: Measure) -> Answer:
    """H5, by the measure of H1 and H2, of whose optima it speaks."""
    long = elm(sweep, half.task.converged, measure)
    answer = far_enough(half.found, estimated(lines(long)) if long else [], half.task)
    # The seed noise is that of all points of this P, and no row of another one enters.
    return unless_run(answer, half.ledger.of(MAIN, CONVERGED, budget=H5_BUDGET).lack)


def _worth(half: Half, sweep: Sweep, data: Dataset) -> Answer:
    """H6."""
    cells = others(sweep, half.task.steps)

    def missing(budget: float | None = None) -> str:
        return half.ledger.of(MAIN, BASELINES, budget=budget).lack

    # No other architecture is tuned for the largest budget.
    compared = worth(up_to(data, SMALLER), cells, yardstick() if cells else float("nan"))
    return unless_run(_with_waits(compared, missing, complete=True), missing(None))


def _with_waits(answer: Answer, missing: Missing, *, complete: bool) -> Answer:
    """Say of each line of an answer what it waits for: trials of its own budget, or other lines that can change it.

    Args:
        answer: with its lines.
        missing: what its rows lack.
        complete: whether no line is to come once nothing is missing.
    """
    complete = complete and not missing(None)
    told = [
        part | {WAITS: missing(part["budget"]) or ("" if complete or part["settled"] else OTHER_LINES)}
        for part in answer.numbers.get(PARTS, [])
    ]
    return answer._replace(numbers=answer.numbers | {PARTS: told})


def unless_run(answer: Answer, missing: str) -> Answer:
    """Keep a verdict back while something is missing; what it would be so far stands in its sentence."""
    if not missing:
        return answer
    so_far = "" if answer.verdict == NOT_RUN else f" So far: {answer.verdict}."
    return answer._replace(verdict=NOT_RUN, sentence=f"{missing}.{so_far} {answer.sentence}")


def _unreplaced(half: Half, flagged: list[Alarm]) -> str:
    """Which points raise the alarm and are in no grid of longer trainings, in words; empty where none."""
    trials = half.ledger.trials
    there = set(trials.loc[trials["part"] == LONGER, ["budget", "d_m", "k_c"]].itertuples(index=False, name=None))
    without = [one for one in flagged if (one.budget, one.d_m, one.k_c) not in there]
    return (
        f"The grid of longer trainings lacks {counted(len(without), 'point')} that raised the alarm" if without else ""
    )


def _exclusions(sweep: Sweep, data: Dataset, flagged: list[Alarm], longer: Dataset | None) -> Answer:
    """What the page must say beside the verdicts: points that may be trained too little, and trials without a value."""
    question = "Exclusions: which points raise the under-training alarm, and which trials have no value?"
    failed = sweep.trials[sweep.trials["status"] != FINISHED]
    named = [f"{one.place}, k_c = {one.k_c:.0f}: {one.why}" for one in flagged]
    alarms = "; ".join(named) or "none"
    if not _can_be_alarmed(sweep, data):
        alarms = "not to be had, for no training was validated four times in its last fifth"
    lost = [_failure(row) for _, row in failed.iterrows()]
    sentence = f"Alarms: {alarms}. Trials without a value: {'; '.join(lost) or 'none'}."
    numbers: dict[str, Any] = {
        "under_trained": [one._asdict() for one in flagged],
        "failed": failed["trial_id"].tolist(),
    }
    if longer is not None:
        points, still = longer.rows["configuration"].nunique(), _alarms(sweep, longer)
        sentence += f" Of {points} points trained twice as long {len(still)} raise it again."
        numbers["under_trained_again"] = [one._asdict() for one in still]
    return Answer(question, f"{len(flagged)} points, {len(failed)} trials", sentence, numbers)


def _alarms(sweep: Sweep, data: Dataset) -> list[Alarm]:
    return [one for one in find_alarms(sweep, data, configurations(data)) if one.kind == UNDER_TRAINED]


def _can_be_alarmed(sweep: Sweep, data: Dataset) -> bool:
    """Whether any curve has as many validations at its end as the alarm asks for."""
    curves = sweep.curves[among(sweep.curves["trial_id"], data.rows["trial_id"])]
    column = "loss" if data.measure.is_loss else "metric"
    return not tail_gains(curves[(curves["split"] == "valid") & (curves["step"] > 0)], column, data.direction).empty


def _failure(row: pd.Series) -> str:
    size = f"N = {row['n_rec']:.0f}" if pd.isna(row["d_m"]) else f"d_m = {row['d_m']:.0f}, k_c = {row['k_c']:.0f}"
    return f"{row['architecture']}, P = {row['budget']:,.0f}, {size}, seed {row['seed']} ({row['status']})"
