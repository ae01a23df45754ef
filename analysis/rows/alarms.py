"""Confound alarms: design points whose metric may say something else than what the law is about.

An alarm removes nothing. The report refits without the flagged rows and shows what moves.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import fdtri

from analysis.rows.means import configuration
from analysis.rows.sweep import DESIGN_POINT, Dataset, Measure, Sweep, among, sizes
from sweeper.store.schema import FINISHED, SPLITS
from sweeper.words import counted

FloatArray = npt.NDArray[np.float64]

TAIL = 0.2
"""Share of the steps that counts as the end of a curve. Assumption."""

UNTRAINED_SHARE = 0.05
"""Under-trained: twice the steps would gain more than this share of the metric's range over the sweep. Assumption."""

COLLAPSED_SHARE = 0.15
"""Collapsed: less than this share of the way from chance to the best run. Assumption; the published SHD-Adding run at
d_m = 2 made 12 % of it."""

SPREAD_LEVEL = 0.001
"""Spread outlier: seeds vary more than the others of its budget do, F test at this level for each configuration.
Assumption."""

GAP_SCORE = 5.0
"""Split disagreement: robust deviations between a configuration's gap of two splits and the usual gap. Assumption."""

EXAMPLES = 3
"""Design points of one kind of alarm that are named in sentences; the tables of report and page list all."""

PLAIN = {
    "under-trained": "would still gain from longer training",
    "learning rate at its bound": "with the smallest or largest learning rate that was tried",
    "collapsed": "with runs that hardly learnt",
    "seed spread": "where seeds differ more than elsewhere",
    "splits disagree": "where the splits of the data disagree more than elsewhere",
}
"""What each kind of alarm says about some design points, to go on after their number."""

KINDS = ("under-trained", "learning rate at its bound", "collapsed", "seed spread", "splits disagree")


class Alarm(NamedTuple):
    """One finding about one design point."""

    kind: str
    budget: float | None
    d_m: float | None
    n_rec: float
    k_c: float
    why: str
    trial_ids: tuple[str, ...]

    @property
    def place(self) -> str:
        """The design point in words: by d_m where the architecture has one, else by its neurons."""
        size = f"N = {self.n_rec:,.0f}" if self.d_m is None else f"d_m = {self.d_m:g}"
        return size if self.budget is None else f"{size}, P = {self.budget:,.0f}"


def alarm_sentences(alarms: Sequence[Alarm]) -> list[str]:
    """The alarms for a screen: a few of each kind, and how many more there are.

    Args:
        alarms: as `find_alarms` gives them.
    """
    sentences = []
    for kind in KINDS:
        places = [alarm for alarm in alarms if alarm.kind == kind]
        named = places if len(places) <= EXAMPLES + 1 else places[:EXAMPLES]
        sentences += [f"{kind} at {alarm.place}: {alarm.why}" for alarm in named]
        if len(named) < len(places):
            sentences.append(f"{kind} at {len(places) - len(named)} more design points, which the report lists")
    return sentences


def alarm_summary(alarms: Sequence[Alarm]) -> list[str]:
    """One sentence about all alarms, for the answer; none where there is none."""
    counts = {kind: sum(alarm.kind == kind for alarm in alarms) for kind in KINDS}
    parts = [f"{counted(count, 'design point')} {PLAIN[kind]}" for kind, count in counts.items() if count]
    return [f"What the sizes do may be confounded: {'; '.join(parts)}."] if parts else []


def find_alarms(sweep: Sweep, data: Dataset, table: pd.DataFrame) -> list[Alarm]:
    """Look for everything that may confound the rows of one group.

    Args:
        sweep: all rows and curves.
        data: the rows that enter.
        table: `analysis.rows.means.configurations(data)`.
    """
    if not len(table):
        return []
    flagged = [
        *_untrained(sweep, data),
        *rate_bounds(sweep, data),
        *_collapsed(data),
        *_spread(data, table),
        *_splits(data),
    ]
    return [_alarm(kind, why, data, table, ids) for kind, why, ids in flagged]


Flag = tuple[str, str, list[str]]


def _alarm(kind: str, why: str, data: Dataset, table: pd.DataFrame, ids: list[str]) -> Alarm:
    row = data.rows.loc[data.rows["trial_id"] == ids[0], "configuration"].iloc[0]
    point = configuration(table, int(np.flatnonzero(table["configuration"] == row)[0]))
    budget, d_m = (None if np.isnan(point[name]) else point[name] for name in ("budget", "d_m"))
    return Alarm(kind, budget, d_m, point["n_rec"], point["k_c"], why, tuple(ids))


