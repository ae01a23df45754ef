"""The single ELM neuron as an architecture of a grid: its own axes, sizes and refusals."""

import dataclasses

import pytest

from model.architectures.elm_neuron import ElmNeuronConfig
from model.budget import counts
from sweeper.errors import GridError
from sweeper.plan.expand import INFEASIBLE, expand
from sweeper.plan.grid import parse_grid
from sweeper.plan.trial import spec_from_canonical
from sweeper.store.store import ResultsStore
from sweeper.training.checkpoint import Checkpoints
from sweeper.training.outcomes import Stopped
from sweeper.training.training import train_trial

BRANCHES = "d_tree: 45, d_branch: 100, interleaved: true"


def plan(text: str, task: str = "neuronio"):
    return expand(parse_grid(f"task: {task}\narchitecture: elm_neuron\n{text}"))


def test_without_a_budget_every_size_is_given():
    rows = plan(f"model: {{d_m: [2, 100], {BRANCHES}}}").rows
    assert [row.spec.model.d_m for row in rows] == [2, 100]
    assert {row.spec.model.n_rec for row in rows} == {1}
    assert [row.counts.trainable_params for row in rows] == [4708, 54002]  # as published
    assert [row.counts.k_c for row in rows] == [4500, 4500]


def test_a_budget_decides_d_m():
    for row in plan(f"budgets: [5000, 8000, 54_002]\nmodel: {{{BRANCHES}}}").rows:
        larger = dataclasses.replace(row.spec.model, d_m=row.spec.model.d_m + 1)
        assert row.counts.trainable_params <= row.budget < counts(larger).trainable_params
    assert row.spec.model.d_m == 100
    (row,) = plan(f"budgets: [4000]\nmodel: {{{BRANCHES}}}").rows
    assert row.state == INFEASIBLE
    assert "4000 is too small for d_m = 1; the smallest feasible budget is" in row.reason


def test_k_e_is_met_by_the_nearest_d_m():
    (row,) = plan("model: {k_e: 1000, d_tree: 9}").rows
    assert row.spec.model.d_m == 13
    assert row.counts.k_e == 2 * 13 * (9 + 13) + 26 + 13 * 26 + 13


def test_versions_of_the_neuron_are_axes():
    text = "model: {d_m: 4, d_tree: [0, 45, 45], d_branch: [null, 100, 100], lambda_as_ratio: [false, false, true]}\n"
    rows = plan(text + "zip: [[d_tree, d_branch, lambda_as_ratio]]").rows
    assert [row.counts.k_c for row in rows] == [1278, 4500, 4500]
    assert len({row.trial_id for row in rows}) == 3
    for row in rows:
        assert isinstance(row.spec.model, ElmNeuronConfig)
        assert spec_from_canonical(row.spec.canonical) == row.spec


def test_it_trains_and_resumes_to_the_same_bits(tmp_path):
    short = "training: {steps: 4, batch_size: 2, length: 200, eval_every: 2, eval_batches: 1, final_eval_batches: 1,"
    short += " eval_batch_size: 4}"
    (row,) = plan(f"model: {{d_m: 3, {BRANCHES}}}\n{short}").rows
    whole = train_trial(row.spec)
    store = ResultsStore.create(tmp_path / "r")
    with pytest.raises(Stopped):
        train_trial(row.spec, checkpoints=Checkpoints(store, row.trial_id, 1e9), on_step=lambda step: step < 3)
    resumed = train_trial(row.spec, checkpoints=Checkpoints(store, row.trial_id, 1e9))
    assert resumed.backend == "torch"
    assert {split: found.loss for split, found in resumed.final.items()} == {
        split: found.loss for split, found in whole.final.items()
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"budgets: [8000]\nmodel: {{d_m: 2, {BRANCHES}}}", "left out: none. Sizes are given as k_e by d_m or k_e"),
        (f"model: {{{BRANCHES}}}", "model: k_e is not given (by d_m or k_e) and there is no `budgets`"),
        ("model: {d_m: 2, k_e: 400}", "model: d_m and k_e both fix k_e"),
        ("model: {d_m: 2, n_rec: 1}", "model.n_rec: architecture 'elm_neuron' has none. Valid: d_branch, d_m,"),
        ("model: {d_m: 2, k_c: 900}", "model.k_c: architecture 'elm_neuron' has none."),
        ("model: {d_m: 2, rho_rec: 0.5}", "model.rho_rec: architecture 'elm_neuron' has none."),
        ("model: {d_m: 2, tau_r: 5}", "model.tau_r: architecture 'elm_neuron' has none."),
        ("model: {d_m: 2, n_in: 9}", "model.n_in: the task decides it."),
        ("model: {d_m: 2, branches: 9}", "model.branches: 'branches' is not known"),
        ("model: {d_m: 2, d_tree: 45}", "model.d_branch: None is not valid; give the synapses per branch, for d_tree"),
        ("model: {d_m: 2, d_tree: 4, d_branch: 9}", "model.d_branch: 9 is not valid; give branches that cover"),
    ],
)
def test_what_does_not_apply_is_named(text, message):
    with pytest.raises(GridError) as caught:
        plan(text)
    assert message in str(caught.value)


def test_symbols_are_refused_before_anything_runs():
    with pytest.raises(
        GridError, match=r"^architecture: 'elm_neuron' reads .* 'text' gives symbols\. Valid: elm, lstm"
    ):
        plan("model: {d_m: 2}", task="text")


def test_axes_of_the_single_neuron_are_refused_elsewhere():
    text = "task: text\nbudgets: [9000]\nmodel: {d_m: 2, d_tree: 4, d_branch: 4, interleaved: true}"
    with pytest.raises(GridError, match=r"^model\.interleaved: architecture 'elm' has none\. Valid: d_branch"):
        parse_grid(text)
    with pytest.raises(GridError, match=r"^model\.d_m: architecture 'lstm' has none\."):
        parse_grid("task: text\narchitecture: lstm\nmodel: {d_m: 2}")
