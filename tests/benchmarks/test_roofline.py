"""The bounds that a benchmark measures against, held against the counts of design/performance.md by hand."""

import pytest

from benchmarks.roofline import Roofline, read_rate, roofline, traffic
from model.config import ElmConfig

ENWIK8 = ElmConfig(n_in=204, n_out=204, n_rec=1024, d_m=15, d_tree=50, d_branch=15)


def test_the_published_network_has_the_operations_and_bytes_counted_by_hand() -> None:
    work = traffic(ENWIK8, 8, 100)
    # 1024 neurons of 750 synapses, each a weight and an index, and an MLP of 65 -> 30 -> 15 with biases, w_y and bias
    neuron = 2 * 750 + 65 * 30 + 30 + 30 * 15 + 15 + 15 + 1
    assert work.weights == 4 * 1024 * neuron
    assert work.reads == 200
    assert work.operations == pytest.approx(16.6e9, rel=0.01)
    assert work.bytes == pytest.approx(4.8e9, rel=0.15)


def test_the_larger_of_both_times_is_the_bound() -> None:
    assert (Roofline(arithmetic=2.0, memory=1.0).bound, Roofline(arithmetic=2.0, memory=3.0).bound) == (
        "arithmetic",
        "memory",
    )
    assert Roofline(arithmetic=2.0, memory=3.0).seconds == 3.0


def test_time_follows_the_work_and_the_machine() -> None:
    work = traffic(ElmConfig(n_in=5, n_out=3, n_rec=6, d_m=3, d_tree=3, d_branch=2), 2, 3)
    assert roofline(work, 1e9).arithmetic == work.operations / 1e9
    assert roofline(work, 1e9).memory > 0.0
    assert read_rate(0, seconds=0.0) > 0.0
