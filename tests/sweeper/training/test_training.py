"""Training: the same spec gives the same bits, learns, and fails in ways that can be told apart."""

import dataclasses
import gc
import io
import json
import math
import os
import pickle
import weakref

import pytest
import torch

from sweeper.errors import SweeperError
from sweeper.lane.attempt import run_trial
from sweeper.lane.trainer import TrialContext
from sweeper.plan.expand import expand
from sweeper.plan.grid import parse_grid
from sweeper.plan.trial import TrainingConfig
from sweeper.queue.messages import Assignment
from sweeper.store.store import ResultsStore
from sweeper.training.checkpoint import Checkpoints
from sweeper.training.outcomes import Diverged, Stopped
from sweeper.training.progress import TrialProgress
from sweeper.training.schedule import learning_rate_at, reset_probability
from sweeper.training.training import train_trial
from tasks.spec import task_spec


def spec(text: str, **training):
    base = next(iter(expand(parse_grid(text)).trials.values())).spec
    return dataclasses.replace(base, training=dataclasses.replace(base.training, **training))


def assigned(made) -> Assignment:
    task = task_spec(made.task, made.task_options)
    return Assignment(
        trial_id=made.trial_id, spec=made, task=task, sweep="s", budget=None, attempt=1, configuration="c"
    )


def numbers(progress: TrialProgress) -> list[tuple]:
    return [(e.split, e.step, e.loss, e.metric) for e in [*progress.evaluations, *progress.final.values()]]


def test_the_same_spec_gives_the_same_bits_and_another_seed_does_not(tiny_text):
    one = spec(tiny_text)
    first, second = numbers(train_trial(one)), numbers(train_trial(one))
    assert first == second
    assert numbers(train_trial(dataclasses.replace(one, seed=1))) != first


def test_it_learns(tiny_text):
    progress = train_trial(spec(tiny_text, steps=150, eval_every=50, learning_rate=1e-2, reg_activity=0.0))
    chance = math.log2(27)
    assert progress.final["valid"].metric < chance - 0.4
    assert progress.final["valid"].metric == pytest.approx(progress.final["valid"].loss / math.log(2))
    assert set(progress.final) == {"train", "valid", "test"}


def test_the_best_evaluation_is_kept_with_its_step(tiny_text):
    progress = train_trial(spec(tiny_text, learning_rate=0.3, steps=40, eval_every=10, warmup_steps=0))
    valid = {e.step: e.metric for e in progress.evaluations if e.split == "valid"}
    assert sorted(valid) == [10, 20, 30, 40]
    best = min(valid, key=lambda step: valid[step])
    assert progress.best["test"].step == best
    assert progress.final["test"].step == 40


def test_a_diverged_trial_says_where(tiny_text):
    with pytest.raises(Diverged, match=r"at step \d+ of 200"):
        train_trial(spec(tiny_text, learning_rate=1e30, clip_norm=1e30, steps=200, warmup_steps=0))


def test_a_trial_can_be_stopped_and_keeps_its_curve(tiny_text):
    progress = TrialProgress()
    with pytest.raises(Stopped, match="at step 15 of 30"):
        train_trial(spec(tiny_text), progress=progress, on_step=lambda step: step < 15)
    assert progress.steps_done == 15
    assert [e.step for e in progress.evaluations] == [10, 10]


def test_the_schedule_warms_up_and_falls_to_zero():
    config = TrainingConfig(steps=100, warmup_steps=10, learning_rate=1.0)
    rates = [learning_rate_at(step, config) for step in range(100)]
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert rates[55] == pytest.approx(0.5, abs=0.01)
    assert rates[99] < 1e-3
    assert learning_rate_at(60, dataclasses.replace(config, schedule="constant")) == 1.0


def test_carried_states_are_reset_ever_less():
    config = TrainingConfig(reset_start=1.0, reset_end=0.01, reset_steps=100)
    assert reset_probability(0, config) == 1.0
    assert reset_probability(50, config) == pytest.approx(0.505)
    assert reset_probability(100, config) == reset_probability(5000, config) == pytest.approx(0.01)


def test_the_carried_state_matters(tiny_text):
    always = train_trial(spec(tiny_text, reset_end=1.0))
    never = train_trial(spec(tiny_text, reset_start=0.0, reset_end=0.0))
    assert always.final["valid"].loss != never.final["valid"].loss


def test_regularisers_and_label_smoothing_act_in_training_only(tiny_text):
    none = {"steps": 1, "eval_every": 1, "reg_mlp": 0.0, "reg_activity": 0.0}
    plain = train_trial(spec(tiny_text, **none))
    for change in ({"reg_mlp": 50.0}, {"reg_activity": 50.0}, {"label_smoothing": 0.5}):
        changed = train_trial(spec(tiny_text, **(none | change)))
        train = [e.loss for e in changed.evaluations if e.split == "train"]
        assert train == [e.loss for e in plain.evaluations if e.split == "train"]  # reported loss is the plain one
        assert changed.final["valid"].loss != plain.final["valid"].loss  # but the step taken differs


@pytest.mark.parametrize("stop_at", [7, 10, 25])
def test_a_resumed_trial_gives_the_same_bits(tiny_text, tmp_path, stop_at):
    one = spec(tiny_text, reset_start=0.5)
    whole = train_trial(one)
    store = ResultsStore.create(tmp_path / "r")
    with pytest.raises(Stopped):
        train_trial(one, checkpoints=Checkpoints(store, one.trial_id, 1e9), on_step=lambda step: step < stop_at)
    steps: list[int] = []
    resumed = train_trial(
        one, checkpoints=Checkpoints(store, one.trial_id, 1e9), on_step=lambda step: steps.append(step) or True
    )
    assert steps[0] == stop_at + 1
    assert numbers(resumed) == numbers(whole)
    assert {s: (e.step, e.metric) for s, e in resumed.best.items()} == {
        s: (e.step, e.metric) for s, e in whole.best.items()
    }


