"""The broker: every trial to one lane at a time, none lost, none for ever."""

import pytest

from sweeper.queue.broker import HOST_LOOK_S, IDLE_S, LANE_SILENCE_S, LEFT_S, Broker
from sweeper.queue.failures import MAX_LOSSES, POISON_LEAST
from sweeper.queue.messages import Assignment, LateFinish, Report
from tests.sweeper.clock import Clock

HOST = "host"


def assignments(count: int, replicates: int = 1000) -> list[Assignment]:
    return [
        Assignment(
            trial_id=f"t{i}",
            spec=None,  # type: ignore[arg-type]
            task=None,  # type: ignore[arg-type]
            sweep="s",
            budget=None,
            attempt=1,
            configuration=f"c{i % replicates}",
        )
        for i in range(count)
    ]


def report(trial_id: str, metric: float = 1.0, status: str = "finished", wall_s: float = 10.0) -> Report:
    return Report(trial_id=trial_id, status=status, reason=None, metric=metric, wall_s=wall_s)


def ids(pulled) -> list[str]:
    return [a.trial_id for a in pulled.assignments]


def test_trials_are_handed_out_once_in_order():
    broker = Broker(assignments(3))
    assert ids(broker.pull("a", "1", HOST)) == ["t0"]
    assert ids(broker.pull("b", "1", HOST)) == ["t1"]
    assert ids(broker.pull("a", "1", HOST, [report("t0")])) == ["t2"]
    assert not broker.is_done()


def test_a_lane_without_work_waits_while_others_hold_some():
    broker = Broker(assignments(1))
    broker.pull("a", "1", HOST)
    assert broker.pull("b", "1", HOST).wait
    broker.pull("a", "1", HOST, [report("t0")])
    assert not broker.pull("b", "1", HOST).wait
    assert broker.is_done()


def test_a_restarted_lane_gives_back_what_its_predecessor_held():
    broker = Broker(assignments(2))
    broker.pull("a", "1", HOST)
    pulled = broker.pull("a", "2", HOST)
    assert ids(pulled) == ["t1"]
    (again,) = broker.pull("b", "1", HOST).assignments
    assert (again.trial_id, again.attempt) == ("t0", 2)
    (loss,) = broker.take_events()
    assert (loss.assignment.trial_id, loss.lane, loss.attempt_status, loss.final_status) == ("t0", "a", "lost", None)
    assert broker.take_events() == []


def test_a_trial_that_kills_its_lane_is_given_up():
    broker = Broker(assignments(1))
    for number in range(MAX_LOSSES):
        assert ids(broker.pull("a", str(number), HOST)) == ["t0"]
    assert ids(broker.pull("a", "last", HOST)) == []
    assert broker.take_events()[-1].final_status == "failed"
    assert broker.is_done()
    assert broker.snapshot().statuses == {"failed": 1}


def test_a_silent_lane_is_taken_for_dead_and_may_come_back():
    clock = Clock()
    broker = Broker(assignments(1), clock=clock)
    broker.pull("a", "1", HOST)
    clock.run(broker, LANE_SILENCE_S - 1)
    broker.heartbeat("a", "1", HOST, "t0", 0.5)
    clock.run(broker, LANE_SILENCE_S - 1)
    assert ids(broker.pull("b", "1", HOST)) == []
    clock.run(broker, 2)
    assert ids(broker.pull("b", "1", HOST)) == ["t0"]
    broker.pull("a", "1", HOST, [report("t0")])  # it was alive after all
    broker.pull("b", "1", HOST, [report("t0")])
    assert broker.snapshot().statuses == {"finished": 1}


def test_a_drained_broker_hands_out_nothing_and_counts_what_ends():
    broker = Broker(assignments(3))
    broker.pull("a", "1", HOST)
    broker.drain()
    pulled = broker.pull("a", "1", HOST, [report("t0")])
    assert (pulled.assignments, pulled.wait) == ((), False)
    assert broker.snapshot().statuses == {"finished": 1}
    assert not broker.is_done()


def test_very_short_trials_are_pulled_several_at_once():
    broker = Broker(assignments(100))
    broker.pull("a", "1", HOST)
    assert len(broker.pull("a", "1", HOST, [report("t0", wall_s=0.1)]).assignments) == 30
    slow = Broker(assignments(100))
    slow.pull("a", "1", HOST)
    assert len(slow.pull("a", "1", HOST, [report("t0", wall_s=5.0)]).assignments) == 1


