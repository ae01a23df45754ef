"""Waiting for a cluster to be up."""

import os
import subprocess

import pytest

from cluster.attach.ready import process_alive, wait_for_nodes
from cluster.errors import ClusterError, ConnectError


def answers(*given):
    """Asks that are answered in order; errors are raised, the last one is repeated."""
    left = list(given)

    def ask(address):
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return ask


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("cluster.attach.ready._POLL_S", 0.01)


def test_it_waits_through_refusals_until_all_are_there():
    ask = answers(ConnectError("refused"), (1, 4.0, 0.0), (3, 12.0, 2.0), (4, 16.0, 2.0))
    said = wait_for_nodes("h:1", nodes=4, at_least=4, timeout_s=5, ask=ask)
    assert said == "4 of 4 nodes are up after 0 s: 16 CPUs, 2 GPUs"


def test_fewer_will_do_once_the_time_is_over():
    said = wait_for_nodes("h:1", nodes=4, at_least=2, timeout_s=0.1, ask=answers((3, 6.0, 0.0)))
    assert said.startswith("3 of 4 nodes are up")


def test_too_few_is_an_error_that_says_what_the_head_answered():
    with pytest.raises(ClusterError, match="not ready after 0 s: 1 of 4 nodes have joined; at least 2 needed"):
        wait_for_nodes("h:1", nodes=4, at_least=2, timeout_s=0.1, ask=answers((1, 2.0, 0.0)))
    with pytest.raises(ClusterError, match="not ready after 0 s: the token is wrong"):
        wait_for_nodes("h:1", nodes=4, at_least=2, timeout_s=0.1, ask=answers(ConnectError("the token is wrong")))


def test_a_head_that_has_ended_is_not_waited_for():
    lives = iter([True, True, False])
    with pytest.raises(ClusterError, match=r"the Ray head has ended before the cluster was up \(refused\)"):
        wait_for_nodes(
            "h:1", nodes=1, at_least=1, timeout_s=60, alive=lambda: next(lives), ask=answers(ConnectError("refused"))
        )


def test_processes_live_and_die():
    assert process_alive(os.getpid())
    process = subprocess.Popen(["true"])
    process.wait()
    assert not process_alive(process.pid)
