"""The sections of the page, most important first, each as lines of markdown."""

import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import torch

from model.golden import TOLERANCE, check_file
from model.gpu_check.page import Page, table_head, table_row
from model.gpu_check.ways import (
    CASES,
    STACKS,
    Case,
    batch_of,
    loss_of,
    lstm_step,
    network_of,
    peak_bytes,
    seconds_of,
    simulated,
    training_step,
    ways,
)
from model.gpu_choice import GPU_BACKENDS, VARIABLE

_LARGEST_ERROR = 1e-4
"""of gradients in float32 against float64, relative: the processors' kernels are at 2e-6 after 1,000 steps"""
_GRID = """
name: gpu_check
task: {name: text, data: embedded, alphabet: letters}
model: {d_m: [2, 3, 4, 5], d_tree: 4, d_branch: 4, rho_rec: 0.5}
budgets: [BUDGET]
seeds: SEEDS
training: {steps: STEPS, batch_size: 32, length: 64, eval_every: STEPS, eval_batches: 2, final_eval_batches: 4}
"""


def machine(page: Page) -> Iterator[str]:
    """Card, driver and versions."""
    versions = {"python": platform.python_version(), "torch": torch.__version__, "CUDA of torch": torch.version.cuda}
    versions["triton"] = version("triton")
    if page.simulated:
        versions["card"] = "none (simulated)"
    else:
        card = torch.cuda.get_device_properties(0)
        versions |= {
            "card": card.name,
            "memory": f"{card.total_memory / 2**30:.0f} GiB",
            "multiprocessors": str(card.multi_processor_count),
            "compute capability": f"{card.major}.{card.minor}",
            "driver": _driver(),
            "cuDNN": str(torch.backends.cudnn.version()),  # type: ignore[no-untyped-call]  # untyped in torch
        }
    yield from table_head(("what", "which"))
    for name, value in versions.items():
        yield table_row((name, str(value)))


def golden(page: Page, device: str, files: Sequence[Path]) -> Iterator[str]:
    """Every back end against the authors' formulation in float64."""
    yield from table_head(("file", "back end", "largest difference", f"within {TOLERANCE:.0e}"))
    failed = []
    for path in files:
        for backend, differences in check_file(path, device).items():
            worst = max(differences.values())
            agrees = all(value <= TOLERANCE for value in differences.values())
            failed += [] if agrees else [f"{path.name} in {backend}"]
            yield table_row((path.name, backend, page.number(worst, ".1e"), "yes" if agrees else "NO"))
    if failed:
        raise ArithmeticError(f"differ from the authors' formulation: {', '.join(failed)}")


def precision(page: Page, device: str) -> Iterator[str]:
    """Gradients of every way in float32 after replays, against the reference in float64."""
    yield from table_head(("case", "way", "error of the gradients"))
    for case in _cases(page, (CASES[2], CASES[1])):
        x, y = batch_of(case, device)
        exact = _grads(network_of(case, "eager", device, torch.float64, recorded=False), x, y, times=1)
        for way in ways(recorded=not page.simulated):
            # the third pass of a shape is the first that a graph replays
            network = network_of(case, way, device, torch.float32, recorded=not page.simulated)
            grads = _grads(network, x, y, times=1 if page.simulated else 3)
            error = float((grads.double() - exact).norm() / exact.norm())
            yield table_row((case.name, way, page.number(error, ".1e")))
            if not error <= _LARGEST_ERROR:
                raise ArithmeticError(f"{case.name} in {way}: an error of {error:.1e}, above {_LARGEST_ERROR:.0e}")


def speed(page: Page, device: str) -> Iterator[str]:
    """Tokens per second and memory of a training step, every way and an LSTM of the same size."""
    yield from table_head(("case", "way", "tokens/s", "ms a step", "peak MiB"))
    for place, case in enumerate(_cases(page, CASES)):
        for way in (*ways(recorded=not page.simulated), "LSTM"):
            # compiled for the first and largest alone: it takes a minute, and tells nothing new about the others
            if way != "compiled step" or place == 0:
                yield _timed(page, device, case, way)


