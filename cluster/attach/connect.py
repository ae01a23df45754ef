"""Connections to Ray clusters. This file, `nodes` and `ray_internals` are the ones of this package that import Ray.

`connected` starts a private Ray on this machine or attaches to a running cluster, ships our six packages to its
workers, and turns what can go wrong into one sentence each. Nothing is started on a cluster that fails its checks.
"""

import json
import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.exceptions import AuthenticationError, RayError, RpcError

from cluster.attach import probe, ray_internals
from cluster.attach.nodes import Node, cluster_nodes, on_every_node
from cluster.attach.ray_internals import MODE
from cluster.attach.shared import shared_problems
from cluster.attach.versions import version_problems
from cluster.errors import ClusterError, ConnectError, joined
from cluster.profiles.target import resolve_address

os.environ.update(RAY_USAGE_STATS_ENABLED="0")  # `ray.init` reads it here, and the processes that it starts

PACKAGES = ("sweeper", "model", "tasks", "theory", "analysis", "cluster")
"""What is shipped to every worker."""
_OBJECT_STORE_BYTES = 100 * 1024**2
"""Nothing large travels through Ray: specs and reports only."""
_REACH_S = 5.0
"""Seconds in which a head must answer (assumption)."""
_TOKEN_HELP = (
    "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN (or RAY_AUTH_TOKEN_PATH) to the token the cluster was started with; "
    "`ray get-auth-token` prints it on the head node"
)


@dataclass(frozen=True, kw_only=True)
class Attached:
    """An open connection."""

    address: str
    """host:port, or `local`."""
    nodes: tuple[Node, ...]
    """Nodes at the time of attaching; others may join and leave."""

    @property
    def cpus(self) -> int:
        """CPUs of all nodes."""
        return int(sum(node.cpus for node in self.nodes))

    @property
    def gpus(self) -> int:
        """GPUs of all nodes."""
        return int(sum(node.gpus for node in self.nodes))


@contextmanager
def connected(
    cluster: str | None,
    *,
    namespace: str,
    local_cpus: int | None = None,
    local_gpus: int | None = None,
    results: str | None = None,
) -> Iterator[Attached]:
    """Connect to Ray, and disconnect at the end of the block.

    Args:
        cluster: None for a private Ray on this machine; `auto`, host:port or ray://host:port for a running cluster.
        namespace: namespace of named actors.
        local_cpus: CPUs of the private Ray; all cores when None.
        local_gpus: GPUs of the private Ray; those that Ray finds when None.
        results: results directory or URI that every node of a running cluster must be able to write; not checked when
            None.

    Yields:
        The connection.

    Raises:
        ConnectError: unreachable, wrong token, other versions.
        ClusterError: a node does not see the results directory.
    """
    if cluster is not None:
        with attached_unchecked(cluster, namespace=namespace) as attached:
            # Versions first: where they differ, the check of the results would fail for another reason than it says.
            check_versions(attached.nodes)
            if results is not None:
                check_shared(attached.nodes, results)
            yield attached
        return
    quieten()
    # A private Ray is on this machine and of this installation, so there is nothing to check.
    _start_local(namespace, local_cpus, local_gpus)
    try:
        yield Attached(address="local", nodes=cluster_nodes())
    finally:
        ray.shutdown()


@contextmanager
def attached_unchecked(cluster: str, *, namespace: str) -> Iterator[Attached]:
    """Attach to a running cluster without looking at its nodes; see `connected`."""
    quieten()
    address = resolve_address(cluster)
    _attach(address, namespace)
    try:
        yield Attached(address=address, nodes=cluster_nodes())
    finally:
        ray.shutdown()


def quieten() -> None:
    """Keep Ray's own lines off the terminal."""
    for name in ("ray", "ray.tune", "ray.data", "ray.train"):
        logging.getLogger(name).setLevel(logging.ERROR)


