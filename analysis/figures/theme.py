"""Colours, fonts and axis settings: one dictionary for the page, the report and the notebook figures.

Figures name colours by tokens (``@ink``, ``@budget:2``) that `resolve` replaces: one figure serves light and dark.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

# Fonts that systems have: the page loads none, for it must open without a network.
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', 'Liberation Sans', sans-serif"

# Every colour is written #rrggbb: Plotly 4 takes other notations it does not know for the default colour, without a
# word.
LIGHT = {
    "page": "#f5f6f9", "card": "#ffffff", "ink": "#1a1e29", "muted": "#5a6172", "line": "#dde1e9", "grid": "#e6e9f0",
    "accent": "#0a5bab", "accent_soft": "#d3e2f2", "star": "#ffc400", "star_edge": "#1a1e29", "theory": "#1a1e29",
    "good": "#1c7c45", "warn": "#8f5a00", "bad": "#b3261e", "point": "#5a6172",
    "published": "#b34a00",
}  # fmt: skip
DARK = {
    "page": "#10141b", "card": "#1a2029", "ink": "#eef1f6", "muted": "#a3acbb", "line": "#303947", "grid": "#29313d",
    "accent": "#6ab0f3", "accent_soft": "#24425f", "star": "#ffc400", "star_edge": "#ffffff", "theory": "#f2f4f8",
    "good": "#5fce8c", "warn": "#f0b44c", "bad": "#ff8a80", "point": "#a3acbb",
    "published": "#ff9f5a",
}  # fmt: skip

ORDERED_LIGHT = ("#440154", "#443a83", "#31688e", "#20847f", "#35924a", "#6f9a17", "#9a8500")
"""Viridis from its dark end, darkened at the light end so that every step keeps 3:1 against white."""
ORDERED_DARK = ("#b884ea", "#8c9cf0", "#5fb3dc", "#3fcbae", "#78d872", "#bfe34f", "#fde84f")
"""The same hues, lightened so that every step keeps 3:1 against the dark card."""

UNORDERED_LIGHT = ("#0072b2", "#b34a00", "#007a5a", "#a8437f", "#8a6d00", "#2f7fb5", "#1a1e29")
UNORDERED_DARK = ("#56b4e9", "#ff9f5a", "#2fcaa0", "#e79ac4", "#f0e442", "#9fd0f0", "#eef1f6")
"""Okabe and Ito's colour-blind-safe set, adjusted for contrast on each ground."""

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x")

# Viridis runs from its dark end on the light ground and from its light end on the dark one, so that small values stand
# out from both; the ends that would fade into the ground are darkened or lightened.
CONTINUOUS_LIGHT = ((0.0, "#440154"), (0.25, "#3b528b"), (0.5, "#21908d"), (0.75, "#4aa84f"), (1.0, "#b39b00"))
CONTINUOUS_DARK = ((0.0, "#fde725"), (0.25, "#7ad151"), (0.5, "#3dbcab"), (0.75, "#7f9fe8"), (1.0, "#c79af0"))
DIVERGING_LIGHT = ((0.0, "#2166ac"), (0.5, "#d9dde4"), (1.0, "#b2182b"))
DIVERGING_DARK = ((0.0, "#6ab0f3"), (0.5, "#3a4452"), (1.0, "#ff8a80"))

SYMBOL_OF = {
    "n_rec": "neurons N",
    "d_m": "memory units d<sub>m</sub> per neuron",
    "k_e": "k<sub>e</sub>, parameters per neuron",
    "k_c": "k<sub>c</sub>, synapses per neuron",
    "trainable_params": "trainable parameters P",
    "budget": "budget P",
}
"""Axis titles of the columns."""

PLAIN_SYMBOL = {"n_rec": "N", "d_m": "d_m", "k_e": "k_e", "k_c": "k_c", "trainable_params": "P", "budget": "P"}
"""The same for plain text."""


def subscripts(text: str) -> str:
    """Set the symbols of a figure's text as the axes do.

    >>> subscripts("d_m at fixed k_c")
    'd<sub>m</sub> at fixed k<sub>c</sub>'
    """
    return re.sub(r"\b(d_m|k_e|k_c)\b", lambda match: f"{match[0][0]}<sub>{match[0][2]}</sub>", text)


AT_X = "%{x:.4~s}"
"""Place of a point in hover texts: 824 and 1.5k, not 824.0 and 1.500k."""


def theme(mode: str, budgets: int) -> dict[str, Any]:
    """Return all colour tokens of one mode.

    Args:
        mode: `light` or `dark`.
        budgets: number of ordered colours to provide as ``@budget:0`` ...
    """
    # The page holds both modes, so that a reader can switch between them without a server.
    dark = mode == "dark"
    return {
        **(DARK if dark else LIGHT),
        "budget": ordered(ORDERED_DARK if dark else ORDERED_LIGHT, budgets),
        # Panels thin their lines out to this many (`scaling.LEVELS`).
        "level": ordered(ORDERED_DARK if dark else ORDERED_LIGHT, 8),
        "task": list(UNORDERED_DARK if dark else UNORDERED_LIGHT),
        "continuous": [list(stop) for stop in (CONTINUOUS_DARK if dark else CONTINUOUS_LIGHT)],
        "diverging": [list(stop) for stop in (DIVERGING_DARK if dark else DIVERGING_LIGHT)],
    }


