"""How many lanes there are: as many as there is room and work for, on nodes that join too; none is left waiting."""

import pytest
from ray.tune.search import Searcher

from cluster.attach.lanes import LaneShape
from cluster.errors import ClusterError
from sweeper.executors import ray_supply as supply
from sweeper.executors.ray_supply import LaneSupply, SweepEnd
from sweeper.queue.broker import LEFT_S, Broker
from sweeper.queue.messages import Assignment, Need, Report
from tests.sweeper.clock import Clock

HOST = "host"


def assignments(count: int) -> list[Assignment]:
    given = {"spec": None, "task": None, "sweep": "s", "budget": None, "attempt": 1}
    return [Assignment(trial_id=f"t{i}", configuration=f"c{i}", **given) for i in range(count)]  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """Each question is asked anew."""
    monkeypatch.setattr(supply, "_ASK_BROKER_S", 0.0)
    monkeypatch.setattr(supply, "_LOOK_S", 0.0)


class Cluster:
    """Nodes that come and go."""

    def __init__(self, **counts):
        self.counts = counts

    def __call__(self, without):
        self.without = without
        if not any(self.counts.values()):
            raise ClusterError("none of the 0 nodes has a GPU")
        return [
            LaneShape(count=count, cpus=1.0, gpus=0.5, gpu_type=kind) for kind, count in self.counts.items() if count
        ]


def supply_of(broker: Broker, cluster: Cluster) -> LaneSupply:
    return LaneSupply(broker.need, cluster, {"broker": "b"}, most_lost=2)


def started(lanes: LaneSupply, prefix: str = "t") -> list[dict]:
    """Lanes that Tune gets until it is told to wait."""
    found = []
    while isinstance(lane := lanes.suggest(f"{prefix}{len(found)}"), dict):
        found.append(lane)
        assert len(found) < 50
    return found


def test_lanes_fill_the_room():
    lanes = supply_of(Broker(assignments(10)), Cluster(A100=2, T4=1))
    given = started(lanes)
    assert [lane["lane"] for lane in given] == [0, 1, 2]
    assert given[0] == {
        "broker": "b", "lane": 0, "avoid": [], "resources": {"CPU": 1.0, "GPU": 0.5, "accelerator_type:A100": 0.001},
    }  # fmt: skip
    assert sum("accelerator_type:T4" in lane["resources"] for lane in given) == 1


def test_a_second_type_of_gpu_does_not_add_lanes_to_those_asked_for():
    cluster = Cluster()
    cluster.counts = {None: 4}
    lanes = supply_of(Broker(assignments(10)), cluster)
    assert len(started(lanes)) == 4
    cluster.counts = {"A100": 2, "T4": 2}
    assert started(lanes, "u") == []


def test_there_are_no_more_lanes_than_trials():
    broker = Broker(assignments(2))
    lanes = supply_of(broker, Cluster(A100=8))
    assert len(started(lanes)) == 2
    broker.pull("a", "1", HOST)
    broker.pull("b", "1", HOST)
    assert lanes.suggest("x") is None


def test_a_node_that_joins_gets_lanes_and_one_that_left_gets_them_back():
    cluster = Cluster(A100=1)
    lanes = supply_of(Broker(assignments(10)), cluster)
    assert len(started(lanes)) == 1
    cluster.counts = {"A100": 3}
    assert len(started(lanes, "u")) == 2
    cluster.counts = {"A100": 0}
    assert lanes.suggest("x") is None
    cluster.counts = {"A100": 4}
    assert len(started(lanes, "v")) == 1


def test_a_lane_that_ends_is_replaced_while_there_is_work_and_not_afterwards():
    broker = Broker(assignments(2))
    lanes = supply_of(broker, Cluster(A100=1))
    assert len(started(lanes)) == 1
    broker.pull("a", "1", HOST)
    lanes.on_trial_complete("t0")
    assert [lane["lane"] for lane in started(lanes, "u")] == [1]
    broker.drain()
    lanes.on_trial_complete("u0")
    assert lanes.suggest("v") == Searcher.FINISHED


def test_a_node_that_a_lane_refused_is_counted_no_more_and_avoided():
    broker, cluster = Broker(assignments(9)), Cluster(A100=1)
    lanes = supply_of(broker, cluster)
    assert isinstance(lanes.suggest("t0"), dict)
    broker.refuse("s-0", "n2", "n2 gets no lanes: it has torch 9")
    lanes.on_trial_complete("t0")
    assert lanes.suggest("t1")["avoid"] == ["n2"]
    assert cluster.without == {"n2"}
    assert broker.snapshot().warnings == ("n2 gets no lanes: it has torch 9",)


def test_lanes_that_are_lost_again_and_again_are_given_up():
    lanes = supply_of(Broker(assignments(9)), Cluster(A100=1))
    for trial_id in ("a", "b"):
        assert isinstance(lanes.suggest(trial_id), dict)
        lanes.on_trial_complete(trial_id, error=True)
    assert lanes.suggest("c") == Searcher.FINISHED


def test_the_sweep_ends_a_moment_after_its_last_trial():
    broker, clock = Broker(assignments(1)), Clock()
    end = SweepEnd(broker.need, clock)
    broker.pull("a", "1", HOST)
    assert not end.stop_all()
    broker.pull("a", "1", HOST, [Report(trial_id="t0", status="finished", reason=None, metric=1.0, wall_s=1.0)])
    assert not end.stop_all(), "lanes have a moment to end by themselves"
    clock.now += supply._GRACE_S + 1
    assert end.stop_all()


def test_a_stopped_sweep_does_not_wait_for_lanes_that_have_left():
    clock = Clock()
    broker = Broker(assignments(3), clock=clock)
    broker.pull("a", "1", HOST)
    assert broker.need() == Need(lanes=3, closed=False, over=False)
    broker.stop()
    assert broker.need() == Need(lanes=1, closed=True, over=False)
    clock.run(broker, LEFT_S + 1)
    assert broker.need().over
