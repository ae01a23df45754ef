"""Processes that find torch loaded: forked from a server that does nothing else, which the first of them starts.

Torch takes 1.7 s to load and 200 MB to hold. A launch pays that once for all of its lanes, those that take the place of
dead ones too, and for the process that looks at the data.
"""

import multiprocessing
import os
import signal
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext

from sweeper.executors.apart import LAUNCHERS_SIGNALS

_LOADED = ["sweeper.lane.lane", "sweeper.executors.processes"]
"""What lanes run, with torch, and how they reach their broker."""


def warm_context() -> ForkServerContext:
    """How such processes are started, with `signals_held_back`, and with `settle` as the first that they call."""
    # Not a fork of this process, which would copy the locks of its threads in whatever state they are; the server's one
    # thread beside the main one is the memory allocator's, which knows forks.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LOADED)
    return context


def settle(environment: Mapping[str, str]) -> None:
    """Make a process that was just started one of this launch, deaf to the signals that are the launcher's.

    Args:
        environment: the launcher's. The server has that of its own start, and a notebook launches more than once.
    """
    os.environ.clear()
    os.environ.update(environment)
    # Ignored before they are let through again: what came while they were held back must not end the process now.
    for number in LAUNCHERS_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, LAUNCHERS_SIGNALS)
