"""What this project takes from inside Ray, all of it in this file, because Ray has no public way to ask for it.

Three questions need it: which token this user has, how many nodes a cluster has before anybody attaches to it, and
which nodes are about to leave. So does shielding Ray from signals that are meant for the launcher.
`tests/cluster/attach/test_ray_internals.py` names each private thing and says which version of Ray lacks it; the lower
bound in pyproject.toml is the oldest version that has them all.
"""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from unittest.mock import patch

from ray._private import services, utils
from ray._private.state import state
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


@contextmanager
def shielded() -> Iterator[None]:
    """Start Ray in this block so that signals stay the launcher's to act on.

    Ray starts its processes in the process group of its driver, to all of which a terminal, `timeout` and batch systems
    send their signals: Ray would be dead before a trial has saved its checkpoint. In a session of their own they get
    none of them; they end with the driver all the same, since the kernel tells them of its death. And Ray would take
    SIGTERM of the driver for itself, in Python and, with a printed stack, below it.
    """
    apart = partial(services.ConsolePopen, start_new_session=True)
    with (
        patch.object(services, "ConsolePopen", apart),
        patch.object(utils, "set_sigterm_handler", lambda handler: None),
    ):
        yield
    # Python lets the main thread alone set handlers.
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGTERM))  # takes the place of the one in Ray's core


def draining() -> frozenset[str]:
    """Ids of the nodes that will go soon and take no new work; to `ray.nodes()` they are alive until they are gone."""
    return frozenset(state.get_draining_nodes())
