"""Which trials come together, in which order, and what happens to a group on its way through broker and lane."""

import dataclasses
from collections.abc import Sequence

import pytest
from rich.console import Console

from benchmarks.ground_truth import GroundTruth
from sweeper.lane.attempt import TrialRows, run_group
from sweeper.lane.options import LaneOptions
from sweeper.lane.trainer import TrialContext
from sweeper.launch.launch import launch
from sweeper.plan.cost import JOINT_TRIALS, pays
from sweeper.plan.expand import PlanRow, expand
from sweeper.plan.grid import parse_grid
from sweeper.plan.seed_batch import Place, arrange, joint_key
from sweeper.queue.broker import Broker
from sweeper.queue.failures import SPLIT
from sweeper.queue.messages import Assignment, Report
from sweeper.store.schema import FINISHED
from sweeper.store.store import ResultsStore
from sweeper.training.outcomes import Diverged, TimedOut
from tasks.spec import task_spec
from tests.sweeper.inline import LanesHere

TEXT = task_spec("text", {"alphabet": "letters"})

GRID = """
name: seeds
task: {name: text, alphabet: letters}
model: {n_rec: [4, 8], d_m: 2, d_tree: 4, d_branch: 4}
training: {steps: 20, batch_size: 4, length: 8, learning_rate: [1.0e-3, 1.0e-2]}
seeds: 6
"""


def rows(text: str = GRID) -> list[PlanRow]:
    return list(expand(parse_grid(text)).trials.values())


def shape(place: Place) -> tuple[int, int]:
    return place.row.spec.model.n_rec, place.row.spec.seed


def test_trials_of_one_shape_share_a_key_and_others_do_not():
    specs = [row.spec for row in rows()]
    keys = {joint_key(spec) for spec in specs}
    assert len(keys) == 2  # one for each n_rec: seeds and learning rates do not matter
    one = specs[0]
    for change in ({"steps": 21}, {"batch_size": 5}, {"dtype": "float64"}, {"optimizer": "adamax"}, {"eval_every": 9}):
        assert joint_key(dataclasses.replace(one, training=dataclasses.replace(one.training, **change))) not in keys
    lstm = GRID.replace(
        "model: {n_rec: [4, 8], d_m: 2, d_tree: 4, d_branch: 4}", "architecture: lstm\nmodel: {n_rec: 4}"
    )
    assert joint_key(rows(lstm)[0].spec) is None


def test_it_pays_for_tiny_steps_on_a_processor_only():
    tiny = rows()[0].spec
    large = rows(GRID.replace("batch_size: 4, length: 8", "batch_size: 64, length: 64"))[0].spec
    assert pays(tiny, "cpu") == JOINT_TRIALS
    assert pays(large, "cpu") == 1
    assert pays(tiny, "cuda") == 1


def test_in_a_hurry_only_trials_of_one_replicate_come_together():
    order = arrange(rows(), choice="auto", device="cpu", hurry=True)
    assert [place.row.spec.seed for place in order] == sorted(place.row.spec.seed for place in order)
    for first, second in zip(order[::2], order[1::2], strict=True):  # the two learning rates of a point
        assert first.key == second.key
        assert shape(first) == shape(second)


def test_with_time_replicates_come_together_lot_by_lot():
    order = arrange(rows(), choice="auto", device="cpu", hurry=False)
    lots = [order[:4], order[4:8]]
    assert [len({place.key for place in lot}) for lot in lots] == [1, 1]
    assert lots[0][0].key != lots[1][0].key  # the next lot of the same shape waits for its turn
    assert {place.row.spec.seed for lot in lots for place in lot} == {0, 1}
    assert sorted(place.row.trial_id for place in order) == sorted(row.trial_id for row in rows())


def test_the_user_has_the_last_word():
    plain = arrange(rows(), choice="off", device="cpu", hurry=False)
    assert [place.row for place in plain] == rows()
    assert {(place.key, place.most) for place in plain} == {(None, 1)}
    six = arrange(rows(), choice=6, device="cuda", hurry=True)
    assert len({place.key for place in six[:6]}) == 1
    assert {place.row.spec.seed for place in six[:6]} == {0, 1, 2}


def assignments(count: int, most: int = 4, key: int | None = 0) -> list[Assignment]:
    return [
        Assignment(
            trial_id=f"t{i}",
            spec=None,
            task=None,
            sweep="s",
            budget=None,
            attempt=1,
            configuration="c",
            joint_key=key,
            joint_most=most,
        )
        for i in range(count)
    ]


def pulled_ids(broker: Broker, lane: str, reports: Sequence[Report] = ()) -> list[str]:
    return [a.trial_id for a in broker.pull(lane, "1", "host", reports).assignments]


def report(trial_id: str, status: str = FINISHED, wall_s: float = 10.0) -> Report:
    return Report(trial_id=trial_id, status=status, reason=None, metric=1.0, wall_s=wall_s)


def test_the_broker_hands_out_neighbours_as_one_group():
    broker = Broker(assignments(9) + assignments(1, key=1))
    (first, *_) = group = broker.pull("a", "1", "host").assignments
    assert [a.trial_id for a in group] == ["t0", "t1", "t2", "t3"]
    assert {a.joint for a in group} == {("t0", "t1", "t2", "t3")}
    broker.heartbeat("a", "1", "host", first.trial_id, 0.5)
    assert sorted(broker.snapshot().running) == ["t0", "t1", "t2", "t3"]
    assert broker.snapshot().work_left == 8.0
    assert pulled_ids(broker, "b") == ["t4", "t5", "t6"]  # no more than its share of what is left
    assert pulled_ids(broker, "b", [report(f"t{i}") for i in (4, 5, 6)]) == ["t7", "t8"]


