"""The address under which other nodes reach this one."""

import socket

import pytest

from cluster.attach import address
from cluster.attach.address import ipv4_addresses, main, own_address, resolve, run
from cluster.errors import ClusterError


def test_a_name_that_resolves_is_used():
    assert own_address(name="127.0.0.2") == "127.0.0.2"
    assert own_address(name="localhost") == "127.0.0.1"


@pytest.mark.parametrize("own", ["127.0.1.1", "127.0.0.1"])
def test_what_only_this_machine_can_use_is_not(own, monkeypatch):
    monkeypatch.setattr(address, "resolve", lambda host: own)
    monkeypatch.setattr(address, "ipv4_addresses", lambda: {"lo": "127.0.0.1", "eth0": "10.1.2.3"})
    assert own_address(name="node7") == "10.1.2.3"
    monkeypatch.setattr(address, "ipv4_addresses", lambda: {"lo": "127.0.0.1"})
    with pytest.raises(ClusterError, match=f"node7: resolves to {own} and no interface has another address"):
        own_address(name="node7")


def test_the_interface_decides_where_given():
    assert own_address(interface="lo", name="no.such.host.invalid") == ipv4_addresses()["lo"]
    with pytest.raises(ClusterError, match="interface: 'ib9' has no IPv4 address here; interfaces: .*lo 127.0.0.1"):
        own_address(interface="ib9")


def test_the_way_to_another_machine_decides_where_given():
    assert own_address(towards="127.0.0.5") == "127.0.0.1"


def test_a_name_that_does_not_resolve_is_one_line(capsys):
    with pytest.raises(
        ClusterError, match=f"no.such.host.invalid: the name does not resolve on {socket.gethostname()}"
    ):
        resolve("no.such.host.invalid")
    assert run(main, ["--of", "no.such.host.invalid"]) == 1
    assert capsys.readouterr().err.startswith("Error: no.such.host.invalid: ")
    assert run(main, ["--of", "localhost"]) == 0
    assert capsys.readouterr().out == "127.0.0.1\n"
