"""The card says how good the best network is beside simple models, how much was read, and what the test repeats."""

import json
from dataclasses import replace

import pytest

from analysis.report.level import level_line
from analysis.rows.sweep import Measure, Selection


def with_facts(view, split="test", **columns):
    """The view with what its rows know of their data."""
    rows = view.data.rows.assign(**columns)
    selection = Selection(measure=Measure(split=split))
    return view._replace(data=replace(view.data, rows=rows, selection=selection))


def facts(best, repeated=0):
    """Yardsticks around the best mean, and a leak."""
    leak = {"split": "test", "repeated": repeated, "total": 200, "unit": "blocks of 64 characters"}
    yardsticks = {"order-2 n-gram": best + 0.5, "order-3 n-gram": best - 0.1}
    return json.dumps({"yardsticks": yardsticks, "leaks": [leak], "train_size": 1000})


@pytest.fixture
def best(view):
    return float(view.table["mean"].min())


def test_a_model_that_no_network_beats_is_named(view, best):
    line = level_line(with_facts(view, data_facts=facts(best)))
    assert f"order-3 n-gram {best - 0.1:.4g}: no network beats the order-3 n-gram." in line
    assert "None of the blocks of 64 characters of test stands in the training data too." in line
    easy = json.dumps({"yardsticks": {"order-1 n-gram": best + 1}})
    assert f"order-1 n-gram {best + 1:.4g}: better than all." in level_line(with_facts(view, data_facts=easy))


def test_another_split_is_not_compared_with_models_of_the_test_split(view, best):
    line = level_line(with_facts(view, split="valid", data_facts=facts(best, repeated=41)))
    assert "n-gram" not in line
    assert "stand" not in line


def test_a_repeated_test_split_and_the_number_of_passes_are_said(view, best):
    few = level_line(with_facts(view, data_facts=facts(best, repeated=1)))
    assert "0.5% of the blocks of 64 characters of test stand in the training data too." in few
    columns = {"data_facts": facts(best, repeated=41), "steps": 50, "tokens": 2500}
    line = level_line(with_facts(view, **columns))
    assert "20.5% of the blocks of 64 characters of test stand in the training data too, so new data may" in line
    assert "Trained for 50 steps, 2,500 tokens: the training data 2.5 times." in line


def test_training_that_is_far_better_than_test_is_said_and_noise_is_not(view):
    value = view.data.rows["value"].astype(float)
    sizes = view.data.rows["trainable_params"]
    of_large = value - 0.5 * (sizes > 1.2 * sizes.min())
    assert "by heart" in level_line(with_facts(view, final_train_metric=of_large))
    everywhere = level_line(with_facts(view, final_train_metric=value - 0.5))
    assert "by heart" not in everywhere
    assert "but so is the smallest network" in everywhere
    assert "by heart" not in level_line(with_facts(view, final_train_metric=value + 0.5))
    assert "by heart" not in level_line(with_facts(view, final_train_metric=value - 1e-3))


def test_rows_that_know_nothing_of_their_data_still_have_a_level(view, best):
    assert level_line(with_facts(view, data_facts=None)).startswith(f"Level: {best:.4g} bpc at best (P = ")
