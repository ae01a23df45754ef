"""Refits: on the data of the fit they are the fit, whatever it chose from its data; what the bootstrap draws."""

import numpy as np
import pytest

from theory.data.design import Design
from theory.errors import TheoryError
from theory.fit.fit import fit_law, refit
from theory.fit.restore import restore
from theory.laws.parameters import Prior
from theory.laws.registry import get_law
from theory.uncertainty.intervals import delta
from theory.uncertainty.resample import refit_many, resample


def wavy(seeds=3):
    """A power law whose misfit is fifteen times its seed noise: 8 sizes, 24 runs."""
    n = np.repeat(2.0 ** np.arange(4, 12), seeds)
    noise = 0.01 * np.random.default_rng(0).standard_normal(n.size)
    return Design(n_rec=n, k_e=np.ones(n.size)), 1 + 8 * n**-0.5 + 0.15 * np.sin(1.7 * np.log(n)) + noise


@pytest.mark.parametrize("loss", ["huber", "tukey"])
def test_refit_of_a_robust_fit_keeps_its_threshold(loss):
    design, metric = wavy()
    fit = fit_law("power_law", design, metric, loss=loss)
    again = refit_many(fit, metric=metric[None], starts=2)
    assert again.draws.parameter("exponent")[0] == pytest.approx(fit.values["exponent"], rel=1e-4)
    assert again.variance[0] == pytest.approx(restore(fit).variance, rel=1e-3)


def small_sweep(link):
    """5 x 4 sizes x 2 seeds with two tasks, and two runs that went wrong."""
    n_rec, k_e, _ = (axis.ravel() for axis in np.meshgrid(2.0 ** np.arange(4, 9), 3.0 ** np.arange(4, 8), [0, 1]))
    design = Design(n_rec=n_rec, k_e=k_e, covariates={"task": np.where(np.arange(n_rec.size) // 2 % 2, "x", "y")})
    law = get_law("effective_information", floor="none", link=link)
    theta = {"u_ref": 1.0, "alpha": 0.9, "beta": 0.8}
    if link == "boxcox":
        theta["lam"] = 0.3
    exact = law.bind(design).predict(theta, [2.0, 0.001 if link == "affine" else 0.1], design)
    metric = exact + 0.02 * np.ptp(exact) * np.random.default_rng(3).standard_normal(n_rec.size)
    metric[[5, 22]] += 0.5 * np.ptp(exact)
    return law, design, metric


@pytest.mark.parametrize("loss", ["least_squares", "huber", "tukey"])
@pytest.mark.parametrize("link", ["affine", "log", "boxcox"])
@pytest.mark.parametrize("extra", ["plain", "groups", "vary", "weights", "prior", "fixed"])
def test_refit_on_the_same_data_is_the_fit(loss, link, extra):
    law, design, metric = small_sweep(link)
    settings = {
        "plain": {},
        "groups": {"groups": "task"},
        "vary": {"vary": {"alpha": "task"}, "groups": "task"},
        "weights": {"weights": np.where(design.n_rec > 50, 3.0, 1.0)},
        "prior": {"priors": {"alpha": Prior(mean=0.9, sd=0.2)}},
        "fixed": {"fixed": {"beta": 0.8}},
    }[extra]
    if extra == "prior" and loss != "least_squares":
        pytest.skip("priors need least squares")
    fit = fit_law(law, design, metric, loss=loss, starts=8, **settings)
    again = refit_many(fit, metric=metric[None])
    for interval in delta(fit):
        moved = again.draws.parameter(interval.quantity)[0] / fit.values[interval.quantity]
        width = 1.0 if interval.low is None else np.log(interval.high / interval.low)
        assert abs(np.log(moved)) < 1e-3 * width, interval.quantity
    assert again.variance[0] == pytest.approx(restore(fit).variance, rel=1e-3)
    np.testing.assert_allclose(again.draws.predict(design)[0], fit.predict(design), rtol=0, atol=1e-4 * np.ptp(metric))


@pytest.mark.parametrize("loss", ["least_squares", "huber", "tukey"])
def test_cluster_bootstrap_draws_configurations(loss):
    design, metric = wavy()
    fit = fit_law("power_law", design, metric, loss=loss)
    _, weights = resample(fit, 50, "cluster", rng=np.random.default_rng(0))
    assert weights.shape == (50, 8 if loss == "least_squares" else 24)
    if loss != "least_squares":
        seeds = weights.reshape(50, 8, 3)
        assert (seeds == seeds[:, :, :1]).all()
        assert (seeds[:, :, 0].sum(axis=1) == 8).all()


def test_row_drawn_twice_is_two_residuals():
    design, metric = wavy()
    fit = fit_law("power_law", design, metric, loss="tukey")
    counts = np.ones(24)
    counts[3:6], counts[9:12] = 2, 0
    drawn = refit_many(fit, weights=counts[None], starts=4).draws.parameter("exponent")[0]
    rows = np.repeat(np.arange(24), counts.astype(int))
    assert drawn == pytest.approx(
        fit_law("power_law", design.take(rows), metric[rows], loss="tukey").values["exponent"], rel=0.02
    )


def test_law_without_searched_parameters_is_refitted():
    sizes, metric = wavy()
    design = Design(n_rec=sizes.n_rec, k_e=sizes.k_e, budget=np.full(metric.size, 1e4))
    fit = fit_law("quadratic", design, metric)
    again = refit_many(fit, metric=np.stack([metric, metric + 1]), starts=3)
    np.testing.assert_allclose(again.draws.predict(design)[1], fit.predict(design) + 1)


def test_a_threshold_that_was_set_is_that_of_fit_and_refits():
    design, metric = wavy()
    fits = [fit_law("power_law", design, metric, loss="huber", huber_threshold=bend) for bend in (0.002, 0.2)]
    # far below the residuals the loss is nearly their absolute value, far above them it is least squares
    squares = fit_law("power_law", design, metric)
    assert fits[1].values["exponent"] == pytest.approx(squares.values["exponent"], rel=1e-6)
    assert fits[0].values["exponent"] != pytest.approx(squares.values["exponent"], rel=1e-2)
    assert np.isclose(fits[0].robust_weights, np.minimum(1, 0.002 / np.abs(fits[0].residuals)), rtol=1e-3).all()
    again = refit_many(fits[0], metric=metric[None], starts=2)
    assert again.draws.parameter("exponent")[0] == pytest.approx(fits[0].values["exponent"], rel=1e-4)
    assert refit(fits[0]).values["exponent"] == pytest.approx(fits[0].values["exponent"], rel=1e-5)
    assert refit(fits[0], loss="tukey").inputs.huber_threshold is None
    scaled = fit_law("power_law", design, 1e9 * metric, loss="huber", huber_threshold=0.002e9)
    assert scaled.values["exponent"] == pytest.approx(fits[0].values["exponent"], rel=1e-6)
    for settings in ({"huber_threshold": 0.1}, {"loss": "huber", "huber_threshold": 0.0}):
        with pytest.raises(TheoryError, match="huber_threshold: .* must be finite and above 0, with loss huber"):
            fit_law("power_law", design, metric, **settings)
