"""The best split of training compute, drawn."""

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.figures.compute import compute_data, plot_compute
from analysis.laws.compute import compute_splits
from analysis.laws.findings import Refusal


@pytest.fixture(scope="module")
def fitted():
    n, d = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e11, 5)))
    loss = 1.8 + 480 * n**-0.35 + 2100 * d**-0.37 + 1e-3 * np.random.default_rng(0).standard_normal(n.size)
    frame = pd.DataFrame({"trainable_params": n, "tokens": d, "metric": loss})
    return analysis.read(frame, task="mine", direction="min").fit("parameters_and_tokens", starts=8)


def test_runs_and_best_splits_share_the_axes(fitted):
    splits = compute_splits(fitted.view.law)
    data = compute_data(fitted.view.table, splits, x="tokens")
    table = fitted.view.table
    np.testing.assert_allclose(data.compute, 6 * table["trainable_params"] * table["tokens"])
    # every decade of the data, and two beyond
    assert data.line_compute.tolist() == [10.0**power for power in range(15, 23)]
    assert [split.within for split in splits.splits] == [True] * 6 + [False] * 2
    n = compute_data(table, splits, x="n").line
    np.testing.assert_allclose(6 * n * data.line, data.line_compute)
    assert ((data.low < data.line) & (data.line < data.high)).all()
    figure = plot_compute(data)
    assert [trace["name"] for trace in figure["data"]] == ["95 % interval", "runs", "best by the law"]
    assert "10<sup>18</sup>" in figure["layout"]["xaxis"]["ticktext"]


def test_card_report_and_notebook_tell_the_split(fitted):
    assert list(fitted.figures)[:1] == ["frontier"]
    assert {"compute-n", "compute-tokens"} <= set(fitted.figures)
    assert "Best split of compute: N* ~ C^0.51" in fitted._repr_html_()
    assert compute_splits(fitted.rows.fit("power_law", starts=8).view.law) is None


def test_a_law_without_an_effect_of_tokens_says_so(fitted):
    rows = fitted.rows.frame
    frame = pd.DataFrame({"trainable_params": rows["trainable_params"], "tokens": rows["tokens"]})
    worse = frame.assign(metric=1.8 + 480 * frame["trainable_params"] ** -0.35 + 0.01 * np.log(frame["tokens"]))
    law = analysis.read(worse, task="mine", direction="min").fit("parameters_and_tokens", starts=8).view.law
    refusal = compute_splits(law)
    assert isinstance(refusal, Refusal)
    assert refusal.reason.startswith("B = 0: the data show no effect")
