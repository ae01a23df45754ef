"""A sweep on one screen: what is done, the best split per budget, what it cost, what to beware of. No law is fitted."""

import shlex
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import pandas as pd

from analysis.rows.alarms import Alarm, alarm_sentences
from analysis.rows.load import group_lines
from analysis.rows.means import Optimum, configuration, noise_text
from analysis.rows.sweep import Dataset, Sweep
from sweeper.queue.journal import live_launches
from sweeper.store.schema import DIVERGED, FINISHED, STATUSES
from sweeper.words import counted

WARNINGS = 12
"""Most warnings that are printed; the rest is counted."""


class Hours(NamedTuple):
    """What the sweep cost."""

    trial: float
    """Wall time of all attempts, hours."""
    core: float | None
    """Process CPU time of the rows that recorded it, hours."""
    gpu: float
    """Wall time of attempts on a GPU, hours."""


class Best(NamedTuple):
    """The best measured network of one budget."""

    budget: float
    k_c: float
    n_rec: float
    d_m: float | None
    """None for architectures that are sized by n_rec alone."""
    metric: float
    runs: int
    good_d_m: tuple[float, float] | None
    """Range of d_m that is as good within the noise; None where it is unknown."""
    as_good: str
    """The same in words."""
    verdict: str
    """Whether the optimum is bracketed."""


class GroupSummary(NamedTuple):
    """One group of rows."""

    label: str
    title: str
    direction: str
    rows: int
    configurations: int
    noise: str | None
    """Standard deviation of a single run, in words."""
    best: tuple[Best, ...]
    warnings: tuple[str, ...]


class Summary(NamedTuple):
    """The whole sweep."""

    label: str
    uri: str
    apart: tuple[str, ...]
    """What sets the groups apart, and what must be known about their rows."""
    trials: int
    by_status: dict[str, int]
    by_budget: dict[str, dict[str, int]]
    """Trials by budget and status."""
    hours: Hours
    groups: tuple[GroupSummary, ...]
    warnings: tuple[str, ...]


class DescribedGroup(Protocol):
    """One group of rows with what was computed about them, such as `analysis.laws.view.View`."""

    @property
    def data(self) -> Dataset:
        """The rows."""

    @property
    def table(self) -> pd.DataFrame:
        """Its configurations."""

    @property
    def optima(self) -> Sequence[Optimum]:
        """The best of each budget and k_c."""

    @property
    def alarms(self) -> Sequence[Alarm]:
        """What may confound the rows."""


def summarise(sweep: Sweep, groups: Sequence[DescribedGroup]) -> Summary:
    """Collect the summary of a sweep.

    Args:
        sweep: all rows.
        groups: its rows by what may be fitted together.
    """
    trials = sweep.trials
    counts = {status: int((trials["status"] == status).sum()) for status in STATUSES}
    return Summary(
        label=sweep.label,
        uri=sweep.uri,
        apart=tuple(group_lines([group.data for group in groups])),
        trials=len(trials),
        by_status={status: count for status, count in counts.items() if count},
        by_budget=_by_budget(trials),
        hours=_hours(sweep),
        groups=tuple(_group(group) for group in groups),
        warnings=tuple(_warnings(sweep)),
    )


def _by_budget(trials: pd.DataFrame) -> dict[str, dict[str, int]]:
    by_budget: dict[str, dict[str, int]] = {}
    budgets = trials["budget"].astype("float64")
    # None stands for the trials without a budget, which come last.
    for budget in [*sorted(budgets.dropna().unique()), None]:
        rows = trials[budgets.isna() if budget is None else budgets == budget]
        if len(rows):
            counts = {status: int((rows["status"] == status).sum()) for status in STATUSES}
            # Keys of JSON objects are texts, and a budget is a whole number.
            name = "none" if budget is None else f"{budget:.0f}"
            by_budget[name] = {status: count for status, count in counts.items() if count}
    return by_budget


def _hours(sweep: Sweep) -> Hours:
    trials = sweep.trials
    wall = trials["wall_s"].astype("float64").fillna(0.0)
    # Rows hold the last attempt of each trial alone; the table of attempts holds those that a later try replaced as
    # well. The larger sum is taken, in case that table lacks some.
    attempts = wall.sum()
    if sweep.store is not None:
        tried = sweep.store.read("attempts", ["wall_s"]).to_pandas()["wall_s"].astype("float64").sum()
        attempts = max(float(tried), float(attempts))
    # Torch calls such devices `cuda` or `cuda:0`; a row need not name its device.
    on_gpu = trials["device"].astype(object).fillna("").astype(str).str.contains("cuda|gpu", case=False)
    core = trials["cpu_s"].astype("float64")
    return Hours(
        trial=float(attempts) / 3600,
        # A sum over nothing is 0, which would claim that the sweep cost no processor time.
        core=float(core.sum()) / 3600 if core.notna().any() else None,
        gpu=float(wall[on_gpu].sum()) / 3600,
    )


