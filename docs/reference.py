"""The pages of `docs/reference/`, made from the code: grid keys, columns of the tables, help of every command.

`python -m docs.reference` writes them anew; a test holds the committed pages against what it would write.
"""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable
from dataclasses import MISSING, fields
from functools import cache
from pathlib import Path
from typing import Any

import click

from analysis.cli import cli as analysis
from model.architecture import DECIDED_BY_TASK
from model.architectures.cells import CellArchitecture
from model.registry import architecture, architecture_names
from sweeper.cli import cli as sweeper
from sweeper.plan.axes import RANGE_KEYS, TARGETS
from sweeper.plan.grid import GRID_KEYS
from sweeper.plan.rate_rule import RateRule
from sweeper.plan.recipes import RECIPES, SINGLE_NEURON, STEPS
from sweeper.plan.search_section import SearchSettings
from sweeper.plan.trial import TrainingConfig
from sweeper.store.schema import LOST, PREDICTIONS, PREEMPTED, RECORDS, SCHEMAS, STATUSES, PredictionRecord
from tasks.options import Option
from tasks.spec import task_names, task_options

FOLDER = Path(__file__).parent / "reference"
MADE = "<!-- Made by `python -m docs.reference`. Change the code, not this page. -->\n"
WIDTH = 110
"""Characters of a line of help."""

TOP_LEVEL = {
    "name": ("the file's name", "name of the sweep, which rows and files carry"),
    "task": (
        "required",
        "what is learnt: a name, or a mapping with `name` and the task's options, see below; an option may be a list",
    ),
    "architecture": ("`elm`", "class of network, see `model`; or a torch module of your own, `file.py:Class`"),
    "budgets": ("none", "parameter budgets P: trainable parameters of the whole network; one, a list or a range"),
    "model": ("`{}`", "settings of the network, see below; one value, a list or a range each"),
    "training": (
        "`{}`",
        "how to train, one value, a list or a range each; or `preset: paper`, see below",
    ),
    "seeds": ("1", "number of replicates (seeds 0, 1, ...), or a list of seeds"),
    "zip": ("`[]`", "lists of settings and task options that advance together instead of forming a product"),
    "limits": ("`{}`", "lowest and highest value of a size, `n_rec: [4, null]`; points outside are listed as excluded"),
    "search": ("`grid`", "how trials are chosen, see below"),
    "blocks": (
        "one block",
        "parts with any of the keys above but `name` and `search`; each extends the top level",
    ),
}
"""Default and meaning of every top-level key; the only text on that page that no class holds."""
SOLVED_FROM_BUDGET = ("n_rec", "d_m", "d_branch")
"""Sizes of which one may be left out where a grid has budgets."""
RANGES = {
    "from": "smallest value",
    "to": "largest value",
    "count": "number of values, both ends included; may be left out where a search chooses",
    "spacing": "`log` (the default) or `linear`",
}


@cache
def field_docs(config: type) -> dict[str, str]:
    """The text under each field of a dataclass, in one line; those of its parents too."""
    docs: dict[str, str] = {}
    for kind in reversed(config.__mro__[:-1]):
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
        assert isinstance(body, ast.ClassDef)
        for entry, below in zip(body.body, body.body[1:], strict=False):
            if isinstance(entry, ast.AnnAssign) and isinstance(below, ast.Expr):
                assert isinstance(entry.target, ast.Name)
                docs[entry.target.id] = " ".join(ast.literal_eval(below.value).split())
    return docs


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown."""
    lines = [list(head), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def grid_keys() -> str:
    """Every key of a grid file."""
    assert set(TOP_LEVEL) == set(GRID_KEYS), "a key has no text"
    assert set(RANGES) == set(RANGE_KEYS), "a key of ranges has no text"
    parts = [
        "# Grid keys\n\nEvery key of a grid file with its default and unit. [Writing a grid](../grids.md) shows how "
        "they work together; [limits](../../sweeper/README.md#limits) has the largest values.\n",
        "## Top level\n",
        table(("key", "default", "meaning"), ((f"`{key}`", *TOP_LEVEL[key]) for key in GRID_KEYS)),
        "A range is a mapping with these keys:\n",
        table(("key", "meaning"), ((f"`{key}`", RANGES[key]) for key in RANGE_KEYS)),
        "## training\n",
        "What a grid leaves out follows from task, size and steps by the recipes below, which "
        "[a study](../../studies/defaults/README.md) measured; what they do not name keeps the value of this table. "
        "With `preset: paper` the defaults are those of this table, the published Enwik8 settings, which are made for "
        "40,000 steps and more. A stored grid keeps the defaults it was launched with.\n",
        settings(TrainingConfig),
        recipes(),
        "`learning_rate` may also be `{rule: {...}}`, a power of the sizes, `scale n_rec^a d_m^b`:\n",
        settings(RateRule),
        "## model\n",
    ]
    for name in architecture_names():
        entry = architecture(name)
        if isinstance(entry, CellArchitecture):
            about = entry.cell_class.__doc__.splitlines()[0]
            parts += [f"### architecture: {name}\n", f"{about}\n", arguments(entry)]
        else:
            about = first_line(entry.config)
            parts += [f"### architecture: {name}\n", f"{about}\n", settings(entry.config, without=DECIDED_BY_TASK)]
        if name == "elm":
            named = " and ".join(f"`{target}`" for target in TARGETS)
            parts.append(
                f"Instead of `d_m` and `d_branch` a grid may name {named}: the size that comes nearest is taken.\n"
            )
    parts += [
        "## search\n",
        settings(SearchSettings),
        "[Searching](../../sweeper/README.md#searching) lists targets and rules.\n",
        "## task\n",
    ]
    parts += [f"### {name}\n\n{options(task_options(name))}" for name in task_names()]
    return "\n".join([MADE, *parts])


def arguments(entry: CellArchitecture) -> str:
    """The arguments of a cell's constructor as a table; their meaning is in its docstring."""
    meanings = dict(re.findall(r"^\s+(\w+): (.+)$", entry.cell_class.__init__.__doc__, re.M))
    rows = (
        (f"`{a.name}`", "required, or solved" if a.required else f"`{written(a.default)}`", in_yaml(meanings[a.name]))
        for a in entry.arguments
    )
    return table(("key", "default", "meaning"), rows)


