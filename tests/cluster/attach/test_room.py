"""Packing trials on GPUs by memory, from what the nodes say of theirs."""

from types import SimpleNamespace

import pytest

from cluster.attach.room import packed_by_type
from cluster.errors import ClusterError

GIB = 2**30


def node(node_id, gpus=1.0, gpu_type=None):
    return SimpleNamespace(node_id=node_id, host=f"host-{node_id}", gpus=gpus, gpu_type=gpu_type)


def facts(*memory):
    return {"gpus": [("some GPU", mib) for mib in memory]}


def test_each_type_is_packed_by_its_smallest_gpu():
    nodes = [node("a", 2, "A100"), node("b", 2, "A100"), node("t", 1, "T4"), node("c", 0)]
    said = {"a": facts(81920, 81920), "b": facts(81920, 40960), "t": facts(16384)}
    assert packed_by_type(nodes, said, 8 * GIB) == {"A100": 4, "T4": 1}


def test_a_type_that_ray_does_not_know_is_packed_too():
    assert packed_by_type([node("a")], {"a": facts(16384)}, 2 * GIB) == {"": 7}


def test_what_does_not_fit_or_is_not_known_is_an_error():
    with pytest.raises(ClusterError, match="a trial is expected to need 20.0 GiB and the GPU has 16.0 GiB"):
        packed_by_type([node("a")], {"a": facts(16384)}, 20 * GIB)
    with pytest.raises(ClusterError, match="the GPUs of host-a is not known: nvidia-smi shows none"):
        packed_by_type([node("a")], {"a": facts()}, GIB)
    with pytest.raises(ClusterError, match="is not known: no answer within 120 s"):
        packed_by_type([node("a")], {"a": ClusterError("no answer within 120 s")}, GIB)