def _group(group: DescribedGroup) -> GroupSummary:
    data, table, noise = group.data, group.table, noise_text(group.table)
    best = []
    for optimum in group.optima:
        # Architectures that are sized by n_rec alone have no d_m to print.
        point, has_d_m = configuration(table, optimum.best), optimum.bracketed is not None
        best.append(
            Best(
                budget=optimum.budget,
                k_c=optimum.k_c,
                n_rec=point["n_rec"],
                d_m=point["d_m"] if has_d_m else None,
                metric=point["mean"],
                runs=int(point["n"]),
                good_d_m=(optimum.good or {}).get("d_m"),
                as_good=optimum.good_text("d_m") if has_d_m else "",
                verdict=optimum.verdict,
            )
        )
    warnings = alarm_sentences(group.alarms)
    if not len(table):
        warnings.append(nothing_left(data))
    if noise is None and len(table):
        warnings.append("one run per configuration: no interval")
    title, direction = data.title, data.direction
    return GroupSummary(data.label, title, direction, len(data.rows), len(table), noise, tuple(best), tuple(warnings))


def nothing_left(data: Dataset) -> str:
    """Why no row of a group enters, in one sentence."""
    # What a condition left out is no reason: the user asked for that.
    lost = [f"{len(entry.trial_ids)} {entry.rule}" for entry in data.excluded if entry.rule != "where"]
    return f"no row enters: {', '.join(lost) or 'there is none'}; `sweeper status` gives the reasons"


def _warnings(sweep: Sweep) -> list[str]:
    trials = sweep.trials
    if not len(trials):
        return [what_first(sweep)]
    sentences = []
    lost = trials[trials["status"] != FINISHED]
    if len(lost):
        sentences.append(f"{counted(len(lost), 'trial')} did not finish: {commonest_reason(lost['reason'])}")
    if trials["code_version"].nunique() > 1:
        sentences.append(
            f"{trials['code_version'].nunique()} code versions: {', '.join(sorted(trials['code_version'].unique()))}"
        )
    # Metrics on two versions of a data set must not be compared, though their name is the same.
    hashes = trials.dropna(subset=["data_sha256"]).groupby("data_name")["data_sha256"].nunique()
    sentences += [f"data {name} was read in {count} versions" for name, count in hashes.items() if count > 1]
    return sentences


def commonest_reason(reasons: "pd.Series[str]") -> str:
    """The most common of some reasons; those that differ in numbers alone are one, and the first stands for all.

    >>> commonest_reason(pd.Series(["loss nan at step 8", "loss nan at step 9", None]))
    'loss nan at step 8 (2 of them)'
    """
    told = reasons.astype(object).where(reasons.notna(), "no reason given")
    kinds = told.str.replace(r"\d+(\.\d+)?", "#", regex=True)
    top = kinds.value_counts()
    first = told[kinds == top.index[0]].iloc[0]
    return first if len(told) == 1 else f"{first} ({'all' if top.iloc[0] == len(told) else top.iloc[0]} of them)"


def what_first(sweep: Sweep) -> str:
    """What to do before anything can be analysed: wait for what runs, see why nothing finished, or launch."""
    where = shlex.quote(sweep.uri)
    launches = [] if sweep.store is None else live_launches(sweep.store, wait=False)
    if launches and not len(sweep.trials):
        running, total = sum(len(one.running) for one in launches), sum(one.total for one in launches)
        return (
            f"A launch is at work: {running:,} of {counted(total, 'trial')} running, none ended yet. Ask again when "
            f"some have ended; `sweeper status {where}` tells how far they are."
        )
    if len(sweep.trials):
        return f"`sweeper status {where}` tells why no row can be used."
    return "Launch a grid first: `sweeper launch grid.yaml`."


def nothing_to_go_on(sweep: Sweep) -> str:
    """Why a sweep without a usable row gives no next run, and what to do first."""
    lost = sweep.trials[sweep.trials["status"] != FINISHED]
    if not len(sweep.trials):
        return f"{sweep.uri}: no trial has ended yet. {what_first(sweep)}"
    if len(lost) < len(sweep.trials):
        return f"{sweep.uri}: no finished trial with a value is among the rows that were chosen"
    counts = ", ".join(f"{count:,} {status}" for status, count in lost["status"].value_counts().items())
    remedy = f"`sweeper status {shlex.quote(sweep.uri)}` gives every reason"
    if (lost["status"] == DIVERGED).all():
        remedy = "launch the grid with a learning rate ten times smaller"
    return f"{sweep.uri}: no finished trial to go on from: {counts}, {commonest_reason(lost['reason'])}; {remedy}"


def as_json(content: Any) -> Any:
    """The summary as JSON values."""
    # Before the plain tuples: a named one is a tuple too.
    if isinstance(content, tuple) and hasattr(content, "_asdict"):
        return {name: as_json(value) for name, value in content._asdict().items()}
    if isinstance(content, (list, tuple)):
        return [as_json(value) for value in content]
    if isinstance(content, dict):
        return {name: as_json(value) for name, value in content.items()}
    return None if isinstance(content, float) and not np.isfinite(content) else content