def settings(config: type, without: tuple[str, ...] = ()) -> str:
    """The fields of a configuration as a table."""
    docs = field_docs(config)
    rows = ((f"`{f.name}`", default(f), in_yaml(docs[f.name])) for f in fields(config) if f.name not in without)
    return table(("key", "default", "meaning"), rows)


def default(field: Any) -> str:
    """A field's default as a grid file would write it."""
    if field.default is MISSING:
        return "required, or solved" if field.name in SOLVED_FROM_BUDGET else "required"
    return "none" if field.default == float("inf") else f"`{written(field.default)}`"


def in_yaml(text: str) -> str:
    """A docstring with Python's constants as YAML writes them."""
    for ours, theirs in (("None", "null"), ("True", "true"), ("False", "false")):
        text = re.sub(rf"\b{ours}\b", theirs, text)
    return text


def written(value: object) -> str:
    """A value as YAML has it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(map(written, value))
    return "null" if value is None else str(value)


def recipes() -> str:
    """The table of the recipes."""
    rows = []
    for name, recipe in {**RECIPES, "a single neuron on `neuronio`": SINGLE_NEURON}.items():
        powers = {"n_rec": recipe.n_rec, "d_m": recipe.d_m, f"({STEPS} / steps)": recipe.steps}
        rate = " ".join([f"{recipe.rate:g}", *(f"{what}^{power:g}" for what, power in powers.items() if power)])
        rows.append(
            (
                name if " " in name else f"`{name}`",
                f"{rate}, from {recipe.low:g} to {recipe.high:g}",
                recipe.optimizer,
                str(recipe.batch_size),
                "the task's" if recipe.length is None else str(recipe.length),
                f"{recipe.warmup:g} of the steps",
                f"{recipe.reg_mlp:g}",
            )
        )
    headings = ("task", "learning_rate", "optimizer", "batch_size", "length", "warmup_steps", "reg_mlp")
    return (
        table(headings, rows)
        + "\nOther tasks take the recipe of `text` where their state is carried on, else that of `images`. "
        "In all of them `reg_activity` is 0, `reset_steps` is the number of steps, and `eval_every` a quarter of it.\n"
    )


def options(declared: Iterable[Option]) -> str:
    """The options of a task as a table."""

    def needed(option: Option) -> str:
        return "required" if option.required else f"`{written(option.default)}`"

    def values(option: Option) -> str:
        if option.choices:
            return ", ".join(f"`{written(choice)}`" for choice in option.choices)
        kind = {bool: "`true`, `false`", int: "whole number", float: "number", str: "text"}[type(option.default)]
        low, high = option.minimum, option.maximum
        if low is None and high is None:
            return f"{kind}{' or list of texts' if option.many else ''}"
        return f"{kind} from {low:,}{'' if high is None else f' to {high:,}'}"

    rows = ((f"`{option.name}`", needed(option), values(option), option.help) for option in declared)
    return table(("option", "default", "values", "meaning"), rows)


def first_line(thing: object) -> str:
    """The first line of a docstring."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def columns() -> str:
    """Every column of the result tables."""
    parts = [
        "# Columns\n\nThe tables of a results directory, one folder of Parquet files each: "
        '`pandas.read_parquet("results/mine/trials")`. A value that is missing is null, never 0.\n'
    ]
    statuses = ", ".join(f"`{status}`" for status in STATUSES)
    parts.append(f"The status of a trial is one of {statuses}; an attempt may also be `{LOST}` or `{PREEMPTED}`.\n")
    tables = [(name, record, SCHEMAS[name]) for name, record in RECORDS.items()]
    for name, record, schema in [*tables, ("predictions", PredictionRecord, PREDICTIONS)]:
        docs = field_docs(record)
        parts += [f"## {name}\n", first_line(record) + "\n"]
        rows = ((f"`{f.name}`", kind(f.type), "yes" if f.nullable else "", docs[f.name]) for f in schema)
        parts.append(table(("column", "type", "may be null", "meaning"), rows))
    return "\n".join([MADE, *parts])


def kind(arrow_type: object) -> str:
    """The name of an Arrow type without its brackets."""
    return str(arrow_type).replace("timestamp[us, tz=UTC]", "timestamp, UTC")


def commands() -> str:
    """The help of every command."""
    parts = ["# Commands\n\nWhat `--help` says of every command.\n"]
    for program, group in (("sweeper", sweeper), ("analysis", analysis)):
        context = click.Context(group, info_name=program, **group.context_settings)
        parts += [f"## {program}\n", *_helps(group, context, 3)]
    return "\n".join([MADE, *parts])


def _helps(command: click.Command, context: click.Context, level: int) -> Iterable[str]:
    context.terminal_width = context.max_content_width = WIDTH
    yield f"```text\n{command.get_help(context).rstrip()}\n```\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            inner = click.Context(below, info_name=name, parent=context)
            yield f"{'#' * level} {inner.command_path}\n"
            yield from _helps(below, inner, level + 1)


PAGES = {"grid_keys.md": grid_keys, "columns.md": columns, "commands.md": commands}


def main(folder: Path) -> None:
    """Write the pages."""
    folder.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        (folder / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
