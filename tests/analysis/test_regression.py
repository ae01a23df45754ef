"""A sweep of a regression is fitted and drawn like any other: in its own units, and never called nats."""

import shutil

import pyarrow as pa
import pytest

from analysis.commands.pages import dashboard
from analysis.laws.theory_fit import FitSettings, fit_dataset, scaled
from analysis.rows.load import datasets, read_sweep
from analysis.rows.sweep import Measure, Selection
from sweeper.store.store import ResultsStore

METRICS = ("final_train_metric", "final_valid_metric", "final_test_metric")


@pytest.fixture(scope="module")
def regression(sweep_dir, tmp_path_factory):
    """The made-up sweep with its metric, bits per character, divided by 20 and called a squared error."""
    path = tmp_path_factory.mktemp("regression") / "made-up"
    rows = ResultsStore.open(sweep_dir).read("trials")
    shutil.copytree(sweep_dir, path)
    shutil.rmtree(path / "trials")
    count = len(rows)
    changes = {"metric": pa.array(["mse"] * count), "chance": pa.nulls(count, pa.float64())}
    changes |= {name: pa.array([v and v / 20 for v in rows[name].to_pylist()], pa.float64()) for name in METRICS}
    for name, values in changes.items():
        rows = rows.set_column(rows.schema.get_field_index(name), rows.schema.field(name), values)
    ResultsStore.create(path).adopt("trials", rows)
    return path


def test_a_squared_error_is_fitted_in_its_own_units_with_lower_as_better(regression, data, law):
    (found,) = datasets(read_sweep(regression), Selection())
    assert (found.title, found.direction, found.chance) == ("test mse (at the end)", "min", None)
    scale, rows, left_out = scaled(found)
    assert (scale.name, len(rows), left_out) == ("metric", len(found.rows), ())
    fitted = fit_dataset(found, FitSettings(law="effective_information:floor=additive"))
    # Dividing a metric by 20 moves the affine map alone, never what the law says about sizes.
    assert fitted.fit.values["alpha"] == pytest.approx(law.fit.values["alpha"], rel=1e-4)
    assert fitted.fit.direction == "min"


def test_its_loss_is_not_called_nats(regression):
    (found,) = datasets(read_sweep(regression), Selection(measure=Measure(kind="final_loss")))
    assert found.title == "test squared error (at the end)"


def test_its_dashboard_names_the_metric(regression, tmp_path):
    settings = FitSettings(law="effective_information:floor=additive")
    page = dashboard(str(regression), Selection(), settings, str(tmp_path / "page.html")).read_text()
    assert "test mse (at the end)" in page
    assert "Mean squared error of the predicted values" in page
