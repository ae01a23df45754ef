"""Architectures side by side: one command, one line per architecture at the same budgets, in one figure."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from analysis.cli import cli
from analysis.commands.groups import make_views
from analysis.dashboard.compare_tab import plot_comparison
from analysis.figures.theme import resolve, theme
from analysis.laws.theory_fit import FitSettings
from analysis.report.compare import comparison, comparison_rows
from analysis.rows.load import read_sweep
from analysis.rows.sweep import Selection
from sweeper.lane.record import Outcome, trial_record
from sweeper.plan.expand import expand
from sweeper.plan.grid import load_grid
from sweeper.queue.messages import Assignment
from sweeper.store.store import ResultsStore
from sweeper.training.progress import Evaluation, TrialProgress
from tasks.spec import task_spec
from tests.analysis.conftest import NOW

GRID = Path(__file__).resolve().parents[2] / "sweeper" / "grids" / "architectures.yaml"
LEVEL = {"elm": 2.4, "lstm": 2.2, "chrono_lstm": 2.25, "gru": 2.3, "snn": 2.8}


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The shipped grid with made-up metrics: a level for each architecture, falling with P, better at rate 0.02."""
    path, rng = tmp_path_factory.mktemp("ran") / "architectures", np.random.default_rng(0)
    store, records = ResultsStore.create(path), []
    for row in expand(load_grid(GRID)).trials.values():
        level = LEVEL[row.spec.architecture] + (0.3 if getattr(row.spec.model, "rho_rec", 1) == 0 else 0)
        level += 0.1 * (row.spec.training.learning_rate < 0.02) + 0.02 * abs(getattr(row.spec.model, "d_m", 4) - 4)
        metric = level - 0.1 * np.log10(row.counts.trainable_params / 1e4) + 0.002 * rng.standard_normal()
        progress = TrialProgress(steps_done=400, train_s=1.0, data_name="enwiki-mini/letters")
        progress.final = {
            split: Evaluation(step=400, split=split, loss=metric, metric=metric, learning_rate=None, wall_s=1.0)
            for split in ("train", "valid", "test")
        }
        progress.best = progress.final
        assignment = Assignment(
            trial_id=row.trial_id, spec=row.spec, sweep="a", budget=row.budget, attempt=1,
            configuration=row.spec.configuration, work=1.0, task=task_spec(row.spec.task, row.spec.task_options),
        )  # fmt: skip
        times = {"started_at": NOW, "ended_at": NOW}
        records.append(
            trial_record(assignment, Outcome(status="finished", lane="l", code_version="v", **times), progress)
        )
    store.write("trials", records)
    return path


@pytest.fixture(scope="module")
def lines(ran):
    views = make_views(read_sweep(ran), Selection(), FitSettings(starts=8))
    return comparison(views)


def test_every_architecture_is_one_line_over_the_same_budgets(lines):
    named = {line.name.split(", ", 2)[2]: line for line in lines}
    assert set(named) == {"elm, rho_rec 0", "elm, rho_rec 0.5", "lstm", "chrono_lstm", "gru", "snn"}
    for line in lines:
        assert line.budget.tolist() == [10_000, 20_000, 40_000]
        assert (np.diff(line.value) < 0).all()
        assert (line.params <= line.budget).all()
    assert named["lstm"].value[0] == pytest.approx(2.2, abs=0.01)  # at its better learning rate
    assert named["elm, rho_rec 0.5"].d_m.tolist() == [4, 4, 4]
    assert all(row[9] is None for row in comparison_rows([named["gru"]]))


def test_one_figure_with_a_legend_holds_all_of_them(lines):
    figure = plot_comparison(lines, "value")
    assert len(figure["data"]) == 6
    assert all(trace["showlegend"] for trace in figure["data"])
    assert len({trace["line"]["color"] for trace in figure["data"]}) == 6
    assert figure["layout"]["showlegend"]


def test_one_command_writes_it(ran, tmp_path):
    page = tmp_path / "architectures.html"
    found = CliRunner().invoke(cli, ["compare", str(ran), "-o", str(page)])
    assert found.exit_code == 0, found.output
    assert "chrono_lstm" in found.output
    assert "nan" not in found.output
    assert page.stat().st_size > 100_000


def test_no_two_groups_of_many_look_alike(lines):
    many = [lines[0]._replace(name=f"group {i}") for i in range(20)]
    traces = resolve(plot_comparison(many, "value"), theme("light", 1))["data"]
    assert len({(trace["line"]["color"], trace["marker"]["symbol"][0]) for trace in traces}) == 20
