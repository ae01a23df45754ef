"""The simulation against cases that can be worked out by hand."""

import time

import numpy as np
import pytest

from cluster.errors import ScenarioError
from cluster.simulate.replay import forecast_text
from cluster.simulate.scenario import Scenario, parse_scenario
from cluster.simulate.simulate import _Outages, _Simulation, forecast, simulate

BARE = {"start": 0.0, "lane_start": 0.0, "overhead": 0.0}


def run(durations, *, seed=0, **settings):
    return simulate(np.array(durations, float), Scenario(**{**BARE, **settings}), np.random.default_rng(seed))


def test_equal_trials_fill_the_lanes_in_waves():
    result = run([10.0] * 7, nodes=1, cpus=3)
    assert result.makespan_s == 30
    assert result.utilisation == pytest.approx(70 / 90)
    assert result.idle == pytest.approx(20 / 90)


def test_each_trial_goes_to_the_lane_that_is_free_first():
    assert run([5, 3, 2, 2, 1], cpus=2).makespan_s == 7  # lane 0: 5, 2; lane 1: 3, 2, 1


def test_a_time_limit_that_is_never_met_changes_nothing():
    durations = np.random.default_rng(1).lognormal(3, 1, 50)
    cluster = {"nodes": 2, "cpus": 4, "scale_down": True}
    # With a limit every trial is an event of its own; a lane that begins last need not end last.
    limited, free = run(durations, **cluster, limit=1e7), run(durations, **cluster)
    assert limited.makespan_s == pytest.approx(free.makespan_s)
    assert limited.node_hours == pytest.approx(free.node_hours)


def test_start_and_overhead_are_paid():
    result = run([1.0] * 4, cpus=2, start=60, lane_start=6, overhead=0.5)
    assert result.makespan_s == 60 + 6 + 2 * 1.5
    assert result.overhead == pytest.approx((2 * 6 + 4 * 0.5) / (2 * result.makespan_s))
    assert result.utilisation + result.overhead + result.lost + result.idle == pytest.approx(1)


def test_money_is_for_all_nodes_to_the_end_unless_they_are_given_back():
    together = {"nodes": 2, "cpus": 1}
    assert run([3600, 1800], **together).node_hours == pytest.approx(2.0)
    assert run([3600, 1800], **together, scale_down=True).node_hours == pytest.approx(1.5)


def test_gpus_and_packing_make_lanes():
    assert parse_scenario("nodes=64,gpus=8,pack=2").lanes == 1024
    assert parse_scenario("nodes=3,cpus=4").lanes == 12


def test_the_time_limit_interrupts_saves_and_goes_on():
    result = run([100.0] * 2, cpus=1, limit=150, requeue=50)  # 100 s, then 50 of 100 s; 50 s in the queue; 50 s
    assert result.makespan_s == 250
    assert result.losses == 1
    assert result.lost == pytest.approx(50 / 250)
    assert result.utilisation == pytest.approx(200 / 250)


def test_a_lost_node_loses_what_came_after_the_last_checkpoint():
    scenario = Scenario(**BARE, preempt=3600 / 1000, recover=10, checkpoint=30)
    outages = _Outages(scenario, np.random.default_rng(8))
    first, second = outages.at(0), outages.at(1)
    duration = first + 100.0
    assert second > first + 10 + duration, "the seed must give one loss only"
    result = simulate(np.array([duration]), scenario, np.random.default_rng(8))
    kept = first // 30 * 30
    assert result.makespan_s == pytest.approx(first + 10 + duration - kept)
    assert result.lost * result.makespan_s == pytest.approx(first - kept + 10)
    assert result.losses == 1


def test_nothing_is_lost_or_done_twice_whatever_happens():
    generator = np.random.default_rng(1)
    for seed in range(20):
        durations = generator.uniform(0, 500, 200)
        settings = {
            "nodes": 5,
            "gpus": 2,
            "preempt": 3.0,
            "recover": 60,
            "checkpoint": 50,
            "limit": 2000,
            "requeue": 100,
        }
        result = run(durations, seed=seed, **settings)
        assert result.utilisation * result.makespan_s * 10 == pytest.approx(durations.sum())
        assert result.makespan_s > durations.sum() / 10
        assert result.losses > 0
        total = result.utilisation + result.overhead + result.lost + result.idle
        assert total == pytest.approx(1), "time that is neither work nor loss nor idle"


class FixedOutages:
    """A node that goes down once, at a known time, and does not come back for a day."""

    def __init__(self, down: float = float("inf")) -> None:
        self.down, self.up, self.saved = [down], [down + 86400.0], [False]

    def at(self, number: int) -> float:
        return self.down[number] if number < len(self.down) else float("inf")


