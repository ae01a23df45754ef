"""What a lane does outside of its trials: where it works, and what it says when it cannot."""

import os

import pytest

from sweeper.errors import SweeperError
from sweeper.lane.lane import run_lane
from sweeper.lane.options import LaneConfig, LaneOptions, lane_config
from sweeper.launch.assignments import assignments_of, record_event
from sweeper.plan.cost import CostModel
from sweeper.plan.expand import expand
from sweeper.plan.grid import parse_grid
from sweeper.plan.seed_batch import Place
from sweeper.queue.broker import Broker
from sweeper.store.store import ResultsStore

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
        self.broker = Broker(assignments_of(places, "paths", self.store, CostModel()))

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
