"""Published runs beside a sweep's own: on the same task and metric only, named for what they are, in no fit."""

from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest

from analysis.dashboard.tabs import frontier_tab, tradeoff_tab
from analysis.figures.frontier import frontier_data, plot_frontier
from analysis.figures.theme import resolve, theme
from analysis.rows.published import published_points
from analysis.rows.sweep import Measure, Selection
from theory.data.published import load_published


def relabelled(data, **keys):
    return replace(data, keys=data.keys | keys)


@pytest.mark.parametrize(("split", "best"), [("test", 1.6502442343573405), ("train", 1.729543368604585)])
def test_the_text_task_stands_beside_enwik8_with_the_same_split(data, split, best):
    found = published_points(replace(data, selection=Selection(measure=Measure(split=split))))
    assert found.y.min() == best
    assert found.x.tolist() == load_published("enwik8").columns["trainable_params"].tolist()
    assert found.n_rec[found.y.argmin()] == (440 if split == "test" else 742)


def test_other_data_are_called_so(data):
    found = published_points(data)
    assert not found.same_data
    assert "other data than made-up/text" in found.sentence
    same = published_points(relabelled(data, data_name="enwik8/no-newlines"))
    assert same.same_data
    assert "the same data" in same.sentence


@pytest.mark.parametrize(
    "changed",
    [
        {"keys": {"task": "listops"}},
        {"keys": {"architecture": "lstm"}},
        {"selection": Selection(measure=Measure(kind="best_metric"))},
        {"metric": "loss", "selection": Selection(measure=Measure(kind="final_loss"))},
    ],
)
def test_nothing_else_is_published(data, changed):
    keys = changed.pop("keys", {})
    assert published_points(replace(relabelled(data, **keys), **changed)) is None


def test_they_enter_no_row_of_the_group_and_are_drawn_on_an_axis_that_names_their_size(view):
    found = frontier_data(view.data, view.table, view.frontier, view.overlay)
    bare, figure = plot_frontier(found), plot_frontier(found, published=published_points(view.data))
    own = [trace for trace in bare["data"] if trace["meta"]["kind"] != "trials"]
    beside = [trace for trace in figure["data"] if trace["meta"]["kind"] not in ("trials", "published")]
    for left, right in zip(own, beside, strict=True):
        assert np.array_equal(left["y"], right["y"])
    (extra,) = [trace for trace in figure["data"] if trace["meta"]["kind"] == "published"]
    assert len(extra["x"]) == 14
    assert extra["name"] == "published enwik8 (other data)"
    assert not view.data.rows["trial_id"].str.startswith("published").any()
    labels = dict(zip(figure["layout"]["xaxis"]["ticktext"], figure["layout"]["xaxis"]["tickvals"], strict=True))
    assert labels["1M"] == 1e6
    assert go.Figure(resolve(figure, theme("light", 3)))


def test_the_page_hides_them_until_they_are_asked_for(view):
    (panel,) = [panel for panel in tradeoff_tab(view).panels if panel.id == "frontier-third"]
    labels = [choice.label for choice in panel.choices]
    assert labels[0] == "metric"
    assert "with published" in labels
    assert all(trace["meta"]["kind"] != "published" for trace in panel.choices[0].figure["data"])
    assert "they enter no mean and no fit" in frontier_tab(view).panels[0].summary
