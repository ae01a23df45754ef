"""Means, noise, optimum and frontier are those of the rows, and say nothing that one run cannot say."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from analysis.report.collect import views_without_law
from analysis.rows.alarms import Alarm
from analysis.rows.axes import check_axes
from analysis.rows.load import datasets, read_sweep
from analysis.rows.means import configurations, frontier, noise_text, optima, seed_noise
from analysis.rows.summary import as_json, summarise
from analysis.rows.sweep import Selection
from sweeper.store.store import ResultsStore

STUDY = Path(__file__).resolve().parents[3] / "studies" / "paper_in_miniature" / "results"


def published(name):
    (data,) = datasets(read_sweep(f"published:{name}"), Selection())
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
    (data,) = datasets(read_sweep(tmp_path), Selection())
    return data


def test_means_and_intervals_are_those_of_the_rows(data):
    table = configurations(data)
    for _, row in table.iterrows():
        runs = data.rows.loc[data.rows["configuration"] == row["configuration"], "value"]
        assert row["mean"] == pytest.approx(runs.mean())
        assert row["n"] == len(runs)
    noise = seed_noise(data)
    assert table.sort_values("configuration")["noise"].to_numpy() == pytest.approx(noise.sd)
    pairs = table[table["n"] == 2]
    quantile = stats.t.ppf(0.975, pairs["freedom"].to_numpy(float))
    assert pairs["half"].to_numpy() == pytest.approx(quantile * pairs["noise"] / np.sqrt(2))
    assert table.loc[table["n"] == 1, "half"].isna().all()


def test_one_run_each_has_an_optimum_and_no_interval():
    data, table = published("enwik8")
    (best,) = optima(data, table)
    assert table.loc[best.best, "n_rec"] == 440
    assert (best.band, best.good, best.good_text("d_m"), best.tolerance) == ((best.best,), None, "unknown", None)
    assert "no configuration has two runs" in best.tolerance_kind
    assert (best.extend, best.bracketed) == (None, True)
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
    assert first.good["d_m"] == (3, pytest.approx(np.sqrt(5 * 8)))  # half-way to the next that was run and is worse
    assert second.good["d_m"] == (3, pytest.approx(np.sqrt(3 * 5)))
    assert second.good["n_rec"] == (pytest.approx(np.sqrt(300 * 180)), 300)


def test_a_noisy_tiny_network_widens_no_other_band(tmp_path, trial):
    """A network of four neurons at the smallest budget once made every split of the largest look as good."""
    quiet = [[1.00, 1.01, 1.02], [1.30, 1.31, 1.32], [1.60, 1.61, 1.62]]
    noisy = [[2.0, 2.02, 2.01], [2.2, 2.21, 2.22], [2.5, 3.3, 4.1]]
    bands = []
    for name, first in (("quiet", [*noisy[:2], [3.29, 3.3, 3.31]]), ("noisy", noisy)):
        data = small(tmp_path / name, trial, [*first, *quiet])
        table = configurations(data)
        bands.append([table.loc[list(best.band), "d_m"].tolist() for best in optima(data, table)])
    assert bands == [[[3], [3]], [[3], [3]]]
    assert noise_text(table).startswith("0.009 (P = 90,000) to ")


def test_the_noise_of_a_budget_without_replicates_is_said_to_be_borrowed(tmp_path, trial):
    data = small(tmp_path, trial, [[2.0, 2.1], [2.4, 2.5], [3.0, 3.1], [1.0], [1.9], [1.8]])
    own, borrowed = optima(data, configurations(data))
    assert "of this budget" in own.tolerance_kind
    assert "of other budgets, for none has two runs here" in borrowed.tolerance_kind


def test_a_band_of_the_study_reaches_between_the_sizes_that_were_run():
    """Two bands of the study's first screen were a single value, "62-62" and "131-131"."""
    data = datasets(read_sweep(STUDY / "text"), Selection())[0]
    table = configurations(data)
    for best in optima(data, table):
        own = table[(table["budget"] == best.budget) & (table["k_c"] == best.k_c)]
        for name, (low, high) in best.good.items():
            sizes = own[name].to_numpy(float)
            at = table.loc[best.best, name]
            assert low < high
            assert low == pytest.approx(min(low, np.sqrt(at * max(sizes[sizes < at], default=at))))
            assert high == pytest.approx(max(high, np.sqrt(at * min(sizes[sizes > at], default=at))))


def test_the_smallest_d_m_there_is_cannot_be_extended(tmp_path, trial):
    data = small(tmp_path, trial, [[1], [2], [3], [3], [2], [1]])
    data.rows["d_m"] = data.rows["d_m"].replace(3, 1)
    first, second = optima(data, configurations(data))
    assert (first.extend, first.bracketed) == (None, False)
    assert first.verdict == "no: d_m = 1 is the smallest there is"
    assert second.verdict == "no: extend towards larger d_m"


def test_networks_without_d_m_have_sentences_of_their_own():
    sweep = read_sweep(STUDY / "text")
    for data in datasets(sweep, Selection(where="architecture == 'gru'")):
        table = configurations(data)
        assert {best.verdict for best in optima(data, table)} == {"nothing to split"}
        assert check_axes(table).sentences == (
            "These networks are sized by n_rec alone: there is no split to choose, and no axis to tell from another.",
        )
    told = json.dumps(
        as_json(summarise(sweep, views_without_law(sweep, datasets(sweep, Selection())))), allow_nan=False
    )
    assert "nan" not in told.lower()
    assert Alarm("collapsed", 30_000.0, None, 82.0, 327.0, "", ()).place == "N = 82, P = 30,000"


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
