"""What a result tells of itself, and what it refuses."""

import json

import numpy as np
import pytest

from tests.theory.truths import grid_design, log_sizes
from theory.data.design import Design
from theory.data.published import load_published
from theory.errors import TheoryError
from theory.fit.fit import fit_law
from theory.fit.restore import restore
from theory.laws.parameters import Prior
from theory.laws.registry import get_law
from theory.uncertainty.restore import as_draws

DESIGN = grid_design(np.geomspace(1e6, 1e7, 3), log_sizes(9), seeds=2)


@pytest.fixture(scope="module")
def rich(t1):
    n = len(DESIGN)
    design = Design(
        n_rec=DESIGN.n_rec,
        k_e=DESIGN.k_e,
        k_c=DESIGN.k_c,
        budget=DESIGN.budget,
        covariates={"tau": np.arange(n) % 2, "task": np.where(np.arange(n) % 3, "x", "y")},
    )
    law = get_law("effective_information", link="boxcox")
    return fit_law(
        law,
        design,
        t1.simulate(DESIGN, 0),
        weights=np.linspace(1, 2, n),
        groups="task",
        vary={"alpha": "tau"},
        priors={"beta": Prior(mean=1.0, sd=0.5)},
        bounds={"lam": (-1.0, 2.0)},
        fixed={"k_floor": 2e4},
    )


def test_numbers_of_the_stored_form_are_unrounded(rich):
    stored = json.loads(json.dumps(rich.to_dict(), allow_nan=False))
    assert stored["values"] == rich.values
    assert stored["settings"]["priors"] == {"beta": {"mean": 1.0, "sd": 0.5}}


def test_searched_numbers_know_their_level(rich):
    varying = {label: number for label, number in rich.searched.items() if number.column is not None}
    assert [(label, number.parameter.name, number.level) for label, number in varying.items()] == [
        ("alpha[tau=0]", "alpha", 0),
        ("alpha[tau=1]", "alpha", 1),
    ]
    assert tuple(rich.searched) == rich.free
    assert "k_floor" not in rich.searched


def test_rows_take_the_number_of_their_level(rich):
    place = {"n_rec": [100.0, 100.0], "k_e": [500.0, 500.0], "k_c": [750.0, 750.0]}
    both = rich.predict(Design(**place, covariates={"tau": np.array([0, 1])}), group="x")
    alone = [float(rich.curve(group="x", levels={"tau": tau}).on_grid(Design(**place))[0, 0]) for tau in (0, 1)]
    assert both.tolist() == pytest.approx(alone, rel=1e-12)
    assert both[0] != both[1]
    draws = as_draws(rich, restore(rich))
    assert draws.predict(Design(**place, covariates={"tau": np.array([0, 1])}), group="x")[0] == pytest.approx(both)
    # without the covariate rows take the reference level: the most frequent, ties to the smallest
    assert rich.predict(Design(**place), group="x") == pytest.approx([alone[0], alone[0]])


def test_groups_must_be_named(rich):
    with pytest.raises(TheoryError, match="group: needed, the fit has one set of coefficients for each task"):
        rich.predict(Design(n_rec=[10.0], k_e=[500.0]))
    with pytest.raises(TheoryError, match="task=z"):
        rich.predict(Design(n_rec=[10.0], k_e=[500.0]), group="z")
    assert rich.predict(Design(n_rec=[10.0], k_e=[500.0]), group="x").shape == (1,)


def test_per_budget_law_does_not_extrapolate():
    table = load_published("enwik8")
    fit = fit_law("quadratic", table.design, table.columns["test_bpc"])
    with pytest.raises(TheoryError, match=r"cannot extrapolate; fitted: \[3516748.0\]"):
        fit.predict(Design(n_rec=[100.0], k_e=[500.0], budget=[1e7]))


def test_residuals_are_metric_minus_prediction(rich):
    np.testing.assert_allclose(rich.inputs.metric - rich.residuals, rich.predict(rich.inputs.design))
    assert rich.usable