def check_reachable(address: str) -> None:
    """Make sure that a Ray head answers at an address and accepts our token.

    Raises:
        ConnectError: it does not, or it has no token while this user has one.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_REACH_S) as connection:
            # Behind TLS nothing can be read before a handshake, which is left to Ray.
            grpc = os.environ.get("RAY_USE_TLS") == "1" or _speaks_http2(connection)
    except OSError as error:
        reason = error.strerror or str(error) or "no answer"
        raise ConnectError(f"--cluster {address}: nothing answers there ({reason}); is the cluster up?") from error
    if not grpc:  # Ray's own client would try for 40 s
        raise ConnectError(
            f"--cluster {address}: what answers there is no Ray head; give the port of `ray start --head`"
        )
    # A client by ray:// speaks to a server of its own port, which knows nothing of the head's control service.
    native = not address.startswith("ray://")
    if native and MODE not in os.environ and _answers_anybody(address) and use_token():
        # Set by `use_token` a moment ago; left there it would decide about the next cluster too.
        os.environ.pop(MODE)
        raise ConnectError(
            f"--cluster {address}: the cluster was started without a token, but this user has one (RAY_AUTH_TOKEN or "
            f"~/.ray/auth_token), with which Ray loses its actors there; set {MODE}=disabled, or start it with that"
        )
    use_token()
    if native:
        _gcs(address)


def _answers_anybody(address: str) -> bool:
    """Whether a head answers without a token."""
    try:
        _alive(address)
    except (RayError, RpcError):
        return False
    return True


def _speaks_http2(connection: socket.socket) -> bool:
    """Whether a server answers the preface of HTTP/2 (RFC 9113, section 3.4), which gRPC runs on, with its settings."""
    # The preface is followed by an empty SETTINGS frame (type 4), as every client has to send; the server's first frame
    # is one too.
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
    try:
        return connection.recv(4, socket.MSG_WAITALL)[3:4] == b"\4"
    except (TimeoutError, ConnectionError):
        return False


def _gcs(address: str) -> Any:
    """A client of the head's control service, without attaching."""
    try:
        return _alive(address)
    except AuthenticationError as error:
        had = "the token given here is not the cluster's" if use_token() else "the cluster asks for a token"
        raise ConnectError(f"--cluster {address}: {had}; {_TOKEN_HELP}") from error
    except (RayError, RpcError) as error:
        raise ConnectError(f"--cluster {address}: what answers there is no Ray head ({joined(error)[:200]})") from error


def _alive(address: str) -> Any:
    """A client that the head's control service has answered; its errors are Ray's."""
    with _muted_stderr():
        return ray_internals.head_client(address, _REACH_S)


def use_token() -> bool:
    """Use the token that this user has, in the environment or in ~/.ray; by itself Ray does so only when told to.

    Returns:
        Whether there is one.
    """
    quieten()
    return ray_internals.use_token()


@contextmanager
def _muted_stderr() -> Iterator[None]:
    """Silence what Ray's core writes about a refused connection, which goes straight to the file descriptor."""
    # Descriptor 2 and not `sys.stderr`, which lines written below Python do not pass.
    kept = os.dup(2)
    silent = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(silent, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(silent)


_SOCKET_BYTES = 107
"""Longest path of a Unix socket on Linux (108 bytes of sun_path in <sys/un.h>, one of them its end)."""
_BELOW_TEMP = len("/ray/session_2026-11-26_23-59-11_010831_4194304/sockets/plasma_store")
"""What Ray puts behind the temporary directory in the longest of its sockets' paths."""


def _short_temp() -> str:
    """A directory for Ray's sockets: the temporary one, unless its path is too long for them.

    Raises:
        ConnectError: it is, and /tmp cannot be written.
    """
    chosen = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    # In bytes, because a letter of a path may take up to four.
    if len(os.fsencode(chosen)) + _BELOW_TEMP > _SOCKET_BYTES:
        if not os.access("/tmp", os.W_OK):
            raise ConnectError(
                f"TMPDIR={chosen} is too long for Ray's sockets, whose paths end after {_SOCKET_BYTES} bytes, and /tmp "
                "cannot be written; set RAY_TMPDIR to a short path, or use --executor processes"
            )
        chosen = "/tmp"
    return os.path.join(chosen, "ray")


_STARTS = 2
"""Times that Ray is started before it is given up: on a busy machine the first may run into a timeout of Ray's own."""


def _start_local(namespace: str, cpus: int | None, gpus: int | None) -> None:
    place = _short_temp()
    for left in reversed(range(_STARTS)):
        try:
            ray.init(
                address="local",
                num_cpus=cpus,
                num_gpus=gpus,
                # Its packages are not among ours (`ray[tune]`), and it would be one more open port.
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=_OBJECT_STORE_BYTES,
                namespace=namespace,
                _temp_dir=place,
            )
            return
        except Exception as error:  # Ray raises a bare Exception where one of its processes does not come up in time
            ray.shutdown()  # what did come up
            if not left:
                raise ConnectError(
                    f"Ray did not start here, {_STARTS} times: {joined(error)[:300]}. Its logs are below {place}. On a "
                    "machine that is busy or short of memory try again later, or use --executor processes"
                ) from error


def _attach(address: str, namespace: str) -> None:
    check_reachable(address)
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            namespace=namespace,
            runtime_env=shipped_code(),
        )
    except (ConnectionError, RuntimeError, ValueError, RayError) as error:
        ray.shutdown()
        raise ConnectError(f"--cluster {address}: {_why_not(error)}") from error


