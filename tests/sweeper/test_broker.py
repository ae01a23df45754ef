"""The broker: every trial to one lane at a time, none lost, none for ever."""

from sweeper.broker import LANE_SILENCE_S, MAX_LOSSES, Assignment, Broker, Report


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def assignments(count: int) -> list[Assignment]:
    return [
        Assignment(trial_id=f"t{i}", spec=None, sweep="s", budget=None, attempt=1, work=1.0)  # type: ignore[arg-type]
        for i in range(count)
    ]


def report(trial_id: str, metric: float = 1.0, status: str = "finished", wall_s: float = 10.0) -> Report:
    return Report(trial_id=trial_id, status=status, reason=None, metric=metric, wall_s=wall_s)


def ids(pulled) -> list[str]:
    return [a.trial_id for a in pulled.assignments]


def test_trials_are_handed_out_once_in_order():
    broker = Broker(assignments(3))
    assert ids(broker.pull("a", "1")) == ["t0"]
    assert ids(broker.pull("b", "1")) == ["t1"]
    assert ids(broker.pull("a", "1", [report("t0")])) == ["t2"]
    assert not broker.is_done()


def test_a_lane_without_work_waits_while_others_hold_some():
    broker = Broker(assignments(1))
    broker.pull("a", "1")
    assert broker.pull("b", "1").wait
    broker.pull("a", "1", [report("t0")])
    assert not broker.pull("b", "1").wait
    assert broker.is_done()


def test_a_restarted_lane_gives_back_what_its_predecessor_held():
    broker = Broker(assignments(2))
    broker.pull("a", "1")
    pulled = broker.pull("a", "2")
    assert ids(pulled) == ["t1"]
    (again,) = broker.pull("b", "1").assignments
    assert (again.trial_id, again.attempt) == ("t0", 2)
    (loss,) = broker.take_losses()
    assert (loss.assignment.trial_id, loss.lane, loss.given_up) == ("t0", "a", False)
    assert broker.take_losses() == []


def test_a_trial_that_kills_its_lane_is_given_up():
    broker = Broker(assignments(1))
    for number in range(MAX_LOSSES):
        assert ids(broker.pull("a", str(number))) == ["t0"]
    assert ids(broker.pull("a", "last")) == []
    assert broker.take_losses()[-1].given_up
    assert broker.is_done()
    assert broker.snapshot().statuses == {"failed": 1}


def test_a_silent_lane_is_taken_for_dead_and_may_come_back():
    clock = Clock()
    broker = Broker(assignments(1), clock=clock)
    broker.pull("a", "1")
    clock.now = LANE_SILENCE_S - 1
    broker.heartbeat("a", "1", "t0", 0.5)
    clock.now = 2 * LANE_SILENCE_S - 2
    assert ids(broker.pull("b", "1")) == []
    clock.now = 2 * LANE_SILENCE_S
    assert ids(broker.pull("b", "1")) == ["t0"]
    broker.pull("a", "1", [report("t0")])  # it was alive after all
    broker.pull("b", "1", [report("t0")])
    assert broker.snapshot().statuses == {"finished": 1}


def test_a_drained_broker_hands_out_nothing_and_counts_what_ends():
    broker = Broker(assignments(3))
    broker.pull("a", "1")
    broker.drain()
    pulled = broker.pull("a", "1", [report("t0")])
    assert (pulled.assignments, pulled.wait) == ((), False)
    assert broker.snapshot().statuses == {"finished": 1}
    assert not broker.is_done()


def test_very_short_trials_are_pulled_several_at_once():
    broker = Broker(assignments(100))
    broker.pull("a", "1")
    assert len(broker.pull("a", "1", [report("t0", wall_s=0.1)]).assignments) == 10
    slow = Broker(assignments(100))
    slow.pull("a", "1")
    assert len(slow.pull("a", "1", [report("t0", wall_s=5.0)]).assignments) == 1


def test_only_the_trial_that_ran_counts_as_lost():
    broker = Broker(assignments(20))
    broker.pull("a", "1")
    held = ids(broker.pull("a", "1", [report("t0", wall_s=0.2)]))
    broker.heartbeat("a", "1", held[2], 0.1)
    broker.lane_died("a")
    assert [loss.assignment.trial_id for loss in broker.take_losses()] == [held[2]]
    assert broker.snapshot().queued == 19


def test_the_snapshot_tells_progress_and_the_best_trial():
    broker = Broker(assignments(4), direction="min")
    broker.pull("a", "1")
    broker.pull("a", "1", [report("t0", metric=3.0)])
    broker.pull("a", "1", [report("t1", metric=2.0)])
    broker.pull("a", "1", [report("t2", status="diverged", metric=None)])  # type: ignore[arg-type]
    broker.heartbeat("a", "1", "t3", 0.25)
    snapshot = broker.snapshot()
    assert snapshot.best == ("t1", 2.0)
    assert snapshot.statuses == {"finished": 2, "diverged": 1}
    assert snapshot.work_left == 0.75
    assert Broker(assignments(1), direction="max").snapshot().best is None
