"""What this project takes from inside Ray, all of it in this file, because Ray has no public way to ask for it.

Four questions need it: which token this user has, how many nodes a cluster has before anybody attaches to it, which
versions its head was started with, and which nodes are about to leave.
`tests/cluster/attach/test_ray_internals.py` names each private thing and says which version of Ray lacks it; the lower
bound in pyproject.toml is the oldest version that has them all.
"""

import os
from collections.abc import Sequence

from ray._common.usage.usage_lib import get_cluster_metadata
from ray._private.state import state
from ray._private.utils import compute_version_info
from ray._raylet import AuthenticationTokenLoader, Config, GcsClient  # type: ignore[attr-defined]  # not in its stub
from ray.core.generated.gcs_pb2 import GcsNodeInfo

MODE = "RAY_AUTH_MODE"
"""Environment variable in which Ray reads whether to use tokens."""


def use_token() -> bool:
    """Use the token that this user has, in the environment or in ~/.ray.

    Ray's public ways use a token only when the environment says so; whoever has one for a cluster expects it to be
    tried. A mode that is set already is respected.

    Returns:
        Whether there is one.
    """
    mode = os.environ.get(MODE)
    if mode is not None:
        return mode.lower() == "token"
    # Whatever the mode, since the mode is what follows from the answer.
    if not AuthenticationTokenLoader.instance().has_token(ignore_auth_mode=True):
        return False
    os.environ[MODE] = "token"
    forget_settings()
    return True


def forget_settings() -> None:
    """Make Ray read its settings from the environment again; its core keeps them from the first time they are used."""
    Config.initialize("")


def forget_token() -> None:
    """Make Ray read mode and token again, for a process that has used those of another cluster."""
    forget_settings()
    AuthenticationTokenLoader.instance().reset_cache()


def head_client(address: str, timeout_s: float) -> GcsClient:
    """A client of the head's control service, without attaching.

    Args:
        address: host:port of the head.
        timeout_s: seconds to wait for its answer.

    Raises:
        RayError, RpcError: nothing answers there, or it refuses our token.
    """
    client = GcsClient(address=address)
    client.check_alive([], timeout=timeout_s)
    return client


def resources_of_live_nodes(client: GcsClient, timeout_s: float) -> Sequence[dict[str, float]]:
    """What each node that is alive offers, such as ``{"CPU": 4.0}``.

    Public ways to ask need an attached driver, or Ray's dashboard, which is not installed with `ray[tune]`.
    """
    nodes = client.get_all_node_info(timeout=timeout_s).values()
    return [node.resources_total for node in nodes if node.state == GcsNodeInfo.GcsNodeState.ALIVE]


def versions_of_head(client: GcsClient) -> tuple[str, str] | None:
    """Versions of Ray and Python that a head was started with; None as long as it has not said so."""
    try:
        told = get_cluster_metadata(client)
    except AttributeError:
        # Ray promises None for a head in its first moments, and decodes that None.
        return None
    return (told["ray_version"], told["python_version"]) if told else None


def own_versions() -> tuple[str, str]:
    """Versions of Ray and Python here, as Ray compares them."""
    ray, python = compute_version_info()
    return ray, python


def draining() -> frozenset[str]:
    """Ids of the nodes that will go soon and take no new work; to `ray.nodes()` they are alive until they are gone."""
    return frozenset(state.get_draining_nodes())
