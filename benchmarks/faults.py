"""A sweep under a random mix of faults: `python -m benchmarks.faults`. Every trial must end as one row, as undisturbed.

Real `sweeper launch` processes run trials of a known law. Faults are drawn by a seed from `benchmarks.fault_kinds`,
every kind once before any comes again, and strike a results directory at rest, the start of a launch or a running one.
After each launch its one-line error is obeyed, and it is launched again. Exit code 1 where a trial is missing, doubled
or different in the end, where a launch ended in a way that is not documented, or where faults found nothing to disturb.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pyarrow.dataset as ds
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.fault_kinds import kinds
from benchmarks.fault_mix import Mix
from benchmarks.fault_site import EARLY, REST, RUN, START, Kind, Launch, Site, Start
from cluster.errors import unknown_name
from model.backends.native.build import cache_directory, kernel
from model.backends.native.compiler import NativeUnavailable
from sweeper.store.store import ResultsStore

_GRID = """
name: mix
task: {{name: text, alphabet: letters}}
budgets: [4000, 8000, 16000, 32000, 64000]
model: {{d_m: [{d_m}], d_tree: 4, d_branch: 4}}
seeds: {seeds}
"""
_BUDGETS, _MOST_D_M = 5, 10
_DISK_BYTES = 160 * 1024**2
"""The small disk; a launch wants 50 MB free."""
_MOST_FUTILE = 10
"""Launches in a row that no fault struck."""
_MOST_LAUNCHES = 20
"""Launches without a fault at the end, after which the sweep counts as lost."""
_COMPARED = ("trial_id", "status", "reason", "spec", "data_sha256", "n_rec", "d_m", "k_e", "k_c", "trainable_params",
             "final_step", "final_train_metric", "final_valid_metric", "final_test_metric", "final_test_loss",
             "best_step", "best_valid_metric", "steps_done")  # fmt: skip
"""Columns of the trials table that tell of the trial and not of the run."""
_COMPARED_OF_CURVES = ("trial_id", "split", "step", "loss", "metric")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--trials", default=500, show_default=True, help="Trials of the sweep; rounded down to whole seeds.")
@click.option("--faults", default=60, show_default=True, help="Faults that strike it.")
@click.option("--seed", default=0, show_default=True, help="Of the mix.")
@click.option("--seconds", default=0.5, show_default=True, help="Time of a trial.")
@click.option("--only", multiple=True, metavar="NAME", help="Draw from these kinds alone.")
@click.option("--ray/--no-ray", default=True, show_default=True, help="Let some launches run under Ray.")
@click.option("--slow/--no-slow", default=True, show_default=True, help="Also draw faults that take a minute.")
@click.option("--disk/--no-disk", default=True, show_default=True, help="Mount a small disk, as root, to fill it.")
def main(
    trials: int, faults: int, seed: int, seconds: float, only: Sequence[str], ray: bool, slow: bool, disk: bool
) -> None:
    """Disturb a sweep, and hold what comes of it against an undisturbed one."""
    for name in only:
        if name not in (known := [kind.name for kind in kinds()]):
            raise click.BadParameter(unknown_name("--only", name, known))
    say, began = Console(width=110, highlight=False).print, time.monotonic()
    with _site(trials, disk, say) as mix:
        mix.draw, mix.seconds = random.Random(seed), seconds
        possible = [kind for kind in kinds() if _is_possible(kind, mix.site, ray, slow, say)]
        if only:
            possible = [kind for kind in possible if kind.name in only]
        if not possible:
            raise click.UsageError("none of the faults asked for can strike here; --ray, --slow and --disk allow more")
        left = disturb(mix, drawn(possible, faults, mix.draw))
        disturbed = mix.endings.total()
        finish(mix)
        faulty = [*verdict(mix), *mix.complaints]
        say(_summary(mix))
        endings = ", ".join(f"{count} x {name}" for name, count in sorted(mix.endings.items()))
        say(f"{disturbed} launches with faults and {mix.endings.total() - disturbed} without: {endings}")
        if left:
            faulty.append(f"{len(left)} faults found nothing to disturb: {', '.join(kind.name for kind in left)}")
        for line in faulty:
            say(line, markup=False, soft_wrap=True)
        held, took = "NOT every" if faulty else "every", time.monotonic() - began
        say(
            f"{mix.injected.total()} faults of {len(mix.injected)} kinds, seed {seed}, {took:.0f} s: {held} one of "
            f"{mix.trials} trials is exactly one row, equal to that of an undisturbed sweep."
        )
    sys.exit(1 if faulty else 0)


def drawn(possible: Sequence[Kind], number: int, draw: random.Random) -> list[Kind]:
    """So many faults in a random order: every kind once before any comes again."""
    faults: list[Kind] = []
    while len(faults) < number:
        faults += draw.sample(possible, min(len(possible), number - len(faults)))
    return faults


def disturb(mix: Mix, faults: list[Kind]) -> list[Kind]:
    """Let faults strike, launch after launch; what is left found nothing to disturb."""
    futile = 0
    while faults and futile < _MOST_FUTILE:
        before = len(faults)
        # Mostly in the order drawn: were all that can strike at rest to come first, the sweep would not get on
        at_rest = mix.strike(faults, REST, most=2) if faults[0].when == REST else []
        start = Start(executor=_next_executor(faults))
        if not at_rest:  # it may end at once, and then what is about its start would meet nothing
            mix.strike(faults, START, start)
        had = mix.rows()
        launch = mix.start(start)
        comes_early = next((kind.when for kind in faults if kind.when in (EARLY, RUN)), None) == EARLY
        struck = mix.strike(faults, EARLY, launch) if comes_early and not at_rest else []
        if not (struck or _strike_running(mix, faults, launch, had)):
            launch.signal(signal.SIGTERM)  # or it would run to the end of the sweep
        if mix.end():
            mix.remedy()
        mix.site.mend()
        futile = 0 if len(faults) < before else futile + 1
        if futile:  # the sweep may be done: damage to what is stored gives it work again
            faults.sort(key=lambda kind: kind.when != REST)
    return faults


def _strike_running(mix: Mix, faults: list[Kind], launch: Launch, had: int) -> bool:
    """Up to two faults for a launch that runs, the second once it has got on; whether one of them must end it."""
    for _ in range(2):
        if not mix.gets_on(launch, had):
            return False
        had = mix.rows()
        struck = mix.strike(faults, RUN, launch)
        if not struck or struck[0].ends:
            return bool(struck)
    return False


def _next_executor(faults: Sequence[Kind]) -> str:
    """The executor that the next fault of a launch is about."""
    return next((kind.executor or "processes" for kind in faults if kind.when in (START, RUN)), "processes")


def finish(mix: Mix) -> None:
    """Launch until the sweep is done and `sweeper verify` finds nothing wrong."""
    for _ in range(_MOST_LAUNCHES):
        launch = mix.start(Start())
        mix.end()
        if mix.remedy() and launch.process.returncode == 0:
            return
        if launch.process.returncode == 0:
            mix.run_again()
    mix.complaints.append(f"not done after {_MOST_LAUNCHES} launches without a fault")


def verdict(mix: Mix) -> list[str]:
    """What is wrong with the rows."""
    undisturbed = mix.site.folder / "undisturbed"
    mix.sweep_into(undisturbed)
    mix.trials = len(_rows(undisturbed / "trials", _COMPARED))
    return differences(mix.site.results, undisturbed)


def differences(results: Path, undisturbed: Path) -> list[str]:
    """How rows differ from an undisturbed sweep's, in sentences; read without our own rule of which rows count."""
    faulty: list[str] = []
    ResultsStore.open(results).compact()
    for table, columns in (("trials", _COMPARED), ("curves", _COMPARED_OF_CURVES)):
        ours, theirs = (Counter(_rows(folder / table, columns)) for folder in (results, undisturbed))
        if table == "trials":
            faulty += _miscounted(ours, theirs)
        if ours != theirs and not faulty:
            examples = [*(ours - theirs), *(theirs - ours)]
            faulty.append(f"{table}: {len(examples)} rows differ from the undisturbed sweep: {examples[:4]}")
    return faulty


