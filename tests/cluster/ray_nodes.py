"""Real Ray nodes of one test on loopback addresses of their own: `ray start` with a token, killed or ended at will."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil

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

    def add(self, cpus: int, gpus: int = 0, *, pythonpath: str = "") -> psutil.Popen:
        """Start a further node, which may claim GPUs or other packages, and wait until it has joined."""
        address = f"127.0.0.{len(self._nodes) + 2}"
        return self._start(address, cpus, [f"--address={self.address}"], gpus, pythonpath)

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

    def _start(self, address: str, cpus: int, own: list[str], gpus: int = 0, path: str = "") -> psutil.Popen:
        number = len(self._nodes)
        first = self._port + 10 + 30 * number
        log = (self.folder.with_name(f"{self.folder.name}-{number}.log")).open("w")
        command = [
            *_RAY, "start", *own, f"--node-ip-address={address}", f"--num-cpus={cpus}", f"--num-gpus={gpus}",
            f"--temp-dir={self.folder / str(number)}", "--object-store-memory=100000000", "--disable-usage-stats",
            f"--dashboard-agent-listen-port={first}", f"--min-worker-port={first + 1}",
            f"--max-worker-port={first + 29}", "--block",
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": path}  # nothing of ours is installed there
        with log:
            started = psutil.Popen(command, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd="/")
        os.unlink(log.name)
        self._nodes.append(started)
        alive = str(sum(node.poll() is None for node in self._nodes))
        asked = [
            sys.executable,
            "-m",
            "cluster.attach.ready",
            "--address",
            self.address,
            "--while-pid",
            str(started.pid),
        ]
        joined = subprocess.run(
            [*asked, "--nodes", alive, "--at-least", alive, "--timeout", str(_UP_S)],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert joined.returncode == 0, joined.stderr
        return started
