"""Residuals of the voltage against errors whose state and lag are known, and the command on saved neurons."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from analysis.activity.residuals import residuals
from analysis.cli import cli
from sweeper.errors import SweeperError
from sweeper.python import launch_grid
from sweeper.store.store import ResultsStore
from sweeper.training.recording import record_voltage
from tests.sweeper.inline import LanesHere

GRID = """
name: kept
task: {name: neuronio, data: embedded}
training: {preset: paper, steps: 3, batch_size: 2, length: 200, warmup_steps: 1, final_eval_batches: 1, save: final}
blocks:
  - architecture: elm_neuron
    model: {d_m: 2, d_tree: 45, d_branch: 100, interleaved: true, tau_m_max: 150}
  - architecture: gru
    model: {n_rec: 3}
"""


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def test_the_spread_of_the_error_is_found_at_the_state_where_it_is(rng):
    voltage = rng.normal(size=(20, 2000)) * 5
    noise = np.where(voltage > np.quantile(voltage, 0.9), 3.0, 1.0)
    found = residuals(voltage + noise * rng.normal(size=voltage.shape) + 0.5, voltage, np.zeros(voltage.shape, bool))
    assert found.bias == pytest.approx(0.5, abs=0.03)
    assert found.by_voltage.sd == pytest.approx([1.0] * 9 + [3.0], rel=0.05)
    assert np.all(np.diff(found.by_voltage.place) > 0)
    assert set(found.by_voltage.steps) == {4000}
    assert found.explained == pytest.approx(1 - (0.9 + 0.1 * 9 + 0.25) / 25, abs=0.01)
    assert len(found.after_spike.place) == 0  # no spike, so no time since one


def test_the_spread_of_the_error_is_found_after_spikes(rng):
    target = np.zeros((200, 100))
    spikes = np.zeros(target.shape, bool)
    spikes[:, [10, 60]] = True
    error = rng.normal(size=target.shape)
    error[:, [10, 60]] *= 5
    error[:, [12, 62]] += 4
    found = residuals(target + error, target, spikes).after_spike
    at = {float(place): i for i, place in enumerate(found.place)}
    assert found.sd[at[0.0]] == pytest.approx(5, rel=0.1)
    assert found.sd[at[1.0]] == pytest.approx(1, rel=0.1)
    assert found.bias[at[2.0]] == pytest.approx(4, abs=0.2)
    assert found.steps.sum() == 200 * 90  # nothing before the first spike


def test_the_autocorrelation_of_a_known_process_comes_back(rng):
    kappa, steps = 0.9, 1000
    error = np.zeros((60, steps))
    error[:, 0] = rng.normal(size=60) / np.sqrt(1 - kappa**2)
    for t in range(1, steps):
        error[:, t] = kappa * error[:, t - 1] + rng.normal(size=60)
    found = residuals(error, np.zeros_like(error), np.zeros(error.shape, bool)).by_lag
    assert found.correlation[:11] == pytest.approx(kappa ** np.arange(11), abs=0.03)
    assert found.time == pytest.approx((1 + kappa) / (1 - kappa), rel=0.15)
    white = residuals(rng.normal(size=(60, steps)), np.zeros_like(error), np.zeros(error.shape, bool)).by_lag
    assert white.time < 1.3


def test_long_lags_are_not_shrunk_by_their_fewer_pairs(rng):
    error = np.repeat(rng.normal(size=(5000, 1)), 20, axis=1)  # each window misses by one constant
    found = residuals(error, np.zeros_like(error), np.zeros(error.shape, bool)).by_lag
    assert found.correlation == pytest.approx(np.ones(20), abs=1e-9)


def test_clipped_voltages_and_exact_answers_give_fewer_classes_and_no_nonsense():
    voltage = np.repeat([[0.0, 0.0, 0.0, 1.0]], 5, axis=0)
    found = residuals(voltage, voltage, voltage > 0.5)
    assert (found.sd, found.explained) == (0.0, 1.0)
    assert list(found.by_voltage.place) == [0.0, 1.0]
    assert found.by_lag.correlation[0] == 1.0
    assert found.by_lag.time == 1.0


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A results directory with a saved neuron and a saved GRU."""
    folder = tmp_path_factory.mktemp("kept")
    (folder / "grid.yaml").write_text(GRID)
    launch_grid(folder / "grid.yaml", folder / "r", executor=LanesHere())
    return folder / "r"


def trial(store: ResultsStore, architecture: str) -> str:
    rows = store.read("trials").to_pylist()
    return next(row["trial_id"] for row in rows if row["architecture"] == architecture)


def test_the_voltage_of_a_saved_neuron_is_recorded_in_whole_windows(kept):
    store = ResultsStore.open(kept)
    made = record_voltage(store, trial(store, "elm_neuron"), split="test", windows=7)
    assert made.predicted_RT.shape == made.target_RT.shape == made.spikes_RT.shape == (7, 50)  # 200 less the burn-in
    # Clipped at -55 mV, less -67.7 mV.
    assert -30 < made.target_RT.min() < made.target_RT.max() <= 12.7001
    again = record_voltage(store, trial(store, "elm_neuron"), split="test", windows=3)
    assert np.array_equal(again.predicted_RT, made.predicted_RT[:3])
    with pytest.raises(SweeperError, match="gru on neuronio answers no voltage"):
        record_voltage(store, trial(store, "gru"), split="test", windows=3)


def test_the_command_prints_a_row_names_what_it_left_out_and_writes_numbers_and_figures(kept):
    done = CliRunner().invoke(cli, ["residuals", str(kept), "--windows", "8"])
    assert done.exit_code == 0, done.output
    store = ResultsStore.open(kept)
    assert trial(store, "elm_neuron")[:8] in done.output
    assert f"left out: trial {trial(store, 'gru')}" in done.output
    (network,) = json.loads((kept / "residuals.json").read_text())["networks"]
    assert network["windows"] == 8
    assert network["sd"] > 0
    page = (kept / "residuals.html").read_text()
    assert page.count("Residuals by state") == page.count("Residuals by lag") == 1
    refused = CliRunner().invoke(cli, ["residuals", str(kept), "--where", "architecture == 'gru'"])
    assert "could be run" in str(refused.exception)