def _untrained(sweep: Sweep, data: Dataset) -> list[Flag]:
    """Gain expected from twice the steps: the slope of the metric in ln(step) at the end of the curve, times ln 2."""
    curves = sweep.curves[among(sweep.curves["trial_id"], data.rows["trial_id"])]
    column = "loss" if data.measure.is_loss else "metric"
    # The logarithm of step 0 does not exist, and a curve that diverged for a while has no slope.
    curves = curves[np.isfinite(curves[column].to_numpy(float)) & (curves["step"] > 0)]
    # The training loss falls as long as a network memorises, so it is asked only where nothing else was recorded.
    split = "valid" if (curves["split"] == "valid").any() else "train"
    gains = tail_gains(curves[curves["split"] == split], column, data.direction)
    if gains.empty:
        return []
    value = data.rows["value"]
    # The range of the metric over the sweep is the effect that the law describes; a gain is harmful only in comparison
    # with it.
    threshold = UNTRAINED_SHARE * float(value.max() - value.min())
    numbers = data.rows.set_index("trial_id")["configuration"].loc[gains.index]
    flags = []
    for number, part in gains.groupby(numbers):
        gain, error = float(part["gain"].mean()), float(np.sqrt((part["error"] ** 2).mean() / len(part)))
        # Two standard errors keep the noise of a curve's end from raising alarms. With one single value the range is 0
        # and so the threshold, and every gain would count.
        if gain - 2 * error > threshold > 0:
            why = f"twice the steps would gain about {gain:.2g} (end of the {split} curve); threshold {threshold:.2g}"
            ids = data.rows.loc[data.rows["configuration"] == number, "trial_id"].tolist()
            flags.append(("under-trained", why, ids))
    return flags


def tail_gains(curves: pd.DataFrame, column: str, direction: str) -> pd.DataFrame:
    """Expected gain of each trial from twice its steps, with its standard error; needs 4 points in the tail.

    Args:
        curves: rows of one split, ordered by trial and step.
        column: `metric` or `loss`.
        direction: `min` or `max`.
    """
    # The sums below are one regression per trial, made for all trials at once, since a sweep may hold 100,000 of them.
    tail = curves[curves["step"] >= (1 - TAIL) * curves["step"].groupby(curves["trial_id"]).transform("max")]
    trial = tail["trial_id"]
    points = pd.DataFrame(
        {"x": np.log(tail["step"].to_numpy(float)), "y": tail[column].to_numpy(float)}, index=tail.index
    )
    centred = points - points.groupby(trial).transform("mean")
    x, y = centred["x"], centred["y"]
    total = pd.DataFrame({"xy": x * y, "xx": x**2, "yy": y**2, "count": 1.0}).groupby(trial).sum()
    # Two points are used up by the line and one more would leave a single degree of freedom for its error.
    total = total[(total["count"] >= 4) & (total["xx"] > 0)]
    slope = total["xy"] / total["xx"]
    # Rounding can leave a sum of squares just below zero where the points lie on the line.
    rest = (total["yy"] - slope * total["xy"]).clip(lower=0)
    error = np.sqrt(rest / (total["count"] - 2) / total["xx"])
    sign = -1.0 if direction == "min" else 1.0
    return pd.DataFrame({"gain": sign * np.log(2) * slope, "error": np.log(2) * error})


def rate_bounds(sweep: Sweep, data: Dataset) -> list[Flag]:
    """Design points whose best learning rate is the smallest or largest of those that were run there."""
    tried = sweep.trials[sweep.trials["status"] == FINISHED]
    ids = set(data.rows["trial_id"]).union(
        *(entry.trial_ids for entry in data.excluded if entry.rule == "learning rate")
    )
    tried = tried[among(tried["trial_id"], ids)]
    # Losing rates do not enter `data.rows`, so the range that was tried has to be read from the sweep.
    rates = (
        tried.assign(size=sizes(tried))
        .groupby(list(DESIGN_POINT), dropna=False)["learning_rate"]
        .agg(["min", "max", "nunique"])
    )
    joined = data.rows.join(rates, on=list(DESIGN_POINT))
    # This drops most rows cheaply; whether a rate is the end of its own design point is asked below, point by point.
    edge = joined[(joined["nunique"] > 1) & joined["learning_rate"].isin([*joined["min"], *joined["max"]])]
    flags = []
    for _, part in edge.groupby("configuration"):
        rate, low, high = (float(part[name].iloc[0]) for name in ("learning_rate", "min", "max"))
        if rate in (low, high):
            side = "smaller" if rate == low else "larger"
            why = f"best learning rate {rate:g} is the end of those run here ({low:g} to {high:g}): try {side} ones"
            flags.append(("learning rate at its bound", why, part["trial_id"].tolist()))
    return flags


