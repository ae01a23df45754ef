"""Each alarm rings for what it is about, names its rows, and stays silent otherwise."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.rows.alarms import Alarm, alarm_sentences, find_alarms, tail_gains
from analysis.rows.load import datasets, read_sweep
from analysis.rows.means import configurations
from analysis.rows.sweep import Measure, Selection
from sweeper.store.schema import CurveRecord
from sweeper.store.store import ResultsStore


def alarms(path, rows, curves=(), **measure):
    store = ResultsStore.create(path)
    store.write("trials", rows)
    store.write("curves", list(curves))
    sweep = read_sweep(path)
    (data,) = datasets(sweep, Selection(measure=Measure(**measure)))
    return {(a.kind, a.d_m): a for a in find_alarms(sweep, data, configurations(data))}


def collapsed(path, rows, chance):
    ResultsStore.create(path).write("trials", rows)
    sweep = read_sweep(path)
    (data,) = datasets(sweep, Selection())
    found = find_alarms(sweep, replace(data, chance=chance), configurations(data))
    return {alarm.d_m: alarm for alarm in found if alarm.kind == "collapsed"}


def curve(trial_id, values):
    steps = range(10, 10 * len(values) + 1, 10)
    common = {"attempt": 1, "tokens": 1, "split": "valid", "loss": None, "learning_rate": None, "wall_s": 1.0}
    pairs = zip(steps, values, strict=True)
    return [CurveRecord(trial_id=trial_id, step=step, metric=float(value), **common) for step, value in pairs]


def spread_rows(trial, **changes):
    """Four d_m with metrics from 2.0 to 2.3."""
    values = {3: 2.3, 5: 2.0, 8: 2.1, 12: 2.2}
    return [trial(f"d{d}", d_m=d, n_rec=600 // d, final_test_metric=v, **changes) for d, v in values.items()]


def test_a_clean_sweep_is_silent(sweep, data):
    assert find_alarms(sweep, data, configurations(data)) == []


def test_curves_that_still_fall_are_under_trained(tmp_path, trial):
    falling = 4 - 0.5 * np.log(np.arange(10, 210, 10))
    flat = np.full(20, 2.0)
    rows = spread_rows(trial)
    curves = [record for row in rows for record in curve(row.trial_id, falling if row.d_m == 12 else flat)]
    found = alarms(tmp_path, rows, curves)
    assert list(found) == [("under-trained", 12)]
    assert found["under-trained", 12].trial_ids == ("d12",)
    assert "gain about 0.35" in found["under-trained", 12].why  # 0.5 ln 2


@pytest.mark.parametrize(("direction", "sign"), [("min", -1), ("max", 1)])
def test_the_gain_of_twice_the_steps_follows_the_slope(direction, sign):
    steps = np.arange(10, 210, 10)
    frame = pd.DataFrame({"trial_id": "a", "step": steps, "metric": 3 + sign * 0.2 * np.log(steps)})
    assert tail_gains(frame, "metric", direction).loc["a", "gain"] == pytest.approx(0.2 * np.log(2))
    assert tail_gains(frame.head(2), "metric", direction).empty


def test_the_best_learning_rate_at_the_end_of_those_tried(tmp_path, trial):
    def row(d_m, rate, valid):
        return trial(f"{d_m}-{rate}", d_m=d_m, n_rec=600 // d_m, learning_rate=rate, final_valid_metric=valid)

    rows = [row(5, 1e-4, 2.0), row(5, 1e-3, 1.0), row(5, 1e-2, 2.0), row(8, 1e-4, 1.0), row(8, 1e-3, 2.0)]
    found = alarms(tmp_path, rows)
    assert list(found) == [("learning rate at its bound", 8)]
    assert "try smaller ones" in found["learning rate at its bound", 8].why


def test_runs_near_chance_have_collapsed():
    sweep = read_sweep("published:shd_adding")
    (data,) = datasets(sweep, Selection())
    (found,) = find_alarms(sweep, data, configurations(data))
    assert (found.kind, found.d_m) == ("collapsed", 2)
    assert found.why == (
        "the only run made less than 15 % of the way from chance (0.05263) to the best run (0.8233): 0.1463"
    )


def test_collapsed_runs_of_a_design_point_are_one_alarm(tmp_path, trial):
    values = {3: (2.0, 2.1), 5: (4.8, 5.5), 8: (2.2, 7.0)}
    rows = [
        trial(f"{d}-{seed}", d_m=d, n_rec=600 // d, seed=seed, final_test_metric=v, final_valid_metric=v)
        for d, both in values.items()
        for seed, v in enumerate(both)
    ]
    found = collapsed(tmp_path, rows, chance=4.9)
    assert {d_m: len(alarm.trial_ids) for d_m, alarm in found.items()} == {5: 2, 8: 1}
    assert found[5].why.startswith("2 of 2 runs made less than 15 % of the way from chance (4.9) to the best run (2)")
    assert found[5].why.endswith(": at worst 5.5")
    assert found[8].why.endswith(": 7")


def test_where_no_run_beats_chance_all_have_collapsed(tmp_path, trial):
    rows = [trial(f"t{d}", d_m=d, n_rec=600 // d, final_test_metric=v) for d, v in {3: 5.0, 5: 6.0}.items()]
    assert [alarm.why for alarm in collapsed(tmp_path, rows, chance=4.9).values()] == [
        "the only run did no better than chance (4.9): 5",
        "the only run did no better than chance (4.9): 6",
    ]


def test_a_screen_names_a_few_alarms_of_each_kind_and_counts_the_rest():
    flagged = [Alarm("collapsed", 3e4, float(d), 9.0, 100.0, "why", ("t",)) for d in range(1, 8)]
    spread = Alarm("seed spread", 3e4, 2.0, 9.0, 100.0, "why", ("t",))
    told = alarm_sentences([*flagged, spread])
    assert [sentence.split(":")[0] for sentence in told] == [
        *(f"collapsed at d_m = {d}, P = 30,000" for d in (1, 2, 3)),
        "collapsed at 4 more design points, which the report lists",
        "seed spread at d_m = 2, P = 30,000",
    ]


def test_seeds_that_vary_far_more_than_others(tmp_path, trial):
    rng = np.random.default_rng(0)
    rows = []
    for d_m in (3, 5, 8, 12):
        for seed in range(4):
            value = 2 + rng.normal(0, 0.2 if d_m == 8 else 0.01)
            both = {"final_test_metric": value, "final_valid_metric": value}
            rows.append(trial(f"{d_m}-{seed}", d_m=d_m, n_rec=600 // d_m, seed=seed, **both))
    found = alarms(tmp_path, rows)
    assert list(found) == [("seed spread", 8)]
    assert len(found["seed spread", 8].trial_ids) == 4


def test_a_configuration_whose_splits_disagree(tmp_path, trial):
    gaps = {3: 0.010, 5: 0.012, 8: 0.3, 12: 0.011, 18: 0.009, 27: 0.010}
    rows = [
        trial(f"d{d}", d_m=d, n_rec=600 // d, final_test_metric=2.0, final_valid_metric=2.0 - gap)
        for d, gap in gaps.items()
    ]
    assert list(alarms(tmp_path, rows)) == [("splits disagree", 8)]


def test_no_rows_no_alarms(tmp_path, trial):
    assert alarms(tmp_path, [trial("a", status="failed", final_test_metric=None)]) == {}
