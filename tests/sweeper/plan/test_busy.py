"""What else the machine is doing enters the forecast."""

import pytest

from cluster.attach.machine import Share
from sweeper.plan import busy


@pytest.mark.parametrize(
    ("load", "cores", "share", "lanes", "factor"),
    [
        (0.2, 4, 4.0, 4, 1.0),  # quiet
        (4.0, 4, 4.0, 4, 2.0),  # as many others as lanes
        (4.0, 16, 16.0, 4, 1.0),  # room for both
        (0.0, 16, 2.0, 4, 2.0),  # a control group with fewer cores than lanes
        (14.0, 4, 2.0, 2, 4.0),  # the machine is busier than the group is small
    ],
)
def test_others_and_missing_cores_slow_trials_down(monkeypatch, load, cores, share, lanes, factor):
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    monkeypatch.setattr(busy, "machine_share", lambda: Share(share, 0, 0))
    assert busy.slowdown(lanes) == pytest.approx(factor)
    told = busy.busy_sentence(factor, lanes)
    assert (told == "") == (factor == 1.0)
    assert f"run {factor:.1f} times as long" in told or not told
