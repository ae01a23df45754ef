"""The pieces of bash that job scripts share, met by a signal at any of their commands."""

import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from cluster.kinds.shell import NODE_FUNCTIONS

HEAD = """
set -euo pipefail -T
launcher='' stopping='' deadline=''
trap 'stopping=yes deadline=0' HUP
commands=0
"""
STRIKE = "trap 'if ((++commands == {at})); then kill -HUP $$; fi' DEBUG\n"  # before each command, also of a function
BODIES = {
    "await_launcher": "start_launcher sleep infinity; await_launcher",
    "patiently": "patiently sleep infinity",
}


def ends(body: str, at: int) -> int:
    """The exit code of a body that HUP meets before one of its commands."""
    text = HEAD + NODE_FUNCTIONS + STRIKE.format(at=at) + body
    return subprocess.run(["bash", "-c", text], capture_output=True, timeout=100, check=False).returncode


@pytest.mark.parametrize("name", ["await_launcher", "patiently"])
def test_what_waits_ends_by_a_signal_that_comes_before_any_of_its_commands(name):
    with ThreadPoolExecutor(12) as pool:
        codes = list(pool.map(lambda at: ends(BODIES[name], at), range(1, 13)))
    assert set(codes) == {143}, "the process that was waited for has been told to end"
