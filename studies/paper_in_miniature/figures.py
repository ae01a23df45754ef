"""Figures of the replication study's answers, drawn from their numbers: single axes, ablations, architectures."""

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.dashboard.export import Picture
from analysis.figures.effects import plot_effects
from analysis.figures.isobudget import Figure, scatter
from analysis.figures.theme import PLAIN_SYMBOL, axis, layout, resolve, subscripts, theme, titled
from analysis.rows.effects import Effect
from studies.answers import Answer

AXES = ("n_rec", "k_e", "k_c")


def study_pictures(answers: Sequence[Answer], metric: str, mode: str = "light") -> list[Picture]:
    """Pictures of what the answers hold; a question without numbers has none.

    Args:
        answers: what was answered about one task.
        metric: axis title of the metric.
        mode: `light` or `dark`.
    """
    # Six colours of the ramp are enough: no figure here draws a line for each budget.
    tokens = theme(mode, 6)
    along = {a.numbers["axis"]: a.numbers for a in answers if "means" in a.numbers}
    effects = [
        Effect(e["setting"], e["value"], "", e["pairs"], *e["gain"])
        for a in answers
        for e in a.numbers.get("effects", [])
        if e["gain"]
    ]
    note = subscripts("against the study's own setting at equal P, d_m and seed; bar = 95 % interval over pairs")
    compared = [row for a in answers for row in a.numbers.get("comparisons", [])]
    drawn = {
        "axes-alone": plot_axes(along, metric) if along else None,
        "ablations": titled(plot_effects(effects, metric), "Ablations", note) if effects else None,
        "architectures": plot_architectures(compared, metric) if compared else None,
    }
    return [Picture(name, resolve(figure, tokens)) for name, figure in drawn.items() if figure is not None]


def plot_axes(along: Mapping[str, Mapping[str, Any]], metric: str) -> Figure:
    """Draw the metric along each axis while the others stand still, side by side on one scale."""
    shown = [name for name in AXES if name in along]
    width = 1 / len(shown)
    x_axes, traces = {}, []
    for place, name in enumerate(shown):
        numbers, number = along[name], "" if place == 0 else str(place + 1)
        fixed = ", ".join(
            f"{PLAIN_SYMBOL.get(key, key)} = {value}" for key, value in numbers["held"].items() if key in PLAIN_SYMBOL
        )
        title = f"{subscripts(PLAIN_SYMBOL[name])} ({subscripts(fixed)})" if fixed else subscripts(PLAIN_SYMBOL[name])
        ends = [place * width + 0.03 * (place > 0), (place + 1) * width - 0.02]
        # Three x axes share one y axis, so that steps along different sizes can be compared by eye.
        x_axes[f"xaxis{number}"] = axis(title, numbers["levels"], domain=ends, anchor="y")
        traces.append(
            scatter(
                "lines+markers",
                numbers["levels"],
                numbers["means"],
                xaxis=f"x{number}",
                error_y={"type": "data", "array": numbers["half"], "color": "@accent", "thickness": 1.5, "width": 3},
                line={"color": "@accent", "width": 2},
                marker={"color": "@accent", "size": 7},
            )
        )
    settings = layout(x_axes.pop("xaxis"), axis(metric)) | x_axes
    return titled({"data": traces, "layout": settings}, "Each axis alone", "means over seeds with 95 % intervals")


def plot_architectures(rows: Sequence[Mapping[str, Any]], metric: str) -> Figure:
    """Draw the best network of each architecture against the budget."""
    lines: dict[str, dict[float, float]] = {}
    for row in rows:
        # The same value comes once for each architecture that it is compared with.
        lines.setdefault("elm", {})[row["budget"]] = row["elm"]
        lines.setdefault(row["architecture"], {})[row["budget"]] = row["other"]
    traces = [
        scatter(
            "lines+markers",
            sorted(points),
            [points[budget] for budget in sorted(points)],
            name=name,
            line={"color": f"@task:{i}", "width": 3 if name == "elm" else 2},
            marker={"size": 8},
        )
        for i, (name, points) in enumerate(lines.items())
    ]
    budgets = [row["budget"] for row in rows]
    settings = layout(axis("trainable parameters P", budgets), axis(metric), showlegend=True)
    note = "best configuration of each on the validation split; mean over seeds"
    return titled({"data": traces, "layout": settings}, "Architectures at equal P", note)