def test_with_several_trials_in_hand_none_is_blamed_but_each_runs_by_itself_afterwards():
    broker = Broker(assignments(20))
    broker.pull("a", "1", HOST)
    held = ids(broker.pull("a", "1", HOST, [report("t0", wall_s=0.2)]))
    assert len(held) > 1
    broker.lane_died("a")
    assert broker.take_events() == []
    assert ids(broker.pull("b", "1", HOST)) == held[:1]
    assert ids(broker.pull("c", "1", HOST)) == held[1:2]
    broker.lane_died("b")
    (event,) = broker.take_events()
    assert event.assignment.trial_id == held[0]


def test_the_snapshot_tells_progress_and_the_best_trial():
    broker = Broker(assignments(4), direction="min")
    broker.pull("a", "1", HOST)
    broker.pull("a", "1", HOST, [report("t0", metric=3.0)])
    broker.pull("a", "1", HOST, [report("t1", metric=2.0)])
    broker.pull("a", "1", HOST, [report("t2", status="diverged", metric=None)])  # type: ignore[arg-type]
    broker.heartbeat("a", "1", HOST, "t3", 0.25)
    snapshot = broker.snapshot()
    assert snapshot.best == ("t1", 2.0)
    assert snapshot.statuses == {"finished": 2, "diverged": 1}
    assert snapshot.work_left == 0.75
    assert Broker(assignments(1), direction="max").snapshot().best is None


def failed(trial_id: str, reason: str = "ValueError: bad 3") -> Report:
    return Report(trial_id=trial_id, status="failed", reason=reason, metric=None, wall_s=10.0)


def run_all(broker: Broker, outcome) -> list[str]:
    """Run everything on one lane; `outcome` makes the report of an assignment."""
    ran, reports = [], []
    while pulled := broker.pull("a", "1", HOST, reports).assignments:
        reports = [outcome(assignment) for assignment in pulled]
        ran += [assignment.trial_id for assignment in pulled]
    return ran


def test_a_bug_is_tried_twice():
    broker = Broker(assignments(2))
    ran = run_all(broker, lambda a: failed(a.trial_id) if a.trial_id == "t0" else report(a.trial_id))
    assert ran == ["t0", "t1", "t0"]
    assert broker.snapshot().statuses == {"failed": 1, "finished": 1}
    assert broker.is_done()


def test_a_configuration_whose_replicates_fail_is_quarantined_and_the_rest_goes_on():
    broker = Broker(assignments(12, replicates=4))  # t0, t4, t8 are replicates of one configuration
    bad = {"t0", "t4", "t8"}
    ran = run_all(broker, lambda a: failed(a.trial_id) if a.trial_id in bad else report(a.trial_id))
    assert broker.snapshot().statuses["finished"] == 9
    assert broker.is_done()
    counts = {trial_id: ran.count(trial_id) for trial_id in bad}
    assert sorted(counts.values()) == [1, 2, 2]  # the third is not tried again once two have failed for good
    (event,) = broker.take_events()
    assert (event.final_status, counts[event.assignment.trial_id]) == ("quarantined", 1)


def test_out_of_memory_is_tried_once_more_alone_on_the_host():
    broker = Broker(assignments(4))
    broker.pull("a", "1", HOST)
    broker.pull("b", "1", HOST)
    oom = Report(trial_id="t0", status="out_of_memory", reason="MemoryError", metric=None, wall_s=1.0)
    assert ids(broker.pull("a", "1", HOST, [oom])) == ["t2"]
    assert ids(broker.pull("b", "1", HOST, [report("t1")])) == ["t3"]
    waiting = broker.pull("a", "1", HOST, [report("t2")])
    assert waiting.assignments == ()
    assert waiting.wait  # b still runs t3
    (alone,) = broker.pull("b", "1", HOST, [report("t3")]).assignments
    assert (alone.trial_id, alone.alone, alone.attempt) == ("t0", True, 2)
    assert broker.pull("a", "1", HOST).wait
    broker.pull("b", "1", HOST, [oom])
    assert broker.snapshot().statuses == {"finished": 3, "out_of_memory": 1}
    assert broker.is_done()


