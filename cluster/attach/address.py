"""The address at which other nodes reach this one. `python -m cluster.attach.address` prints it for job scripts."""

import socket
import sys
from collections.abc import Mapping, Sequence

import click
import psutil

from cluster.errors import ClusterError

_DEBIAN_SELF = "127.0.1.1"
"""What Debian and Ubuntu resolve a machine's own name to; nobody else can use it."""


def own_address(*, name: str | None = None, interface: str | None = None, towards: str | None = None) -> str:
    """Find this machine's IPv4 address.

    Args:
        name: host name that other nodes use for this machine.
        interface: network interface to take the address from; decides where given.
        towards: another machine; the address used on the way to it decides, where given.

    Raises:
        ClusterError: there is none; the message lists the interfaces.
    """
    addresses = ipv4_addresses()
    if interface is not None:
        if interface not in addresses:
            raise ClusterError(f"interface: {interface!r} has no IPv4 address here; {_listed(addresses)}")
        return addresses[interface]
    # The kernel knows which of several addresses another machine sees; names and interfaces need not agree with that.
    if towards is not None:
        return _address_towards(resolve(towards))
    resolved = resolve(name or socket.gethostname())
    # A cluster on this machine alone may be asked for by its loop-back address; to others that address is themselves.
    if resolved != _DEBIAN_SELF and (resolved != "127.0.0.1" or name in ("localhost", "127.0.0.1")):
        return resolved
    # The name leads back to this machine itself, so the first address that others can use stands in.
    outward = [address for address in addresses.values() if not address.startswith("127.")]
    if not outward:
        raise ClusterError(f"{name}: resolves to {resolved} and no interface has another address; {_listed(addresses)}")
    return outward[0]


def resolve(host: str) -> str:
    """IPv4 address of a host.

    Raises:
        ClusterError: the name does not resolve.
    """
    try:
        return str(socket.getaddrinfo(host, None, socket.AF_INET)[0][4][0])
    except OSError as error:
        raise ClusterError(f"{host}: the name does not resolve on {socket.gethostname()} ({error.strerror})") from error


def ipv4_addresses() -> dict[str, str]:
    """First IPv4 address per network interface."""
    first: dict[str, str] = {}
    for interface, addresses in psutil.net_if_addrs().items():
        for address in addresses:
            if address.family is socket.AF_INET:
                first.setdefault(interface, address.address)
    return first


def _address_towards(other: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:  # connecting a datagram socket sends nothing
        try:
            probe.connect((other, 9))  # any port will do: only the route is asked for
        except OSError as error:
            raise ClusterError(f"{other}: no route from {socket.gethostname()} ({error.strerror})") from error
        return str(probe.getsockname()[0])


def _listed(addresses: Mapping[str, str]) -> str:
    return "interfaces: " + ", ".join(f"{name} {address}" for name, address in sorted(addresses.items()))


@click.command()
@click.option("--name", help="Host name that other nodes use for this machine.")
@click.option("--interface", help="Network interface to take the address from.")
@click.option("--towards", help="A machine that must be reachable from the address.")
@click.option("--of", "other", help="Print that machine's address instead.")
def main(name: str | None, interface: str | None, towards: str | None, other: str | None) -> None:
    """Print this machine's address."""
    print(resolve(other) if other else own_address(name=name, interface=interface, towards=towards))


def run(command: click.Command, arguments: Sequence[str] | None = None) -> int:
    """Run one of the job scripts' helper commands; errors become one line and exit code 1."""
    try:
        result = command.main(args=arguments, standalone_mode=False)
        return result if isinstance(result, int) else 0
    except (ClusterError, click.ClickException) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(run(main))
