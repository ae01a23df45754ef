"""Figures as SVG, PNG or PDF files, for papers, slides and READMEs: the page's figures, drawn by an installed Chromium.

Plotly's usual exporter is Kaleido, which drives the same Chromium; a page of ours needs no further dependency, gives
the same bytes for the same rows, and asks the network for nothing.
"""

import base64
import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from fnmatch import fnmatch
from html import unescape
from pathlib import Path
from string import Template
from typing import Any, NamedTuple

from analysis.dashboard.browser import print_pdf, run_page
from analysis.dashboard.page import SHOWN
from analysis.dashboard.panels import Choice, Panel
from analysis.dashboard.tabs_law import group_tabs
from analysis.errors import AnalysisError
from analysis.figures.isobudget import Figure, budget_ranks, single_runs, trial_traces
from analysis.figures.theme import resolve, subscripts, theme, titled
from analysis.html import asset, to_json
from analysis.laws.view import View

LEFT_OUT = frozenset({"parameters", "frontier-third"})
"""Panels whose table says it better than their figure, and the second copy of one that stands on two tabs."""

ONE_K_C = ("isobudget", "scaling", "surface", "path", "frontier")
"""Beginnings of the panels whose lines would cover each other if they showed several connectivities."""

FILE_NAME = {"frontier-half": "frontier"} | {f"path-{name}": f"optimum-{name}" for name in ("n_rec", "d_m", "k_e")}
"""Names of files that are not those of their panels."""

TITLE_PX, NOTE_PX = 16.0, 12.5
"""Font sizes of a title and of the line below it."""

LEGEND_INSIDE = 600
"""Pixels of width from which a legend fits between the axes; on narrower figures it would cover the data."""

LEGEND_SYMBOL, LEGEND_ROW = 45, 20
"""Pixels of a legend's symbol with its gaps, and the height of one of its rows."""

ONE_LINE_TOP = 66
"""Pixels of the upper margin below a title and a note of one line each."""

TAG = re.compile(r"<[^>]*>")
"""Markup of Plotly's texts, which takes no room."""

LETTER = 0.56
"""Mean width of a letter in font sizes, on the wide side (DejaVu Sans): what fits there fits in narrower fonts."""

COLUMN_MM = 85.0
"""Width of one column of a two-column paper."""

COLUMN_PX = (391, 340)
"""Size at which a column's figure is drawn: at 85 mm its labels of 13 px are then 8 points high."""

CLOSEST = 3
"""Names that are offered in place of one that no figure has."""

PIXELS = 2
"""Pixels of a PNG per CSS pixel."""

# What `static.js` leaves behind: the attributes stand in the order in which the script sets them.
DRAWN = re.compile(r'<pre data-name="([^"]*)" data-ok="([01])">(.*?)</pre>', re.DOTALL)


class Picture(NamedTuple):
    """One figure with its colours in place."""

    name: str
    figure: Figure
    taller: int = 0
    """Pixels beyond the height that was asked for, so that title and legend take no room from a narrow drawing."""


class Format(NamedTuple):
    """How pictures are drawn."""

    kind: str = "svg"
    """`svg`, `png` or `pdf`."""
    mode: str = "light"
    """`light` or `dark`."""
    width: int = 800
    height: int = 450
    width_mm: float | None = None
    """Width on paper; None for 96 pixels to the inch."""

    @classmethod
    def column(cls, kind: str = "svg", mode: str = "light") -> "Format":
        """One column of a two-column paper, 85 mm wide, with labels of 8 points."""
        return cls(kind, mode, *COLUMN_PX, width_mm=COLUMN_MM)

    @property
    def millimetres(self) -> tuple[float, float]:
        """Width and height on paper."""
        width = self.width * 25.4 / 96 if self.width_mm is None else self.width_mm
        return width, width * self.height / self.width


def pictures(views: list[View], mode: str = "light", width: int = 800) -> list[Picture]:
    """All figures of the groups, titled; with several connectivities one for each.

    Args:
        views: the groups.
        mode: `light` or `dark`.
        width: of the figures in pixels, which titles are broken to.
    """
    figures = []
    for view in views:
        # Each group spreads its own budgets over the whole ramp of colours.
        tokens = theme(mode, view.table["budget"].nunique())
        # Names stay as short as in the README while there is one group.
        prefix = f"{_slug(view.data.label)}-" if len(views) > 1 else ""
        for name, figure in _figures(view):
            drawn, taller = fitted(figure, width)
            figures.append(Picture(prefix + name, resolve(drawn, tokens), taller))
    return figures


def _figures(view: View) -> Iterator[tuple[str, Figure]]:
    # The files are the page's own panels, so that a figure in a paper and the one on the page cannot differ.
    panels = [panel for tab in group_tabs(view) for panel in tab.panels if panel.id not in LEFT_OUT]
    k_cs = sorted(view.table["k_c"].unique().tolist())
    for panel in panels:
        usual_name = FILE_NAME.get(panel.id, panel.id)
        for number, choice in enumerate(panel.choices):
            # The first choice of a panel is the one that the page opens with and has the plain name.
            name = usual_name if number == 0 else f"{usual_name.split('-')[0]}-{_slug(choice.label)}"
            figure = _titled(_with_runs(choice, view), panel, view)
            # Without d_m the connectivity follows n_rec: one figure for each would show a single size.
            if not view.has_d_m or not (panel.id.startswith(ONE_K_C) and _holds_several(figure)):
                yield name, figure
                continue
            for k_c in k_cs:
                yield f"{name}-k_c{k_c:g}", _only(figure, k_c)


