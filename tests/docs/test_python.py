"""The page about Python and the notebook run as they are written, with lanes in this process."""

import json
import re
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest

import analysis
import sweeper
from analysis.errors import AnalysisError
from sweeper import python as sweeper_python
from tests.sweeper.inline import LanesHere

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
NOTEBOOK = json.loads((ROOT / "examples" / "scaling_in_a_notebook.ipynb").read_text(encoding="utf-8"))
CELLS = {
    "page": re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S),
    "notebook": ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"],
}


@pytest.fixture(scope="module")
def rows():
    return analysis.read("published:enwik8", where="d_m > 2")


@pytest.mark.parametrize("name", CELLS)
def test_every_example_runs_from_top_to_bottom(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    launch = sweeper_python.launch_grid
    monkeypatch.setattr(
        sweeper_python, "launch_grid", lambda grid, results: launch(grid, results, executor=LanesHere())
    )
    names: dict = {}
    assert len(CELLS[name]) >= 4
    for cell in CELLS[name]:
        exec(cell, names)
    assert names["fitted"].values
    assert names["best"].budget == 3_500_000
    assert set(analysis.read("results/mine").frame["budget"]) == {5000, 10000}
    if name == "page":
        mine = analysis.read("results/mine")
        curves, predictions = mine.curves(), mine.predictions()
        assert set(curves["trial_id"]) == set(predictions["trial_id"]) == set(mine.frame["trial_id"])
        assert curves["gradient_norm"].count() == 2 * len(mine.frame)
        weighted = (predictions["bpc"] * predictions["targets"]).groupby(predictions["trial_id"]).sum()
        means = weighted / predictions.groupby("trial_id")["targets"].sum()
        assert means.to_dict() == pytest.approx(mine.frame.set_index("trial_id")["value"].to_dict())
    assert "<title>Report: " in Path("report.html").read_text(encoding="utf-8")


def test_what_is_read_and_fitted_prints_as_html(rows):
    assert "<h4>enwik8" in rows._repr_html_()
    fitted = rows.fit("quadratic", starts=8)
    assert "Law: quadratic" in fitted._repr_html_()
    figure = fitted.figure("isobudget")
    assert isinstance(figure, go.Figure)
    assert figure.layout.title.text.startswith("Metric against")
    with pytest.raises(AnalysisError, match="figure: 'isobugdet' is not known"):
        fitted.figure("isobugdet")


def test_a_planned_grid_prints_as_html():
    model = {"d_m": [1, 2], "d_tree": 4, "d_branch": 4}
    grid = {"task": {"name": "text", "alphabet": "letters"}, "budgets": [5000], "model": model}
    planned = sweeper.plan_grid(grid)
    assert str(planned) == "sweep: 2 trials of 2 points"
    assert "trainable_params" in planned._repr_html_()


def test_a_frame_that_does_not_say_what_it_holds_is_refused():
    with pytest.raises(AnalysisError, match="frame: no metric"):
        analysis.read(pd.DataFrame({"n_rec": [1, 2]}), task="mine", direction="min")
    with pytest.raises(AnalysisError, match="of a frame only"):
        analysis.read("published:enwik8", task="mine")


def test_rows_without_curves_or_predictions_say_so(rows, tmp_path):
    with pytest.raises(AnalysisError, match="published:enwik8: no results directory, so there are no curves"):
        rows.curves()
    with pytest.raises(AnalysisError, match="so there are no predictions"):
        rows.predictions()


def test_names_that_are_not_there_are_told_with_those_that_are():
    with pytest.raises(AttributeError, match="it offers read"):
        _ = analysis.raed
    with pytest.raises(AttributeError, match="it offers launch_grid, plan_grid"):
        _ = sweeper.plangrid
