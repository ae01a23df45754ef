"""The networks behind the page "figure by figure": its numbers are those of the stored rows and measures."""

import json
from pathlib import Path

import pytest

from analysis.rows.load import read_sweep
from sweeper.plan.expand import expand
from sweeper.plan.grid import load_grid

ROOT = Path(__file__).resolve().parents[2]
STUDY = ROOT / "studies" / "figures"
PAGES = [(ROOT / "docs" / "figure_by_figure.md").read_text(), (STUDY / "README.md").read_text()]


def stored(name: str, file: str) -> list[dict]:
    return json.loads((STUDY / "results" / name / file).read_text())["networks"]


@pytest.mark.parametrize("name", ["text", "gradients", "neuron"])
def test_the_rows_are_those_of_the_grid(name):
    plan = expand(load_grid(STUDY / "grids" / f"figures_{name}.yaml"))
    assert set(read_sweep(STUDY / "results" / name).trials["trial_id"]) == set(plan.trials)


def test_the_page_tells_the_errors_of_the_neurons():
    trials = read_sweep(STUDY / "results" / "neuron").trials.sort_values("d_m")
    areas = [
        f"{area:.3f} ({'d_m = ' if d_m == 2 else ''}{d_m}" for d_m, area in trials[["d_m", "final_test_metric"]].values
    ]
    assert all(area.replace(".0", "") in PAGES[0].replace(".0", "") for area in areas)
    errors = [json.loads(others)["rmse_mv"] for others in trials["final_test_others"]]
    assert f"RMSE {', '.join(f'{error:.2f}' for error in errors)} mV" in PAGES[0]


def test_the_pages_tell_the_measures_of_residuals_and_activity():
    spread = ", ".join(f"{network['sd']:.2f}" for network in stored("neuron", "residuals.json"))
    activity = stored("text", "activity.json")
    betas = [f"{network['spectrum']['exponent']:.2f}" for network in activity]
    for page in PAGES:
        assert f"{spread} mV" in page
        assert all(beta in page for beta in betas)


def test_the_page_tells_the_norms_of_the_gradients():
    curves = read_sweep(STUDY / "results" / "gradients").store.read("curves").to_pandas()
    norms = curves[curves["split"] == "train"].groupby("trial_id")["gradient_norm"]
    for low, high in zip(norms.min(), norms.max(), strict=True):
        assert f"{low:.2f} to {high:.2f}" in PAGES[0]
    assert curves["gradient_norm_max"].max() < 1  # never clipped