def _with_runs(choice: Choice, view: View) -> Figure:
    """The figure with the single runs that the page draws itself."""
    # Beyond that number the page draws means alone as well.
    if not choice.points or choice.x is None or len(view.data.rows) > SHOWN:
        return choice.figure
    runs = trial_traces(single_runs(view.data, budget_ranks(view.table["budget"]), choice.x))
    return choice.figure | {"data": [*runs, *choice.figure["data"]]}


def _titled(figure: Figure, panel: Panel, view: View) -> Figure:
    title = f"{panel.title} · {view.data.label}"
    return titled(figure, _escape(title), _escape(panel.caption))


def fitted(figure: Figure, width: int) -> tuple[Figure, int]:
    """Break title and note into lines, and where the figure is narrow put the legend below the axes.

    Args:
        figure: with its title.
        width: in pixels.

    Returns:
        The figure, and the pixels by which it must be taller for its axes to keep their height.
    """
    figure = broken(figure, width)
    if width >= LEGEND_INSIDE:
        return figure, 0
    figure_layout = figure["layout"]
    # Only a narrow figure grows: for a wide one a title of two lines takes little of its height.
    taller = max(figure_layout["margin"]["t"] - ONE_LINE_TOP, 0)
    names = [unescape(TAG.sub("", trace["name"])) for trace in figure["data"] if trace.get("showlegend")]
    if not figure_layout["showlegend"] or not names:
        return figure, taller
    entry = LEGEND_SYMBOL + LETTER * NOTE_PX * max(map(len, names))
    # Rounded up without a float: the last row of the legend may be half full.
    rows = -(-len(names) // max(int(width / entry), 1))
    room = round(LEGEND_ROW * rows)
    place = {"orientation": "h", "x": 0, "xref": "container", "xanchor": "left"}
    # Placed against the figure and not against the axes, because the room for tick labels below them is not known here.
    place |= {"y": 0.01, "yref": "container", "yanchor": "bottom"}
    margin = figure_layout["margin"] | {"b": figure_layout["margin"]["b"] + room}
    legend = figure_layout["legend"] | place
    return figure | {"layout": figure_layout | {"legend": legend, "margin": margin}}, taller + room


def broken(figure: Figure, width: int) -> Figure:
    """Break title and note into lines that fit the width, and make room for them."""
    title = figure["layout"]["title"]
    head = _lines(title["text"], width, TITLE_PX)
    note = _lines(title["subtitle"]["text"], width, NOTE_PX)
    top = 28 + 1.35 * (TITLE_PX * len(head) + NOTE_PX * len(note))
    # Plotly sets a title of several lines around the place of one: half of what was added would be cut off on top.
    pad = {"t": 0.5 * TITLE_PX * (len(head) - 1)}
    title = title | {"pad": pad, "text": "<br>".join(head), "subtitle": title["subtitle"] | {"text": "<br>".join(note)}}
    margin = figure["layout"]["margin"] | {"t": round(top)}
    return figure | {"layout": figure["layout"] | {"title": title, "margin": margin}}


def _lines(text: str, width: int, size: float) -> list[str]:
    """Lines of Plotly's markup, whose tags take no room."""
    # Plotly cannot break titles itself, and how wide a letter is drawn is known to the browser alone, so it is
    # estimated.
    room = (width - 24) / (LETTER * size)
    lines, used = [""], 0
    for word in text.split(" "):
        letters = len(unescape(TAG.sub("", word)))
        if lines[-1] and used + 1 + letters > room:
            lines.append("")
            used = 0
        used += letters + (1 if lines[-1] else 0)
        lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return lines


def _escape(text: str) -> str:
    # Escaped first, because the subscripts are markup that must survive.
    return subscripts(text.replace("&", "&amp;").replace("<", "&lt;"))


def _holds_several(figure: Figure) -> bool:
    k_cs = {(trace.get("meta") or {}).get("k_c") for trace in figure["data"]}
    return len(k_cs - {None}) > 1


def _only(figure: Figure, k_c: float) -> Figure:
    """The traces and labels of one connectivity, and those of none."""
    traces = [t for t in figure["data"] if (t.get("meta") or {}).get("k_c") in (None, k_c)]
    # Labels of curves have no `meta`; their names end with the connectivity (`figures.isobudget`).
    labels = [n for n in figure["layout"].get("annotations", []) if n.get("name", "").endswith(f"|{k_c!r}")]
    title = figure["layout"]["title"]
    note = subscripts(f"k_c = {k_c:g}: ") + title["subtitle"]["text"]
    subtitle = title["subtitle"] | {"text": note}
    layout = figure["layout"] | {"annotations": labels, "title": title | {"subtitle": subtitle}}
    return {"data": traces, "layout": layout}


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.]+", "-", text).strip("-")