def _why_not(error: Exception) -> str:
    # Ray says these things in the texts of its errors alone, so they are looked for there; what is not recognised is
    # passed on.
    text = joined(error)
    if "Version mismatch" in text:
        return f"{text[text.index('Version mismatch') :][:300]}; install the cluster's versions here, or ours there"
    if "ray[client]" in text:
        return (
            "ray:// needs Ray's client, `pip install 'ray[client]'`; host:port from a node of the cluster needs nothing"
        )
    if isinstance(error, ConnectionError):
        return (
            "a Ray head answers but this machine cannot join it as a driver; host:port works on a node of the cluster "
            f"only, from elsewhere use `ray job submit` or a profile ({text[:200]})"
        )
    return text[:400]


def shipped_code() -> dict[str, Any]:
    """Ray's runtime environment with our six packages, as they are imported here.

    A driver started by `ray job submit` with py_modules of its own already has them shipped.
    """
    job = json.loads(os.environ.get("RAY_JOB_CONFIG_JSON_ENV_VAR", "{}"))
    if (job.get("runtime_env") or {}).get("py_modules"):
        # Ray refuses a driver whose packages contradict those of its job.
        return {}
    # By path: workers of a cluster need not have this package installed, and a driver's own `sys.path` does not reach
    # them.
    root = Path(__file__).resolve().parents[2]
    return {"py_modules": [str(root / name) for name in PACKAGES if (root / name).is_dir()]}


def private_parts() -> dict[str, psutil.Process]:
    """The processes of the Ray that this process has started, by name."""
    named = ((process.name(), process) for process in psutil.Process().children())
    return {name: process for name, process in named if name in ("gcs_server", "raylet")}


def has_died(process: psutil.Process) -> bool:
    """Whether a process has ended, be it that nobody has waited for it yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def check_versions(nodes: Sequence[Node]) -> None:
    """Compare the versions of python, ray and torch on every node with those here.

    Raises:
        ConnectError: they differ, or a node does not answer; names the first nodes and what they have.
    """
    facts = on_every_node(nodes, probe.node_facts)
    problems = version_problems(nodes, facts, probe.node_facts())
    if problems:
        # Nodes are mostly set up alike, so three of hundreds say what is wrong.
        more = f" (and {len(problems) - 3} more nodes)" if len(problems) > 3 else ""
        raise ConnectError(f"the nodes do not fit this installation: {'; '.join(problems[:3])}{more}")


def check_shared(nodes: Sequence[Node], results: str) -> None:
    """Make sure that every node writes to one and the same results directory.

    Raises:
        ClusterError: naming the nodes that do not, and why.
    """
    problems = shared_problems(nodes, results, on_every_node)
    if problems:
        listed = "; ".join(f"{host}: {why}" for host, why in list(problems.items())[:3])
        raise ClusterError(
            f"--results {results}: {len(problems)} of {len(nodes)} nodes do not share it ({listed}); use a folder on "
            "shared disk or object storage"
        )


def nodes_up(address: str) -> tuple[int, float, float]:
    """Number of nodes alive, their CPUs and GPUs, asked of the head without attaching.

    Raises:
        ConnectError: the head does not answer, or refuses our token.
        ClusterError: it has another Ray or Python, which no waiting will change.
    """
    check_reachable(address)
    client, own = _gcs(address), ray_internals.own_versions()
    with _muted_stderr():
        alive = ray_internals.resources_of_live_nodes(client, _REACH_S)
        heads = ray_internals.versions_of_head(client)
    if heads not in (None, own):
        raise ClusterError(
            f"{address}: the head has Ray {heads[0]} and Python {heads[1]}, here are Ray {own[0]} and Python {own[1]}; "
            "install the same versions on all machines"
        )
    return len(alive), sum(r.get("CPU", 0.0) for r in alive), sum(r.get("GPU", 0.0) for r in alive)
