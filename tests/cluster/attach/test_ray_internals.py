"""Every private thing of Ray that is used is in the installed version, and is used in one file only."""

import importlib
import re
from pathlib import Path

import pytest
import ray

from cluster.attach import ray_internals

ROOT = Path(__file__).parents[3]

PRIVATE = [
    ("ray._private.state", "state.get_draining_nodes"),
    ("ray._raylet", "GcsClient"),
    ("ray._raylet", "InnerGcsClient.check_alive"),  # what GcsClient hands its calls to
    ("ray._raylet", "InnerGcsClient.get_all_node_info"),
    ("ray._raylet", "AuthenticationTokenLoader.instance"),
    ("ray._raylet", "AuthenticationTokenLoader.has_token"),
    ("ray._raylet", "AuthenticationTokenLoader.reset_cache"),
    ("ray._raylet", "Config.initialize"),
    ("ray.core.generated.gcs_pb2", "GcsNodeInfo.GcsNodeState"),
    ("ray.util.client", "ray.is_connected"),  # public by its name, in no documentation
    ("ray._private.utils", "compute_version_info"),  # test_connect.py makes this process another version by it
    ("ray._common.usage.usage_lib", "get_cluster_metadata"),
]


@pytest.mark.parametrize(("module", "name"), PRIVATE)
def test_this_version_of_ray_has_it(module, name):
    held = None
    try:
        held = importlib.import_module(module)
        for part in name.split("."):
            held = getattr(held, part)
    except (ImportError, AttributeError):
        pytest.fail(
            f"ray {ray.__version__} has no {module}.{name}, which cluster/attach/ray_internals.py uses: "
            "find its new name there, or narrow the versions of ray in pyproject.toml"
        )


def test_this_version_of_ray_tells_whether_a_token_is_there_whatever_the_mode():
    from ray._raylet import AuthenticationTokenLoader

    try:
        AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True)
    except TypeError:
        pytest.fail(
            f"ray {ray.__version__}: has_token does not take ignore_auth_mode; see cluster/attach/ray_internals.py"
        )


def test_nothing_else_reaches_into_ray():
    inside = re.compile(r"ray\._private|ray\._raylet|ray\.core\.generated|gcs_pb2|\b_raylet\b")
    packages = ("sweeper", "model", "tasks", "theory", "analysis", "cluster", "benchmarks", "studies")
    files = [file for package in packages for file in (ROOT / package).rglob("*.py")]
    reaching = {str(file.relative_to(ROOT)) for file in files if inside.search(file.read_text())}
    assert reaching == {"cluster/attach/ray_internals.py"}


def test_a_head_in_its_first_moments_has_no_versions_yet():
    class Client:
        def internal_kv_get(self, key: bytes, namespace: bytes) -> None:
            return None

    assert ray_internals.versions_of_head(Client()) is None
