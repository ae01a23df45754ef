"""The process that runs Ray: whatever becomes of it, the launcher goes on, knows why, and leaves nothing running."""

import multiprocessing
import signal
import time
from multiprocessing import resource_tracker

import psutil
import pytest
from rich.console import Console

from sweeper.errors import SweeperError
from sweeper.executors.apart import run_apart
from sweeper.executors.executor import ExecutorError
from sweeper.queue.monitor import Monitor
from sweeper.queue.stop_requests import StopRequests
from tests.sweeper.executors import apart_work


def run(name: str, *arguments, monitor=None) -> None:
    run_apart(f"tests.sweeper.executors.apart_work:{name}", arguments, monitor=monitor, private=True)


def has_died(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def monitor():
    console = Console(quiet=True)
    return Monitor(console, StopRequests(console), lambda event: None)


def test_its_death_is_an_error_of_the_executor():
    with pytest.raises(ExecutorError, match=r"the process that runs Ray died \(exit code 7\)"):
        run("dies")


def test_what_it_refuses_is_raised_here_as_it_was():
    with pytest.raises(SweeperError, match="--device cuda: no GPU there"):
        run("refuses")


def test_a_fault_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError) as error:
        run("is_at_fault")
    assert "in is_at_fault" in "".join(error.value.__notes__)


def test_a_part_that_dies_ends_it_whatever_it_waits_for(monitor, capfd):
    with pytest.raises(ExecutorError, match="gcs_server of Ray died"):
        run("is_stuck", monitor=monitor)
    assert monitor.error is None
    assert "raylet's log" not in capfd.readouterr().err


def test_the_launcher_watches_the_broker_to_its_end(monitor):
    run("serves", monitor=monitor)
    assert (monitor.error, monitor.last.total, monitor.last.warnings) == (None, 3, ("hello",))


def test_a_broker_that_dies_is_an_error_of_the_executor(monitor):
    with pytest.raises(ExecutorError, match="the queue of trials died"):
        run("serves_a_dead_broker", monitor=monitor)
    assert monitor.error is None


@pytest.fixture
def no_tracker():
    """As in a process that has started none so far."""
    resource_tracker._resource_tracker._stop()


def test_nothing_of_it_is_left_and_it_is_deaf_to_the_launchers_signals(tmp_path, no_tracker):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with pytest.raises(ExecutorError, match="over"):
        run("leaves_a_process", str(tmp_path))
    pid, in_its_session, deaf = (tmp_path / "left").read_text().split(" ", 2)
    assert in_its_session == "True"
    assert all(str(int(number)) in deaf for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT))
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before
    assert has_died(int(pid))


def test_a_killed_launcher_leaves_nothing(tmp_path):
    launcher = multiprocessing.get_context("spawn").Process(target=apart_work.launcher, args=(str(tmp_path),))
    launcher.start()
    wait_until(lambda: (tmp_path / "left").exists() and (tmp_path / "left").read_text().endswith("]"))
    left = psutil.Process(int((tmp_path / "left").read_text().split()[0]))
    apart = left.parent()
    launcher.kill()
    launcher.join()
    wait_until(lambda: has_died(left.pid) and has_died(apart.pid))


def wait_until(holds) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)
