"""`python -m studies.defaults`: the tables of README.md, from the stored rows.

At each point (task, sizes, steps) stands what the recipe reached without a `training` section, beside the best of all
settings that were tried there by hand with no more data per step. Validation chooses, test tells. The first table has
the seed by which recipes were chosen; the second has others, so that a difference can be told from noise.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pyarrow as pa

from sweeper.store.schema import FINISHED
from sweeper.store.store import ResultsStore

HERE = Path(__file__).parent
PILOTS = HERE.parent / "paper_in_miniature" / "results"
STORES = (HERE / "results", PILOTS / "text_pilot", PILOTS / "shd_pilot")
CHECKS = "defaults_check"
"""How the names of the sweeps begin that ran without a `training` section."""
CHOSEN_BY = 0
"""The seed by which the recipes were chosen."""
_POINT = ("data_name", "architecture", "steps", "trainable_params", "n_rec", "d_m")


def rows() -> list[dict[str, Any]]:
    """All finished trials."""
    tables = [ResultsStore.open(str(store)).read("trials") for store in STORES]
    return [row for row in pa.concat_tables(tables).to_pylist() if row["status"] == FINISHED]


def comparison(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per point that has both: the default, the best by hand, and by how many per cent the default is worse."""
    points = _points([trial for trial in trials if trial["seed"] == CHOSEN_BY])
    compared = []
    for point, group in sorted(points.items(), key=str):
        checks = [trial for trial in group if trial["sweep"].startswith(CHECKS)]
        if not checks:
            continue
        # Where a recipe was changed by what a first check showed, the later check is that of the recipe.
        default = max(checks, key=lambda trial: trial["started_at"])
        data = default["batch_size"] * default["length"]
        others = [t for t in group if t not in checks and t["batch_size"] * t["length"] <= data]
        if not others:
            continue
        sign = 1 if default["direction"] == "min" else -1
        tuned = min(others, key=lambda trial: sign * trial["final_valid_metric"])
        worse = {
            split: 100 * sign * (default[f"final_{split}_metric"] / tuned[f"final_{split}_metric"] - 1)
            for split in ("valid", "test")
        }
        compared.append({**dict(zip(_POINT, point, strict=True)), "default": default, "tuned": tuned, "worse": worse})
    return compared


def replicated(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same by means over seeds that took no part in the choice of recipes, with what the seeds leave open.

    Returns:
        One row per point: `default` and `tuned` (lists of trials, one per seed, in the same order), `worse` (per cent
        by which the default's mean is worse, by split) and `error` (standard error of it, from the paired seeds).
    """
    compared = []
    for point, group in sorted(_points([trial for trial in trials if trial["seed"] != CHOSEN_BY]).items(), key=str):
        default = sorted((t for t in group if t["sweep"].startswith(CHECKS)), key=_seed)
        settings: dict[str, list[dict[str, Any]]] = {}
        for trial in sorted(group, key=_seed):
            settings.setdefault(json.dumps(json.loads(trial["spec"])["training"], sort_keys=True), []).append(trial)
        seeds = [trial["seed"] for trial in default]
        others = [
            tried for tried in settings.values() if [t["seed"] for t in tried] == seeds and tried[0] not in default
        ]
        if not default or not others:
            continue
        sign = 1 if default[0]["direction"] == "min" else -1
        tuned = min(others, key=lambda tried: sign * fmean(t["final_valid_metric"] for t in tried))
        worse, error = {}, {}
        for split in ("valid", "test"):
            ours, theirs = ([trial[f"final_{split}_metric"] for trial in tried] for tried in (default, tuned))
            worse[split] = 100 * sign * (fmean(ours) / fmean(theirs) - 1)
            apart = [a - b for a, b in zip(ours, theirs, strict=True)]
            error[split] = 100 * stdev(apart) / len(apart) ** 0.5 / fmean(theirs)
        named = dict(zip(_POINT, point, strict=True))
        compared.append(
            {**named, "default": default, "tuned": tuned, "tried": len(others), "worse": worse, "error": error}
        )
    return compared


def replicated_table(compared: list[dict[str, Any]]) -> list[str]:
    """The second comparison as lines of Markdown."""
    lines = [
        "| data | steps | P | n_rec | d_m | metric | tried | tuned, by | default | worse by (valid) | (test) |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in compared:
        tuned, default, worse, error = one["tuned"], one["default"], one["worse"], one["error"]
        sizes = f"{one['steps']} | {one['trainable_params']:,} | {one['n_rec']} | {one['d_m']}"
        means = [fmean(trial["final_valid_metric"] for trial in tried) for tried in (tuned, default)]
        differences = " | ".join(f"{worse[split]:+.1f} ± {error[split]:.1f} %" for split in ("valid", "test"))
        lines.append(
            f"| {one['data_name']} | {sizes} | {default[0]['metric']} | {one['tried']} | {means[0]:.3f}, "
            f"{_differs(default[0], tuned[0])} | {means[1]:.3f} | {differences} |"
        )
    return lines


def _differs(default: Mapping[str, Any], tuned: Mapping[str, Any]) -> str:
    """The settings of training in which a tuned trial differs from the default."""
    ours, theirs = (json.loads(trial["spec"])["training"] for trial in (default, tuned))
    return ", ".join(f"{name} {theirs[name]:g}" if isinstance(theirs[name], float) else f"{name} {theirs[name]}"
                     for name in theirs if theirs[name] != ours.get(name))  # fmt: skip


def _points(trials: list[dict[str, Any]]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Trials by point."""
    points: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for trial in trials:
        points.setdefault(tuple(trial[name] for name in _POINT), []).append(trial)
    return points


def _seed(trial: Mapping[str, Any]) -> int:
    return int(trial["seed"])


def table(compared: list[dict[str, Any]]) -> list[str]:
    """The comparison as lines of Markdown."""
    lines = [
        "| data | architecture | steps | P | n_rec | d_m | metric | tuned | default | worse by (valid) | (test) |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in compared:
        tuned, default, worse = one["tuned"], one["default"], one["worse"]
        sizes = f"{one['steps']} | {one['trainable_params']:,} | {one['n_rec']} | {one['d_m']}"
        lines.append(
            f"| {one['data_name']} | {one['architecture']} | {sizes} | {default['metric']} | "
            f"{tuned['final_valid_metric']:.3f} | {default['final_valid_metric']:.3f} | {worse['valid']:+.1f} % | "
            f"{worse['test']:+.1f} % |"
        )
    return lines


if __name__ == "__main__":
    print("\n".join([*table(comparison(rows())), "", *replicated_table(replicated(rows()))]))