def draw(drawings: list[Picture], how: Format) -> dict[str, bytes]:
    """Draw pictures in one start of the browser.

    Returns:
        Contents of the files by name (without suffix).

    Raises:
        AnalysisError: no browser, or it could not draw one of them.
    """
    from plotly.offline import get_plotlyjs

    settings: dict[str, Any] = {
        "format": "png" if how.kind == "png" else "svg",
        "width": how.width,
        "height": how.height,
    }
    # The bare SVG or base64, without the prefix of a data URL.
    settings |= {"imageDataOnly": True} | ({"scale": PIXELS} if how.kind == "png" else {})
    content = {"figures": [picture._asdict() for picture in drawings], "settings": settings}
    # One start for all pictures: starting the browser takes longer than drawing one.
    text = run_page(
        Template(asset("static.html")).substitute(
            content=to_json(content), plotly=get_plotlyjs(), app=asset("static.js")
        )
    )
    drawn = {}
    for name, ok, body in DRAWN.findall(text):
        # One that fails ends the command: a folder that lacks a figure without a word would be taken for complete.
        if ok == "0":
            raise AnalysisError(f"figure {name}: the browser could not draw it: {unescape(body)}")
        # The dumped document escapes the text of an SVG once more; a PNG in base64 has nothing to escape.
        drawn[name] = base64.b64decode(body) if how.kind == "png" else (unescape(body) + "\n").encode()
    missing = [picture.name for picture in drawings if picture.name not in drawn]
    if missing:
        raise AnalysisError(f"the browser returned no picture of {', '.join(missing)}")
    if how.kind == "png":
        return drawn
    # A picture with a long title is taller than asked for, and its size on paper must follow.
    sizes = {picture.name: how._replace(height=how.height + picture.taller) for picture in drawings}
    on_paper = {name: _sized(svg, sizes[name]) for name, svg in drawn.items()}
    if how.kind == "svg":
        return on_paper
    return {name: print_pdf(svg.decode(), *sizes[name].millimetres) for name, svg in on_paper.items()}


def _sized(svg: bytes, how: Format) -> bytes:
    """An SVG with its width on paper; without one its size stays in pixels."""
    if how.width_mm is None:
        return svg
    width, height = how.millimetres
    pixels, paper = f'width="{how.width}" height="{how.height}"', f'width="{width:g}mm" height="{height:g}mm"'
    # Only the first, which is that of the whole drawing.
    return svg.replace(pixels.encode(), paper.encode(), 1)


def write_figures(views: list[View], folder: Path, only: Sequence[str], how: Format) -> list[Path]:
    """Draw figures of the groups into a folder, which is made where it is missing.

    Args:
        views: the groups.
        folder: where the files go.
        only: names or patterns such as ``isobudget-*``; empty for all figures.
        how: format, theme and size.

    Returns:
        Paths of the files.

    Raises:
        AnalysisError: there is nothing to draw, a pattern fits no figure, or the browser failed.
    """
    drawings = pictures(views, how.mode, how.width)
    if not drawings:
        raise AnalysisError("nothing to draw: no finished trial has a value")
    # A pattern that fits nothing is most often a typing error, so it is refused and not taken for "no figure".
    names = [picture.name for picture in drawings]
    for pattern in only:
        if not any(fnmatch(name, pattern) for name in names):
            raise AnalysisError(no_such_figure(pattern, names))
    chosen = [picture for picture in drawings if not only or any(fnmatch(picture.name, pattern) for pattern in only)]
    return write_pictures(chosen, folder, how)


def no_such_figure(pattern: str, names: Sequence[str]) -> str:
    """Say that a pattern fits no figure, with the few names that come closest: a sweep may have hundreds.

    Args:
        pattern: what was asked for.
        names: of all figures.
    """
    asked = pattern.strip("*")

    def likeness(name: str) -> float:
        # The share of the letters that stand in the name in this order: names of several groups begin with the group,
        # which nobody types, and which a ratio of lengths would count against them.
        matcher = SequenceMatcher(None, name, asked, autojunk=False)
        return sum(block.size for block in matcher.get_matching_blocks()) / max(len(asked), 1)

    holding = [name for name in names if asked and asked in name]
    near = sorted(holding or names, key=lambda name: (-likeness(name), len(name)))[:CLOSEST]
    meant = [f"'*{asked}*' ({len(holding)} of them)", *near[:1]] if len(holding) > 1 else near
    return f"--only {pattern}: no such figure; did you mean {' or '.join(meant)}? --list prints all {len(names)} names"


def write_pictures(drawings: list[Picture], folder: Path, how: Format | None = None) -> list[Path]:
    """Draw pictures into a folder, which is made where it is missing; see `draw`."""
    how = how or Format()
    drawn = draw(drawings, how)
    # Only now, so that a browser that fails leaves no empty folder.
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{how.kind}" for name in drawn]
    for path, content in zip(paths, drawn.values(), strict=True):
        path.write_bytes(content)
    return paths
