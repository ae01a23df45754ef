"""The numbers behind the figures, and figures that Plotly accepts as they are."""

import json

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from analysis.figures.frontier import frontier_data, plot_frontier
from analysis.figures.isobudget import LABEL_GAP, isobudget_data, plot_isobudget, spread_labels, trial_traces
from analysis.figures.theme import log_ticks, ordered, resolve, short, theme
from analysis.html import to_json


def iso(view, x="n_rec"):
    return isobudget_data(view.data, view.table, view.optima, view.overlay, x=x)


@pytest.mark.parametrize("x", ["n_rec", "d_m", "k_e"])
def test_each_star_is_the_best_of_its_curve(view, x):
    found = iso(view, x)
    assert len(found.curves) == len(found.stars) == 3
    for curve, star in zip(found.curves, found.stars, strict=True):
        assert star.y == curve.mean.min()
        assert star.x == curve.x[curve.mean.argmin()]
        assert star.low <= star.x <= star.high
        assert (np.diff(curve.x) > 0).all()
        assert view.table.loc[curve.position, x].tolist() == curve.x.tolist()


def test_single_runs_are_all_there(view):
    found = iso(view)
    assert sorted(found.trials["y"]) == sorted(view.data.rows["value"])


def test_the_frontier_falls_and_its_band_holds_the_line(view):
    found = frontier_data(view.data, view.table, view.frontier, view.overlay)
    assert (np.diff(found.x) > 0).all()
    assert (np.diff(found.y) < 0).all()
    figure = plot_frontier(found)
    (band,) = [trace for trace in figure["data"] if trace["meta"]["kind"] == "band"]
    half = len(found.x)
    assert (band["y"][:half] > found.y).all()
    assert (band["y"][half:][::-1] < found.y).all()
    assert found.theory_x.tolist() == [3e4, 1e5, 3e5]


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_plotly_accepts_every_figure_and_no_token_is_left(view, mode):
    tokens = theme(mode, 3)
    figures = [plot_isobudget(iso(view, x)) for x in ("n_rec", "d_m", "k_e")]
    figures.append(plot_frontier(frontier_data(view.data, view.table, view.frontier, view.overlay)))
    for figure in figures:
        resolved = resolve(figure, tokens)
        assert len(go.Figure(resolved).data) == len(figure["data"])
        assert '"@' not in to_json(resolved)
        assert all(trace["type"] == "scatter" for trace in figure["data"])  # never WebGL under curves and stars


def test_one_run_says_so_instead_of_an_interval(view):
    lonely = view.table.assign(half=np.nan, n=1)
    figure = plot_isobudget(isobudget_data(view.data, lonely, view.optima, None, x="n_rec"))
    means = [trace for trace in figure["data"] if trace["meta"]["kind"] == "mean"]
    assert all("error_y" not in trace for trace in means)
    assert {text for trace in means for text in trace["text"]} == {"1 run, no interval"}


def test_labels_at_the_curve_ends_keep_their_distance(view):
    beside = plot_isobudget(iso(view, "d_m"))["layout"]["annotations"]
    heights = sorted(label["y"] for label in beside)
    span = np.ptp(np.concatenate([curve.mean for curve in iso(view).curves]))
    assert min(np.diff(heights)) >= LABEL_GAP * span * 0.999
    crowded = spread_labels(np.array([0.5, 0.5, 0.5, 0.9]), np.array([0.1, 0.1, 0.12, 0.1]))
    assert np.diff(np.sort(crowded[:3])).min() >= LABEL_GAP * 0.999
    assert crowded[3] == 0.1  # far to the side: nothing to avoid
    above = plot_isobudget(iso(view, "n_rec"))["layout"]["annotations"]
    assert {label["xanchor"] for label in above} == {"center"}


def test_colours_are_hex_and_the_ramp_keeps_its_ends():
    for mode in ("light", "dark"):
        for value in json.loads(json.dumps(list(theme(mode, 9).values()))):
            for colour in value if isinstance(value, list) else [value]:
                text = colour[1] if isinstance(colour, list) else colour
                assert len(text) == 7
                assert text[0] == "#"
                int(text[1:], 16)
    assert ordered(("#000000", "#ffffff"), 3) == ["#000000", "#808080", "#ffffff"]
    assert len(ordered(("#000000", "#ffffff"), 1)) == 1


def _luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("mode", ["light", "dark"])
@pytest.mark.parametrize("count", [1, 3, 6, 9])
def test_every_budget_colour_stands_out_from_the_card(mode, count):
    tokens = theme(mode, count)
    card = _luminance(tokens["card"])
    for colour in tokens["budget"]:
        high, low = sorted((_luminance(colour), card), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 3


@pytest.mark.parametrize(
    ("values", "inside"), [([1.6, 2.1], 1), ([20, 300], 4), ([1, 1000], 4), ([1e3, 1e9], 7), ([5, 5], 1)]
)
def test_a_logarithmic_axis_always_has_labels(values, inside):
    ticks = np.array(log_ticks(np.array(values, dtype=float))["tickvals"])
    assert np.sum((ticks >= min(values) * 0.8) & (ticks <= max(values) * 1.25)) >= inside
    assert np.sum((ticks >= min(values)) & (ticks <= max(values))) <= 9


def test_short_numbers():
    assert [short(v) for v in (30_000, 3_516_748, 950, 1.5e9, 0.25)] == ["30k", "3.52M", "950", "1.5G", "0.25"]


def test_runs_without_a_budget_do_not_take_the_colour_of_one():
    runs = pd.DataFrame({"budget": [1e4, np.nan], "k_c": 16.0, "colour": 0, "x": [1.0, 2.0], "y": [3.0, 4.0]})
    own, none = (trace["marker"]["color"] for trace in trial_traces(runs))
    assert own == "@budget:0"
    assert none == "@muted"


def test_a_single_size_stands_in_the_middle_of_a_labelled_axis():
    found = log_ticks(np.array([132.0, 132.0]))
    low, high = found["range"]
    assert (low + high) / 2 == pytest.approx(np.log10(132))
    assert sum(10**low <= tick <= 10**high for tick in found["tickvals"]) >= 3
    assert "range" not in log_ticks(np.array([132.0, 133.0]))
