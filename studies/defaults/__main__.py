"""`python -m studies.defaults`: the table of README.md, from the stored rows.

At each point (task, sizes, steps) stands what the recipe reached without a `training` section, beside the best of all
settings that were tried there by hand with no more data per step. Validation chooses, test tells.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa

from sweeper.store.schema import FINISHED
from sweeper.store.store import ResultsStore

HERE = Path(__file__).parent
PILOTS = HERE.parent / "paper_in_miniature" / "results"
STORES = (HERE / "results", PILOTS / "text_pilot", PILOTS / "shd_pilot")
CHECKS = "defaults_check"
"""How the names of the sweeps begin that ran without a `training` section."""
_POINT = ("data_name", "architecture", "steps", "trainable_params", "n_rec", "d_m")


def rows() -> list[dict[str, Any]]:
    """All finished trials."""
    tables = [ResultsStore.open(str(store)).read("trials") for store in STORES]
    return [row for row in pa.concat_tables(tables).to_pylist() if row["status"] == FINISHED]


def comparison(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row per point that has both: the default, the best by hand, and by how many per cent the default is worse."""
    points: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for trial in trials:
        points.setdefault(tuple(trial[name] for name in _POINT), []).append(trial)
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
    print("\n".join(table(comparison(rows()))))