def _collapsed(data: Dataset) -> list[Flag]:
    if data.chance is None:
        return []
    sign = -1.0 if data.direction == "min" else 1.0
    gain = sign * (data.rows["value"].astype("float64") - data.chance)
    furthest, flags = float(gain.max()), []
    # Where no run is better than chance there is no way to have gone: every run has collapsed.
    low = gain < COLLAPSED_SHARE * furthest if furthest > 0 else gain <= 0
    limit = (
        f"made less than {100 * COLLAPSED_SHARE:.0f} % of the way from chance ({data.chance:.4g}) to the best run "
        f"({data.chance + sign * furthest:.4g})"
        if furthest > 0
        else f"did no better than chance ({data.chance:.4g})"
    )
    for number, part in data.rows[low].groupby("configuration"):
        runs = int((data.rows["configuration"] == number).sum())
        worst = float(part["value"].max() if data.direction == "min" else part["value"].min())
        who = "the only run" if runs == 1 else f"{len(part)} of {runs} runs"
        why = f"{who} {limit}: {'' if len(part) == 1 else 'at worst '}{worst:.4g}"
        flags.append(("collapsed", why, part["trial_id"].tolist()))
    return flags


def _spread(data: Dataset, table: pd.DataFrame) -> list[Flag]:
    flags = []
    runs = table[table["n"] > 1].assign(freedom=lambda rows: rows["n"] - 1, size=sizes)
    runs["squares"] = runs["sd"] ** 2 * runs["freedom"]
    # A configuration is compared with the others of its budget: small networks are noisier, and that is no alarm.
    for name in ("squares", "freedom"):
        runs[f"other_{name}"] = runs.groupby("size")[name].transform("sum") - runs[name]
    for _, row in runs.iterrows():
        freedom, rest, others = int(row["freedom"]), int(row["other_freedom"]), float(row["other_squares"])
        # An F test against a variance of fewer than three degrees of freedom can hardly ever reject at this level.
        if rest < 3 or others <= 0:
            continue
        ratio = float(row["sd"] ** 2 / (others / rest))
        if ratio > fdtri(freedom, rest, 1 - SPREAD_LEVEL):
            ids = data.rows.loc[data.rows["configuration"] == row["configuration"], "trial_id"].tolist()
            why = f"seeds vary {np.sqrt(ratio):.1f} times as much (sd {row['sd']:.3g}) as others at its budget do"
            flags.append(("seed spread", why, ids))
    return flags


def _splits(data: Dataset) -> list[Flag]:
    """Configurations whose gap between the measured split and another one is far off the usual gap."""
    columns = {split: Measure(kind=data.measure.kind, split=split).column for split in SPLITS}
    flags: list[Flag] = []
    for split, column in columns.items():
        # A gap of which some rows are missing would compare different configurations.
        if split == data.measure.split or data.rows[column].isna().any():
            continue
        gap = (data.rows["value"] - data.rows[column].astype("float64")).groupby(data.rows["configuration"]).mean()
        off = gap - gap.median()
        # For a normal distribution 1.4826 times the median distance from the median is the standard deviation. Unlike
        # that, it does not grow with the very outliers that are looked for.
        scale = 1.4826 * float(off.abs().median())
        # The scale is 0 where more than half of the gaps are the same, as with rounded accuracies; then nothing can be
        # judged.
        for number in off.index[(off.abs() > GAP_SCORE * scale).to_numpy() & (scale > 0)]:
            ids = data.rows.loc[data.rows["configuration"] == number, "trial_id"].tolist()
            why = (
                f"{data.measure.split} minus {split} is {gap[number]:.3g}, usually {gap.median():.3g}: "
                f"{abs(off[number]) / scale:.0f} robust deviations apart"
            )
            flags.append(("splits disagree", why, ids))
    return flags
