"""Every law gives the same fit and the same intervals in whatever units its data come, from 1e-9 to 1e9."""

import numpy as np
import pytest
from scipy import stats

from tests.theory.truths import grid_design, log_sizes
from theory.data.design import Design
from theory.fit.fit import fit_law
from theory.laws.parameters import Parameter
from theory.laws.registry import FACTORIES, get_law
from theory.laws.user_law import user_law
from theory.uncertainty.intervals import delta, prediction
from theory.uncertainty.resample import refit_many

UNITS = (1e-9, 1e9)
GRID = grid_design(np.geomspace(1e6, 1e7, 3), log_sizes(6), seeds=2)

SCALED = {
    "effective_information": ("metric", "k_e"),
    "separable_power_law": ("metric", "k_e", "n_rec"),
    "parameters_and_tokens": ("metric", "k_e", "n_rec", "tokens"),
    "power_law": ("metric", "k_e", "n_rec"),
    "broken_power_law": ("metric", "k_e", "n_rec"),
    "quadratic": ("metric", "k_e", "n_rec"),
    "cubic": ("metric", "k_e", "n_rec"),
    "constant": ("metric", "k_e", "n_rec"),
    # it is a law of the logarithm of an error, whose unit is fixed, and of one neuron
    "neuron_noise": ("k_e",),
}
"""What may be measured in other units; neurons are counted, so that of n_rec is free for laws of its powers only."""


LINE = np.repeat(2.0 ** np.arange(4, 15), 2)
SEEN = np.resize([1e5, 1e6, 1e7, 1e8], LINE.size)


def scaled_design(name, k_e=1.0, n_rec=1.0, tokens=1.0):
    if name == "parameters_and_tokens":  # every size with several lengths of training
        return Design(n_rec=LINE * n_rec, k_e=np.full(LINE.size, 50.0 * k_e), tokens=SEEN * tokens)
    if name.endswith("power_law") and name != "separable_power_law":  # laws of the parameter count alone
        return Design(n_rec=LINE * n_rec, k_e=np.full(LINE.size, 50.0 * k_e))
    return Design(
        n_rec=GRID.n_rec * n_rec,
        k_e=GRID.k_e * k_e,
        k_c=GRID.k_c * k_e,
        budget=GRID.budgets * k_e * n_rec,
    )


def metric_of(name):
    rng, size = np.random.default_rng(1), LINE / 500
    if name == "neuron_noise":
        mean = -0.6 * np.log(GRID.k_e)
    elif name == "broken_power_law":
        mean = 1 + np.where(size < 1, size**-0.2, size**-0.9)
    elif name == "power_law":
        mean = 1 + size**-0.4
    elif name == "parameters_and_tokens":
        mean = 1 + size**-0.4 + SEEN**-0.15
    else:
        mean = 1.5 + 2 * GRID.n_rec**-0.4 + 30 * GRID.k_e**-0.7
    return mean + 0.003 * rng.standard_normal(mean.size)


def same(one, other, metric_unit):
    """Compare what has no unit: predictions in units of the metric, exponents, relative widths of intervals."""
    for label in one.free:
        ratio = other.values[label] / one.values[label]
        moved = other.bounds[label][0] / one.bounds[label][0]
        # a size carries its unit with its bounds
        assert ratio == pytest.approx(moved, rel=1e-4), label
    for a, b in zip(*([delta(fit) for fit in (one, other)] if one.free else ([], [])), strict=True):
        assert (a.low is None) == (b.low is None), a.quantity
        if a.low is not None:
            assert np.log(b.high / b.low) == pytest.approx(np.log(a.high / a.low), rel=1e-3), a.quantity
    here, there = prediction(one, one.inputs.design), prediction(other, other.inputs.design)
    for a, b in zip((here.mean, here.low, here.high), (there.mean, there.low, there.high), strict=True):
        np.testing.assert_allclose(b / metric_unit, a, rtol=0, atol=1e-5)
    assert {s.code for s in one.statuses} == {s.code for s in other.statuses}


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(("name", "what"), [(name, what) for name in FACTORIES for what in SCALED[name]])
def test_fit_and_intervals_do_not_depend_on_units(name, what, unit):
    law, metric = get_law(name), metric_of(name)
    one = fit_law(law, scaled_design(name), metric, starts=16)
    if what == "metric":
        other = fit_law(law, scaled_design(name), unit * metric, starts=16)
    else:
        other = fit_law(law, scaled_design(name, **{what: unit}), metric, starts=16)
    same(one, other, unit if what == "metric" else 1.0)


