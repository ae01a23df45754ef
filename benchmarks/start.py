"""Benchmark of starting: `python -m benchmarks.start`. What every command imports, and when the first trial steps.

Each command runs in a process of its own on a sweep of a few seconds. Processor seconds are shown beside the wall time,
because wall times mean little on a machine that others use.
"""

import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import click
from rich.console import Console
from rich.table import Table

HEAVY = ("numpy", "pyarrow", "pandas", "scipy", "plotly", "torch", "torch._dynamo", "ray", "optuna")
"""Packages that take a tenth of a second and more to import."""
_GRID = """
name: tiny
task: {name: text, alphabet: letters}
budgets: [3000, 4000]
model: {d_m: [1, 2, 4], d_tree: 4, d_branch: 4}
training: {steps: 2, batch_size: 4, length: 16, eval_every: 2, eval_batches: 1, final_eval_batches: 1}
"""
_LAUNCH = ("sweeper", "launch", "tiny.yaml", "--lanes", "1", "--profile-start", "-r")
COMMANDS: tuple[tuple[str, ...], ...] = (
    ("sweeper", "--help"),
    ("sweeper", "grids"),
    ("sweeper", "new", "new.yaml", "--data", "text", "--minutes", "1", "--budgets", "4000"),
    ("sweeper", "plan", "tiny.yaml"),
    ("sweeper", "plan", "tiny.yaml", "--simulate", "nodes=2,cpus=2"),
    (*_LAUNCH, "results/tiny", "--executor", "processes"),
    (*_LAUNCH, "results/of_ray"),
    ("sweeper", "status", "results/tiny"),
    ("sweeper", "retry", "results/tiny", "--where", "seed < 0"),
    ("sweeper", "merge", "results/both", "results/tiny"),
    ("sweeper", "compact", "results/tiny"),
    ("sweeper", "verify", "results/tiny"),
    ("sweeper", "doctor"),
    ("sweeper", "jobs"),
    ("sweeper", "data", "list"),
    ("analysis", "--help"),
    ("analysis", "summary", "results/tiny"),
    ("analysis", "fit-theory", "results/tiny", "--quick"),
    ("analysis", "dashboard", "results/tiny"),
    ("analysis", "export", "results/tiny", "-o", "rows.csv"),
    ("analysis", "learning-rate", "results/tiny"),
    ("analysis", "suggest", "results/tiny", "--hours", "0.1"),
)
"""Also commands that end with a refusal: what they import before it is what their users wait for."""


class Run(NamedTuple):
    """What one command took."""

    command: str
    """Its words."""
    cpu_s: float
    """Processor seconds, of the processes it started too."""
    wall_s: float
    """Seconds that passed."""
    imports_s: float
    """Seconds of imports, of lanes that are child processes too."""
    heavy: tuple[str, ...]
    """Of `HEAVY`, what was imported there."""
    start: tuple[str, ...]
    """What `--profile-start` printed."""


def measured(command: tuple[str, ...], folder: Path) -> Run:
    """Run a command and see what it imported.

    Args:
        command: its words; `sweeper` and `analysis` are the packages of those names.
        folder: where it runs.
    """
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    words = [sys.executable, "-X", "importtime", "-m", *command]
    path = os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    lines = re.findall(r"^import time:\s+(\d+) \|\s+\d+ \| +(\S+)$", done.stderr, re.M)
    names = {name for _, name in lines}
    return Run(
        command=" ".join(command),
        cpu_s=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        wall_s=wall,
        imports_s=sum(int(own) for own, _ in lines) / 1e6,
        heavy=tuple(name for name in HEAVY if name in names),
        start=tuple(re.findall(r"^(?:First trial running after.*|  +[\d.]+ s +\d+%.*)$", done.stderr, re.M)),
    )


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", default="", help="Commands that hold this text; launches run all the same.")
def main(only: str) -> None:
    """Measure what every command imports, and when the first trial of a launch takes its first step."""
    table = Table(title="Commands, each in a process of its own")
    for heading in ("command", "CPU s", "wall s", "imports s", "of them heavy"):
        table.add_column(heading, justify="left" if heading in ("command", "of them heavy") else "right")
    starts = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "tiny.yaml").write_text(_GRID)
        for command in COMMANDS:
            if only in " ".join(command) or "launch" in command:
                run = measured(command, Path(folder))
                shown = (f"{run.cpu_s:.2f}", f"{run.wall_s:.2f}", f"{run.imports_s:.2f}", " ".join(run.heavy))
                table.add_row(run.command, *shown)
                starts += [run.command, *run.start] if run.start else []
    Console(width=150).print(table)
    print("\n".join(starts))
    print(f"load average: {', '.join(f'{x:.1f}' for x in os.getloadavg())} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
