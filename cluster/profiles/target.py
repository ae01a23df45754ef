"""What `--cluster` names: a running cluster, or a profile of one to be asked for."""

import os
from pathlib import Path

from cluster.errors import ConnectError
from cluster.profiles.profile import AnyProfile, load_profile

AUTO = "auto"
"""The address that means: RAY_ADDRESS, else the cluster that `ray start` made on this machine."""
_RECORD = Path("/tmp/ray/ray_current_cluster")
"""Where `ray start` keeps the address of the cluster it made last."""


def read_target(value: str) -> str | AnyProfile:
    """Tell an address from a profile.

    Args:
        value: what was given to `--cluster`: `auto`, host:port, ray://host:port, or the path of a profile.

    Returns:
        The address unchanged, or the profile.

    Raises:
        ProfileError: the profile is missing or wrong.
        ConnectError: it is neither an address nor the name of a YAML file.
    """
    # A name with such an ending is meant as a profile, so that a missing one is called missing and not a bad address.
    if value.endswith((".yaml", ".yml")) or os.path.isfile(value):
        return load_profile(value)
    return value if value == AUTO else _checked(value)


def resolve_address(address: str) -> str:
    """Find the address to attach to.

    Args:
        address: `auto`, host:port, or ray://host:port.

    Raises:
        ConnectError: nothing is running, the choice is ambiguous, or the address is not one.
    """
    if address == AUTO:
        address = os.environ.get("RAY_ADDRESS", "") or _started_here()
    return _checked(address)


def _checked(address: str) -> str:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit() or "/" in host:
        raise ConnectError(f"--cluster: {address!r} is no address; give host:port, ray://host:port, or a profile.yaml")
    return address


def _started_here() -> str:
    """Address of the one cluster of this user that `ray start` recorded on this machine."""
    # The folder is open to everybody: another user's record would lead a launch to that user's cluster.
    if _RECORD.exists() and _RECORD.stat().st_uid == os.getuid() and (address := _RECORD.read_text().strip()):
        return address
    raise ConnectError(
        "--cluster: RAY_ADDRESS is not set and no Ray cluster of yours was started on this machine with `ray start`; "
        "give --cluster HOST:PORT"
    )