def test_a_group_that_failed_comes_again_one_by_one_and_is_not_formed_again():
    broker = Broker(assignments(8))
    group = pulled_ids(broker, "a")
    split = [report(trial_id, SPLIT) for trial_id in group[1:]]
    seen = pulled_ids(broker, "a", [report(group[0]), *split])
    for _ in range(6):
        assert len(seen) == 1
        (again,) = broker.pull("a", "1", "host", [report(seen[0])]).assignments
        assert (again.attempt, again.joint) == (1, ())
        seen = [again.trial_id]
    assert broker.pull("a", "1", "host", [report(seen[0])]).assignments == ()
    assert broker.snapshot().statuses == {FINISHED: 8}


def test_a_lane_that_dies_with_a_group_blames_none_of_it():
    broker = Broker(assignments(8))
    group = pulled_ids(broker, "a")
    broker.lane_died("a")
    assert broker.take_events() == []
    assert [pulled_ids(broker, lane) for lane in "bcde"] == [[trial_id] for trial_id in group]
    assert len(pulled_ids(broker, "f")) == 1  # this shape is not joined any more


class Sink:
    def __init__(self) -> None:
        self.rows: list[TrialRows] = []
        self.reports: list[Report] = []

    def add(self, rows: TrialRows) -> None:
        self.rows.append(rows)

    def report(self, reports) -> None:
        self.reports += reports


class Fails(GroundTruth):
    """Ends the first trial, lets the second diverge and fails as a whole before the third."""

    def __init__(self, error: Exception) -> None:
        object.__setattr__(self, "error", error)

    def jointly(self, assignments, progresses, contexts, on_end) -> None:
        GroundTruth()(assignments[0], progresses[0], contexts[0])
        on_end(0, None)
        on_end(1, Diverged("loss nan"))
        raise self.error


def run_four(error: Exception) -> Sink:
    group = [
        Assignment(trial_id=r.trial_id, spec=r.spec, task=TEXT, sweep="s", budget=None, attempt=1, configuration="c")
        for r in rows()[:4]
    ]
    context = TrialContext(on_step=lambda step: True, device="cpu", checkpoints=None)  # type: ignore[arg-type]
    sink = Sink()
    run_group(group, "lane", "v", [context] * 4, Fails(error), sink)
    return sink


def test_what_fails_as_a_whole_splits_the_group_and_keeps_what_has_ended():
    sink = run_four(MemoryError("cannot allocate"))
    assert [rows.trial.status for rows in sink.rows] == ["finished", "diverged"]
    assert {rows.trial.trained_with for rows in sink.rows} == {3}
    assert [(r.status, r.reason) for r in sink.reports] == [
        (SPLIT, "4 trials in one go: MemoryError: cannot allocate")
    ] * 2


def test_a_group_over_its_time_limit_ends_as_timed_out():
    sink = run_four(TimedOut("over its time limit of 1 s"))
    assert [rows.trial.status for rows in sink.rows] == ["finished", "diverged", "timed_out", "timed_out"]
    assert sink.reports == []


def test_shares_of_the_time_add_up():
    spent = sum(rows.trial.wall_s for rows in run_four(TimedOut("")).rows)
    rows_ = run_four(TimedOut("")).rows
    longest = max((r.trial.ended_at - r.trial.started_at).total_seconds() for r in rows_)
    assert sum(r.trial.wall_s for r in rows_) == pytest.approx(longest, abs=0.02)
    assert spent < 1


def table(results, text: str = GRID, trainer: GroundTruth | None = None, **options) -> dict[str, dict]:
    executor = LanesHere(trainer=trainer, options=LaneOptions(lanes=1, **options))
    launch(parse_grid(text), str(results), executor, Console(quiet=True))
    return {row["trial_id"]: row for row in ResultsStore.open(results).read("trials").to_pylist()}


def test_a_real_sweep_gets_the_same_rows_with_and_without_groups(tmp_path):
    text = GRID.replace("seeds: 6", "seeds: 2").replace("length: 8", "length: 8, dtype: float64, eval_batches: 1")
    text = text.replace("eval_batches: 1", "eval_batches: 1, final_eval_batches: 1, eval_batch_size: 4")
    joint, single = table(tmp_path / "a", text), table(tmp_path / "b", text, seed_batch="off")
    assert {row["trained_with"] for row in joint.values()} == {3}
    assert {row["trained_with"] for row in single.values()} == {0}
    for trial_id, row in joint.items():
        for name in ("status", "steps_done", "final_step"):
            assert row[name] == single[trial_id][name]
        for name in ("final_train_metric", "final_valid_metric", "final_test_metric", "best_valid_metric"):
            assert row[name] == pytest.approx(single[trial_id][name], rel=1e-6)


def test_a_misbehaving_sweep_ends_the_same_with_and_without_groups(tmp_path):
    bad = GroundTruth(crash_rate=0.2, diverge_rate=0.3, memory_rate=0.2)
    joint, single = table(tmp_path / "a", trainer=bad), table(tmp_path / "b", trainer=bad, seed_batch="off")
    assert len({row["status"] for row in single.values()}) == 3
    for trial_id, row in joint.items():
        for name in ("status", "attempt", "final_valid_metric"):
            assert row[name] == single[trial_id][name]
