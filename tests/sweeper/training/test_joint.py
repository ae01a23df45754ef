"""Trials trained in one go get the numbers they would get alone, whatever becomes of the others."""

import dataclasses
from typing import Any

import pytest
import torch

import model.networks.elm_network
from model.backends.choose import choose_backend
from sweeper.plan.expand import expand
from sweeper.plan.grid import parse_grid
from sweeper.plan.trial import TrialSpec
from sweeper.store.store import ResultsStore
from sweeper.training.checkpoint import Checkpoints
from sweeper.training.joint import JointTrial, train_jointly
from sweeper.training.outcomes import Diverged, Stopped
from sweeper.training.progress import Evaluation, TrialProgress
from sweeper.training.training import train_trial

TEXT = """
name: joint
task: {name: text, alphabet: letters}
model: {n_rec: 4, d_m: 2, d_tree: 2, d_branch: 2, dropout_in: 0.1, dropout_rec: 0.1}
training: {steps: 100, batch_size: 3, length: 6, warmup_steps: 5, learning_rate: 1.0e-2, eval_every: 40,
           eval_batches: 1, final_eval_batches: 2, eval_batch_size: 2, dtype: float64, reset_start: 0.5}
seeds: 3
"""
DIGITS = """
name: digits
task: shd
model: {n_rec: 5, d_m: 2, d_tree: 3, d_branch: 4}
training: {steps: 4, batch_size: 2, eval_every: 2, eval_batches: 1, final_eval_batches: 1,
           eval_batch_size: 8, dtype: float64, optimizer: adamax}
seeds: 2
"""


@pytest.fixture(params=["native", "torch"])
def backend(request, monkeypatch) -> str:
    """Networks stay apart in the native back end and run as a stack in torch's."""
    monkeypatch.setattr(
        model.networks.elm_network, "choose_backend", lambda wanted, *where: choose_backend(request.param, *where)
    )
    return request.param


def specs(text: str = TEXT, **training: list[Any]) -> list[TrialSpec]:
    """The grid's replicates; `training` gives settings of each."""
    found = [row.spec for row in expand(parse_grid(text)).trials.values() if row.spec]
    for name, values in training.items():
        found = [
            dataclasses.replace(spec, training=dataclasses.replace(spec.training, **{name: value}))
            for spec, value in zip(found, values, strict=True)
        ]
    return found


def jointly(specs: list[TrialSpec], store: ResultsStore | None = None, **options: Any):
    """Train in one go; each trial's progress and how it ended."""
    progresses = [TrialProgress() for _ in specs]
    ended: dict[int, Exception | None] = {}
    trials = [
        JointTrial(spec=s, progress=p, checkpoints=None if store is None else Checkpoints(store, s.trial_id, 1e9))
        for s, p in zip(specs, progresses, strict=True)
    ]
    train_jointly(trials, on_end=lambda place, error: ended.update({place: error}), **options)
    return progresses, ended


def evaluations(progress: TrialProgress) -> list[Evaluation]:
    return [*progress.evaluations, *progress.final.values(), *progress.best.values()]


def assert_same(found: TrialProgress, expected: TrialProgress) -> None:
    """The bound the platform promises, with room to spare."""
    assert found.steps_done == expected.steps_done
    for one, other in zip(evaluations(found), evaluations(expected), strict=True):
        assert (one.step, one.split, one.learning_rate) == (other.step, other.split, other.learning_rate)
        assert one.loss == pytest.approx(other.loss, rel=1e-9)
        assert one.metric == pytest.approx(other.metric, rel=1e-9)


def test_each_equals_its_single_run_after_100_steps(backend):
    replicates = specs()
    singles = [train_trial(spec) for spec in replicates]
    together, ended = jointly(replicates)
    assert ended == {0: None, 1: None, 2: None}
    assert together[0].backend == backend
    for found, expected in zip(together, singles, strict=True):
        assert_same(found, expected)
    assert len({progress.final["valid"].loss for progress in together}) == 3


