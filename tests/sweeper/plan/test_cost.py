"""What trials are expected to cost, and what finished ones teach about it."""

import pytest

from sweeper.plan.cost import BYTES_PER_PROCESS, CostModel, calibrate, memory_bytes
from sweeper.plan.expand import expand
from sweeper.plan.grid import parse_grid

GRID = """
name: truth
task: {name: text, alphabet: letters}
budgets: [4000, 8000]
model: {d_m: [1, 2, 4, 8], d_tree: 4, d_branch: 4}
seeds: 2
"""


def test_the_cost_model_learns_from_finished_trials():
    specs = [row.spec for row in expand(parse_grid(GRID)).trials.values()]
    truth = CostModel(overhead_s=2e-4, neuron_s=3e-8, arithmetic_s=5e-9)
    rows = [{"spec": spec.canonical, "wall_s": truth.seconds(spec)} for spec in specs[:8]]
    learnt = calibrate(rows)
    assert learnt.calibrated_on == 8
    for spec in specs[8:]:
        assert learnt.seconds(spec) == pytest.approx(truth.seconds(spec), rel=0.05)
    forecast = learnt.forecast(specs)
    assert forecast.low < sum(truth.seconds(spec) for spec in specs) < forecast.high
    assert forecast.wall_seconds(2) == pytest.approx(forecast.seconds / 2)
    assert forecast.wall_range(2) == pytest.approx((forecast.low / 2, forecast.high / 2))
    assert calibrate(rows[:3]).calibrated_on == 0


def test_a_larger_network_costs_more_time_and_memory():
    small, large = (
        next(iter(expand(parse_grid(GRID.replace("[4000, 8000]", f"[{budget}]"))).trials.values())).spec
        for budget in (4000, 400_000)
    )
    assert CostModel().seconds(large) > CostModel().seconds(small)
    assert memory_bytes(large) > memory_bytes(small)
    assert memory_bytes(large, "cuda") > memory_bytes(small, "cuda")


def test_memory_that_trials_took_corrects_the_expectation():
    text = GRID.replace("[4000, 8000]", "[400000]").replace("seeds: 2", "training: {batch_size: 64, length: 200}")
    specs = [row.spec for row in expand(parse_grid(text)).trials.values()]
    expected = [CostModel().memory_bytes(spec) for spec in specs]
    own = [expect - BYTES_PER_PROCESS for expect in expected]

    def row(i: int, factor: float, status: str = "finished", lane: str = "a") -> dict:
        peak = BYTES_PER_PROCESS + int(factor * own[i])
        return {"spec": specs[i].canonical, "wall_s": 1.0, "status": status, "peak_memory_bytes": peak, "lane": lane}

    assert calibrate([row(0, 0.7), row(1, 0.8, lane="b")]).memory_factor == 1.0
    corrected = calibrate([row(0, 1.5), row(1, 0.5, lane="b")])
    assert corrected.memory_factor == pytest.approx(1.5, rel=1e-3)
    assert corrected.memory_bytes(specs[2]) == pytest.approx(BYTES_PER_PROCESS + 1.5 * own[2], rel=1e-3)
    assert calibrate([row(1, 2.0, "out_of_memory")]).memory_factor == pytest.approx(2.0, rel=1e-3)
    small = min(range(4), key=own.__getitem__)
    large = max(range(4), key=own.__getitem__)
    after = {**row(small, 1.0), "peak_memory_bytes": row(large, 1.0)["peak_memory_bytes"]}
    assert calibrate([row(large, 1.0), after]).memory_factor == 1.0  # the peak is that of the trial before


def one(text: str):
    return next(iter(expand(parse_grid(text)).trials.values())).spec


def test_a_busy_machine_slows_the_forecast_and_may_fall_quiet():
    specs = [row.spec for row in expand(parse_grid(GRID)).trials.values()]
    quiet, busy = CostModel().forecast(specs), CostModel().forecast(specs, slowdown=4.0)
    assert (busy.seconds, busy.high, busy.longest) == pytest.approx(
        (4 * quiet.seconds, 4 * quiet.high, 4 * quiet.longest)
    )
    assert busy.low == quiet.low
    assert busy.wall_range(2)[1] == pytest.approx(4 * quiet.wall_range(2)[1])


def test_what_was_waited_for_a_core_is_no_cost_of_a_trial():
    """Trials of a busy time teach what they computed; on a GPU the processor's time says nothing."""
    specs = [row.spec for row in expand(parse_grid(GRID)).trials.values()]
    rows = [{"spec": spec.canonical, "wall_s": 5 * CostModel().seconds(spec)} for spec in specs]
    busy = [{**row, "cpu_s": row["wall_s"] / 5} for row in rows]
    assert calibrate(busy).seconds(specs[0]) == pytest.approx(CostModel().seconds(specs[0]), rel=0.05)
    on_gpu = [{**row, "device": "cuda"} for row in busy]
    assert calibrate(on_gpu).seconds(specs[0]) == pytest.approx(calibrate(rows).seconds(specs[0]))


def test_drawing_data_costs_time():
    shd = GRID.replace("{name: text, alphabet: letters}", "{name: shd, data: DATA, bin_ms: 10}")
    shd = shd.replace("[4000, 8000]", "[20000]") + "training: {steps: 100, batch_size: 32}"
    read, drawn = (one(shd.replace("DATA", data)) for data in ("embedded", "generated"))
    # 0.5 ms each of 3,200 recordings of training, and of those that are evaluated.
    assert CostModel().seconds(drawn) - CostModel().seconds(read) > 1.6
    assert calibrate([{"spec": drawn.canonical, "wall_s": CostModel().seconds(drawn)}] * 8).seconds(read) < 1.1 * (
        CostModel().seconds(read)
    )


def test_a_loop_of_recurrent_dropout_costs_time():
    grid = GRID.replace("{d_m: [1, 2, 4, 8], d_tree: 4, d_branch: 4}", "{n_rec: 32, dropout_rec: RATE}")
    grid = (
        grid.replace("budgets: [4000, 8000]", "architecture: KIND")
        + "training: {steps: 100, length: 64, batch_size: 32}"
    )
    extra = {
        kind: [CostModel().seconds(one(grid.replace("KIND", kind).replace("RATE", rate))) for rate in ("0.0", "0.2")]
        for kind in ("lstm", "gru")
    }
    assert extra["lstm"][1] - extra["lstm"][0] == pytest.approx(6400 * 228e-6, rel=0.1)  # as measured
    assert extra["gru"][1] == extra["gru"][0]