@pytest.mark.parametrize("unit", UNITS)
def test_linear_parameter_of_a_users_law_may_have_any_unit(unit):
    """A shift of n_rec is searched linearly between bounds that carry its unit, and lies near 0 within them."""

    def law_in(size):
        @user_law(parameters={"shift": (-40.0 * size, 400.0 * size)}, coefficients=("E", "A"))
        def shifted(design, shift):
            return 1, (design.n_rec / size + 50.0 + shift / size) ** -0.5

        return shifted

    n_rec = np.repeat(np.geomspace(20, 5e3, 9), 2)
    metric = 1 + 3 * (n_rec + 50.02) ** -0.5 + 1e-3 * np.random.default_rng(2).standard_normal(n_rec.size)
    fits = [fit_law(law_in(size), Design(n_rec=n_rec * size, k_e=np.ones(n_rec.size)), metric) for size in (1.0, unit)]
    assert fits[1].values["shift"] == pytest.approx(fits[0].values["shift"] * unit, rel=1e-3, abs=1e-3 * unit)
    one, other = (delta(fit)[0] for fit in fits)
    assert (other.high - other.low) / unit == pytest.approx(one.high - one.low, rel=1e-3)
    assert [fit.at_bound("shift") for fit in fits] == [None, None]
    draws = [refit_many(fit, metric=metric[None], starts=4).draws.parameter("shift")[0] for fit in fits]
    assert draws[1] == pytest.approx(draws[0] * unit, rel=1e-3, abs=1e-3 * unit)


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_prediction_with_a_coefficient_of_zero_has_its_error(unit):
    """E is 0: a step relative to its own size would be lost in rounding."""
    sizes = np.repeat(2.0 ** np.arange(4, 12), 3)
    design = Design(n_rec=sizes, k_e=np.ones(sizes.size))
    noise = 0.01 * np.random.default_rng(0).standard_normal(sizes.size)
    metric = 8 * sizes**-0.5 + noise
    fit = fit_law("power_law", design, unit * metric, fixed={"exponent": 0.5})
    metric = unit * (metric - fit.coefficients["all"]["E"] / unit)  # now E is 0 to rounding
    fit = fit_law("power_law", design, metric, fixed={"exponent": 0.5})
    assert abs(fit.coefficients["all"]["E"]) < 1e-12 * unit
    rows = prediction(fit, design)
    column = np.stack([np.ones(sizes.size), (sizes / np.median(sizes)) ** -0.5])
    leverage = np.einsum("ir,ij,jr->r", column, np.linalg.inv(column @ column.T), column)
    half = fit.noise_sd * np.sqrt(leverage) * stats.t.ppf(0.975, sizes.size - 2)
    np.testing.assert_allclose(rows.high - rows.mean, half, rtol=1e-6)


@pytest.mark.parametrize("loss", ["least_squares", "huber"])
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(("metric_unit", "size_unit"), [(1e-9, 1e9), (1e9, 1e-9), (1e12, 1e12), (1e-12, 1e-12)])
def test_a_users_law_and_its_parameters_may_have_any_units(metric_unit, size_unit, log, loss):
    """Every parameter is searched, each with bounds in its own unit, which differ by up to 24 decades."""

    def fitted(m, s):
        low = {"shift": 0.5 * s, "E": 0.01 * m, "A": 0.01 * m} if log else {"shift": -10.0 * s, "E": -2.0 * m, "A": -m}
        high = {"shift": 400.0 * s, "E": 5.0 * m, "A": 30.0 * m}
        described = [Parameter(name=name, lower=low[name], upper=high[name], log=log) for name in low]

        @user_law(parameters=described)
        def shifted(design, shift, E, A):
            return E + A * ((design.n_rec + shift) / s) ** -0.5

        fit = fit_law(shifted, Design(n_rec=n_rec * s, k_e=np.ones(n_rec.size)), metric * m, loss=loss)
        units = {"shift": s, "E": m, "A": m}
        widths = [(row.high - row.low) / units[row.quantity] for row in delta(fit)]
        return [fit.values[name] / units[name] for name in fit.free], widths, {s.code for s in fit.statuses}

    n_rec = np.repeat(np.geomspace(20, 5e3, 9), 2)
    metric = 1 + 3 * (n_rec + 50) ** -0.5 + 1e-3 * np.random.default_rng(2).standard_normal(n_rec.size)
    values, widths, codes = fitted(1.0, 1.0)
    other_values, other_widths, other_codes = fitted(metric_unit, size_unit)
    np.testing.assert_allclose(other_values, values, rtol=1e-4)
    np.testing.assert_allclose(other_widths, widths, rtol=1e-3)
    assert other_codes == codes >= {"converged", "starts_agree"}
