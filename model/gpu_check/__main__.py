"""Measure a GPU and this code on it, and write one page: `python -m model.gpu_check [-o gpu_check.md]`.

Golden numbers on the GPU; eager, compiled, torch, CUDA graphs and Triton side by side, with memory; small networks
stacked; a real sweep, packed and not. Exit status 0 when everything ran and agrees.
"""

import argparse
import os
import sys
from pathlib import Path

import torch

from model.gpu_check import sections
from model.gpu_check.page import Page


def main(arguments: list[str] | None = None) -> int:
    """Write the page; 0 when everything ran and agrees, 1 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m model.gpu_check", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("gpu_check.md"), metavar="PAGE.md")
    parser.add_argument("--golden", type=Path, default=Path("tests/golden"), metavar="FOLDER", help="golden files")
    parser.add_argument("--minutes", type=float, default=9.0, help="stop after this long (default 9)")
    parser.add_argument(
        "--simulate", action="store_true", help="run the control flow on a processor; numbers then mean nothing"
    )
    options = parser.parse_args(arguments)
    if options.simulate:
        # before Triton is imported, which reads it then
        os.environ["TRITON_INTERPRET"] = "1"
    elif not torch.cuda.is_available():
        print(
            f"error: torch {torch.__version__} sees no CUDA device; run this where there is a GPU and torch for CUDA, "
            "or give --simulate to run the control flow alone",
            file=sys.stderr,
        )
        return 1
    device = "cpu" if options.simulate else "cuda"
    page = Page(options.output, simulated=options.simulate, minutes=options.minutes)
    files = sorted(options.golden.glob("elm_network_*.npz"))
    page.section("Machine", lambda: sections.machine(page))
    if files:
        page.section("Golden numbers", lambda: sections.golden(page, device, files))
    else:
        page.failures.append(f"no golden files in {options.golden}")
    page.section("Precision", lambda: sections.precision(page, device))
    page.section("Small networks, stacked", lambda: sections.stacks(page, device))
    page.section("A sweep", lambda: sections.sweeps(page, device))
    # last, for it is the longest: what has no time left is what matters least
    page.section("Speed and memory of a training step", lambda: sections.speed(page, device))
    print(f"wrote {options.output}")
    for failure in page.failures:
        print(f"error: {failure}", file=sys.stderr)
    return 1 if page.failures else 0


if __name__ == "__main__":
    sys.exit(main())
