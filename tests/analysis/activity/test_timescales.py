"""Learned timescales of networks and single neurons that a real launch has kept."""

import io
import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from analysis.activity.timescales import LearnedTimescales, plot_learned, timescale_table
from analysis.cli import cli
from sweeper.python import launch_grid
from sweeper.store.store import ResultsStore
from tests.sweeper.inline import LanesHere

GRID = """
name: learning
task: {name: shd, bin_ms: 50}
model: {d_m: 5, dt: 50, tau_m_min: 20, tau_m_max: 400, learn_tau_m: true}
training:
  {steps: 6, batch_size: 4, learning_rate: 0.05, warmup_steps: 1, eval_batches: 1, final_eval_batches: 1, save: final}
blocks:
- {architecture: elm_neuron, model: {tau_b: 50}}
- {model: {n_rec: 3, d_tree: 2, d_branch: 4, tau_r: 100}}
- {model: {n_rec: 4, d_tree: 2, d_branch: 4, tau_r: 100, learn_tau_m: false}}
"""


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A results directory with a neuron and a network that learnt their timescales, and a network that did not."""
    folder = tmp_path_factory.mktemp("learning")
    (folder / "grid.yaml").write_text(GRID)
    launch_grid(folder / "grid.yaml", folder / "r", executor=LanesHere())
    return folder / "r"


def weights(kept, trial_id):
    payload = ResultsStore.open(kept).read_weights("networks", trial_id)
    return torch.load(io.BytesIO(payload), weights_only=True)["weights"]


def test_the_command_shows_timescales_before_and_after_training(kept):
    done = CliRunner().invoke(cli, ["activity", str(kept), "--steps", "64", "--burn-in", "2"])
    assert done.exit_code == 0, done.output
    assert "left out" in done.output  # the single neuron has no population
    document = json.loads((kept / "activity.json").read_text())
    assert {network["n_rec"] for network in document["networks"]} == {3, 4}
    neuron, network = sorted(document["learned_timescales"], key=lambda one: one["n_rec"])
    assert (neuron["n_rec"], network["n_rec"]) == (1, 3)
    for one, name, low, high in ((neuron, "tau_logit", 20, 400), (network, "hidden.tau_logit", 2, 400 * 10**0.5)):
        logit = weights(kept, one["trial_id"])[name].double().numpy()
        before, after = (np.array(one[when]) for when in ("before", "after"))
        assert after == pytest.approx((low + (high - low) / (1 + np.exp(-logit))).flatten(), rel=1e-9)
        assert before == pytest.approx(np.tile(np.geomspace(20, 400, 5), one["n_rec"]), rel=1e-6)
        assert one["moved"] > 1.001
        assert one["quantiles"]["after"] == pytest.approx(np.quantile(after, one["quantiles"]["shares"]))
        assert one["dt"] == 50
        assert one["trial_id"][:8] in done.output
    page = (kept / "activity.html").read_text()
    assert page.count("plotly-graph-div") == 1 + 2 + 4 * 2
    assert page.count("Learned timescales: N") >= 2


def test_a_directory_of_single_neurons_has_a_page_too(kept, tmp_path):
    base = tmp_path / "neurons"
    arguments = ["activity", str(kept), "--where", "n_rec == 1", "--steps", "64", "-o", str(base), "--json"]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["networks"] == []
    assert (tmp_path / "neurons.html").read_text().count("plotly-graph-div") == 1
    arguments = ["activity", str(kept), "--where", "n_rec == 4", "--steps", "64", "--json", "--burn-in", "2"]
    still = CliRunner().invoke(cli, arguments)
    assert json.loads(still.stdout)["learned_timescales"] == []


def made(before, after):
    return LearnedTimescales(
        trial_id="0123456789abcdef", budget=None, n_rec=1, d_m=len(before), seed=0, dt=2.0,
        before=np.array(before, float), after=np.array(after, float),
    )  # fmt: skip


def test_the_histogram_counts_every_unit_once_and_the_factor_is_the_same_up_and_down():
    learned = made([1, 10, 100], [2, 10, 50])
    bars, outline = plot_learned(learned)["data"]
    assert sum(bars["y"]) == 3 == sum(outline["y"][:-1])
    edges = outline["x"]
    for unit, share in zip(bars["x"], bars["y"], strict=True):
        if share:
            place = np.searchsorted(edges, unit) - 1
            assert any(edges[place] <= value <= edges[place + 1] for value in learned.after)
    assert learned.moved == pytest.approx(2.0)
    assert made([1, 1, 1], [1, 1, 1]).moved == 1.0
    assert sum(plot_learned(made([5, 5], [5, 5]))["data"][0]["y"]) == 2
    before, after = timescale_table([learned]).rows
    assert (before[6], after[6]) == ("before", "after")
    assert before[9] == 10.0
    assert after[-1] == pytest.approx(2.0)
