"""What a person reads of a running launch."""

from sweeper.queue.messages import Snapshot
from sweeper.queue.monitor import eta, progress_line


def test_the_time_left_is_a_range_that_narrows():
    def snapshot(done: int) -> Snapshot:
        return Snapshot(
            total=100, statuses={"finished": done}, running=(), queued=100 - done, work_total=100.0, lanes=1,
            work_left=100.0 - done, busy_s=0.0, best=("0123456789abcdef", 2.5), reasons={}, stopped_because=None,
        )  # fmt: skip

    assert eta(snapshot(0), 60.0, 0.3) == "..."
    assert eta(snapshot(50), 6000.0) == "1 h 40 min"
    assert eta(snapshot(4), 600.0, 0.3) == "3 h 07 min to 5 h 09 min"
    assert eta(snapshot(50), 6000.0, 0.3) == "91 min to 1 h 50 min"
    assert eta(snapshot(100), 6000.0, 0.3) == "now"
    line = progress_line(snapshot(50), 6000.0, 0.3)
    assert line == "50/100 trials · 0 running · 0.5/min · ETA 91 min to 1 h 50 min · best 2.5 (01234567)"