def test_a_lost_host_is_a_preemption_and_uses_up_nothing():
    clock = Clock()
    broker = Broker(assignments(2), clock=clock)
    for number in range(2 * MAX_LOSSES):
        for lane in ("a", "b"):
            assert len(broker.pull(lane, str(number), f"host{number}").assignments) == 1
        clock.run(broker, LANE_SILENCE_S + 1)
        assert broker.snapshot().running == ()
    assert {event.attempt_status for event in broker.take_events()} == {"preempted"}
    assert broker.snapshot().queued == 2


def test_a_lane_whose_node_is_known_to_be_gone_blames_no_trial():
    broker = Broker(assignments(1), host_is_lost=lambda host: host != "host9")
    for number in range(2 * MAX_LOSSES):  # one lane per node, as with one GPU each, and started anew on another
        (again,) = broker.pull("a", str(number), f"host{number}").assignments
        assert again.attempt == number + 1
    assert {event.attempt_status for event in broker.take_events()} == {"preempted"}


def test_what_a_lost_host_ran_is_not_counted_as_running_and_is_queued_as_soon_as_the_loss_is_known():
    clock, dead = Clock(), set()
    broker = Broker(assignments(4), clock=clock, host_is_lost=lambda host: host in dead)
    for lane, host in (("a", "here"), ("b", "there"), ("c", "there")):
        (held,) = ids(broker.pull(lane, "1", host))
        broker.heartbeat(lane, "1", host, held, 0.5)
    clock.run(broker, LEFT_S + 1)
    broker.heartbeat("a", "1", "here", "t0", 0.5)
    seen = broker.snapshot()
    assert (seen.running, seen.silent, seen.queued) == (("t0",), 2, 1), "nobody knows yet: they may only be busy"
    dead.add("there")
    clock.run(broker, HOST_LOOK_S)
    seen = broker.snapshot()
    assert (seen.running, seen.silent, seen.queued, seen.lanes) == (("t0",), 0, 3, 1)
    assert {(event.attempt_status, event.reason) for event in broker.take_events()} == {
        ("preempted", "its host was lost")
    }


def test_a_pause_of_the_broker_itself_is_no_lanes_silence():
    clock = Clock()
    broker = Broker(assignments(3), clock=clock)
    for lane in ("a", "b"):
        broker.pull(lane, "1", HOST)
    clock.now += 10 * LANE_SILENCE_S  # Ctrl-Z, then fg: whoever is heard first must not bury the others
    assert broker.heartbeat("a", "1", HOST, "t0", 0.5)
    assert broker.need().lanes == 3
    assert ids(broker.pull("b", "1", HOST, [report("t1")])) == ["t2"]
    assert broker.take_events() == []
    clock.run(broker, LANE_SILENCE_S + 1)
    assert broker.snapshot().queued == 2, "lanes that stay silent are dead after all"


def test_a_trial_that_is_to_run_alone_does_so_also_after_its_lane_died():
    broker = Broker(assignments(1))
    broker.pull("a", "1", HOST)
    oom = Report(trial_id="t0", status="out_of_memory", reason="MemoryError", metric=None, wall_s=1.0)
    (alone,) = broker.pull("a", "1", HOST, [oom]).assignments
    broker.lane_died("a")
    (again,) = broker.pull("b", "1", HOST).assignments
    assert alone.alone
    assert (again.alone, again.attempt) == (True, 3)


def test_what_a_lane_stored_counts_also_when_it_was_given_up_before_it_leaves():
    clock = Clock()
    broker = Broker(assignments(2), clock=clock)
    broker.pull("a", "1", HOST)
    clock.run(broker, LANE_SILENCE_S + 1)
    broker.leave("a", "1", [report("t0")])
    assert broker.snapshot().statuses == {"finished": 1}
    assert ids(broker.pull("b", "1", HOST)) == ["t1"]


def given_up_lane(trials: int = 1) -> Broker:
    """A broker whose lane a was given up while it ran t0, which lane b has been handed since."""
    clock = Clock()
    broker = Broker(assignments(trials), clock=clock)
    broker.pull("a", "1", HOST)
    clock.run(broker, LANE_SILENCE_S + 1)
    (again,) = broker.pull("b", "1", HOST).assignments
    assert (again.trial_id, again.attempt) == ("t0", 2)
    assert len(broker.take_events()) == 1
    return broker


def test_a_lane_given_up_that_finished_its_trial_counts_though_another_holds_it():
    broker = given_up_lane()
    broker.pull("a", "1", HOST, [report("t0")])
    assert broker.snapshot().statuses == {"finished": 1}
    assert broker.is_done()
    assert broker.snapshot().lanes == 2, "the other is not interrupted"
    broker.pull("b", "1", HOST, [report("t0")])
    assert broker.snapshot().statuses == {"finished": 1}
    assert broker.take_events() == []


