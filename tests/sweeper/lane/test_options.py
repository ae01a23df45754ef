"""How many trials run at a time where nobody says it."""

from cluster.attach.machine import Share
from sweeper.lane import options
from sweeper.lane.options import LaneOptions


def test_a_container_of_half_a_core_gets_one_lane(monkeypatch):
    """The machine's cores are counted by what the container may use of them, not by what it sees."""
    monkeypatch.setattr(options, "machine_share", lambda: Share(0.5, 900 << 20, 800 << 20))
    assert LaneOptions().lane_count == 1
    monkeypatch.setattr(options, "machine_share", lambda: Share(3.7, 9 << 30, 8 << 30))
    assert LaneOptions().lane_count == 3
    assert LaneOptions(lanes=5).lane_count == 5


def test_a_lane_counts_for_as_many_cores_as_its_trials_have_threads(monkeypatch):
    monkeypatch.setattr(options, "machine_share", lambda: Share(7.0, 9 << 30, 8 << 30))
    assert LaneOptions(threads=2).lane_count == 3
    assert LaneOptions(threads=8).lane_count == 1
    assert LaneOptions(threads=2, lanes=5).lane_count == 5
