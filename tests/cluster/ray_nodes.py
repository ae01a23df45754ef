"""Real Ray nodes of one test on loopback addresses of their own: `ray start` with a token, killed or ended at will."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from cluster.connect import nodes_up
from cluster.errors import ConnectError

ROOT = Path(__file__).parents[2]
_RAY = [sys.executable, "-m", "ray.scripts.scripts"]
_UP_S = 300


class RayNodes:
    """A head at 127.0.0.2 and what is added to it; the token is that of this process's environment.

    Args:
        head_cpus: CPUs of the head.
        dashboard: whether the head serves jobs.
    """

    def __init__(self, *, head_cpus: int, dashboard: bool = False) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="elm-test-", dir="/tmp"))  # sockets need a short path
        self._port = 12000 + secrets.randbelow(180) * 100
        self._nodes: list[psutil.Popen] = []
        self.address = f"127.0.0.2:{self._port}"
        self.jobs = f"http://127.0.0.2:{self._port + 5}"
        serving = [f"--dashboard-host=127.0.0.2 --dashboard-port={self._port + 5}"] if dashboard else []
        own = " ".join([f"--head --port={self._port} --include-dashboard={str(dashboard).lower()}", *serving])
        try:
            self._start("127.0.0.2", head_cpus, own.split())
        except BaseException:  # a test that times out here too leaves no head behind
            self.close()
            raise

    def add(self, cpus: int) -> psutil.Popen:
        """Start a further node and wait until it has joined."""
        return self._start(f"127.0.0.{len(self._nodes) + 2}", cpus, [f"--address={self.address}"])

    @staticmethod
    def kill(node: psutil.Popen) -> None:
        """What a power cut does to a node."""
        for process in [node, *node.children(recursive=True)]:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        node.wait()

    def close(self) -> None:
        """End every node and what it started."""
        for node in reversed(self._nodes):
            if node.poll() is None:
                self.kill(node)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, address: str, cpus: int, own: list[str]) -> psutil.Popen:
        number = len(self._nodes)
        first = self._port + 10 + 30 * number
        log = (self.folder.with_name(f"{self.folder.name}-{number}.log")).open("w")
        command = [
            *_RAY, "start", *own, f"--node-ip-address={address}", f"--num-cpus={cpus}", "--num-gpus=0",
            f"--temp-dir={self.folder / str(number)}", "--object-store-memory=100000000", "--disable-usage-stats",
            f"--dashboard-agent-listen-port={first}", f"--min-worker-port={first + 1}",
            f"--max-worker-port={first + 29}", "--block",
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": ""}  # nothing of ours is installed there
        with log:
            started = psutil.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/")
        os.unlink(log.name)
        self._nodes.append(started)
        deadline = time.monotonic() + _UP_S
        alive = sum(node.poll() is None for node in self._nodes)
        while self._up() < alive:
            assert started.poll() is None, f"ray start ended with {started.returncode}"
            assert time.monotonic() < deadline, f"{self._up()} of {alive} nodes after {_UP_S} s"
            time.sleep(0.2)
        return started

    def _up(self) -> int:
        try:
            return nodes_up(self.address)[0]
        except ConnectError:
            return 0