def test_a_lost_trial_goes_to_an_idle_lane_whose_node_is_up():
    scenario = Scenario(**{**BARE, "nodes": 3, "cpus": 1, "preempt": 1.0})
    simulation = _Simulation(np.array([100.0, 1.0, 2.0]), scenario, np.random.default_rng(0), [0.0] * 3)
    # The first node is lost with its trial; of the two idle ones the last, which is woken first, went down before
    simulation._outages = [FixedOutages(10.0), FixedOutages(), FixedOutages(5.0)]
    assert simulation.run().makespan_s == 110


def test_losses_come_at_the_rate_that_was_asked_for():
    scenario = Scenario(**BARE, preempt=2.0, recover=0)
    outages = _Outages(scenario, np.random.default_rng(0))
    assert outages.at(2000) / 2001 == pytest.approx(1800, rel=0.07)


def test_more_losses_cost_more_time():
    durations = [600.0] * 500
    times = [
        forecast(durations, parse_scenario(f"nodes=10,gpus=4,preempt={rate}/h")).makespan_s[1] for rate in (0, 0.2, 2)
    ]
    assert times == sorted(times)
    assert times[2] > 1.05 * times[0]


def test_uncertain_durations_widen_the_range_and_keep_the_mean():
    sharp = forecast([100.0] * 1000, parse_scenario("nodes=10,cpus=10"))
    wide = forecast([100.0] * 1000, parse_scenario("nodes=10,cpus=10,bias=0.3"), repetitions=200)
    assert sharp.makespan_s[0] == sharp.makespan_s[2]
    assert wide.makespan_s[0] < 0.8 * wide.makespan_s[1] < 1.1 * wide.makespan_s[2]
    assert np.mean([r.makespan_s for r in wide.runs]) == pytest.approx(sharp.makespan_s[1], rel=0.05)


def test_the_same_seed_gives_the_same_forecast():
    scenario = parse_scenario("nodes=4,gpus=2,preempt=1/h,error=0.3")
    assert forecast([50.0] * 99, scenario, seed=3) == forecast([50.0] * 99, scenario, seed=3)
    assert forecast([50.0] * 99, scenario, seed=3) != forecast([50.0] * 99, scenario, seed=4)


def test_a_million_trials_take_seconds():
    began = time.process_time()
    result = forecast(np.full(1_000_000, 60.0), parse_scenario("nodes=64,gpus=8"))
    assert time.process_time() - began < 10
    assert result.makespan_s[1] == pytest.approx(66 + (60 + 0.005) * np.ceil(1_000_000 / 512), rel=1e-6)


def test_a_trial_that_can_never_end_is_an_error():
    with pytest.raises(ScenarioError, match="was lost 1001 times: it is longer than the time between losses"):
        run([36000.0], preempt=60, checkpoint=1e9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nods=4", "simulate: 'nods' is not known; did you mean 'nodes'?"),
        ("nodes=4,nodes=5", "nodes is given twice"),
        ("nodes", "nodes: expected nodes=VALUE"),
        ("nodes=four", "nodes: expected a whole number, got 'four'"),
        ("nodes=0", "nodes: expected at least 1, got 0"),
        ("preempt=0.02/fortnight", "preempt: expected a rate with its unit, such as 0.02/h"),
        ("preempt=5", "preempt: expected a rate with its unit, such as 0.02/h"),
        ("preempt=61/h", "preempt: 61.0 is not allowed; preemptions of a node per hour: 0 to 60"),
        ("preempt=-1/h", "preempt: expected zero or more"),
        ("limit=soon", "limit: expected a time span such as 90s, 5m or 24h, got 'soon'"),
        ("limit=10s", "limit: 10.0 s end before the first lane has started"),
        ("price=nan", "price: expected zero or more, got nan"),
        ("checkpoint=0", "checkpoint: expected more than zero"),
    ],
)
def test_a_wrong_scenario_is_one_line(text, message):
    with pytest.raises(ScenarioError) as error:
        parse_scenario(text)
    assert message in str(error.value)


def test_a_scenario_is_read_with_its_units():
    scenario = parse_scenario("nodes=64, gpus=8, preempt=1/d, recover=5m, limit=24h, price=12.5, scale_down")
    assert (scenario.nodes, scenario.gpus, scenario.price, scenario.scale_down) == (64, 8, 12.5, True)
    assert scenario.preempt == pytest.approx(1 / 24)
    assert (scenario.recover, scenario.limit) == (300, 86400)


@pytest.mark.parametrize("durations", [[], [-1.0], [float("nan")], [[1.0]]])
def test_durations_must_be_times(durations):
    with pytest.raises(ScenarioError, match="expected at least one trial"):
        forecast(durations, Scenario())


def test_a_forecast_is_said_in_a_few_lines():
    text = forecast_text(forecast([3600.0] * 200, parse_scenario("nodes=4,gpus=8,preempt=0.1/h,price=10")))
    assert "200 trials, 200.0 h of work, on 4 node(s) of 8 GPU(s): 32 at a time" in text
    assert all(word in text for word in ("makespan", "at work", "interrupted", "money", "node hours"))
