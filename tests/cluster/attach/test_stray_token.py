"""A real Ray head without a token, and a user who has one."""

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

CHECK = """
import os, sys
from cluster.attach.connect import connected
from cluster.errors import ConnectError
try:
    with connected(sys.argv[1], namespace="t") as attached:
        print("attached to", attached.cpus)
except ConnectError as error:
    print(error, os.environ.get("RAY_AUTH_MODE"))
"""


def attach(address: str, home: Path, **variables: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = {**kept, "PYTHONPATH": str(ROOT), "HOME": str(home), **variables}
    command = [sys.executable, "-c", CHECK, address]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_a_token_that_the_cluster_has_not_is_refused_by_name(ray_nodes, tmp_path):
    with pytest.MonkeyPatch.context() as patch:  # inside of the one that `ray_nodes` undoes
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.delenv("RAY_AUTH_TOKEN")
        address = ray_nodes(head_cpus=1).address
    token = secrets.token_hex(32)
    told = attach(address, tmp_path, RAY_AUTH_TOKEN=token)
    assert "was started without a token, but this user has one" in told
    assert told.endswith("None"), "the mode that was tried stays in the environment"
    assert attach(address, tmp_path, RAY_AUTH_TOKEN=token, RAY_AUTH_MODE="disabled") == "attached to 1"
    assert attach(address, tmp_path) == "attached to 1"