def test_each_has_its_own_scalar_settings(backend):
    own = {
        "steps": [30] * 3,
        "learning_rate": [1e-2, 1e-3, 1e-2],
        "clip_norm": [1.0, 0.1, 0.05],
        "schedule": ["cosine", "constant", "cosine"],
        "label_smoothing": [0.0, 0.2, 0.0],
        "reg_activity": [1.0, 0.0, 3.0],
    }
    trials = specs(**own)
    together, _ = jointly(trials)
    for spec, found in zip(trials, together, strict=True):
        assert_same(found, train_trial(spec))


def test_spikes_and_another_optimizer(backend):
    trials = specs(DIGITS)
    together, _ = jointly(trials)
    for spec, found in zip(trials, together, strict=True):
        assert_same(found, train_trial(spec))


def test_one_that_diverges_leaves_and_disturbs_nobody(backend):
    trials = specs(learning_rate=[1e-2, 1e300, 1e-2], clip_norm=[1.0, 1e300, 1.0])
    at_step: dict[int, int] = {}
    steps: list[int] = []

    def on_end(place: int, error: Exception | None) -> None:
        at_step[place] = len(steps)
        assert isinstance(error, Diverged) == (place == 1)

    progresses = [TrialProgress() for _ in trials]
    joined = [JointTrial(spec=spec, progress=progress) for spec, progress in zip(trials, progresses, strict=True)]
    train_jointly(joined, on_end=on_end, on_step=lambda step: steps.append(step) or True)
    alone = TrialProgress()
    with pytest.raises(Diverged):
        train_trial(trials[1], progress=alone)
    assert at_step[1] == alone.steps_done == progresses[1].steps_done < 40  # it is told at once, not at the end
    for place in (0, 2):
        assert_same(progresses[place], train_trial(trials[place]))


@pytest.mark.parametrize("stop_at", [7, 40])
def test_stopped_trials_resume_together_or_alone(backend, tmp_path, stop_at):
    trials = specs(steps=[50] * 3)
    store = ResultsStore.create(tmp_path / "r")
    with pytest.raises(Stopped, match=f"at step {stop_at} of 50"):
        jointly(trials, store, on_step=lambda step: step < stop_at)
    for spec in trials:
        payload = store.read_weights("checkpoints", spec.trial_id)
        assert payload is not None
        assert len(payload) < 200_000  # its own part of the common memory alone
    alone = train_trial(trials[0], checkpoints=Checkpoints(store, trials[0].trial_id, 1e9))
    steps: list[int] = []
    together, _ = jointly(trials, store, on_step=lambda step: steps.append(step) or True)
    assert steps == list(range(stop_at + 1, 51))
    assert_same(alone, train_trial(trials[0]))
    assert_same(together[0], alone)
    assert_same(together[2], train_trial(trials[2]))


def test_trials_saved_at_different_steps_go_on_from_their_own(backend, tmp_path):
    trials = specs(steps=[30] * 3)
    store = ResultsStore.create(tmp_path / "r")
    with pytest.raises(Stopped):
        train_trial(trials[1], checkpoints=Checkpoints(store, trials[1].trial_id, 1e9), on_step=lambda step: step < 12)
    together, ended = jointly(trials, store)
    assert set(ended) == {0, 1, 2}
    for spec, found in zip(trials, together, strict=True):
        assert_same(found, train_trial(spec))


def test_networks_of_unlike_shape_are_refused():
    one, other, _ = specs()
    wider = dataclasses.replace(other, model=dataclasses.replace(other.model, n_rec=7))
    with pytest.raises(RuntimeError):
        jointly([one, wider])


def test_torch_gets_no_gradient_layout_it_warns_of(backend):
    torch.manual_seed(0)
    together, _ = jointly(specs(steps=[2] * 3))  # warnings are errors here
    assert all(progress.steps_done == 2 for progress in together)
