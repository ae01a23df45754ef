"""What a grid asks to keep beside the metrics: right, the same after a kill, in joint training, and never unasked."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from rich.console import Console

import model.cell.flat
from sweeper.errors import DamageError, GridError, SweeperError
from sweeper.launch.launch import launch
from sweeper.launch.maintenance import retry
from sweeper.launch.verify import verify
from sweeper.plan.expand import expand
from sweeper.plan.grid import parse_grid
from sweeper.plan.trial import RECORDED, TrainingConfig
from sweeper.store.store import ResultsStore
from sweeper.training.checkpoint import Checkpoints
from sweeper.training.outcomes import Stopped
from sweeper.training.progress import RECORDED_COLUMNS
from sweeper.training.training import TrialRun, train_trial
from tasks.base import TaskSpec
from tasks.batch import Batch
from tasks.losses import sequence_results
from tests.sweeper.inline import LanesHere
from tests.sweeper.training.test_joint import DIGITS, jointly, specs

ALL = ", ".join(RECORDED)


def spec(text: str, **training):
    (base, *_) = [row.spec for row in expand(parse_grid(text)).trials.values()]
    return dataclasses.replace(base, training=dataclasses.replace(base.training, **training))


def curve(progress) -> list[dict[str, float]]:
    """What was recorded at each evaluation of the training batches."""
    return [
        {name: e.others[name] for name in RECORDED_COLUMNS if name in e.others}
        for e in progress.evaluations
        if e.split == "train"
    ]


def test_norms_are_those_before_clipping_and_the_two_losses_are_what_was_made_smaller(tiny_text, monkeypatch):
    norms, totals = [], []
    before, check = model.cell.flat.FlatParameters.clip_grad, TrialRun.check_finite

    def clip(self, most):
        # read before anything is clipped, and added up in another way
        norms.append(math.sqrt(sum(float(p.grad.double().square().sum()) for p in self._parameters)))
        return before(self, most)

    monkeypatch.setattr(model.cell.flat.FlatParameters, "clip_grad", clip)
    monkeypatch.setattr(
        TrialRun, "check_finite", lambda self, step, loss, norm: totals.append(loss) or check(self, step, loss, norm)
    )
    progress = train_trial(spec(tiny_text, record="gradients, losses", clip_norm=0.01, reg_mlp=0.3, reg_activity=0.7))
    rows = curve(progress)
    assert len(rows) == 3
    assert np.max(norms) > 0.1, "or nothing would have been clipped"
    for i, row in enumerate(rows):
        window = slice(10 * i, 10 * i + 10)
        assert row["gradient_norm"] == pytest.approx(np.mean(norms[window]), rel=1e-5)
        assert row["gradient_norm_max"] == pytest.approx(np.max(norms[window]), rel=1e-5)
        assert row["task_loss"] + row["penalty"] == pytest.approx(np.mean(totals[window]), rel=1e-6)
        assert row["penalty"] > 0
    plain = [e.loss for e in progress.evaluations if e.split == "train"]
    assert [row["task_loss"] for row in rows] == pytest.approx(plain, rel=1e-6), "no label smoothing: the task's loss"


def test_nothing_is_recorded_unasked_and_recording_changes_no_number_and_no_id(tiny_text, tmp_path):
    bare = spec(tiny_text)
    asked = spec(tiny_text, record=ALL)
    assert bare.trial_id == asked.trial_id
    store = ResultsStore.create(tmp_path / "r")
    plain, recorded = (train_trial(one, checkpoints=Checkpoints(store, one.trial_id, 1e9)) for one in (bare, asked))
    assert curve(plain) == [{}, {}, {}]
    assert [(e.loss, e.metric) for e in plain.evaluations] == [(e.loss, e.metric) for e in recorded.evaluations]
    assert curve(train_trial(spec(tiny_text, record="losses")))[0].keys() == {"task_loss", "penalty"}
    assert curve(train_trial(spec(tiny_text, record="gradients")))[0].keys() == {"gradient_norm", "gradient_norm_max"}


@pytest.mark.parametrize("stop_at", [7, 10, 25])
def test_what_is_recorded_survives_a_kill(tiny_text, tmp_path, stop_at):
    one = spec(tiny_text, record=ALL)
    stores = [ResultsStore.create(tmp_path / name) for name in ("whole", "resumed")]
    whole = train_trial(one, checkpoints=Checkpoints(stores[0], one.trial_id, 1e9))
    saved = Checkpoints(stores[1], one.trial_id, 1e9)
    with pytest.raises(Stopped):
        train_trial(one, checkpoints=saved, on_step=lambda step: step < stop_at)
    assert stores[1].read_predictions(one.trial_id) is None
    assert curve(train_trial(one, checkpoints=saved)) == curve(whole)
    first, second = (store.read_predictions(one.trial_id) for store in stores)
    assert first.num_rows > 0
    assert first.equals(second)


def test_a_checkpoint_of_before_is_gone_on_from(tiny_text, tmp_path):
    one, store = spec(tiny_text, record="gradients"), ResultsStore.create(tmp_path / "r")
    saved = Checkpoints(store, one.trial_id, 1e9)
    with pytest.raises(Stopped):
        train_trial(one, checkpoints=saved, on_step=lambda step: step < 10)
    state = saved.load()
    del state["recorded"], state["format"], state["trial_id"]
    state["progress"]["evaluations"] = [{**e, "others": {}} for e in state["progress"]["evaluations"]]
    saved.save(state)
    whole, resumed = curve(train_trial(one)), curve(train_trial(one, checkpoints=saved))
    assert resumed == [{}, *whole[1:]]


def test_trials_that_are_trained_in_one_go_record_what_they_would_alone():
    trials = specs(record=["gradients, losses"] * 3, steps=[30] * 3, eval_every=[10] * 3)
    together, _ = jointly(trials)
    for one, found in zip(trials, together, strict=True):
        for mine, alone in zip(curve(found), curve(train_trial(one)), strict=True):
            assert mine == pytest.approx(alone, rel=1e-9)
            assert mine.keys() == set(RECORDED_COLUMNS)


def predictions(one, tmp_path):
    store = ResultsStore.create(tmp_path / "r")
    progress = train_trial(one, checkpoints=Checkpoints(store, one.trial_id, 1e9))
    return progress.final["test"], store.read_predictions(one.trial_id).to_pandas()


def test_predictions_of_a_text_are_bits_per_character_of_each_segment_of_a_stream(tiny_text, tmp_path):
    test, rows = predictions(spec(tiny_text, record="predictions", final_eval_batches=3), tmp_path)
    assert (rows["bpc"] * rows["targets"]).sum() / rows["targets"].sum() == pytest.approx(test.metric, rel=1e-12)
    assert (rows["correct"] * rows["targets"]).sum() / rows["targets"].sum() == pytest.approx(test.others["accuracy"])
    places = list(rows[["segment", "sequence"]].itertuples(index=False, name=None))
    assert places == [(segment, stream) for segment in range(3) for stream in range(8)]
    assert rows[["target", "predicted", "log_probability"]].isna().all(axis=None)


def test_predictions_of_sequences_have_their_class_and_its_log_probability(tmp_path):
    one = spec(DIGITS, record="predictions", final_eval_batches=2)
    test, rows = predictions(one, tmp_path)
    assert rows["sequence"].tolist() == list(range(16))
    assert set(rows["segment"]) == {0}
    assert (rows["predicted"] == rows["target"]).mean() == rows["correct"].mean() == test.metric
    assert -rows["log_probability"].mean() == pytest.approx(test.loss)
    assert rows["bpc"].isna().all()
    assert rows["target"].nunique() > 1


def test_sequences_are_weighted_and_values_have_no_class():
    about = {
        "name": "t",
        "data_name": "d",
        "n_in": 1,
        "length": 3,
        "chance": None,
        "baseline": None,
        "direction": "min",
    }
    values = TaskSpec(**about, n_out=2, loss="mse", loss_on="every_step", metric="mse", input_kind="real")
    logits, weight = torch.zeros(2, 3, 2), torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]])
    y = torch.tensor([[[1.0, 1.0], [3.0, 1.0], [9.0, 9.0]]] * 2)
    found = sequence_results(values, logits, Batch(x=torch.zeros(2, 3, 1), y=y, weight=weight, starts_fresh=True))
    assert found.targets_B.tolist() == [2.0, 0.0]
    assert found.loss_B[0].item() == (1.0 + 5.0) / 2
    assert found.loss_B[1].isnan()
    assert (found.correct_B, found.target_B, found.predicted_B) == (None, None, None)


def test_a_grid_asks_by_a_list_and_a_retry_keeps_what_it_asks_for(tiny_text, tmp_path):
    text = tiny_text.replace("steps: 30", "steps: 10, record: [gradients, predictions]").replace(
        "[3000, 4000]\nmodel: {d_m: [1, 2, 4]", "3000\nmodel: {d_m: 2"
    )
    grid = parse_grid(text)
    assert next(iter(expand(grid).trials.values())).spec.training.recorded == ("gradients", "predictions")
    results = str(tmp_path / "r")
    assert launch(grid, results, LanesHere(), Console(quiet=True)).exit_code == 0
    store = ResultsStore.open(results)
    rows = store.read("curves").to_pandas()
    assert rows.loc[rows["split"] == "train", "gradient_norm"].gt(0).all()
    assert rows.loc[rows["split"] == "valid", "gradient_norm"].isna().all()
    assert rows[["task_loss", "penalty"]].isna().all(axis=None)
    (file,) = (tmp_path / "r" / "predictions").iterdir()
    assert verify(results).holds
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamageError):
        store.read_predictions(file.stem)
    assert [file.name in sentence for sentence in verify(results).damaged] == [True]
    file.unlink()
    assert retry("d_m == 2", results, LanesHere(), Console(quiet=True)).exit_code == 0
    assert file.read_bytes() == whole


def test_what_cannot_be_recorded_is_refused(tiny_text):
    with pytest.raises(GridError, match=r"training\.record: 'gradient' is not known; did you mean 'gradients'"):
        TrainingConfig(record="gradient")
    with pytest.raises(GridError, match=r"training\.record"):
        expand(parse_grid(tiny_text.replace("steps: 30", "steps: 30, record: [losses, none]")))
    with pytest.raises(SweeperError, match="record: predictions needs a results directory"):
        train_trial(spec(tiny_text, record="predictions"))
