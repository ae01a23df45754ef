"""Equal operations instead of equal P: the same answer where both grow together, another one where they do not."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.cli import main
from analysis.errors import AnalysisError
from analysis.report.equal_work import at_equal_operations, equal_work


def costing(data, per_parameter):
    """The made-up sweep with its optimum at d_m = 8, whose operations are a multiple of P that may depend on d_m."""
    d_m, size = (data.rows[name].to_numpy(float) for name in ("d_m", "trainable_params"))
    value = 3 - 0.2 * np.log(size) + 0.05 * np.log(d_m / 8) ** 2 + 1e-4 * data.rows["seed"].to_numpy(float)
    return replace(data, rows=data.rows.assign(value=value, flops_per_token=3 * size * per_parameter(d_m)))


def test_operations_in_proportion_to_p_change_nothing(data):
    lines = equal_work(costing(data, lambda d_m: np.full_like(d_m, 2.0)))
    assert {line.budget for line in lines} == set(data.rows["budget"])
    assert {line.at_budget for line in lines} == {line.at_operations for line in lines}
    middle = sorted(lines, key=lambda line: line.budget)[len(lines) // 2]
    assert middle.operations == pytest.approx(2 * middle.budget, rel=0.05)


def test_neurons_that_cost_more_than_they_count_are_to_be_simpler(data):
    # 0.2 ln(cost) is lost by cost d_m^0.5, whose optimum lies at ln(d_m / 8) = -0.1 / (2 x 0.05)
    lines = equal_work(costing(data, np.sqrt))
    middle = sorted(lines, key=lambda line: line.budget)[len(lines) // 2]
    levels = np.unique(data.rows["d_m"])
    expected = levels[np.argmin(np.abs(np.log(levels / 8) + 1))]
    assert middle.at_budget > middle.at_operations
    assert middle.at_operations == expected


def test_values_are_those_of_a_straight_line_between_two_budgets(data):
    given = costing(data, lambda d_m: d_m)
    moved = at_equal_operations(given).rows
    row = moved.iloc[len(moved) // 2]
    parts = given.rows[(given.rows["d_m"] == row["d_m"]) & (given.rows["seed"] == row["seed"])]
    parts = parts.assign(operations=parts["flops_per_token"] / 3).sort_values("operations")
    line = np.interp(np.log(row["budget"]), np.log(parts["operations"].to_numpy(float)), parts["value"].to_numpy(float))
    assert row["value"] == pytest.approx(line)


def test_one_budget_or_unknown_operations_cannot_be_compared(data):
    alone = replace(data, rows=data.rows[data.rows["budget"] == data.rows["budget"].min()].assign(flops_per_token=1e5))
    for lacking in (alone, replace(data, rows=data.rows.assign(flops_per_token=np.nan))):
        with pytest.raises(AnalysisError, match="no d_m was run at two budgets"):
            equal_work(lacking)


def test_the_command_prints_a_line_for_each_budget(monkeypatch, capsys):
    stored = str(Path(__file__).resolve().parents[3] / "studies" / "paper_in_miniature" / "results" / "text")
    monkeypatch.setattr(
        sys, "argv", ["analysis", "equal-work", stored, "--where", "sweep in ('study_text', 'study_text_holdout')"]
    )
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    assert "d_m at equal operations" in shown
    for budget in ("3,000", "10,000", "30,000", "100,000", "300,000"):
        assert budget in shown
