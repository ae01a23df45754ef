"""The JSON round trip and what a result refuses."""

import json

import numpy as np
import pytest

from tests.theory.truths import SIM_COST, grid_design, log_sizes
from theory.data.design import Design
from theory.data.published import load_published
from theory.errors import TheoryError
from theory.fit.fit import fit_law
from theory.fit.result import FitResult, to_plain
from theory.laws.parameters import Prior
from theory.laws.registry import get_law
from theory.optimum.allocation import optimum

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
    law = get_law("effective_information", link="boxcox", method="sum")
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


def test_round_trip_is_exact_and_repeats_predictions(rich):
    text = rich.to_json()
    again = FitResult.from_json(text)
    assert again.to_json() == text
    assert again.values == rich.values
    np.testing.assert_array_equal(again.predict(again.given.design), rich.predict(rich.given.design))
    np.testing.assert_array_equal(again.given.metric, rich.given.metric)


def test_every_result_becomes_json(rich):
    from theory.uncertainty.intervals import delta
    from theory.uncertainty.profile import profile

    simple = fit_law("separable_power_law", DESIGN, rich.given.metric)
    found = to_plain(
        {"profile": profile(simple, "a"), "intervals": delta(simple), "best": optimum(simple, 3e6, SIM_COST)}
    )
    again = json.loads(json.dumps(found, allow_nan=False))
    assert again["best"]["d_m"] == optimum(simple, 3e6, SIM_COST).d_m
    assert again["profile"]["grid"] == profile(simple, "a").grid.tolist()
    assert again["intervals"][0]["low"] == delta(simple)[0].low


def test_numbers_are_unrounded(rich):
    stored = json.loads(rich.to_json())
    assert stored["values"]["beta"] == rich.values["beta"]
    assert stored["given"]["metric"][3] == rich.given.metric[3]


@pytest.mark.parametrize(
    "name", ["constant", "quadratic", "cubic", "separable_power_law", "power_law", "broken_power_law"]
)
def test_every_rival_round_trips(name, t2):
    fit = fit_law(name, DESIGN, t2.simulate(DESIGN, 0))
    again = FitResult.from_json(fit.to_json())
    np.testing.assert_array_equal(again.predict(DESIGN), fit.predict(DESIGN))
    assert again.law == fit.law


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
    np.testing.assert_allclose(rich.given.metric - rich.residuals, rich.predict(rich.given.design))
    assert rich.usable
