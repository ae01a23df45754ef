"""Tasks are found by what their room declares, and by nothing else."""

import dataclasses
from pathlib import Path

import pytest

import tasks.spec
from tasks.base import Options, Place, TaskDefinition, TaskSpec
from tasks.loaders import load_task
from tasks.options import Option


class Toy(TaskDefinition):
    """A task that a room could declare."""

    options = (Option(name="level", default=3, help="how hard it is"),)

    def spec(self, options: Options, place: Place) -> TaskSpec:
        return dataclasses.replace(tasks.spec.task_spec("listops", {}), name="toy")

    def load(self, spec: TaskSpec, options: Options, place: Place) -> tuple[TaskSpec, Options, Place]:
        return spec, options, place


def test_a_declared_task_is_loaded_without_another_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(tasks.spec._TASKS, "toy", Toy())
    spec, options, place = load_task("toy", {"level": 5}, cache_dir=tmp_path, where="here")
    assert (spec.name, options, place) == ("toy", {"level": 5}, Place("here", tmp_path))


def test_the_tables_name_no_task() -> None:
    for table in ("loaders", "spec", "data_sets", "verify"):
        text = Path(tasks.spec.__file__).with_name(f"{table}.py").read_text()
        assert [name for name in tasks.spec.task_names() if f'"{name}"' in text] == []