def _miscounted(ours: Counter[tuple[Any, ...]], theirs: Counter[tuple[Any, ...]]) -> Iterator[str]:
    """Trials without a row and those with several."""
    seen = Counter(row[0] for row in ours.elements())
    missing = {row[0] for row in theirs} - seen.keys()
    doubled = {trial_id for trial_id, count in seen.items() if count > 1}
    for what, ids in (("missing", missing), ("doubled", doubled)):
        if ids:
            yield f"{len(ids)} trials are {what}: {', '.join(sorted(ids)[:4])}"


def _rows(folder: Path, columns: Sequence[str]) -> list[tuple[Any, ...]]:
    """Every row of a table, as it lies there."""
    table = ds.dataset(folder, format="parquet").to_table(columns=list(columns))
    return list(zip(*(table[name].to_pylist() for name in columns), strict=True))


def _is_possible(kind: Kind, site: Site, ray: bool, slow: bool, say: Callable[..., None]) -> bool:
    """Whether this machine and the options allow a kind; says so where the machine does not."""
    if kind.on_disk and site.disk is None:
        say(f"left out, for no disk could be mounted: {kind.name}")
    there = site.disk is not None or not kind.on_disk
    return there and (ray or kind.executor != "ray") and (slow or not kind.slow)


@contextmanager
def _site(trials: int, disk: bool, say: Callable[..., None]) -> Iterator[Mix]:
    """A folder with the grid, a cache with a kernel, and a small disk where that is possible; all gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = Path(name)
        points = min(_MOST_D_M, max(1, trials // _BUDGETS))
        d_m = ", ".join(str(value) for value in range(1, points + 1))
        text = _GRID.format(d_m=d_m, seeds=max(1, trials // (_BUDGETS * points)))
        place = folder / "disk"
        place.mkdir()
        mounted = disk and _mount(place)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **_kernel_of_our_own(folder)}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")]))
        site = Site(
            folder=folder,
            grid=folder / "mix.yaml",
            text=text,
            results=place / "results",
            cache=folder / "cache",
            clock=_clock_of_our_own(folder),
            disk=place if mounted else None,
        )
        site.mend()
        mix = Mix(site=site, draw=random.Random(0), seconds=0.0, environment=environment)
        try:
            yield mix
        finally:
            for launch in mix.running:
                launch.signal(signal.SIGKILL)
            if mounted:
                subprocess.run(["umount", "--lazy", str(place)], check=True)


def _mount(place: Path) -> bool:
    """Mount a small disk, where that is allowed."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "none", str(place)]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _clock_of_our_own(folder: Path) -> Path:
    """The library that shifts a process's wall clock, compiled."""
    source, library = Path(__file__).with_name("shifted_clock.c"), folder / "clock.so"
    subprocess.run(["cc", "-O2", "-fPIC", "-shared", source, "-o", library], check=True)
    return library


def _kernel_of_our_own(folder: Path) -> dict[str, str]:
    """A cache of compiled kernels, and a compiler that hands out the library that the real one has made, at once.

    Returns:
        Variables that make a command use both.

    Raises:
        click.ClickException: there is no compiler.
    """
    try:
        kernel(torch.float32)
    except NativeUnavailable as error:
        raise click.ClickException(f"the trials load the native kernel: {error}") from error
    library = max(cache_directory().glob("*.so"), key=lambda path: path.stat().st_atime_ns)
    shutil.copy(library, folder / "library")
    compiler = folder / "c++"
    compiler.write_text(
        f'#!/bin/sh\ncase "$*" in *--version*) exit 0;; esac\nfor last; do :; done\ncp "{folder}/library" "$last"\n'
    )
    compiler.chmod(0o755)
    return {"ELM_SWEEPER_CACHE": str(folder / "cache"), "CXX": str(compiler)}


def _summary(mix: Mix) -> Table:
    """The faults that struck."""
    table = Table(title="Faults that struck")
    for heading in ("kind", "fault", "times"):
        table.add_column(heading)
    for (letter, name), count in sorted(mix.injected.items()):
        table.add_row(letter, name, str(count))
    return table


if __name__ == "__main__":
    main()