def stacks(page: Page, device: str) -> Iterator[str]:
    """Many small networks as one; the aim is 100 times one core of a processor (model/README.md)."""
    yield from table_head(("case", "way", "tokens/s", "ms a step", "peak MiB"))
    for case in _cases(page, STACKS[:1] if page.simulated else STACKS):
        names = ways(recorded=not page.simulated)
        for way in (name for name in names if name not in ("eager", "compiled step")):
            yield _timed(page, device, case, way)


def sweeps(page: Page, device: str) -> Iterator[str]:
    """A real sweep: one trial at a time on the card, and four by either path."""
    yield from table_head(("path of auto", "trials a GPU", "trials by back end", "seconds", "s a trial"))
    first = (GPU_BACKENDS[0], 1)
    packings = (first,) if page.simulated else (first, *((path, 4) for path in GPU_BACKENDS))
    for path, packed in packings:
        backends, seconds = _sweep(page, device, path, packed)
        ran = ", ".join(f"{count} {name}" for name, count in backends.items())
        share = seconds / max(1, sum(backends.values()))
        yield table_row((path, str(packed), ran, page.number(seconds, ".1f"), page.number(share, ".2f")))


def _timed(page: Page, device: str, case: Case, way: str) -> str:
    """One row of a table of speeds; a way that fails is a row that says why."""

    def measured() -> float:
        if way == "LSTM":
            return seconds_of(lstm_step(case, device), device)
        network = network_of(case, way, device, torch.float32, recorded=not page.simulated)
        return seconds_of(training_step(network, *batch_of(case, device)), device)

    name = f"{case.name} B={case.batch} T={case.steps}" + (f" x {case.stacked}" if case.stacked > 1 else "")
    try:
        seconds, peak = peak_bytes(measured, device)
    # memory, a compiler's refusal, a launch that fails: each says something about its way and nothing about the others
    except Exception as error:
        page.failures.append(f"{name} in {way}")
        return table_row((name, way, f"FAILED: {type(error).__name__}: {str(error).partition(chr(10))[0]}", "", ""))
    memory = "" if page.simulated else page.number(peak / 2**20)
    return table_row((name, way, page.number(case.tokens / seconds), page.number(1e3 * seconds, ".2f"), memory))


def _cases(page: Page, cases: Sequence[Case]) -> list[Case]:
    return [simulated(cases[0])] if page.simulated else list(cases)


def _grads(network: torch.nn.Module, x: torch.Tensor, y: torch.Tensor, *, times: int) -> torch.Tensor:
    for _ in range(times):
        network.zero_grad()
        torch.autograd.backward(loss_of(network, x, y))
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


def _sweep(page: Page, device: str, path: str, packed: int) -> tuple[dict[str, int], float]:
    """Launch a sweep as a person would; finished trials by back end, and seconds from the command to its end."""
    sizes = ("3000", "1", "2") if page.simulated else ("20_000, 40_000", "1", "150")
    grid = _GRID.replace("BUDGET", sizes[0]).replace("SEEDS", sizes[1]).replace("STEPS", sizes[2])
    if page.simulated:
        grid = grid.replace("[2, 3, 4, 5]", "2").replace("length: 64", "length: 4")
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "grid.yaml").write_text(grid)
        results = ["--results", f"{folder}/results"]
        options = ["--executor", "processes", "--lanes", "1"]
        if not page.simulated:
            options = ["--device", device, "--trials-per-gpu", str(packed)]
        begin = time.perf_counter()
        _command(page, ["launch", f"{folder}/grid.yaml", *results, *options], path)
        seconds = time.perf_counter() - begin
        (status,) = json.loads(_command(page, ["status", *results, "--json"], path))
        return status["backends"], seconds


def _command(page: Page, arguments: Sequence[str], path: str) -> str:
    environment = {**os.environ, VARIABLE: path}
    run = subprocess.run(
        [sys.executable, "-m", "sweeper", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        timeout=max(1.0, page.left()),
        check=False,
    )
    if run.returncode != 0:
        raise RuntimeError(f"sweeper {arguments[0]} ended with {run.returncode}: {run.stderr.strip()[-300:]}")
    return run.stdout


def _driver() -> str:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split("\n")[0]
    except (OSError, subprocess.CalledProcessError):
        return "unknown (nvidia-smi does not answer)"
