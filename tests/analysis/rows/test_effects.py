"""What a changed setting does at equal P: any setting, numbers and words, paired, one setting at a time."""

import json

import pytest

from analysis.commands.groups import make_views
from analysis.commands.pages import dashboard_payload
from analysis.dashboard.export import pictures
from analysis.figures.effects import plot_effects
from analysis.figures.notebook import figures
from analysis.laws.theory_fit import FitSettings
from analysis.rows.effects import setting_effects
from analysis.rows.load import datasets, read_sweep
from analysis.rows.sweep import Selection
from sweeper.store.store import ResultsStore

GAINS = {"rho_rec": {"0.2": -0.3, "0.9": 0.1}, "training.optimizer": {"adamax": 0.05}, "l_mlp": {"2": 0.02}}
"""Gain of each changed setting over rho_rec 0.5, adam, l_mlp 1, by value."""


def rows_of(trial, name, gain, *, budgets=(30_000, 100_000), d_m=(2, 4), **changes):
    """Runs of one group: budgets and d_m differ by far more than the settings do, and seeds as much in all groups."""
    optimizer = changes.pop("optimizer", "adam")
    made = []
    for budget in (*budgets, None):
        for memory in d_m:
            for seed in (0, 1):
                value = 3.0 - (budget or 3e5) / 1e5 + 0.2 * memory + 0.1 * seed - gain
                spec = json.dumps({"seed": seed, "training": {"optimizer": optimizer}})
                sizes = {"n_rec": 10 + memory + int((budget or 5e3) // 1e3), "d_m": memory, "d_mlp": 2 * memory}
                about = {"rho_rec": 0.5, "seed": seed, "spec": spec, "budget": budget, "sweep": name} | changes
                # Runs without a budget would spoil every mean: there is nothing of equal P beside them.
                wrong = 0.0 if budget else 100.0 * gain
                made.append(
                    trial(f"{name}-{budget}-{memory}-{seed}", **sizes, **about, final_test_metric=value + wrong)
                )
    return made


@pytest.fixture
def folder(tmp_path, trial):
    store = ResultsStore.create(tmp_path / "r")
    store.write("trials", [
        *rows_of(trial, "own", 0.0, budgets=(30_000, 100_000, 300_000)),
        *rows_of(trial, "low", -0.3, rho_rec=0.2),
        *rows_of(trial, "high", 0.1, rho_rec=0.9, budgets=(30_000,)),
        *rows_of(trial, "deep", 0.02, l_mlp=2),
        *rows_of(trial, "max", 0.05, optimizer="adamax"),
        *rows_of(trial, "both", 9.0, optimizer="adamax", rho_rec=0.2),
        *rows_of(trial, "tree", 0.07, d_branch=8, k_c=160.0, d_m=(2,), budgets=(30_000,)),
    ])  # fmt: skip
    return tmp_path / "r"


@pytest.fixture
def groups(folder):
    return datasets(read_sweep(folder), Selection())


def test_every_setting_that_varies_is_compared_whatever_its_kind(groups):
    own = groups[0]
    found = {(e.setting, e.value): e for e in setting_effects(own, groups)}
    assert [*found] == [
        ("d_tree x d_branch", "20 x 8"), ("l_mlp", "2"), ("rho_rec", "0.2"), ("rho_rec", "0.9"),
        ("training.optimizer", "adamax"),
    ]  # fmt: skip
    for setting, values in GAINS.items():
        for value, gain in values.items():
            effect = found[setting, value]
            assert effect.gain == pytest.approx(gain), "at equal P, d_m and seed nothing but the setting differs"
            assert effect.low == pytest.approx(gain)
            assert effect.high == pytest.approx(gain)
    assert found["rho_rec", "0.2"].pairs == 8
    assert found["rho_rec", "0.9"].pairs == 4, "one budget of its own"
    assert {e.base for e in found.values()} == {"0.5", "1", "adam", "20 x 5"}


def test_two_pairs_have_a_mean_and_no_interval(groups):
    (tree,) = [e for e in setting_effects(groups[0], groups) if e.setting == "d_tree x d_branch"]
    assert (tree.pairs, tree.low, tree.high) == (2, None, None)
    assert tree.gain == pytest.approx(0.07)
    drawn = plot_effects(setting_effects(groups[0], groups), "bpc")["data"][0]
    assert drawn["y"] == ["l_mlp = 2", "rho_rec = 0.2", "rho_rec = 0.9", "training.optimizer = adamax"]


def test_larger_is_better_where_the_metric_says_so(tmp_path, trial):
    store = ResultsStore.create(tmp_path / "r")
    about = {"metric": "accuracy", "direction": "max"}
    rows = [
        *rows_of(trial, "own", 0.0, budgets=(30_000, 100_000), **about),
        *rows_of(trial, "o", 0.1, rho_rec=0.9, **about),
    ]
    store.write("trials", rows)
    own, *others = datasets(read_sweep(tmp_path / "r"), Selection())
    (effect,) = setting_effects(own, [own, *others])
    assert abs(effect.gain) == pytest.approx(0.1)
    assert (effect.gain < 0) == (effect.value == "0.9")


def test_page_files_and_notebook_show_one_figure(folder, monkeypatch):
    settings = FitSettings(law="quadratic", starts=8)
    monkeypatch.setattr("analysis.figures.notebook.FitSettings", lambda: settings)  # no law is looked at here
    views = make_views(read_sweep(folder), Selection(), settings)
    page = dashboard_payload(views[0].sweep, views, Selection())
    assert "What settings do at equal P" in json.dumps(page, default=str)
    drawn = [picture for picture in pictures(views) if picture.name.endswith("effects")]
    (own,) = [
        p for p in drawn if "rho_rec = 0.9" in p.figure["data"][0]["y"] and "l_mlp = 2" in p.figure["data"][0]["y"]
    ]
    shown = figures(folder)["effects"]
    assert list(shown.data[0].y) == own.figure["data"][0]["y"]
    assert list(shown.data[0].x) == pytest.approx(list(own.figure["data"][0]["x"]))
