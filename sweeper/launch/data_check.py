"""Loads a person's own data once before the first trial, in a process of its own: a launcher does without torch."""

import logging
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from sweeper.executors.apart import signals_held_back
from sweeper.executors.warm import settle, warm_context
from sweeper.launch.assignments import task_key
from sweeper.plan.trial import TrialSpec
from tasks.spec import data_sha256, task_names

_looked_at: dict[tuple[Any, str], list[str]] = {}
"""By task and hash of its data: what was warned of. A launch asks before it makes its directory and once more later."""


def warnings_of_data(specs: Iterable[TrialSpec], known: frozenset[str] = frozenset()) -> list[str]:
    """What loading the data of these trials warns of, such as sequences of test that stand in train as well.

    Args:
        specs: trials. Only tasks of ours are looked at whose data are a person's own, and noted or small: those that
            take long to read are left to the lanes. Others' tasks are loaded by `check_tasks`.
        known: hashes of data that stored rows were trained on, which were warned of when those were made.

    Raises:
        DataError: the data cannot be used.
        TaskError: the options do not go together.
    """
    texts: list[str] = []
    for key, spec in {task_key(spec): spec for spec in specs}.items():
        sha256 = data_sha256(spec.task, spec.task_options) if spec.task in task_names() else None
        if sha256 is None or sha256 in known:
            continue
        if (key, sha256) not in _looked_at:
            _looked_at[key, sha256] = _load_apart(spec.task, spec.task_options)
        texts += _looked_at[key, sha256]
    return texts


def _load_apart(name: str, options: Mapping[str, Any]) -> list[str]:
    try:
        with ProcessPoolExecutor(1, warm_context(), initializer=settle, initargs=(dict(os.environ),)) as pool:
            with signals_held_back():
                loading = pool.submit(load_and_listen, name, dict(options))
            return loading.result()
    except BrokenProcessPool:  # killed, for its memory perhaps: a lane that meets the same says so, with its limits
        return []


def load_and_listen(name: str, options: Mapping[str, Any]) -> list[str]:
    """Load a task's data and return what that warned of.

    Raises:
        DataError: the data cannot be used.
        TaskError: the options do not go together.
    """
    from tasks.loaders import load_task  # with torch, which the launcher does without

    listener = _Listener()
    logger = logging.getLogger("tasks")
    logger.addHandler(listener)
    try:
        load_task(name, options)
    finally:
        logger.removeHandler(listener)
    return listener.texts


class _Listener(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())
