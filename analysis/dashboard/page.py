"""The dashboard: all numbers as one JSON payload, in one HTML file with Plotly and the page's own script."""

import base64
import gzip
import shlex
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from string import Template
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.dashboard.panels import Panel, Tab
from analysis.dashboard.run_table import listed_ids, run_table, sampled_rows
from analysis.dashboard.tabs import runs_tab
from analysis.figures.theme import CONFIG, axis, layout, theme
from analysis.glossary import GLOSSARY
from analysis.html import asset, content_security_policy, to_json
from analysis.laws.view import View
from analysis.report.tables import Table
from analysis.rows.sweep import Sweep, among
from sweeper.store.schema import STATUSES

SHOWN = 2000
"""Most single trials a panel draws; above it means are drawn. `benchmarks/analysis.py` times a page of as many."""

CURVE_DIGITS = 6
"""Significant digits of a stored curve in the file."""

CURVE_POINTS = 60
"""Most points of a stored curve in the file."""

FloatArray = npt.NDArray[np.float64]

# In the order in which they need each other: the first defines what the last one begins, before Plotly is read.
SCRIPTS = (
    *("data.js", "state.js", "panels.js", "runs.js", "table.js", "run_figures.js"),
    *("controls.js", "paper.js", "main.js", "live.js"),
)

START = "start();"
"""Draws the figures, once Plotly is there."""


