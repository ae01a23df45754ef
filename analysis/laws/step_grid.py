"""The grid of one next step: exactly the runs that report and card name, for `sweeper launch`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from analysis.errors import AnalysisError
from analysis.rows.sweep import Dataset, Sweep
from cluster.errors import SettingError
from cluster.yaml_reader import write_yaml
from sweeper.plan.descriptions import DESCRIBED, Description, descriptions_in, written

SOLVED = ("n_in", "n_out")
"""Settings of a stored network that follow from its task."""


class StepPoint(NamedTuple):
    """Runs of one network of a step."""

    like: str
    """Trial whose settings they take over."""
    seeds: tuple[int, ...]
    budget: int | None
    """Their budget, from which n_rec is solved; None where all sizes are given."""
    model: Mapping[str, Any] = {}
    """Settings of the network that differ from the trial's."""
    training: Mapping[str, Any] = {}
    """Settings of the training that differ from the trial's."""


def step_grid(sweep: Sweep, data: Dataset, points: Sequence[StepPoint], name: str, comments: Sequence[str]) -> str:
    """Write the grid of a step.

    Args:
        sweep: all rows.
        data: the group that the step is about.
        points: its runs.
        name: of the new grid.
        comments: lines for its top.

    Raises:
        AnalysisError: the rows carry no settings that could be launched again.
    """
    specs = {row: json.loads(text) for row, text in zip(data.rows["trial_id"], data.rows["spec"], strict=True)}
    if any("model" not in specs[point.like] for point in points):
        raise AnalysisError(f"{data.label}: these rows carry no settings, so that nothing can be launched")
    first = specs[points[0].like]
    blocks = [_block(point, specs[point.like]) for point in points]
    task = {"name": first["task"], **first["task_options"]}
    content: dict[str, Any] = {"name": name, "task": task, "architecture": first["architecture"]}
    if (described := description(sweep, task)) is not None:
        content[DESCRIBED] = written([described])
    for section in ("model", "training"):
        # What all blocks share stands once, so that a reader sees what the step is about.
        shared = {
            key: value
            for key, value in blocks[0][section].items()
            if all(key in block[section] and block[section][key] == value for block in blocks)
        }
        content[section] = shared
        for block in blocks:
            block[section] = {key: value for key, value in block[section].items() if key not in shared}
    content["blocks"] = [{key: value for key, value in block.items() if value != {}} for block in blocks]
    return "".join(f"# {line}\n" for line in comments) + write_yaml(content)


def _block(point: StepPoint, spec: Mapping[str, Any]) -> dict[str, Any]:
    left_out = SOLVED if point.budget is None else (*SOLVED, "n_rec")
    model = {key: value for key, value in spec["model"].items() if key not in left_out} | dict(point.model)
    block: dict[str, Any] = {} if point.budget is None else {"budgets": [point.budget]}
    return block | {"seeds": list(point.seeds), "model": model, "training": spec["training"] | dict(point.training)}


def description(sweep: Sweep, task: Mapping[str, Any]) -> Description | None:
    """What the task of some rows is, as the grid they came from was stored with it; None for tasks of ours."""
    for text in sweep.grids.values():
        try:
            found = descriptions_in(text)
        except SettingError:  # written by a version that knew other keys
            continue
        for known in found:
            if {"name": known.name, **known.options} == task:
                return replace(known, task=dict(task))  # a copy, or YAML would write the first as a reference
    return None
