"""Attaching to a real Ray cluster of three nodes on this machine."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import ray

from cluster.attach import connect, nodes
from cluster.attach.connect import connected
from cluster.attach.ready import wait_for_nodes
from cluster.doctor.cluster import cluster_findings
from cluster.errors import ClusterError, ConnectError
from cluster.profiles.target import read_target, resolve_address

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="session")
def cluster():
    """Three raylets: a head, two CPUs, and one that claims two GPUs."""
    from ray.cluster_utils import Cluster

    connect.use_token()
    three = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    three.add_node(num_cpus=2)
    three.add_node(num_cpus=1, num_gpus=2, resources={"accelerator_type:A100": 1})
    yield three
    three.shutdown()


def test_attaching_counts_the_nodes(cluster, tmp_path):
    before = sorted(tmp_path.iterdir())
    with connected(cluster.address, namespace="t", results=str(tmp_path)) as attached:
        assert (len(attached.nodes), attached.cpus, attached.gpus) == (3, 4, 2)
        assert [node.is_head for node in attached.nodes] == [True, False, False]
        assert {(node.cpus, node.gpus, node.gpu_type) for node in attached.nodes} == {
            (1, 0, None), (2, 0, None), (1, 2, "A100"),
        }  # fmt: skip
    assert sorted(tmp_path.iterdir()) == before, "the check of the results directory left something"
    assert not ray.is_initialized()


DRIVER = """
import importlib, sys
from cluster.attach.connect import PACKAGES, connected
import ray

def where(name):
    return importlib.import_module(name).__file__

with connected(sys.argv[1], namespace="t"):
    print(*ray.get([ray.remote(num_cpus=1)(where).remote(name) for name in PACKAGES]), sep="\\n")
"""


def test_workers_run_the_drivers_code_wherever_the_driver_is(cluster, tmp_path):
    command = [sys.executable, "-c", DRIVER, cluster.address]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "RAY_USAGE_STATS_ENABLED": "0"}
    driver = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert driver.returncode == 0, driver.stderr
    assert driver.stderr == ""
    places = driver.stdout.splitlines()
    assert len(places) == len(connect.PACKAGES)
    assert all("runtime_resources/py_modules_files" in place for place in places), places


def test_nodes_may_join_and_leave(cluster):
    with connected(cluster.address, namespace="t"):
        extra = cluster.add_node(num_cpus=3)
        assert sum(node.cpus for node in nodes.cluster_nodes()) == 7
        cluster.remove_node(extra)
        assert sum(node.cpus for node in nodes.cluster_nodes()) == 4
    assert connect.nodes_up(cluster.address) == (3, 4.0, 2.0)


def test_versions_that_differ_are_named_and_nothing_stays_connected(cluster, monkeypatch):
    monkeypatch.setattr("platform.python_version", lambda: "3.99.0")
    with pytest.raises(ConnectError) as error, connected(cluster.address, namespace="t"):
        raise AssertionError("attached all the same")
    assert "the nodes do not fit this installation: " in str(error.value)
    assert f"has python {os.sys.version.split()[0]} instead of 3.99.0" in str(error.value)
    assert not ray.is_initialized()


def test_a_cluster_of_another_ray_is_refused_in_one_sentence(cluster, monkeypatch):
    monkeypatch.setattr("ray._private.utils.compute_version_info", lambda: ("1.2.3", "3.11.7"))
    with pytest.raises(ConnectError) as error, connected(cluster.address, namespace="t"):
        raise AssertionError("attached all the same")
    assert "Version mismatch" in str(error.value)
    assert "Ray: 1.2.3" in str(error.value)
    assert "install the cluster's versions here, or ours there" in str(error.value)
    assert "\n" not in str(error.value)
    monkeypatch.setattr("cluster.attach.ray_internals.compute_version_info", lambda: ("1.2.3", "3.11.7"))
    with pytest.raises(
        ClusterError, match=r"the head has Ray \d.* and Python .*, here are Ray 1.2.3 and Python 3.11.7"
    ):
        wait_for_nodes(cluster.address, nodes=1, at_least=1, timeout_s=600)


def test_an_unwritable_results_directory_is_refused(cluster, tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(ClusterError, match="cannot be written from here"),
        connected(cluster.address, namespace="t", results=str(tmp_path / "file")),
    ):
        raise AssertionError("attached all the same")


def test_an_address_without_ray_is_refused_at_once(monkeypatch):
    with pytest.raises(ConnectError, match="127.0.0.1:1: nothing answers there .*; is the cluster up?"):
        connect.check_reachable("127.0.0.1:1")
    with pytest.raises(ConnectError, match="no.such.host.invalid:6379: nothing answers there"):
        connect.check_reachable("no.such.host.invalid:6379")


def test_what_is_no_ray_head_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as server:
        closing = threading.Thread(target=close_each, args=(server,), daemon=True)
        closing.start()
        with pytest.raises(ConnectError, match="what answers there is no Ray head"):
            connect.check_reachable(f"127.0.0.1:{server.getsockname()[1]}")


def close_each(server: socket.socket) -> None:
    while True:
        try:
            server.accept()[0].close()
        except OSError:
            return


@pytest.mark.parametrize("wrong", ["nonsense", "host:", ":6379", "host:port", "http://host:8265"])
def test_what_is_no_address_is_refused(wrong):
    with pytest.raises(ConnectError, match="is no address; give host:port, ray://host:port, or a profile.yaml"):
        read_target(wrong)


def test_the_address_is_found_without_joining_strangers(monkeypatch, tmp_path):
    record = tmp_path / "ray_current_cluster"
    monkeypatch.setattr("cluster.profiles.target._RECORD", record)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(ConnectError, match="RAY_ADDRESS is not set and no Ray cluster of yours"):
        resolve_address("auto")
    record.write_text("10.0.0.1:6379\n")
    assert resolve_address("auto") == "10.0.0.1:6379"
    monkeypatch.setattr("os.getuid", lambda: 12345)
    with pytest.raises(ConnectError, match="no Ray cluster of yours"):
        resolve_address("auto")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.2:6379")
    assert resolve_address("auto") == "10.0.0.2:6379"
    assert resolve_address("h:1") == "h:1"
    assert read_target("ray://h:1") == "ray://h:1"


def test_rays_client_is_missing_in_one_sentence(cluster):
    with pytest.raises(ConnectError, match=r"ray:// needs Ray's client, `pip install 'ray\[client\]'`"):
        connect._attach(f"ray://{cluster.address}", "t")


def test_doctor_looks_at_every_node(cluster, tmp_path):
    findings = list(cluster_findings(cluster.address, str(tmp_path)))
    by_check = {}
    for finding in findings:
        by_check.setdefault(finding.check, []).append(finding)
    assert "3 nodes, 4 CPUs, 2 GPUs" in by_check["cluster"][0].observation
    assert [f.level for f in by_check["versions"]] == ["ok"]
    assert sorted(f.level for f in by_check["hardware"]).count("error") == 1  # two GPUs claimed, none there
    assert "2 GPUs for Ray, 0 seen by nvidia-smi" in next(
        f.observation for f in by_check["hardware"] if f.level == "error"
    )
    assert all(f.level == "ok" for f in by_check["clock"])
    assert len(by_check["clock"]) == 3
    assert by_check["results"][0].observation == f"{tmp_path} is one place that all 3 nodes write"
    assert all(finding.remedy for finding in findings if finding.level != "ok")


def test_doctor_says_when_there_is_no_cluster():
    (finding,) = cluster_findings("127.0.0.1:1", None)
    assert finding.level == "error"
    assert "nothing answers there" in finding.observation
    assert finding.remedy
