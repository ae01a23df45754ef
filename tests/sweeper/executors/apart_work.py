"""What the process apart runs in the tests of `sweeper.executors.apart`."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from sweeper.errors import SweeperError
from sweeper.executors.apart import run_apart
from sweeper.executors.executor import ExecutorError
from sweeper.queue.broker import Broker
from tests.sweeper.queue.test_broker import assignments


def dies(link) -> None:
    os._exit(7)


def refuses(link) -> None:
    raise SweeperError("--device cuda: no GPU there")


def is_at_fault(link) -> None:
    raise ZeroDivisionError("by zero")


def is_stuck(link) -> None:
    """As in a call of Ray that nothing can interrupt, while a thread sees that a part of it died."""
    os.write(2, b"last lines of the raylet's log")
    threading.Timer(0.2, link.fail, ("gcs_server of Ray died",)).start()
    with link.serving(Broker(assignments(3))):
        time.sleep(600)


def serves(link) -> None:
    broker = Broker(assignments(3))
    with link.serving(broker):
        broker.warn("hello")


def serves_a_dead_broker(link) -> None:
    with link.serving(None):
        time.sleep(600)


def launcher(folder: str) -> None:
    """A launcher whose work goes on for minutes."""
    run_apart("tests.sweeper.executors.apart_work:stays", (folder,), private=True)


def stays(link, folder: str) -> None:
    with suppress(ExecutorError):
        leaves_a_process(link, folder)
    time.sleep(600)


def leaves_a_process(link, folder: str) -> None:
    """Say what it is deaf to, and leave a process that would run for minutes."""
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], process_group=0)
    deaf = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    (Path(folder) / "left").write_text(f"{left.pid} {os.getsid(left.pid) == os.getpid()} {sorted(deaf)}")
    raise ExecutorError("over")
