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
