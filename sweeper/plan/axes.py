"""Values of settings: one, a list, or a range; and the groups of settings that advance together."""

from collections.abc import Mapping, Sequence
from typing import Any

from cluster.errors import unknown_name
from cluster.limits import LIMITS, check_limit, shown
from cluster.values import check_keys, mapping, number, one_of, whole_within
from sweeper.errors import GridError
from sweeper.plan.rate_rule import read_rule
from sweeper.plan.search_section import Range
from sweeper.plan.trial import TrainingConfig, field_types, typed_value

TARGETS = ("k_e", "k_c")
"""Axes that are not fields of a configuration: the plan finds the d_m or d_branch that comes nearest."""
RANGE_KEYS = ("from", "to", "count", "spacing")
_BUDGET, _SEED, _SEEDS = whole_within("budget"), whole_within("seed"), whole_within("seeds")
_TARGET, _COUNT = whole_within("target"), whole_within("count")


def read_axes(types: Mapping[str, Any], value: object, place: str) -> dict[str, tuple[Any, ...]]:
    """Read a section of settings.

    Args:
        types: settings that there are, with the type of each.
        value: the section as the grid file gives it.
        place: its path in the grid file, for messages.

    Returns:
        The values of each setting.

    Raises:
        GridError: an unknown key, or a value that is not understood; the message names its place.
    """
    settings = mapping(value, place)
    check_keys(f"{place}.", settings, tuple(types))
    axes: dict[str, tuple[Any, ...]] = {}
    for name, entry in settings.items():
        if name == "learning_rate" and isinstance(entry, dict) and "rule" in entry:
            axes[name] = (read_rule(entry, f"{place}.{name}"),)
            continue
        # By its type as text, which finds the int of `int | None` as well.
        whole = types[name] is int or "int" in str(types[name])
        if isinstance(entry, dict) and "count" not in entry and {"from", "to"} <= set(entry):
            axes[name] = (_open_range(types, name, entry, f"{place}.{name}", whole),)
            continue
        entries = _range(entry, f"{place}.{name}", whole) if isinstance(entry, dict) else entry
        entries = entries if isinstance(entries, list) else [entries]
        if not entries:
            raise GridError(f"{place}.{name}: an empty list leaves nothing to run")
        axes[name] = tuple(_value(types, name, v, f"{place}.{name}") for v in entries)
    return axes


def distinct(axes: Mapping[str, tuple[Any, ...]], zipped: tuple[tuple[str, ...], ...]) -> dict[str, tuple[Any, ...]]:
    """Drop repeated values, except where settings advance together (`zipped`): there every place counts."""
    # Dropping one of two equal values would pair those behind it with the wrong partners.
    joined = {name for group in zipped for name in group}
    return {name: values if name in joined else tuple(dict.fromkeys(values)) for name, values in axes.items()}


def _value(types: Mapping[str, Any], name: str, value: object, place: str) -> Any:
    if name in TARGETS:
        return _TARGET(value, place)
    read = typed_value(types[name], value, place)
    if isinstance(read, int | float) and not isinstance(read, bool):
        check_limit(_limit_of(types, name, read), read, place)
    return read


def _limit_of(types: Mapping[str, Any], name: str, value: float) -> str:
    """Which limit a setting has, where it has none of its own name."""
    if name in LIMITS:
        return name
    if isinstance(value, float):
        return "number"
    if types is field_types(TrainingConfig):
        return "batch_size" if name.endswith("batch_size") else "steps"
    return "size"


def _range(entry: Mapping[Any, Any], place: str, whole: bool) -> list[float]:
    check_keys(f"{place}.", entry, RANGE_KEYS)
    numbers = {}
    for key in ("from", "to", "count"):
        if entry.get(key) is None:
            raise GridError(f"{place}.{key}: a range needs the number `{key}`, got {entry.get(key)!r}")
        numbers[key] = number(entry[key], f"{place}.{key}")
    low, high = numbers["from"], numbers["to"]
    spacing = entry.get("spacing", "log")
    one_of("log", "linear")(spacing, f"{place}.spacing")
    count = _COUNT(entry["count"], f"{place}.count")
    if low >= high or (spacing == "log" and low <= 0):
        raise GridError(f"{place}: a range needs {'0 < ' * (spacing == 'log')}from < to, got {shown(dict(entry))}")
    shares = [i / (count - 1) for i in range(count)]
    values = [low * (high / low) ** s if spacing == "log" else low + (high - low) * s for s in shares]
    # Neighbours that round to one number are dropped later (`distinct`), except where settings advance together.
    return [float(round(v)) for v in values] if whole else values


def _open_range(types: Mapping[str, Any], name: str, entry: Mapping[Any, Any], place: str, whole: bool) -> Range:
    """A range without a count: a search chooses the values."""
    # Read as a range of two values, which checks its ends by the same rules.
    values = _range({**entry, "count": 2}, place, whole)
    ends = [_value(types, name, value, place) for value in values]
    return Range(low=float(ends[0]), high=float(ends[-1]), log=entry.get("spacing", "log") == "log", whole=whole)


def read_budgets(value: object, place: str) -> tuple[int, ...]:
    """Read the parameter budgets: none, one, a list or a range.

    Raises:
        GridError: an empty list, or a number that no budget may have.
    """
    if value is None:
        return ()
    if isinstance(value, dict):
        value = _range(value, place, whole=True)
    values = value if isinstance(value, list) else [value]
    if not values:
        raise GridError(
            f"{place}: an empty list leaves nothing to run; give null, or leave the key out, where every size is given"
        )
    # A budget that is listed twice asks for the same trials.
    return tuple(dict.fromkeys(_BUDGET(v, f"{place}[{i}]") for i, v in enumerate(values)))


def read_seeds(value: object, place: str) -> tuple[int, ...]:
    """Read a number of replicates, or the seeds themselves.

    Raises:
        GridError: a number that no seed may have.
    """
    # An empty list is no number either, and is refused as one below.
    if isinstance(value, list) and value:
        check_limit("seeds", len(value), f"{place}: their number")
        return tuple(dict.fromkeys(_SEED(v, f"{place}[{i}]") for i, v in enumerate(value)))
    return tuple(range(_SEEDS(value, place)))


def read_zipped(value: object, axes: Mapping[str, Sequence[Any]], place: str) -> tuple[tuple[str, ...], ...]:
    """Read the groups of settings that advance together.

    Args:
        value: as the grid file gives them: a list of lists of names.
        axes: values of every setting and option that may stand in one.
        place: path in the grid file, for messages.

    Raises:
        GridError: an unknown name, or lists of different lengths.
    """
    groups = value if isinstance(value, list) else [value]
    result = []
    for i, group in enumerate(groups):
        if not isinstance(group, list) or len(group) < 2:
            raise GridError(
                f"{place}[{i}]: expected a list of two or more settings that advance together, got {group!r}"
            )
        for name in group:
            if name not in axes:
                raise GridError(unknown_name(f"{place}[{i}]", name, axes))
        lengths = {name: len(axes[name]) for name in group}
        # The shorter list would otherwise cut the longer one off.
        if len(set(lengths.values())) > 1:
            raise GridError(f"{place}[{i}]: settings that advance together need equally many values, got {lengths}")
        result.append(tuple(group))
    return tuple(result)
