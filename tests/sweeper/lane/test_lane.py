"""What a lane does outside of its trials: where it works, and what it says when it cannot."""

import os
import time
from dataclasses import replace

import pytest
import torch

from sweeper.errors import StoreError, SweeperError
from sweeper.lane.lane import run_lane
from sweeper.lane.options import LaneConfig, LaneOptions, lane_config
from sweeper.launch.assignments import assignments_of, record_event
from sweeper.plan.cost import CostModel
from sweeper.plan.expand import expand
from sweeper.plan.grid import parse_grid
from sweeper.plan.seed_batch import Place
from sweeper.queue.broker import Broker
from sweeper.store.store import ResultsStore
from sweeper.training.outcomes import Diverged, Stopped

GRID = """
name: paths
task: {name: text, data: mine.txt, alphabet: letters}
budgets: [4000]
model: {d_m: [1], d_tree: 4, d_branch: 4}
training: {steps: 2, batch_size: 2, length: 10}
"""


class Queue:
    """A broker over one trial on a text of the person's own, given by a relative path."""

    def __init__(self, folder) -> None:
        (folder / "mine.txt").write_text("the quick brown fox jumps over the lazy dog " * 400)
        self.store = ResultsStore.create(str(folder / "r"))
        rows = expand(parse_grid(GRID)).trials.values()
        places = [Place(row, None, 1) for row in rows]
        self.assignments = assignments_of(places, "paths", self.store, CostModel())
        self.broker = Broker(self.assignments)

    @property
    def config(self) -> LaneConfig:
        return lane_config("paths", self.store.uri, LaneOptions(lanes=1), None)

    def rows(self) -> list[dict]:
        for event in self.broker.take_events():
            record_event(self.store, event)
        return self.store.read("trials").to_pylist()


@pytest.fixture
def queue(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Queue(tmp_path)


def test_a_lane_finds_relative_data_from_another_directory(queue, tmp_path, monkeypatch):
    config = queue.config
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # as Ray Tune does with its workers
    assert run_lane(queue.broker, "a", config) == 1
    [row] = queue.rows()
    assert (row["status"], row["data_name"]) == ("finished", "mine.txt/letters")


def test_a_lane_without_the_launchers_directory_trains_where_it_is(queue, tmp_path):
    config = queue.config
    object.__setattr__(config, "directory", str(tmp_path / "nowhere"))
    assert run_lane(queue.broker, "a", config) == 1
    assert [row["status"] for row in queue.rows()] == ["finished"]


def test_a_trial_has_the_threads_that_were_asked_for(queue):
    counts, before = [], torch.get_num_threads()
    config = replace(queue.config, options=LaneOptions(lanes=1, threads=3))
    try:
        run_lane(queue.broker, "a", config, lambda *_: counts.append(torch.get_num_threads()))
    finally:
        torch.set_num_threads(before)
    assert set(counts) == {3}


def test_data_that_have_gone_are_the_reason_of_the_row(queue, tmp_path):
    os.remove(tmp_path / "mine.txt")
    run_lane(queue.broker, "a", queue.config)
    [row] = queue.rows()
    assert row["status"] == "failed"
    assert row["reason"].startswith(f"DataError: task.data: no such file: {tmp_path}/mine.txt")
    assert (row["metric"], row["direction"]) == ("bpc", "min")


def test_a_lane_that_a_person_can_mend_stops_the_sweep_with_the_reason(queue, monkeypatch):
    def refuses(*_):
        raise SweeperError("--device cuda: no GPU here")

    monkeypatch.setattr("sweeper.lane.lane.GpuMemory", refuses)
    assert run_lane(queue.broker, "a", queue.config) == 0
    assert queue.broker.snapshot().stopped_because.startswith("--device cuda: no GPU here")
    assert queue.rows() == []


def until_told_to_leave(assignment, progress, context) -> None:
    """A trial of hours."""
    for step in range(3000):
        time.sleep(0.01)
        if not context.on_step(step):
            raise Stopped(f"at step {step}")
    raise AssertionError("nobody has told it to leave")


def test_a_heartbeat_that_dies_stops_the_sweep_in_the_middle_of_a_trial(queue, monkeypatch):
    def breaks(*_):
        raise TypeError("cannot pickle")

    monkeypatch.setattr("sweeper.lane.lane.HEARTBEAT_S", 0.01)
    monkeypatch.setattr(queue.broker, "heartbeat", breaks)
    assert run_lane(queue.broker, "a", queue.config, until_told_to_leave) == 0
    assert "the heartbeat of a died: TypeError: cannot pickle" in queue.broker.snapshot().stopped_because
    assert queue.rows() == []


def test_a_writer_that_dies_stops_the_sweep_in_the_middle_of_the_next_trial(queue, monkeypatch):
    def no_room(*_, **__):
        raise StoreError("r: No space left on device")

    def finishes_then_stays(assignment, progress, context) -> None:
        if first:
            first.pop()
            return
        until_told_to_leave(assignment, progress, context)

    first = [True]
    [assignment] = queue.assignments
    queue.broker = Broker([assignment, replace(assignment, trial_id="2" * 16)])
    monkeypatch.setattr(ResultsStore, "write", no_room)
    assert run_lane(queue.broker, "a", queue.config, finishes_then_stays) == 0
    assert "No space left" in queue.broker.snapshot().stopped_because


def test_what_a_lane_dies_of_stands_in_the_row(queue, monkeypatch):
    def fails(*_, **__):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("sweeper.lane.lane.limit_memory", fails)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            run_lane(queue.broker, "a", queue.config)
    [row] = queue.rows()
    assert row["status"] == "failed"
    assert row["reason"] == "its lane died (ZeroDivisionError: division by zero) 3 times"
    assert {a["status"] for a in queue.store.read("attempts").to_pylist()} == {"lost"}


def test_what_is_prepared_once_is_ahead_of_the_trials_time_and_told_to_the_broker(queue):
    calls = []

    class Trainer:
        def prepare(self, spec, device, at):
            at("preparing")
            calls.append((spec.task, device, queue.broker.snapshot().starting))

        def __call__(self, assignment, progress, context):
            calls.append(queue.broker.snapshot().starting)
            context.on_step(1)
            raise Diverged("as asked")

    assert run_lane(queue.broker, "a", queue.config, Trainer()) == 1
    assert calls == [("text", "cpu", {"preparing": 1}), {"first step": 1}]
    assert [name for name, _ in queue.broker.snapshot().first_start] == ["preparing", "first step", "training"]