def test_checkpoints_are_taken_when_due_and_never_run_code(tiny_text, tmp_path):
    one = spec(tiny_text, steps=3)
    store = ResultsStore.create(tmp_path / "r")
    train_trial(one, checkpoints=Checkpoints(store, one.trial_id, every_s=0.0))
    assert Checkpoints(store, one.trial_id, 1.0).load()["progress"]["steps_done"] == 3
    store.write_weights("checkpoints", one.trial_id, pickle.dumps(os.system, protocol=2))
    with pytest.raises(pickle.UnpicklingError):
        Checkpoints(store, one.trial_id, 1.0).load()
    store.delete_checkpoint(one.trial_id)
    assert Checkpoints(store, one.trial_id, 1.0).load() is None


def test_a_trial_that_keeps_its_network_needs_a_place_for_it_and_ends_with_its_last_weights(tiny_text, tmp_path):
    one, store = spec(tiny_text, steps=3, save="final"), ResultsStore.create(tmp_path / "r")
    assert one.trial_id == spec(tiny_text, steps=3).trial_id
    with pytest.raises(SweeperError, match="needs a results directory"):
        train_trial(one)
    checkpoints = Checkpoints(store, one.trial_id, every_s=0.0)
    train_trial(one, checkpoints=checkpoints)
    saved = torch.load(io.BytesIO(store.read_weights("networks", one.trial_id)), weights_only=True)
    assert saved["spec"] == one.canonical
    last = checkpoints.load()["network"]
    assert saved["weights"].keys() == last.keys()
    assert all(torch.equal(saved["weights"][name], last[name]) for name in last)


def test_a_damaged_checkpoint_counts_as_none_names_its_file_and_changes_no_number(tiny_text, tmp_path, caplog):
    one, store = spec(tiny_text), ResultsStore.create(tmp_path / "r")
    path = tmp_path / "r" / "checkpoints" / f"{one.trial_id}.pt"
    with pytest.raises(Stopped):
        train_trial(one, checkpoints=Checkpoints(store, one.trial_id, 1e9), on_step=lambda step: step < 7)
    whole = path.read_bytes()
    middle = len(whole) // 2
    for damaged in (whole[:middle], b"", whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]):
        path.write_bytes(damaged)
        caplog.clear()
        assert Checkpoints(store, one.trial_id, 1e9).load() is None
        assert [record.getMessage().startswith(f"{path}: damaged") for record in caplog.records] == [True]
    assert numbers(train_trial(one, checkpoints=Checkpoints(store, one.trial_id, 1e9))) == numbers(train_trial(one))


def test_an_undefined_metric_is_left_out_of_the_running_mean_and_never_the_best():
    from sweeper.training.running import RunningMean
    from sweeper.training.training import _is_better

    running = RunningMean()
    running.add({"loss": 1.0, "auc": math.nan}, "auc")
    running.add({"loss": 3.0, "auc": 0.8}, "auc")
    assert running.take() == (2.0, 0.8)
    running.add({"loss": 1.0, "auc": math.nan}, "auc")
    assert math.isnan(running.take()[1])
    assert _is_better(0.1, math.nan, "max")
    assert not _is_better(math.nan, 0.1, "max")


@pytest.mark.parametrize("architecture", ["lstm", "chrono_lstm", "gru", "snn"])
def test_every_architecture_trains_at_the_same_budget_and_resumes(architecture, tmp_path):
    text = f"task: {{name: text, alphabet: letters}}\nbudgets: [6000]\narchitecture: {architecture}\n"
    one = spec(
        text, steps=4, batch_size=4, length=8, eval_every=2, eval_batches=1, final_eval_batches=1, warmup_steps=0
    )
    whole = train_trial(one)
    store = ResultsStore.create(tmp_path / "r")
    with pytest.raises(Stopped):
        train_trial(one, checkpoints=Checkpoints(store, one.trial_id, 1e9), on_step=lambda step: step < 3)
    assert numbers(train_trial(one, checkpoints=Checkpoints(store, one.trial_id, 1e9))) == numbers(whole)


def test_everything_a_task_measures_at_the_end_is_in_the_row(tiny_text):
    made = spec(tiny_text, steps=4)
    assignment = assigned(made)
    context = TrialContext(on_step=lambda step: True, device="cpu", checkpoints=None)  # type: ignore[arg-type]
    row = run_trial(assignment, "lane", "v", context).trial
    assert "order-3 n-gram" in json.loads(row.data_facts)["yardsticks"]
    others = json.loads(row.final_test_others)
    assert set(others) == {"accuracy", "bits_per_original_byte"}
    assert 0 < others["bits_per_original_byte"] < row.final_test_metric  # several bytes may be one symbol


def test_a_trial_that_fails_leaves_nothing_in_memory(tiny_text):
    made = spec(tiny_text, steps=4)
    assignment = assigned(made)
    context = TrialContext(on_step=lambda step: True, device="cpu", checkpoints=None)  # type: ignore[arg-type]
    held = []

    def fails(*_):
        network = torch.nn.Linear(2, 2)
        held.append(weakref.ref(network))
        raise Diverged("loss is nan")

    gc.disable()
    try:
        assert run_trial(assignment, "lane", "v", context, fails).trial.status == "diverged"
        assert held[0]() is None
    finally:
        gc.enable()
