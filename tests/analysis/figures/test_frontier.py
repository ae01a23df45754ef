"""On the shipped study, unfiltered: one connectivity in picture, law and sentence; other architectures beside it."""

from pathlib import Path

import numpy as np
import pytest

from analysis.dashboard import page
from analysis.dashboard.export import LEGEND_ROW, ONE_LINE_TOP, pictures
from analysis.dashboard.tabs import frontier_tab, tradeoff_tab
from analysis.dashboard.tabs_law import group_tabs
from analysis.figures.frontier import frontier_data, plot_frontier
from analysis.laws.theory_fit import FitSettings, fit_dataset
from analysis.laws.view import make_view, with_baselines
from analysis.rows.load import datasets, read_sweep
from analysis.rows.sweep import Selection

STUDY = Path(__file__).resolve().parents[3] / "studies" / "paper_in_miniature" / "results"
GATED = ("lstm", "chrono_lstm", "gru")


@pytest.fixture(scope="module")
def views():
    """The largest group (eight connectivities) and the gated networks of the study on text."""
    sweep = read_sweep(STUDY / "text")
    first, *rest = datasets(sweep, Selection())
    gated = [data for data in rest if data.keys["architecture"] in GATED]
    return with_baselines([make_view(sweep, fit_dataset(data, FitSettings(starts=8))) for data in (first, *gated)])


@pytest.fixture(scope="module")
def drawn(views):
    view = views[0]
    return frontier_data(view.data, view.table, view.frontier, view.overlay, view.baselines)


def test_each_connectivity_has_a_frontier_of_its_own(views, drawn):
    table = views[0].table
    assert drawn.k_c == 16
    assert {line.k_c for line in (drawn, *drawn.others)} == set(table["k_c"])
    for line in (drawn, *drawn.others):
        assert set(table.loc[line.position, "k_c"]) == {line.k_c}
        assert (np.diff(line.y) < 0).all()
    assert drawn.x[-1] == pytest.approx(300_000, rel=0.001)


def test_the_law_falls_along_every_frontier(drawn):
    assert drawn.theory_x.tolist() == [3e3, 1e4, 3e4, 1e5, 3e5]
    for line in (drawn, *drawn.others):
        assert (np.diff(line.theory_y) < 0).all()


def test_a_law_of_each_budget_is_marked_there_and_not_joined(views, drawn):
    data = views[0].data
    view = make_view(views[0].sweep, fit_dataset(data, FitSettings(law="quadratic")))
    own = frontier_data(view.data, view.table, view.frontier, view.overlay)
    # At 10 k and 30 k parameters eight connectivities were run, and the parabola pools them: it is no line in P.
    assert own.theory_x.tolist() == [3e3, 1e4, 3e4, 1e5, 3e5]
    marks, line = (
        next(trace for trace in plot_frontier(found)["data"] if trace["meta"]["kind"] == "theory")
        for found in (own, drawn)
    )
    assert (marks["mode"], line["mode"]) == ("markers", "lines")
    told = {panel.id: panel.summary for panel in frontier_tab(view).panels}["frontier-half"]
    assert "marked there and not drawn between. It does not know k_c" in told
    assert "marked" not in {panel.id: panel.summary for panel in frontier_tab(views[0]).panels}["frontier-half"]


def test_a_page_can_show_one_connectivity_at_a_time_and_a_picture_shows_the_first(drawn):
    page, picture = plot_frontier(drawn, connectivities=True), plot_frontier(drawn)
    lines = [trace for trace in page["data"] if trace["meta"]["kind"] in ("frontier", "theory", "band")]
    assert all(trace["meta"]["k_c"] for trace in lines)
    assert {trace["meta"].get("k_c") for trace in picture["data"]} == {16.0, None}


def test_other_architectures_stand_beside_with_a_mark_of_their_own(views, drawn):
    marks = [trace for trace in plot_frontier(drawn)["data"] if trace["meta"]["kind"] == "baseline"]
    assert {trace["name"] for trace in marks} == set(GATED)
    assert (
        len({trace["marker"]["symbol"] for trace in marks}) == len({trace["marker"]["color"] for trace in marks}) == 3
    )
    gru = next(trace for trace in marks if trace["name"] == "gru")
    view = next(view for view in views if view.data.keys["architecture"] == "gru")
    assert gru["y"].tolist() == pytest.approx(view.table.sort_values("trainable_params")["mean"].tolist())
    assert view.baselines == ()


def test_sentences_speak_of_the_connectivity_that_is_drawn_and_of_a_better_rival(views):
    view = views[0]
    assert view.rival_note is not None
    assert "190 AICc units behind quadratic in ln n_rec, per budget" in view.rival_note
    panels = {panel.id: panel for panel in (*tradeoff_tab(view).panels, *frontier_tab(view).panels)}
    for name in ("isobudget-n_rec", "isobudget-d_m"):
        assert panels[name].summary.startswith("k_c = 16: ")
        assert "(N = 4)" not in panels[name].summary  # the best network at k_c = 256, which is not drawn
        assert panels[name].summary.endswith(view.rival_note)
    assert panels["frontier-third"].summary.startswith("k_c = 16: best mean: 2.719")


def test_a_narrow_figure_has_its_legend_below_the_axes_and_not_over_the_baselines(views):
    name = "frontier-k_c16"
    narrow = next(p for p in pictures([views[0]], width=391) if p.name == name)
    wide = next(p for p in pictures([views[0]]) if p.name == name)
    legend, margin = narrow.figure["layout"]["legend"], narrow.figure["layout"]["margin"]
    assert (legend["yref"], legend["yanchor"], legend["orientation"]) == ("container", "bottom", "h")
    assert margin["b"] >= wide.figure["layout"]["margin"]["b"] + 2 * LEGEND_ROW
    # what title and legend take is added to the height, so the axes keep theirs
    assert narrow.taller == margin["t"] - ONE_LINE_TOP + margin["b"] - wide.figure["layout"]["margin"]["b"]
    assert wide.taller == 0


def test_networks_without_d_m_have_one_figure_through_all_their_connectivities(views):
    gated = next(view for view in views if view.data.keys["architecture"] == "gru")
    names = [picture.name for picture in pictures([gated])]
    assert "frontier" in names
    assert not [name for name in names if "-k_c" in name]
    (group,) = page.payload(gated.sweep, [gated], [group_tabs(gated)], [()], provenance=[], warnings=[])["groups"]
    assert group["k_cs"] == []


def test_the_legend_covers_neither_the_frontier_nor_what_stands_beside_it(drawn):
    legend = plot_frontier(drawn)["layout"]["legend"]
    assert (legend["xanchor"], legend["yanchor"]) == ("right", "top")  # the gated networks lie below the frontier
    accuracy = drawn._replace(
        direction="max",
        trials=drawn.trials.iloc[:0],
        y=np.linspace(0.6, 0.8, len(drawn.x)),
        baselines=tuple(line._replace(y=np.linspace(0.1, 0.2, len(line.x))) for line in drawn.baselines[:1]),
    )
    assert plot_frontier(accuracy)["layout"]["legend"]["yanchor"] == "bottom"
