"""A Ray node out of reach of the signals that end a job; the Ray is played."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cluster.attach import node

ROOT = Path(__file__).parents[3]
RAY = "import subprocess, sys; worker = subprocess.Popen(['sleep', '600']); print('up', worker.pid, flush=True); "


@pytest.fixture
def start():
    """Starts a node whose Ray runs a text; the process."""
    begun = []

    def run(text: str, *arguments: str) -> subprocess.Popen:
        call = f"import sys; from cluster.attach import node; sys.exit(node.main({list(arguments)!r}, look_s=0.05, "
        command = [sys.executable, "-c", f"{call}command=('-c', {text!r})))"]
        begun.append(subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True))
        return begun[-1]

    yield run
    for process in begun:
        process.kill()
        process.stdout.close()
        process.wait()


def test_ray_and_all_that_it_started_are_deaf_until_the_shell_ends_them(start):
    process = start(RAY + "worker.wait()")
    worker = psutil.Process(int(process.stdout.readline().split()[1]))
    everybody = [process, *psutil.Process(process.pid).children(recursive=True)]
    assert worker in everybody
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        for member in everybody:
            member.send_signal(number)
    assert all(number in held(member.pid) for member in everybody for number in (signal.SIGTERM, signal.SIGHUP))
    assert worker.is_running()
    assert process.poll() is None
    worker.send_signal(signal.SIGUSR1)  # as srun hands it to every process
    process.send_signal(signal.SIGUSR1)
    assert process.wait() == 0
    assert is_gone(worker.pid)


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def held(pid: int) -> set[int]:
    """Signals that a process holds back."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigBlk")), 16)
    return {number for number in range(1, 65) if mask >> (number - 1) & 1}


def test_what_a_ray_that_ended_by_itself_left_is_ended_too(start):
    process = start(RAY + "sys.exit(5)")
    worker = int(process.stdout.readline().split()[1])
    assert process.wait() == 5
    assert is_gone(worker)


def test_a_node_ends_when_its_head_does_not_answer_any_more(start):
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        process = start(RAY + "worker.wait()", f"--address={address}")
        worker = int(process.stdout.readline().split()[1])
    assert process.wait() == node.HEAD_IS_GONE
    assert is_gone(worker)


def test_a_ray_that_fails_while_its_head_answers_has_its_own_exit_code(start):
    with socket.create_server(("127.0.0.1", 0)) as head:
        process = start("raise SystemExit(3)", f"--address=127.0.0.1:{head.getsockname()[1]}")
        assert process.wait() == 3
