"""What is said of a launch's start."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from sweeper.queue.broker import Broker
from sweeper.queue.start import BUILDING, LOADING, OPENING, STARTING_LANES, STEPPING, TRAINING, Start


@pytest.fixture
def clock():
    return SimpleNamespace(now=100.0)


def start(clock, **options):
    printed = io.StringIO()
    return Start(Console(file=printed, width=200), clock=lambda: clock.now, **options), printed


def test_the_time_until_the_first_step_is_told_once_and_by_its_parts(clock):
    told, printed = start(clock, age_s=1.0)
    with told.showing("starting Ray"):
        clock.now += 4.0
    told.begin(STARTING_LANES)
    clock.now += 5.0
    assert told.line({}) == "starting lanes (5 s)"
    assert told.line({LOADING: 1, OPENING: 2}) == "1 lane loading torch, 2 lanes opening the data (5 s)"
    for _ in range(2):
        told.end([(LOADING, 2.0), (OPENING, 0.02)])
    assert printed.getvalue() == (
        "starting Ray ...\n"
        "First trial running after 10.0 s: planning 1.0 s, starting Ray 4.0 s, starting lanes 3.0 s, "
        "loading torch 2.0 s.\n"
    )


def test_a_profile_lists_every_part_with_its_share(clock):
    told, printed = start(clock, age_s=1.0, profile=True)
    told.begin(STARTING_LANES)
    clock.now += 3.0
    told.end([(STEPPING, 2.0)])
    lines = [line.split() for line in printed.getvalue().splitlines()]
    assert lines[1:] == [
        ["1.00", "s", "25%", "planning"],
        ["1.00", "s", "25%", "starting", "lanes"],
        ["2.00", "s", "50%", "first", "step"],
    ]


def test_the_broker_knows_what_lanes_are_at_and_how_the_first_one_got_to_train(clock):
    broker = Broker([], clock=lambda: clock.now)
    for lane, phase in (("a", LOADING), ("b", LOADING), ("a", BUILDING), ("a", STEPPING)):
        broker.phase(lane, phase)
        clock.now += 1.0
    assert broker.snapshot().starting == {STEPPING: 1, LOADING: 1}
    assert broker.snapshot().first_start == ()
    broker.phase("a", TRAINING)
    clock.now += 1.0
    broker.phase("b", TRAINING)
    last = broker.snapshot()
    assert last.starting == {}
    assert last.first_start == ((LOADING, 2.0), (BUILDING, 1.0), (STEPPING, 1.0), (TRAINING, 0.0))


def test_a_lane_that_died_before_it_trained_is_at_nothing(clock):
    broker = Broker([], clock=lambda: clock.now)
    broker.phase("a", LOADING)
    broker.lane_died("a")
    assert broker.snapshot().starting == {}


def test_a_lane_that_is_started_again_begins_anew(clock):
    broker = Broker([], clock=lambda: clock.now)
    broker.phase("a", LOADING)
    clock.now += 9.0
    broker.phase("a", LOADING)
    clock.now += 1.0
    broker.phase("a", TRAINING)
    assert broker.snapshot().first_start == ((LOADING, 1.0), (TRAINING, 0.0))
