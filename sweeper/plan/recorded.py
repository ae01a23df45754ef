"""Sizes and counts of architectures that are counted from their torch module, kept in the grid beside the rows.

Rows are read where the module, its file or torch are not, and reading must never run code that came with them: a launch
therefore writes every size that it solved below the key ``recorded`` of the stored grid.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cluster.limits import shown
from cluster.values import check_keys, mapping
from model.architecture import Architecture, BudgetError, Counts, Size
from model.architectures.cells import CellConfig, read_cell
from model.config import ConfigError
from model.registry import whole_settings
from sweeper.errors import GridError

RECORDED = "recorded"
"""Key of a stored grid, and of the blocks of one that a search chose."""
_KEYS = ("architecture", "name", "settings", "sizes", "size", "asked", "counted", "points")
_LINE = 4_000
"""Characters of one value of a stored grid, somewhat less than `cluster.limits` allows."""
_TYPES: dict[str, Any] = {"int": int, "float": float, "bool": bool, "str": str, "None": None}

Point = tuple[Mapping[str, Any], str | None, int | None, CellConfig | str]
"""Settings of one point, the size that was solved and the budget, and the configuration, or why there is none."""


class Recorded(Architecture):
    """An architecture of which a few points are known, and nothing else."""

    light = False

    def __init__(self, written: str, name: str, types: Mapping[str, Any], sizes: Iterable[str]) -> None:
        """Declare it.

        Args:
            written: name as the grid file gives it.
            name: full name.
            types: settings of a grid, with the type of each.
            sizes: those that a budget can be solved for.
        """
        self.written, self.name = written, name
        self._types, self._sizes = dict(types), tuple(sizes)
        self._configs: dict[str, CellConfig] = {}
        self._solved: dict[tuple[str, str, int], int | str] = {}

    def copy(self) -> "Recorded":
        """Return another one that knows the same."""
        other = Recorded(self.written, self.name, self._types, self._sizes)
        other.take(self)
        return other

    def take(self, other: "Recorded") -> None:
        """Learn what another one knows."""
        self._configs |= other._configs
        self._solved |= other._solved

    def add(self, point: Point) -> None:
        """Keep one point."""
        values, size, budget, result = point
        if size is None or budget is None:
            if isinstance(result, CellConfig):
                self._configs[_key(values)] = result
            return
        if isinstance(result, CellConfig):
            value = int(getattr(result, size))
            self._configs[_key({**values, size: value})] = result
            self._solved[_key(values), size, budget] = value
        else:
            self._solved[_key(values), size, budget] = result

    def settings(self) -> Mapping[str, Any]:
        """Return what a grid may set, with the type of each."""
        return self._types

    def sizes(self) -> tuple[Size, ...]:
        """Return the sizes that a budget can be solved for."""
        return tuple(Size(name=name, field=name) for name in self._sizes)

    def configure(self, values: Mapping[str, Any]) -> CellConfig:
        """Return what was recorded for these settings.

        Raises:
            ConfigError: nothing was.
        """
        if (config := self._configs.get(_key(values))) is None:
            raise self._unknown(values)
        return config

    def counts(self, config: CellConfig) -> Counts:
        """Return what was counted."""
        return config.counted

    def solve(self, values: Mapping[str, Any], name: str, budget: int) -> int:
        """Return what was recorded for these settings and this budget.

        Raises:
            BudgetError: no size fits.
            ConfigError: nothing was recorded.
        """
        solved = self._solved.get((_key(values), name, budget))
        if isinstance(solved, str):
            raise BudgetError(solved)
        if solved is None:
            raise self._unknown({**values, "budget": budget})
        return solved

    def _unknown(self, values: Mapping[str, Any]) -> ConfigError:
        asked = ", ".join(f"{name} {value}" for name, value in values.items())
        return ConfigError(f"{self.written}: {asked} was not counted by the launch; plan the grid's file itself")


def _key(values: Mapping[str, Any]) -> str:
    return json.dumps(dict(values), sort_keys=True)


def record(written: str, name: str, definition: Architecture, points: Iterable[Point]) -> dict[str, Any]:
    """Return points as `read_recorded` reads them."""
    listed = list(points)
    asked = sorted({key for values, *_ in listed for key in values})
    # whole, so that what one point leaves out at its default and another gives is not taken for a value that is missing
    whole = {i: whole_settings(name, r.plain()) for i, (*_, r) in enumerate(listed) if isinstance(r, CellConfig)}
    counted = sorted({key for settings in whole.values() for key in settings})
    lines: list[str] = []
    for i, (values, _, budget, result) in enumerate(listed):
        kept = result if isinstance(result, str) else [whole[i].get(key) for key in counted]
        text = json.dumps([budget, [values.get(key) for key in asked], kept], separators=(",", ":"))
        # Several points in a line of text: as many YAML values would be slow to read, and one text may not be too long.
        if lines and len(lines[-1]) + len(text) < _LINE:
            lines[-1] += f",{text}"
        else:
            lines.append(text)
    return {
        "architecture": written,
        "name": name,
        "settings": {key: _type_text(kind) for key, kind in definition.settings().items()},
        "sizes": [size.field for size in definition.sizes()],
        "size": next((size for _, size, _, _ in listed), None),
        "asked": asked,
        "counted": counted,
        "points": lines,
    }


def _type_text(kind: Any) -> str:
    return str(kind) if not isinstance(kind, type) else kind.__name__


def read_recorded(value: object) -> tuple[Recorded, ...]:
    """Read what `record` wrote.

    Raises:
        GridError: it is something else.
    """
    if not isinstance(value, list):
        raise GridError(f"{RECORDED}: expected a list as a launch writes it, got {shown(value)}")
    entries = []
    for i, entry in enumerate(value):
        place = f"{RECORDED}[{i}]"
        check_keys(f"{place}.", mapping(entry, place), _KEYS)
        try:
            types = {key: _type_of(text) for key, text in entry["settings"].items()}
            recorded = Recorded(str(entry["architecture"]), str(entry["name"]), types, entry["sizes"])
            for line in entry["points"]:
                for budget, asked, result in json.loads(f"[{line}]"):
                    values = dict(zip(entry["asked"], asked, strict=True))
                    recorded.add((values, entry["size"], budget, _result(recorded.name, entry["counted"], result)))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise GridError(f"{place}: is not what a launch writes ({error}); leave `{RECORDED}` out") from error
        entries.append(recorded)
    return tuple(entries)


def _result(name: str, counted: Sequence[str], result: Any) -> CellConfig | str:
    return result if isinstance(result, str) else read_cell(name, dict(zip(counted, result, strict=True)))


def joined(entries: Iterable[Recorded]) -> Recorded | None:
    """Return what several entries know of one architecture; None where there are none."""
    first, *others = (*entries, None)
    if first is None or others == [None]:
        return first
    whole = first.copy()
    for entry in others:
        if entry is not None:
            whole.take(entry)
    return whole


def _type_of(text: str) -> Any:
    first, *others = [_TYPES[part] for part in text.split(" | ")]
    kind = first
    for other in others:
        kind = kind | other
    return kind
