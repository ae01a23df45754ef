"""Print how many digits the numbers of `theory` have, against public references: `python -m theory.reference`.

The exit code is 1 if any number has fewer digits than it should. `--fast` leaves out what takes more than seconds.
"""

import argparse
import sys

from theory.reference import chinchilla, closed_form, nist
from theory.reference.digits import Reached

FAST_POINTS = 24
"""Points of the closed form in the fast part."""


def rows(*, fast: bool = False) -> list[Reached]:
    """Make all comparisons.

    Args:
        fast: Only some NIST problems and few points of the closed form.
    """
    reached = closed_form.compare(FAST_POINTS) if fast else closed_form.compare()
    for name in nist.FAST if fast else nist.MODELS:
        reached += nist.compare(name)
    return reached if fast else reached + chinchilla.compare()


def main(arguments: list[str] | None = None) -> int:
    """Print the digits."""
    parser = argparse.ArgumentParser(prog="python -m theory.reference", description="Digits against public references.")
    parser.add_argument("--fast", action="store_true", help="only what takes seconds")
    reached = rows(fast=parser.parse_args(arguments).fast)
    for row in reached:
        verdict = "" if row.met else f"   TOO FEW, need {row.least:g}"
        print(f"{row.name:<26} {row.number:<46} {row.digits:5.1f} digits{verdict}")
    return 0 if all(row.met for row in reached) else 1


if __name__ == "__main__":
    sys.exit(main())