def payload(
    sweep: Sweep,
    views: list[View],
    tabs: list[list[Tab]],
    answers: Sequence[tuple[str, ...]],
    *,
    provenance: list[str],
    warnings: list[str],
    live: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Collect everything the page shows.

    Args:
        sweep: all rows.
        views: groups with at least one row that enters.
        tabs: tabs of each group.
        answers: lines of each group's answer card.
        provenance: lines that say how the numbers were made.
        warnings: sentences shown on top.
        live: settings of the served page; None for a file.
    """
    counts = sweep.trials["status"].value_counts()
    by_status = ", ".join(f"{counts[status]:,} {status.replace('_', ' ')}" for status in STATUSES if status in counts)
    total = len(sweep.trials)
    return {
        "title": sweep.label,
        "subtitle": f"{total:,} trials: {by_status}" if total else "no trials yet",
        "total": total,
        "limit": SHOWN,
        "glossary": GLOSSARY,
        "theme": {mode: theme(mode, 1) for mode in ("light", "dark")},
        "config": CONFIG,
        "curve_layout": layout(axis("step", type="log", dtick="D2"), axis(""))
        | {"margin": {"l": 58, "r": 14, "t": 6, "b": 44}},
        "provenance": provenance,
        "warnings": warnings,
        "live": live is not None,
        **(live or {}),
        "tabs": [_tab(runs_tab(sweep, live=live is not None))],
        "table": run_table(sweep, views, listed_ids(sweep, views)),
        "groups": [
            _group(view, group_tabs) | {"answer": lines}
            for view, group_tabs, lines in zip(views, tabs, answers, strict=True)
        ],
    }


def _group(view: View, tabs: list[Tab]) -> dict[str, Any]:
    data, table = view.data, view.table
    budgets = sorted(float(b) for b in table["budget"].dropna().unique())
    counts = data.rows["k_c"].value_counts()
    rows = sampled_rows(data)
    return {
        "label": data.label,
        "metric": data.title,
        "unit": data.measure.unit(data.keys["metric"]),
        "measure": data.measure.column,
        "task_metric": data.keys["metric"],
        "direction": data.direction,
        "budgets": budgets,
        # Without d_m the connectivity follows n_rec and is no choice: a filter by it would leave a single size.
        "k_cs": sorted((float(k) for k in counts.index), key=lambda k: (-counts[k], k)) if view.has_d_m else [],
        "seeds": sorted(int(seed) for seed in data.rows["seed"].dropna().unique()),
        "left_out": len(data.rows) - len(rows),
        "theme": {mode: {"budget": theme(mode, len(budgets))["budget"]} for mode in ("light", "dark")},
        # Numbers of a trial's configuration are stored once per configuration and looked up by its place, which keeps
        # the file small.
        "trials": {
            "id": rows["trial_id"].tolist(),
            "configuration": _positions(rows, table),
            "value": rows["value"].to_numpy(float),
            # Imported rows may have none.
            "seed": rows["seed"].to_numpy(float if rows["seed"].isna().any() else np.int32),
            "wall_s": rows["wall_s"].to_numpy(float),
        },
        "configurations": {
            name: table[name].to_numpy(float)
            for name in ("budget", "k_c", "n_rec", "d_m", "k_e", "trainable_params", "mean", "half", "n")
        }
        | _predictions(view),
        "tabs": [_tab(tab) for tab in tabs],
    }


def _predictions(view: View) -> dict[str, FloatArray]:
    if view.overlay is None:
        return {}
    predicted = view.overlay.predicted
    return {"predicted": predicted, "residual": view.table["mean"].to_numpy(float) - predicted}


def _positions(rows: pd.DataFrame, table: pd.DataFrame) -> npt.NDArray[np.int32]:
    place = pd.Series(np.arange(len(table), dtype=np.int32), index=table["configuration"])
    return np.asarray(place.loc[rows["configuration"]], dtype=np.int32)


def _tab(tab: Tab) -> dict[str, Any]:
    return {"id": tab.id, "title": tab.title, "panels": [_panel(panel) for panel in tab.panels]}


def _panel(panel: Panel) -> dict[str, Any]:
    entry = panel._asdict()
    # Null in place of an empty list: the script asks whether a panel has figures at all.
    entry["choices"] = [choice._asdict() for choice in panel.choices] or None
    table = Table(panel.columns, panel.rows, keys=2 if panel.keyed else 1).without_empty()
    return entry | {"columns": table.columns, "rows": table.rows or None}


def records(sweep: Sweep, trials: pd.DataFrame) -> dict[str, Any]:
    """Spec, rerun command and training curves of each trial, which the page reads only when one is opened."""
    ids, specs = trials["trial_id"].tolist(), trials["spec"].tolist()
    by_trial: dict[str, Any] = {
        # What another tool ran cannot be run again from here.
        trial_id: {"spec": spec, "rerun": "" if sweep.notes else rerun_command(sweep.uri, trial_id), "curves": {}}
        for trial_id, spec in zip(ids, specs, strict=True)
    }
    curves = sweep.curves[among(sweep.curves["trial_id"], ids)]
    if not len(curves):
        return by_trial
    names, splits = curves["trial_id"].to_numpy(object), curves["split"].to_numpy(object)
    steps = curves["step"].to_numpy(np.int64)
    metric, norms = (significant(curves[name].to_numpy(float), CURVE_DIGITS) for name in ("metric", "gradient_norm"))
    # Curves are sorted by trial, split and step, so a new curve begins wherever one of the first two changes. A groupby
    # over 100,000 trials would take most of the time of the page.
    starts = np.flatnonzero((names[1:] != names[:-1]) | (splits[1:] != splits[:-1])) + 1
    for low, high in pairwise([0, *starts.tolist(), len(curves)]):
        points = min(high - low, CURVE_POINTS)
        # The first and the last evaluation are always kept.
        keep = low + np.linspace(0, high - low - 1, points).round().astype(int)
        curve = {"step": steps[keep].tolist(), "metric": metric[keep].tolist()}
        # Kept on request only (`training.record: gradients`), and of the training split.
        if not np.isnan(norms[low:high]).all():
            curve["gradient_norm"] = norms[keep].tolist()
        by_trial[names[low]]["curves"][splits[low]] = curve
    return by_trial


def significant(values: FloatArray, digits: int) -> FloatArray:
    """Round to significant digits; zero and missing values stay.

    >>> significant(np.array([1.23456, 0.00123456]), 3).tolist()
    [1.23, 0.00123]
    """
    # The logarithm of zero or NaN would warn; 1 in their place changes nothing, since both stay as they are below.
    size = np.where(np.isfinite(values) & (values != 0), np.abs(values), 1.0)
    scale = 10.0 ** (digits - 1 - np.floor(np.log10(size)))
    return np.asarray(np.round(values * scale) / scale, dtype=np.float64)


def rerun_command(uri: str, trial_id: str) -> str:
    """The command that runs one trial again, quoted for a shell."""
    return shlex.join(["sweeper", "retry", uri, "--where", f"trial_id == '{trial_id}'"])


def html(content: Mapping[str, Any], lazy: Mapping[str, Any] | None) -> str:
    """Build the page; the same inputs give the same bytes.

    Args:
        content: `payload(...)`.
        lazy: `records(...)`, packed; None for the served page, which asks the server.
    """
    from plotly.offline import get_plotlyjs

    plotly = get_plotlyjs()
    app = "\n".join(asset(name) for name in SCRIPTS)
    first = {name: value for name, value in content.items() if name != "table"}
    # What only some readers ask for (specs, curves, the table) is packed: the browser then need not read it to begin.
    return Template(asset("page.html")).substitute(
        title=escape(str(content["title"])),
        csp=content_security_policy(plotly, app, START, live=bool(content["live"])),
        css=asset("page.css"),
        payload=to_json(first),
        # The served page asks the server for these, so its file is without them.
        lazy="" if lazy is None else _packed(lazy),
        table="" if lazy is None else _packed(content["table"]),
        plotly=plotly,
        app=app,
        start=START,
    )


def _packed(value: Mapping[str, Any]) -> str:
    """JSON, compressed (always to the same bytes), as text."""
    return base64.b64encode(gzip.compress(to_json(value).encode(), 6, mtime=0)).decode()
