"""Lanes whose trials leave GPU memory behind are replaced; the GPU is played."""

from sweeper.lane import lane as lane_module
from sweeper.lane.gpu import SLACK_BYTES, GpuMemory
from sweeper.lane.lane import run_lane
from sweeper.lane.options import LaneConfig
from sweeper.queue.broker import Broker
from sweeper.store.schema import FINISHED


class Cuda:
    """torch.cuda as a lane sees it."""

    def __init__(self):
        self.allocated = self.cached = 0

    def memory_allocated(self, device=None):
        return self.allocated

    def memory_reserved(self, device=None):
        return self.allocated + self.cached

    def empty_cache(self):
        self.cached = 0


def test_memory_that_is_given_back_is_clean():
    cuda = Cuda()
    memory = GpuMemory("cuda:0", cuda)
    cuda.cached = 40 * SLACK_BYTES
    assert memory.is_back()
    assert cuda.memory_reserved() == 0, "neighbours on the GPU need it too"
    cuda.allocated = SLACK_BYTES
    assert memory.is_back()


def test_memory_that_stays_is_not():
    cuda = Cuda()
    cuda.allocated = 7
    memory = GpuMemory("cuda", cuda)
    cuda.allocated += SLACK_BYTES + 1
    assert not memory.is_back()


def test_a_cpu_is_always_clean():
    assert GpuMemory("cpu").is_back()


def test_a_lane_ends_once_its_memory_is_not_clean_and_its_rows_are_reported(tmp_path, monkeypatch):
    from benchmarks.ground_truth import GroundTruth
    from sweeper.launch.assignments import assignments_of
    from sweeper.plan.cost import CostModel
    from sweeper.plan.expand import expand
    from sweeper.plan.grid import parse_grid
    from sweeper.plan.seed_batch import Place
    from sweeper.store.store import ResultsStore

    text = (
        "task: {name: text, alphabet: letters}\nbudgets: [4000]\nmodel: {d_m: [1, 2, 4, 8], d_tree: 4, d_branch: 4}\n"
    )
    store = ResultsStore.create(tmp_path / "r")
    places = [Place(row, None, 1) for row in expand(parse_grid(text)).trials.values()]
    broker = Broker(assignments_of(places, "s", store, CostModel()))
    looks = iter([True, False])
    monkeypatch.setattr(lane_module.GpuMemory, "is_back", lambda self: next(looks))
    config = LaneConfig(store_uri=str(tmp_path / "r"), lane_prefix="x", code_version="v")
    assert run_lane(broker, "x-0", config, GroundTruth()) == 1
    assert broker.snapshot().statuses == {FINISHED: 1}
    assert broker.need().lanes == 3, "what started the lane replaces it"
    monkeypatch.undo()
    assert run_lane(broker, "x-1", config, GroundTruth()) == 3
    assert sorted(store.statuses().values()) == [FINISHED] * 4
