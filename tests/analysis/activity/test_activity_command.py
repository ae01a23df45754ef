"""`analysis activity` on networks that a real launch has kept."""

import io
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from analysis.activity.exponents import measured_values
from analysis.cli import cli
from model.network import build_network
from sweeper.errors import DamageError, SweeperError
from sweeper.plan.expand import expand
from sweeper.plan.grid import parse_grid
from sweeper.plan.trial import spec_from_canonical
from sweeper.python import launch_grid
from sweeper.store.store import ResultsStore
from sweeper.training.recording import record
from tasks.loaders import load_task
from tests.sweeper.inline import LanesHere

GRID = """
name: kept
task: {name: text, data: embedded, alphabet: letters}
budgets: [3_000]
model: {d_m: [2, 4], d_tree: 2, d_branch: 2, rho_rec: 0.5, tau_r: null}
training: {steps: 4, batch_size: 4, length: 16, eval_batches: 1, final_eval_batches: 1, save: final}
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A results directory whose two trials kept their networks."""
    folder = tmp_path_factory.mktemp("kept")
    (folder / "grid.yaml").write_text(GRID)
    launch_grid(folder / "grid.yaml", folder / "r", executor=LanesHere())
    return folder / "r"


@pytest.fixture(scope="module")
def store(kept):
    return ResultsStore.open(kept)


def ids(store):
    return store.read("trials").sort_by("d_m")["trial_id"].to_pylist()


def test_keeping_the_network_changes_no_trial():
    with_it, without = (set(expand(parse_grid(text)).trials) for text in (GRID, GRID.replace(", save: final", "")))
    assert with_it == without


def test_a_recording_is_what_the_network_does_in_one_go(store):
    trial_id = ids(store)[1]
    made = record(store, trial_id, split="test", sequences=3, steps=40, burn_in=5)
    saved = torch.load(io.BytesIO(store.read_weights("networks", trial_id)), weights_only=True)
    spec = spec_from_canonical(saved["spec"])
    network = build_network(spec.model, seed=spec.seed, backend="reference").eval()
    network.load_state_dict(saved["weights"])
    batches = list(load_task(spec.task, spec.task_options).eval_batches("test", batch_size=3, length=16, max_batches=3))
    x = torch.cat([batch.x for batch in batches], dim=1)[:, :45]
    with torch.no_grad():
        output = network(x, keep_activity=True)
    assert made.activity_RTN.shape == (3, 40, spec.model.n_rec)
    assert made.activity_RTN == pytest.approx(output.activity[:, 5:].numpy(), abs=1e-6)
    # Without a high-pass filter a neuron's activity is its rectified answer plus bias.
    assert spec.model.tau_r is None
    bias = network.hidden.bias.detach().numpy()
    assert np.maximum(made.potential_RTN + bias, 0) == pytest.approx(made.activity_RTN, abs=1e-6)
    assert made.timescales_ND.shape == (spec.model.n_rec, spec.model.d_m)


def test_the_command_prints_a_row_and_writes_numbers_and_figures_for_each_network(kept, store):
    done = CliRunner().invoke(cli, ["activity", str(kept), "--steps", "64", "--sequences", "4", "--burn-in", "8"])
    assert done.exit_code == 0, done.output
    for trial_id in ids(store):
        assert trial_id[:8] in done.output
    document = json.loads((kept / "activity.json").read_text())
    assert [network["d_m"] for network in document["networks"]] == [2, 4]
    assert len(document["networks"][0]["spectrum"]["eigenvalues"]["bdata"]) > 0
    page = (kept / "activity.html").read_text()
    assert page.count("plotly-graph-div") == 1 + 4 * 2
    one = CliRunner().invoke(cli, ["activity", str(kept), "--where", "d_m == 4", "--steps", "64", "--json"])
    assert [network["d_m"] for network in json.loads(one.stdout)["networks"]] == [4]


def test_what_the_command_writes_is_a_measured_beta_for_a_fit(kept, tmp_path):
    target = str(tmp_path / "activity.json")
    arguments = ["--steps", "256", "--sequences", "32", "--burn-in", "8", "-o", target]
    assert CliRunner().invoke(cli, ["activity", str(kept), *arguments]).exit_code == 0
    (value,) = measured_values([target], ())
    networks = json.loads((tmp_path / "activity.json").read_text())["networks"]
    long = [n["spectrum"] for n in networks if n["spectrum"]["samples"] >= 10 * n["n_rec"]]
    assert value.parameter == "beta"
    assert value.value == pytest.approx(np.mean([spectrum["exponent"] for spectrum in long]))
    assert value.source.startswith(f"spectra of {len(long)} networks with N = ")


def test_what_cannot_be_recorded_is_said_in_one_line(kept, store, tmp_path, monkeypatch):
    for arguments, message in (
        (["--where", "d_m == 9"], "no trial with a saved network fulfils it"),
        (["--burn-in", "100000"], "leaves nothing to look at"),
    ):
        done = CliRunner().invoke(cli, ["activity", str(kept), *arguments])
        assert done.exit_code != 0
        assert message in str(done.exception)
    trial_id = ids(store)[0]
    with monkeypatch.context() as patch:
        patch.setattr("sweeper.training.recording._run", lambda *all: pytest.fail("steps were run that nobody can see"))
        with pytest.raises(SweeperError, match="leaves nothing to look at"):
            record(store, trial_id, split="test", sequences=16, steps=64, burn_in=100_000)
    with pytest.raises(SweeperError, match="has no saved network"):
        record(store, "f" * 16, split="test", sequences=1, steps=64, burn_in=0)
    # A file that was copied to another trial's name is not taken for its network.
    store.write_weights("networks", "e" * 16, store.read_weights("networks", trial_id))
    with pytest.raises(SweeperError, match=f"holds the network of trial {trial_id}"):
        record(store, "e" * 16, split="test", sequences=1, steps=64, burn_in=0)
    path = kept / "networks" / f"{'e' * 16}.pt"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamageError):
        record(store, "e" * 16, split="test", sequences=1, steps=64, burn_in=0)
    path.unlink()
    empty = tmp_path / "r"
    ResultsStore.create(empty)
    done = CliRunner().invoke(cli, ["activity", str(empty)])
    assert "no saved networks" in str(done.exception)
