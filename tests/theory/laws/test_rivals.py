"""Laws of powers: what they find, and their constants in the units of the written formula."""

import numpy as np
import pytest

from theory.data.design import Design
from theory.errors import TheoryError
from theory.fit.fit import fit_law
from theory.laws.registry import get_law
from theory.optimum.locate import budget_line, locate
from theory.simulations.worlds import ADDITIVE_FLOOR, COST, K_REF, N_REF, grid
from theory.uncertainty.intervals import delta
from theory.uncertainty.quantities import all_constants, parameter

N, D = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e11, 5)))
DESIGN = Design(n_rec=N, k_e=np.ones(N.size), tokens=D)
LOSS = 1.8 + 480 * N**-0.35 + 2100 * D**-0.37


def test_parameters_and_tokens_are_fitted_in_the_units_of_the_formula():
    noise = 1e-4 * np.random.default_rng(0).standard_normal(N.size)
    fit = fit_law("parameters_and_tokens", DESIGN, LOSS + noise)
    assert fit.constants["all"] == pytest.approx({"E": 1.8, "A": 480, "B": 2100}, rel=0.02)
    assert fit.to_dict()["constants"] == fit.constants
    rows = {row.quantity: row for row in delta(fit, [parameter("a"), parameter("b"), *all_constants(fit)])}
    for name, truth in {"a": 0.35, "b": 0.37, "E": 1.8, "A": 480.0, "B": 2100.0}.items():
        assert rows[name].low < truth < rows[name].high
        assert rows[name].high - rows[name].low < 0.1 * truth
    written = fit.constants["all"]
    by_hand = written["E"] + written["A"] * N ** -fit.values["a"] + written["B"] * D ** -fit.values["b"]
    np.testing.assert_allclose(fit.predict(DESIGN), by_hand, rtol=1e-12)


def test_constants_do_not_depend_on_the_reference():
    constants = [
        fit_law(
            get_law("separable_power_law", n_ref=ref, k_ref=3.0, tokens=True, tokens_ref=1e9), DESIGN_K, LOSS_K
        ).constants["all"]
        for ref in (1.0, 1e7)
    ]
    assert constants[0] == pytest.approx({"E": 1.8, "A": 480, "B": 2, "D": 2100}, rel=1e-3)
    assert constants[1] == pytest.approx(constants[0], rel=1e-5)


K = np.tile([3.0, 30.0, 300.0], 10)
DESIGN_K = Design(n_rec=N, k_e=K, tokens=D)
LOSS_K = LOSS + 2 * K**-0.5


def test_no_constants_where_a_parameter_varies():
    half = np.where(np.arange(N.size) % 2, "x", "y")
    assert fit_law("parameters_and_tokens", DESIGN, LOSS, vary={"a": half}).constants == {}


def test_tokens_that_are_missing_are_asked_for():
    with pytest.raises(TheoryError, match="tokens: missing; a law with tokens needs"):
        fit_law("parameters_and_tokens", Design(n_rec=N, k_e=np.ones(N.size)), LOSS)


def test_alpha_that_rises_with_neurons_is_recovered_and_locates_the_optimum():
    design = grid()
    truth = {**ADDITIVE_FLOOR, "delta": 0.05}
    law = get_law("effective_information", floor="additive", alpha_of_n=True, k_ref=K_REF, n_ref=N_REF)
    metric = law.bind(design).predict(truth, (2.0816, 6.3556e-3), design)
    fit = fit_law(law, design, metric + 1e-5 * np.random.default_rng(0).standard_normal(len(design)))
    assert fit.values["delta"] == pytest.approx(0.05, abs=0.005)
    # by its stationarity, and by its values
    located = locate(fit.curve(), 3e6, COST, (2.0, 300.0)).d_m[0]
    d_m = np.geomspace(2, 300, 20_001)
    assert located == pytest.approx(d_m[np.argmin(fit.predict(budget_line(3e6, COST, d_m)))], rel=1e-3)


def test_alpha_of_n_needs_the_power_decay():
    with pytest.raises(TheoryError, match="alpha_of_n: needs decay power, got 'exponential'"):
        get_law("effective_information", decay="exponential", alpha_of_n=True)
