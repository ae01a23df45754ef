"""Means, noise, optimum and frontier are those of the rows, and say nothing that one run cannot say."""

import numpy as np
import pytest
from scipy import stats

from analysis.rows.load import datasets, read_sweep
from analysis.rows.means import configurations, frontier, optima, seed_noise
from analysis.rows.sweep import Measure
from sweeper.store.store import ResultsStore


def published(name):
    (data,) = datasets(read_sweep(f"published:{name}"), Measure())
    return data, configurations(data)


def small(tmp_path, trial, values, **changes):
    """Two budgets x three d_m with the given metric values (a list of runs for each)."""
    rows = []
    for index, runs in enumerate(values):
        budget, d_m = (30_000, 90_000)[index // 3], (3, 5, 8)[index % 3]
        for seed, value in enumerate(runs):
            sizes = {"budget": budget, "d_m": d_m, "n_rec": budget // (100 * d_m), "seed": seed}
            rows.append(trial(f"{index}-{seed}", final_test_metric=value, **(sizes | changes)))
    ResultsStore.create(tmp_path).write("trials", rows)
    (data,) = datasets(read_sweep(tmp_path), Measure())
    return data


def test_means_and_intervals_are_those_of_the_rows(data):
    table = configurations(data)
    for _, row in table.iterrows():
        runs = data.rows.loc[data.rows["configuration"] == row["configuration"], "value"]
        assert row["mean"] == pytest.approx(runs.mean())
        assert row["n"] == len(runs)
    squares = data.rows.groupby("configuration")["value"].agg(lambda v: ((v - v.mean()) ** 2).sum()).sum()
    noise = seed_noise(data)
    assert noise.freedom == len(data.rows) - len(table)
    assert noise.sd == pytest.approx(np.sqrt(squares / noise.freedom))
    pairs = table[table["n"] == 2]
    assert pairs["half"].to_numpy() == pytest.approx(stats.t.ppf(0.975, noise.freedom) * noise.sd / np.sqrt(2))
    assert table.loc[table["n"] == 1, "half"].isna().all()


def test_enwik8_has_a_flat_optimum_and_no_interval():
    data, table = published("enwik8")
    (best,) = optima(data, table)
    band = table.loc[list(best.band), "n_rec"]
    assert (table.loc[best.best, "n_rec"], band.min(), band.max()) == (440, 353, 742)
    assert best.tolerance == pytest.approx(0.001, rel=0.01)
    assert best.extend is None
    assert table["half"].isna().all()
    assert frontier(data, table).membership is None


def test_higher_is_better_for_accuracy():
    data, table = published("shd_adding")
    (best,) = optima(data, table)
    assert table.loc[best.best, "d_m"] == 9
    assert frontier(data, table).position.tolist() == [best.best]


def test_an_optimum_at_the_edge_names_the_side(tmp_path, trial):
    falling = small(tmp_path / "1", trial, [[3], [2], [1], [1], [2], [3]])
    sides = [best.extend for best in optima(falling, configurations(falling))]
    assert sides == ["larger d_m", "smaller d_m"]
    alone = small(tmp_path / "2", trial, [[3]])
    assert [best.extend for best in optima(alone, configurations(alone))] == ["more values of d_m"]


def test_the_band_holds_what_the_noise_cannot_tell_apart(tmp_path, trial):
    data = small(tmp_path, trial, [[2.0, 2.1], [2.04, 2.06], [3.0, 3.1], [1.0, 1.1], [1.9, 2.0], [1.8, 1.9]])
    table = configurations(data)
    first, second = optima(data, table)
    assert table.loc[list(first.band), "d_m"].tolist() == [3, 5]
    assert table.loc[list(second.band), "d_m"].tolist() == [3]


def test_the_frontier_is_monotone_and_its_chances_follow_the_noise(tmp_path, trial):
    data = small(tmp_path, trial, [[2.0, 2.1], [2.05, 2.06], [3.0, 3.1], [1.0, 1.1], [1.9, 2.0], [1.8, 1.9]])
    table = configurations(data)
    found = frontier(data, table)
    members = table.loc[found.position]
    assert members["d_m"].tolist() == [3, 3]
    assert members["mean"].is_monotonic_decreasing
    assert found.membership.sum() == pytest.approx(2, abs=1e-9)
    assert 0.3 < found.membership[0] < 0.7  # two configurations of the first budget are as good
    assert found.membership[3] > 0.99


def test_a_larger_budget_that_is_worse_is_not_on_the_frontier(tmp_path, trial):
    data = small(tmp_path, trial, [[1.0], [2.0], [3.0], [1.5], [2.0], [3.0]])
    table = configurations(data)
    assert table.loc[frontier(data, table).position, "budget"].tolist() == [30_000]


def test_rows_without_budget_have_no_optimum_but_a_frontier(tmp_path, trial):
    data = small(tmp_path, trial, [[3], [2], [1]], budget=None)
    table = configurations(data)
    assert optima(data, table) == []
    members = table.loc[frontier(data, table).position]
    assert members["d_m"].tolist() == [5, 8]  # d_m = 3 costs more than d_m = 5 here, and is worse