def ordered(stops: Sequence[str], count: int) -> list[str]:
    """Interpolate a ramp of hex colours to `count` steps."""
    # A single budget gets the middle of the ramp, whose contrast is good on both grounds.
    if count <= 1:
        return [stops[len(stops) // 2]]
    rgb = [[int(stop[i : i + 2], 16) for i in (1, 3, 5)] for stop in stops]
    colours = []
    for step in range(count):
        place = step * (len(stops) - 1) / (count - 1)
        # The last step lies exactly on the last stop, which has no stop behind it.
        low = min(int(place), len(stops) - 2)
        mix = [round(a + (b - a) * (place - low)) for a, b in zip(rgb[low], rgb[low + 1], strict=True)]
        colours.append("#" + "".join(f"{value:02x}" for value in mix))
    return colours


def resolve(node: Any, tokens: Mapping[str, Any]) -> Any:
    """Replace every ``@name`` or ``@name:index`` in a figure by its colour."""
    if isinstance(node, str) and node.startswith("@"):
        name, _, index = node[1:].partition(":")
        # Beyond the last colour the set begins again: a crowded figure is better than none.
        return tokens[name][int(index) % len(tokens[name])] if index else tokens[name]
    if isinstance(node, Mapping):
        return {key: resolve(value, tokens) for key, value in node.items()}
    return [resolve(value, tokens) for value in node] if isinstance(node, list) else node


def axis(title: str, values: npt.ArrayLike | None = None, **more: Any) -> dict[str, Any]:
    """Settings of one axis.

    Args:
        title: its title.
        values: what it shows, if it is to be logarithmic; it then gets ticks at 1, 2 and 5.
        more: further settings.
    """
    settings: dict[str, Any] = {
        "title": {"text": title, "font": {"size": 14}, "standoff": 6},
        "gridcolor": "@grid",
        "linecolor": "@line",
        "tickcolor": "@line",
        "zeroline": False,
        "showline": True,
        "ticks": "outside",
        "ticklen": 4,
        # Tick labels differ in width from sweep to sweep, so Plotly measures them and widens the margin.
        "automargin": True,
        "tickfont": {"size": 12.5, "color": "@ink"},
    }
    if values is not None:
        # The ticks are set by hand because Plotly's own leave an axis of less than one decade without a label.
        settings |= {"type": "log", **log_ticks(np.asarray(values, dtype=float))}
    return settings | more


ALONE = 0.5
"""Decades shown on each side of a single value."""

LOG_STEPS: tuple[tuple[float, tuple[float, ...]], ...] = (
    (0.35, (1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 4.5, 5, 6, 7, 8, 9)),
    (0.7, (1, 1.5, 2, 3, 4, 5, 6, 8)),
    (1.1, (1, 2, 3, 5)),
    (2.2, (1, 2, 5)),
    (3.5, (1, 3)),
)
"""Labelled digits of an axis that spans fewer decades than the first number."""


FINE_STEPS: tuple[tuple[float, ...], ...] = (
    tuple(round(1 + 0.05 * i, 2) for i in range(180)),
    tuple(round(1 + 0.1 * i, 1) for i in range(90)),
)
"""Digits, finest first, for an axis on which the ordinary ones leave fewer than two labels."""

NARROW = 250
"""Pixels of the narrowest axis: a third of the page, or a phone of 390 pixels. Ticks that fit there fit everywhere, and
zooming in only draws them apart."""

LABEL_CHARACTER, LABEL_SPACE = 7.5, 6.0
"""Pixels of one character of a tick's label, and between two labels."""


def log_ticks(values: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Ticks of a logarithmic axis whose labels never touch: at 1 (more where there is room), a decade beyond the data.

    Plotly's own ticks leave an axis of less than a decade without a label, or label every digit.

    >>> log_ticks(np.array([20.0, 300.0]))["ticktext"][3:9]
    ['10', '20', '50', '100', '200', '500']
    """
    low, high = _ends(values)
    # A single value would make an axis of no width; it gets half a decade on each side.
    decades, alone = np.log10(high / low), 2 * ALONE * (low == high)
    span = (low / 10**ALONE, high * 10**ALONE) if alone else (low, high)
    usual = [steps for limit, steps in LOG_STEPS if max(decades, alone) < limit]
    plain = [_ticks(span, steps) for steps in (*usual, (1,))]
    # the finest of the usual steps whose labels fit, else only every second, third ... decade
    rarer = [_ticks(span, (1,), every) for every in range(2, 40)]
    ticks = next((labels for labels in (*plain, *rarer) if _fits(labels, span)), rarer[-1])
    # With one label nobody can read a scale off the axis, so finer digits are tried, the coarsest of them first.
    if len(_within(ticks, span)) < 2:
        ticks = next(
            (labels for labels in (_ticks(span, steps) for steps in reversed(FINE_STEPS)) if _two(labels, span)), ticks
        )
    settings = {"tickmode": "array", "tickvals": ticks, "ticktext": [short(tick) for tick in ticks]}
    centre = float(np.log10(low))
    return settings | ({"range": [centre - ALONE, centre + ALONE]} if alone else {})


def _ticks(span: tuple[float, float], steps: Sequence[float], every: int = 1) -> list[float]:
    # One decade beyond the data, so that ticks are there when somebody zooms out.
    first, last = int(np.floor(np.log10(span[0]))) - 1, int(np.ceil(np.log10(span[1]))) + 1
    return [float(step * 10.0**power) for power in range(first, last + 1) if power % every == 0 for step in steps]


def _within(ticks: Sequence[float], span: tuple[float, float]) -> list[float]:
    # A tick at the very end of the data counts although rounding may put it just outside.
    return [tick for tick in ticks if span[0] * 0.999 <= tick <= span[1] * 1.001]


def _two(ticks: Sequence[float], span: tuple[float, float]) -> bool:
    return len(_within(ticks, span)) > 1 and _fits(ticks, span)


def _fits(ticks: Sequence[float], span: tuple[float, float]) -> bool:
    """Whether the labels between the data's ends, and one beyond each, keep apart on the narrowest axis."""
    low, high = np.log10(span[0]), np.log10(span[1])
    room = max(float(high - low), 1e-9) * 1.1  # Plotly leaves a twentieth free on each side
    inside = [tick for tick in ticks if low - room / 20 <= np.log10(tick) <= high + room / 20]
    for left, right in pairwise(inside):
        distance = float(np.log10(right / left)) / room * NARROW
        # Labels are centred on their ticks, so half of each lies between the two.
        if distance < LABEL_CHARACTER * (len(short(left)) + len(short(right))) / 2 + LABEL_SPACE:
            return False
    return True


def _ends(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Smallest and largest value that a logarithmic axis can show."""
    positive = values[np.isfinite(values) & (values > 0)]
    # Without a value to show any range will do; an empty one would raise.
    return (float(positive.min()), float(positive.max())) if len(positive) else (1.0, 10.0)


HOVER_LABEL = {"bgcolor": "@card", "bordercolor": "@line", "font": {"color": "@ink", "size": 12.5}, "align": "left"}
# On a transparent figure Plotly's tool bar would be a grey slab, so its colours are set. The page has a button of its
# own for saving.
MODEBAR = {
    "bgcolor": "rgba(0,0,0,0)",
    "color": "@muted",
    "activecolor": "@accent",
    "remove": ["zoomIn2d", "zoomOut2d", "autoScale2d", "toImage"],
}


def layout(x: dict[str, Any], y: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Layout of one panel."""
    return {
        "font": {"family": FONT, "size": 13, "color": "@ink"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 58, "r": 46, "t": 24, "b": 48},
        # The nearest point alone: labels of all traces at one x would cover the neighbours.
        "hovermode": "closest",
        "hoverlabel": HOVER_LABEL,
        "modebar": MODEBAR,
        # Budgets are named at the ends of their curves; a legend with every budget, mean, star and law would have
        # dozens of entries.
        "showlegend": False,
        "xaxis": x,
        "yaxis": y,
        # Plotly keeps zoom and selection over new data as long as this stays the same.
        "uirevision": "keep",
    } | more


NOTE_LINE = 16
"""Height of a further line below a title, pixels."""


def titled(figure: dict[str, Any], title: str, note: str) -> dict[str, Any]:
    """Put a title and a line below it over a figure, on the card's ground; both are Plotly's markup."""
    head = {
        "text": title,
        "subtitle": {"text": note, "font": {"size": 12.5, "color": "@muted"}},
        "font": {"size": 16},
        "x": 0.015,
        "xref": "container",
        "xanchor": "left",
        "y": 0.97,
        "yref": "container",
        "yanchor": "top",
    }
    # A figure in a file stands on whatever page it is put on, so it brings its ground with it; on our page the card
    # shows through.
    margin = figure["layout"]["margin"] | {"t": 70 + NOTE_LINE * note.count("<br>")}
    ground = {"paper_bgcolor": "@card", "plot_bgcolor": "@card"}
    return figure | {"layout": figure["layout"] | ground | {"title": head, "margin": margin}}


# A page about unpublished results must not offer to upload them, which Plotly does by default.
CONFIG = {"displaylogo": False, "showSendToCloud": False, "responsive": True, "doubleClick": "reset"}
"""Plotly's config of every figure: without the upload button."""


def short(value: float) -> str:
    """Write a size the way the axes do: 30k, 3.5M.

    >>> short(3_516_748), short(30_000), short(950)
    ('3.52M', '30k', '950')
    """
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"
