"""The committed tables are those of their commands, and the commands run."""

import re

import numpy as np
import pytest

from theory.simulations import coverage, statuses
from theory.simulations.worlds import BUDGETS, worlds


def test_every_world_has_an_optimum_inside_its_sweep():
    for world in worlds():
        sizes = world.design.d_m
        for budget in BUDGETS:
            assert sizes.min() < world.best_d_m(budget) < sizes.max(), world.name
        noise = world.sweeps(400, 0) - world.mean(world.design)
        assert abs(np.median(noise)) < 3e-4, world.name
        assert 0.0005 < np.median(np.abs(noise)) < 0.01, world.name


def test_coverage_is_counted():
    world = next(world for world in worlds() if world.name == "additive floor")
    rows = coverage.measure(world, 4, 0)
    assert [row.budget for row in rows] == list(BUDGETS)
    for row in rows:
        assert row.averaged >= 0.5
        assert 0.02 < row.width < 0.5
    assert "| additive floor | 1e+06 |" in coverage.table(rows, 4, 0)


def rows_of(module):
    lines = [line for line in module.TABLE.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


POWER = {row[0]: int(row[2]) for row in rows_of(statuses) if len(row) == 3 and row[2].isdigit()}
WRONG = [case for case in statuses.cases() if case.warns is not None]


def test_table_has_every_wrong_case():
    assert set(POWER) == {case.sentence for case in WRONG}


@pytest.mark.parametrize(
    "case", [case for case in WRONG if POWER.get(case.sentence, 0) >= 95], ids=lambda c: c.sentence
)
def test_status_of_high_power_fires(case):
    assert statuses.count(case, 2, 1)[case.warns] >= 1


@pytest.mark.parametrize("module", [coverage, statuses])
def test_table_names_its_command(module):
    text = module.TABLE.read_text(encoding="utf-8")
    assert re.search(rf"`python -m {module.__name__} --sweeps \d+ --seed \d+`", text)
