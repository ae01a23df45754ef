"""The page that a check writes, and the time that it may take."""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path


class OutOfTime(Exception):
    """The check's minutes are over; what is left is not run."""


class Page:
    """A page of markdown that is written anew after every section, so that a check that dies leaves what it had.

    Attributes:
        failures: titles of the sections that could not do what they should.
    """

    def __init__(self, path: Path, *, simulated: bool, minutes: float, clock: Callable[[], float] = time.monotonic):
        self.simulated, self.failures = simulated, list[str]()
        self._path, self._clock, self._end = path, clock, clock() + 60.0 * minutes
        self._lines = ["# GPU check", ""]
        if simulated:
            self._lines += ["**Simulated on a processor: no number on this page says anything about a GPU.**", ""]

    def left(self) -> float:
        """Seconds that are left."""
        return self._end - self._clock()

    def number(self, value: float, form: str = ",.0f") -> str:
        """Write a measured number, marked where it is not from a GPU."""
        return f"{value:{form}} (simulated)" if self.simulated else f"{value:{form}}"

    def section(self, title: str, lines: Callable[[], Iterable[str]]) -> None:
        """Add a section; what goes wrong in it stands in its place, and the next one is run."""
        self._lines += [f"## {title}", ""]
        try:
            for line in lines():
                # each is there as soon as it is known: the next may take the machine down
                self._lines.append(line)
                self._write()
                if self.left() <= 0.0:
                    raise OutOfTime
        except OutOfTime:
            self._lines.append("Not run to its end: the time is up.")
            self.failures.append(title)
        # whatever a device, a compiler or a driver raises is a result here, and the other sections are wanted as well
        except Exception as error:
            self._lines += ["", f"FAILED: {type(error).__name__}: {str(error).partition(chr(10))[0]}"]
            self.failures.append(title)
        self._lines.append("")
        self._write()

    def _write(self) -> None:
        self._path.write_text("\n".join(self._lines) + "\n", encoding="utf-8")


def table_head(columns: Sequence[str]) -> list[str]:
    """The first two lines of a table."""
    return [table_row(columns), "|" + "---|" * len(columns)]


def table_row(cells: Sequence[str]) -> str:
    """One line of a table."""
    return "| " + " | ".join(cells) + " |"
