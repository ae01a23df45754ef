"""Looks at disk, inodes and memory before the first trial starts, where the numbers can be had."""

import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from cluster.attach.machine import machine_share
from model.architectures.cells import CellConfig
from model.registry import architecture_names
from sweeper.errors import SweeperError
from sweeper.extras import require
from sweeper.launch.assignments import task_key
from sweeper.plan.trial import TrialSpec
from sweeper.store.store import ResultsStore
from sweeper.words import counted
from tasks.spec import packages_of, task_names, task_spec

BYTES_PER_TRIAL = 6_000
"""Rows of one trial with 40 evaluations, compressed, while they still lie in part files (measured)."""
FILES_PER_TRIAL = 3
"""Part files of one trial before compaction; very short trials share them."""
LEAST_FREE_BYTES = 50 * 1024**2
"""Below this nothing is started."""


def preflight(
    store: ResultsStore, trial_bytes: Sequence[int], lanes: int, console: Console, *, threads: int = 1
) -> None:
    """Refuse what cannot work and warn of what may not.

    Raises:
        SweeperError: the disk lacks space or inodes for the rows of these trials.
    """
    path = store.local_path()
    # An object store has no free space that could be asked for.
    if path is not None:
        _check_disk(path, len(trial_bytes))
    largest = max(trial_bytes, default=0)
    share = machine_share()
    available = share.available_bytes
    # A warning and no error: the expectation may be wrong by a factor, and a trial that is too large ends alone.
    if lanes * largest > available:
        console.print(
            f"Warning: {lanes} lanes of up to {largest / 1e9:.1f} GB each, {available / 1e9:.1f} GB available. "
            "A trial that runs out of memory is tried again alone; fewer --lanes avoid it.",
            soft_wrap=True,
        )
    if lanes * threads > share.workers:
        who = f"{lanes} lanes" if threads == 1 else f"{lanes * threads} threads of {counted(lanes, 'lane')}"
        console.print(f"Warning: {who} share {share.cpus:g} CPU cores.", soft_wrap=True)


def check_room(results: str, trials: int) -> None:
    """Refuse a disk that is too full for a results directory that is not there yet.

    Raises:
        SweeperError: it lacks space or inodes for the rows of these trials.
    """
    if "://" not in results:
        place = Path(results).absolute()
        _check_disk(str(next(folder for folder in (place, *place.parents) if folder.exists())), trials)


def check_packages(tasks: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Make sure that what tasks' data are read with is installed here, before the first lane fails at it.

    Args:
        tasks: names and options.

    Raises:
        ModuleNotFoundError: it is not.
    """
    # A set, since thousands of trials share a few tasks.
    for name, options in {(name, tuple(options.items())) for name, options in tasks}:
        require(*packages_of(name, dict(options)))


def check_tasks(specs: Iterable[TrialSpec]) -> None:
    """Load the data of tasks that are not ours once, here, before the first lane fails at them.

    Args:
        specs: trials; only those of others' tasks are looked at.

    Raises:
        TaskError: a task does not follow the interface, or gives batches that its description does not ask for.
        DataError: missing or damaged data.
    """
    seen = set()
    for spec in specs:
        key = (task_key(spec), spec.training.length)
        if spec.task in task_names() or key in seen:
            continue
        seen.add(key)
        from tasks.check import check_task  # 1.7 s of torch, which a launcher of our own tasks does without

        check_task(spec.task, spec.task_options, length=spec.training.length)


def check_cells(specs: Iterable[TrialSpec]) -> None:
    """Run architectures that are not ours on a few random sequences, here, before the first lane fails at them.

    Args:
        specs: trials; of others' architectures the smallest network of each task and set of settings is looked at.

    Raises:
        CodeError: an architecture does not follow the interface, or returns something else than it asks for.
    """
    smallest: dict[Hashable, TrialSpec] = {}
    for spec in specs:
        model = spec.model
        if isinstance(model, CellConfig) and spec.architecture not in architecture_names():
            settings = tuple(pair for pair in model.values if not isinstance(pair[1], int))
            key = (spec.architecture, spec.task, model.n_in, model.n_out, settings, spec.training.dtype)
            other = smallest.setdefault(key, spec).model
            if isinstance(other, CellConfig) and model.counted.trainable_params < other.counted.trainable_params:
                smallest[key] = spec
    for spec in smallest.values():
        from model.cells.probe import probe  # 1.7 s of torch, which planning has loaded already where it counted

        assert isinstance(spec.model, CellConfig), "only those were taken"
        task = task_spec(spec.task, spec.task_options)
        probe(spec.model, ids=task.input_kind == "ids", dtype=spec.training.dtype)


def _check_disk(path: str, trials: int) -> None:
    numbers = os.statvfs(path)
    # What is free to this user (`f_bavail`), without the blocks that file systems keep for root (`f_bfree` counts
    # them).
    free, needed = numbers.f_bavail * numbers.f_frsize, LEAST_FREE_BYTES + BYTES_PER_TRIAL * trials
    if free < needed:
        raise SweeperError(
            f"{path}: {free / 1e6:.0f} MB free, {needed / 1e6:.0f} MB needed for the rows of {trials} trials"
        )
    # File systems that make inodes as they need them, such as btrfs, report none at all.
    if numbers.f_files > 0 and numbers.f_favail < FILES_PER_TRIAL * trials:
        raise SweeperError(
            f"{path}: {numbers.f_favail} inodes free, about {FILES_PER_TRIAL * trials} needed for {trials} trials"
        )