def test_a_lane_given_up_that_failed_leaves_the_trial_to_the_one_that_holds_it():
    broker = given_up_lane()
    broker.pull("a", "1", HOST, [failed("t0")])
    assert not broker.is_done()
    broker.pull("b", "1", HOST, [report("t0")])
    assert broker.snapshot().statuses == {"finished": 1}
    assert broker.take_events() == []


@pytest.mark.parametrize("first", ["a", "b"])
@pytest.mark.parametrize("status", ["timed_out", "failed"])  # a failed trial is queued again
def test_of_two_lanes_that_ran_one_trial_the_one_that_finished_counts(first, status):
    """Whichever is heard of first: the row of the later attempt must not hide the finished one."""
    broker = given_up_lane()
    broker.drain()
    reports = {"a": [report("t0")], "b": [report("t0", status=status)]}
    for lane in (first, "b" if first == "a" else "a"):
        broker.pull(lane, "1", HOST, reports[lane])
    assert broker.is_done()
    assert broker.take_events()[-1] == LateFinish(trial_id="t0")


def test_a_sweep_in_which_most_trials_fail_alike_is_stopped():
    broker = Broker(assignments(200))
    ran = run_all(broker, lambda a: failed(a.trial_id, f"FileNotFoundError: /data/{a.trial_id[1:]}"))
    assert len(set(ran)) < 200
    assert "failed alike" in broker.snapshot().stopped_because
    mixed = Broker(assignments(200))
    run_all(mixed, lambda a: failed(a.trial_id) if int(a.trial_id[1:]) % 2 else report(a.trial_id))
    assert mixed.snapshot().stopped_because is None
    assert mixed.is_done()
    few = Broker(assignments(POISON_LEAST // 2 - 1))
    run_all(few, lambda a: failed(a.trial_id))
    assert few.is_done()


def test_stop_tells_lanes_to_leave_their_trial():
    broker = Broker(assignments(2))
    broker.pull("a", "1", HOST)
    assert broker.heartbeat("a", "1", HOST, "t0", 0.1)
    broker.drain()
    assert broker.heartbeat("a", "1", HOST, "t0", 0.1)
    broker.stop()
    assert not broker.heartbeat("a", "1", HOST, "t0", 0.1)


def test_a_lane_that_leaves_gives_back_what_it_holds_and_nothing_is_blamed():
    broker = Broker(assignments(12))
    broker.pull("a", "1", "h")
    held = ids(broker.pull("a", "1", "h", [report("t0", wall_s=0.01)]))
    assert len(held) > 2
    broker.leave("a", "older", [report(held[0])])
    broker.leave("a", "1", [report(held[0])])
    broker.leave("a", "1")
    assert broker.snapshot().statuses == {"finished": 2}
    (again,) = broker.pull("b", "1", "h").assignments[:1]
    assert (again.trial_id, again.attempt, again.single) == (held[1], 1, False)
    assert broker.take_events() == []
    assert broker.snapshot().reasons == {}


def test_a_lane_with_nothing_to_do_leaves_where_nodes_cost_money():
    for leaves in (True, False):
        now = [0.0]
        broker = Broker(assignments(1), idle_leave=leaves, clock=lambda: now[0])  # noqa: B023
        broker.pull("a", "1", "h")
        assert broker.pull("b", "1", "h").wait
        now[0] = IDLE_S - 1
        broker.heartbeat("a", "1", "h", "t0", 0.5)
        assert broker.pull("b", "1", "h").wait
        now[0] = IDLE_S + 1
        broker.heartbeat("a", "1", "h", "t0", 0.6)
        assert broker.pull("b", "1", "h").wait is not leaves


def test_the_lane_with_the_most_in_hand_decides_when_a_drained_queue_ends():
    broker = Broker(assignments(3))  # each is one unit of work
    for lane in ("a", "b"):
        (held,) = broker.pull(lane, "x", "host").assignments
        broker.heartbeat(lane, "x", "host", held.trial_id, 0.25 if lane == "a" else 0.75)
    broker.drain()
    last = broker.snapshot()
    assert (last.draining, last.longest_left, last.work_left) == (True, 0.75, 2.0)
