"""What a grid's tasks are, kept in the grid that lies beside the rows.

A task may follow from a person's file of code or data. Rows are read where these files are not, and reading must never
run code that came with them: a launch therefore writes what it found below the key ``described`` of the stored grid.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from cluster.limits import check_limit, shown
from cluster.values import check_keys, mapping
from cluster.yaml_reader import read_yaml, write_yaml
from sweeper.errors import GridError
from sweeper.plan.recipes import MEASURED
from sweeper.plan.recorded import RECORDED
from tasks.base import TaskSpec

DESCRIBED = "described"
"""Key of a stored grid."""
DEFAULTS = "defaults"
"""Key of a stored grid: what its `training.preset` was where it gave none."""
_KEYS = ("task", "name", "options", "spec")


@dataclass(frozen=True, kw_only=True)
class Description:
    """One task of a grid."""

    task: object
    """The task as the grid file gives it."""
    name: str
    """Full name of the task."""
    options: Mapping[str, Any]
    """Its options, defaults filled in."""
    spec: TaskSpec
    """What it asks of a network."""


def read_descriptions(value: object) -> tuple[Description, ...]:
    """Read what `with_descriptions` wrote.

    Raises:
        GridError: it is something else.
    """
    if not isinstance(value, list):
        raise GridError(f"{DESCRIBED}: expected a list as a launch writes it, got {shown(value)}")
    descriptions = []
    for i, entry in enumerate(value):
        place = f"{DESCRIBED}[{i}]"
        check_keys(f"{place}.", mapping(entry, place), _KEYS)
        try:
            spec = TaskSpec(**entry["spec"])
            descriptions.append(
                Description(task=entry["task"], name=str(entry["name"]), options=dict(entry["options"]), spec=spec)
            )
        except (KeyError, TypeError, ValueError) as error:
            raise GridError(f"{place}: is not what a launch writes ({error}); leave `{DESCRIBED}` out") from error
    return tuple(descriptions)


def descriptions_in(text: str) -> tuple[Description, ...]:
    """Read the descriptions that a stored grid carries.

    Raises:
        GridError: they are not what a launch writes.
    """
    content = read_yaml(text)
    return read_descriptions(content.get(DESCRIBED, [])) if isinstance(content, dict) else ()


def written(descriptions: Sequence[Description]) -> list[dict[str, Any]]:
    """Return descriptions as `read_descriptions` reads them."""
    return [{"task": d.task, "name": d.name, "options": dict(d.options), "spec": asdict(d.spec)} for d in descriptions]


def with_descriptions(
    text: str,
    descriptions: Sequence[Description],
    recorded: Sequence[Mapping[str, Any]] = (),
    *,
    measured: bool = False,
) -> str:
    """Return the text of a grid with what its tasks and architectures are; earlier lines stay as they are if possible.

    Args:
        text: the grid.
        descriptions: of its tasks.
        recorded: points of its architectures (`sweeper.plan.recorded.record`).
        measured: whether settings that it does not give follow a recipe (`sweeper.plan.recipes`).
    """
    entries: dict[str, Any] = {DESCRIBED: written(descriptions)} if descriptions else {}
    entries |= {RECORDED: [dict(entry) for entry in recorded]} if recorded else {}
    # One that was described before carries it already.
    entries |= {DEFAULTS: MEASURED} if measured and f"\n{DEFAULTS}:" not in text else {}
    if not entries:
        return text
    before = read_yaml(text)
    assert isinstance(before, dict), "it was read as a grid"
    if not before.keys().isdisjoint(entries) or text.lstrip().startswith("{"):
        # nothing can be appended to a mapping in braces
        return write_yaml({**before, **entries})
    notes = "# written by the launch, for who reads these rows where files of tasks are not, or defaults are others\n"
    whole = f"{text.rstrip()}\n{notes}{write_yaml(entries)}"
    check_limit("file", len(whole), "the grid with the sizes of its points: its length")
    return whole
