"""Lanes per cluster: CPUs, whole and shared GPUs, mixed GPU types, and asking for what is not there."""

from types import SimpleNamespace

import pytest

from cluster.attach.lanes import LaneShape, fitting_trials, lane_shapes
from cluster.errors import ClusterError


def node(cpus, gpus=0, gpu_type=None):
    return SimpleNamespace(cpus=float(cpus), gpus=float(gpus), gpu_type=gpu_type)


def test_one_lane_per_cpu():
    assert lane_shapes([node(7), node(8)], device="cpu") == (LaneShape(count=15, cpus=1.0),)
    assert lane_shapes([node(7)], device="cpu", lanes=40)[0].count == 40
    assert lane_shapes([node(2)], device="cpu")[0].resources == {"CPU": 1.0}


def test_a_lane_of_several_threads_takes_as_many_cpus_of_one_node():
    assert lane_shapes([node(7), node(8)], device="cpu", threads=2) == (LaneShape(count=7, cpus=2.0),)
    assert lane_shapes([node(1)], device="cpu", threads=2, lanes=3) == (LaneShape(count=3, cpus=2.0),)
    with pytest.raises(ClusterError, match="--threads 2: no node of the cluster offers that many CPUs"):
        lane_shapes([node(1), node(1)], device="cpu", threads=2)


def test_one_lane_per_gpu_and_none_on_cpu_nodes():
    (shape,) = lane_shapes([node(8), node(16, 4, "A100"), node(16, 4, "A100")], device="cuda")
    assert shape == LaneShape(count=8, cpus=1.0, gpus=1.0)
    assert shape.resources == {"CPU": 1.0, "GPU": 1.0}


@pytest.mark.parametrize("packed", [2, 3, 7, 16])
def test_lanes_that_share_a_gpu_fit_its_node_together(packed):
    (shape,) = lane_shapes([node(5, 2)], device="cuda:0", trials_per_gpu=packed)
    assert shape.count == 2 * packed
    assert shape.gpus * packed <= 1.0
    assert shape.gpus * packed > 0.99
    assert shape.cpus * shape.count <= 5.0


def test_gpu_types_have_lanes_of_their_own():
    nodes = [node(8, 2, "T4"), node(32, 8, "A100")]
    big, small = lane_shapes(nodes, device="cuda", trials_per_gpu={"A100": 4, "T4": 1})
    assert (big.gpu_type, big.count, big.gpus) == ("A100", 32, 0.25)
    assert (small.gpu_type, small.count, small.gpus) == ("T4", 2, 1.0)
    assert big.resources["accelerator_type:A100"] == 0.001
    assert [shape.count for shape in lane_shapes(nodes, device="cuda", lanes=9)] == [8, 1]
    assert [shape.count for shape in lane_shapes(nodes, device="cuda", lanes=3)] == [3]
    assert [shape.count for shape in lane_shapes(nodes, device="cuda", lanes=14)] == [12, 2]


def test_no_gpus_where_asked():
    with pytest.raises(ClusterError, match="--device cuda: none of the 2 nodes has a GPU that Ray may use"):
        lane_shapes([node(8), node(8)], device="cuda")
    with pytest.raises(ClusterError, match="the cluster offers no CPUs"):
        lane_shapes([node(0)], device="cpu")


def test_lanes_may_be_asked_for_before_their_nodes_are_there():
    assert lane_shapes([node(0)], device="cuda", lanes=16, trials_per_gpu=2) == (
        LaneShape(count=16, cpus=1.0, gpus=0.5),
    )


def test_packing_by_memory():
    gib = 2**30
    assert fitting_trials(80 * gib, 8 * gib) == 9
    assert fitting_trials(80 * gib, 1) == 16
    assert fitting_trials(16 * gib, 14 * gib) == 1
    with pytest.raises(ClusterError, match="expected to need 15.0 GiB and the GPU has 16.0 GiB"):
        fitting_trials(16 * gib, 15 * gib)
