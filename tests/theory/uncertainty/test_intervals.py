"""Intervals: agreement of methods, coverage, honesty where nothing is known."""

import numpy as np
import pytest

from tests.theory.truths import SIGMA, SIM_COST, grid_design, log_sizes
from theory.data.design import Design
from theory.data.published import load_published
from theory.errors import TheoryError
from theory.fit.fit import fit_law
from theory.laws.registry import get_law
from theory.uncertainty.calibration import calibrate
from theory.uncertainty.intervals import bootstrap, cluster_draws, delta, envelope, percentile, prediction
from theory.uncertainty.profile import profile
from theory.uncertainty.quantities import (
    Quantity,
    all_parameters,
    best_d_m,
    optimum_quantities,
)

DESIGN = grid_design(np.geomspace(1e6, 1e7, 3), log_sizes(9), seeds=3)


@pytest.fixture(scope="module")
def fit(t2):
    return fit_law(get_law("effective_information", floor="additive"), DESIGN, t2.simulate(DESIGN, 0))


def test_delta_agrees_with_numerical_covariance(fit):
    """Standard errors from a brute-force Jacobian of the prediction in natural parameters."""
    names, step = ["u_ref", "alpha", "beta", "k_floor"], 1e-6
    coefficients = [fit.coefficients["all"][name] for name in ("a", "b")]
    columns = []
    for name in names:
        up, down = ({**fit.values, name: fit.values[name] * np.exp(s)} for s in (step, -step))
        columns.append(
            (fit.law.predict(up, coefficients, DESIGN) - fit.law.predict(down, coefficients, DESIGN)) / (2 * step)
        )
    bits = fit.law.bits({k: np.asarray(v) for k, v in fit.values.items()}, DESIGN).ravel()
    jacobian = np.stack([*columns, np.ones_like(bits), -bits], axis=1)
    error = np.sqrt(np.diag(np.linalg.inv(jacobian.T @ jacobian)) * fit.noise_sd**2)
    from scipy.stats import t

    for j, interval in enumerate(delta(fit)):
        half = np.log(interval.high / interval.low) / 2
        assert half == pytest.approx(t.ppf(0.975, fit.n - fit.p) * error[j], rel=1e-3)
    slope = Quantity(name="b", evaluate=lambda draws: draws.coefficients[:, 0, 1], log=False)
    b = delta(fit, [slope])[0]
    assert (b.high - b.low) / 2 == pytest.approx(t.ppf(0.975, fit.n - fit.p) * error[5], rel=1e-3)


@pytest.mark.parametrize(("kind", "apart"), [("residual", 0.3), ("cluster", 0.7), ("wild", 0.5), ("parametric", 0.3)])
def test_bootstraps_agree_with_delta(fit, kind, apart):
    wanted = [*all_parameters(fit), best_d_m(3.5e6, SIM_COST), optimum_quantities(1e7, SIM_COST)["n_rec"]]
    draws = bootstrap(fit, 300, kind=kind, starts=1)
    for one, two in zip(delta(fit, wanted), percentile(draws, wanted), strict=True):
        assert np.log(two.high / two.low) == pytest.approx(np.log(one.high / one.low), rel=apart), one.quantity
        assert two.low < one.estimate < two.high


def test_profile_agrees_with_delta(fit):
    for label in ("alpha", "beta"):
        one, two = delta(fit, [q for q in all_parameters(fit) if q.name == label])[0], profile(fit, label)
        assert np.log(two.high / two.low) == pytest.approx(np.log(one.high / one.low), rel=0.15)
    one, two = delta(fit, [best_d_m(3.5e6, SIM_COST)])[0], profile(fit, best_d_m(3.5e6, SIM_COST))
    assert np.log(two.high / two.low) == pytest.approx(np.log(one.high / one.low), rel=0.15)


def test_draws_are_seeded_and_joint(fit):
    one, two, other = (bootstrap(fit, 60, kind="residual", starts=1, seed=s) for s in (1, 1, 2))
    np.testing.assert_array_equal(one.x, two.x)
    assert not np.array_equal(one.x, other.x)
    assert abs(np.corrcoef(one.parameter("alpha"), one.parameter("k_floor"))[0, 1]) > 0.3


def test_envelope_contains_both(fit):
    optimum = optimum_quantities(3.5e6, SIM_COST, slopes=True)
    wanted = [best_d_m(1e7, SIM_COST), optimum["slope n_rec"], optimum["metric"]]
    draws = bootstrap(fit, 200, kind="residual", starts=1)
    for one, two, both in zip(
        delta(fit, wanted), percentile(draws, wanted), envelope(fit, wanted, draws=draws), strict=True
    ):
        assert both.low == min(one.low, two.low)
        assert both.high == max(one.high, two.high)


def test_two_kinds_of_prediction_are_labelled(fit, t2):
    rows = DESIGN.take(np.arange(9))
    mean, run = prediction(fit, rows), prediction(fit, rows, kind="new_run")
    assert (mean.kind, run.kind) == ("mean", "new_run")
    assert ((run.high - run.low) > 2 * 1.9 * SIGMA * 0.8).all()
    assert ((mean.high - mean.low) < (run.high - run.low) / 2).all()
    assert ((mean.low < t2.metric(rows)) & (t2.metric(rows) < mean.high)).mean() > 0.7
    with pytest.raises(TheoryError, match="mean, new_run"):
        prediction(fit, rows, kind="both")


def test_bound_parameter_has_a_reason_and_no_number():
    table = load_published("enwik8")
    fit = fit_law(get_law("effective_information", floor="none"), table.design, table.columns["test_bpc"])
    interval = next(item for item in delta(fit) if item.quantity == "alpha")
    assert interval.low is None
    assert "at its bound" in interval.reason
    other = next(item for item in delta(fit) if item.quantity == "beta")
    assert other.low is not None
    assert "holds alpha at the bound" in other.reason


def test_undetermined_parameter_has_a_reason_and_no_number(t2):
    """One n_rec only: its exponent is open, that of k_e is not."""
    k_e = np.repeat(np.geomspace(200, 5e4, 8), 2)
    design = Design(n_rec=np.full(16, 300.0), k_e=k_e, k_c=750.0)
    fit = fit_law("separable_power_law", design, t2.simulate(design, 0))
    a, b = delta(fit)
    assert a.low is None
    assert "not identified" in a.reason
    assert b.low < fit.values["b"] < b.high


def test_profile_refuses_what_depends_on_coefficients():
    table = load_published("enwik8")
    fit = fit_law("separable_power_law", table.design, table.columns["train_bpc"])
    with pytest.raises(TheoryError, match="depends on the coefficients"):
        profile(fit, best_d_m(3_516_748, table.cost))


def test_robust_fit_has_intervals_of_the_right_width(t2):
    metric = t2.simulate(DESIGN, 7)
    plain = fit_law(get_law("effective_information", floor="additive"), DESIGN, metric)
    metric[[4, 30, 61]] += 0.2
    robust = fit_law(get_law("effective_information", floor="additive"), DESIGN, metric, loss="tukey")
    for one, two in zip(delta(plain), delta(robust), strict=True):
        assert np.log(two.high / two.low) == pytest.approx(np.log(one.high / one.low), rel=0.4)
    draws = bootstrap(robust, 40, kind="residual", starts=1)
    assert abs(np.log(np.median(draws.parameter("beta")) / robust.values["beta"])) < 0.02
    with pytest.raises(TheoryError, match="no likelihood"):
        profile(robust, "beta")


def test_bad_arguments_are_named(fit):
    with pytest.raises(TheoryError, match="kind: 'block' is not known.*Valid: cluster"):
        bootstrap(fit, 10, kind="block")
    with pytest.raises(TheoryError, match="n: 1 draws"):
        bootstrap(fit, 1)
    with pytest.raises(TheoryError, match="parameter: 'S' is not known"):
        profile(fit, "S")
    with pytest.raises(TheoryError, match="method: 'wald' is not known"):
        calibrate(fit, method="wald")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["t1", "t2"])
def test_intervals_cover_over_three_decades(name, request):
    """400 simulated sweeps: 3 decades of P, 7 d_m, 3 seeds, noise 0.003; the estimates are within 10 % as well."""
    truth = request.getfixturevalue(name)
    design = grid_design(np.geomspace(1e5, 1e8, 7), log_sizes(7), seeds=3)
    fit = fit_law(get_law("effective_information", floor=truth.floor), design, truth.simulate(design, 0))
    optimum = optimum_quantities(3.5e6, SIM_COST, slopes=True)
    wanted = [*all_parameters(fit), optimum["d_m"], optimum["slope n_rec"]]
    found = calibrate(fit, wanted, n=400)
    assert found.failed == 0
    for row in found.rows:
        assert 0.92 <= row.coverage <= 0.97, row
        assert abs(row.bias) < 0.02
    assert all(row.rmse < 0.05 for row in found.rows if row.quantity in ("alpha", "beta", "d_m at 3.5e+06"))


@pytest.mark.slow
def test_envelope_covers_on_the_default_grid(t2):
    fit = fit_law(get_law("effective_information", floor="additive"), DESIGN, t2.simulate(DESIGN, 0))
    found = calibrate(fit, [*all_parameters(fit), best_d_m(1e7, SIM_COST)], n=150, method="envelope", draws=80)
    assert all(row.coverage >= 0.89 for row in found.rows)
    alone = calibrate(fit, n=150, method="percentile", draws=80)
    for one, both in zip(alone.rows, found.rows, strict=False):
        assert one.width <= both.width


def lines(outliers):
    """60 sizes with one run each; the noise of the smallest 6 is 8 times that of the others, or like theirs."""
    rng = np.random.default_rng(4)
    n = np.geomspace(10, 1e5, 60)
    noise = 0.01 * rng.standard_normal(60) * np.where((np.arange(60) < 6) & outliers, 8.0, 1.0)
    return fit_law("power_law", Design(n_rec=n, k_e=np.ones(60)), 1 + 3 * n**-0.5 + noise)


def test_wider_of_two_bootstraps_that_disagree_is_given():
    """Large noise where it decides the exponent: exchanging residuals between all rows dilutes it."""
    fit = lines(outliers=True)
    draws, clusters = bootstrap(fit, 300, kind="residual"), cluster_draws(fit, 300)
    residual, cluster = percentile(draws)[0], percentile(clusters)[0]
    assert np.log(cluster.high / cluster.low) > 4 / 3 * np.log(residual.high / residual.low)
    both = envelope(fit, draws=draws, clusters=clusters)[0]
    assert both.low == min(delta(fit)[0].low, cluster.low)
    assert both.high == max(delta(fit)[0].high, cluster.high)
    assert "the cluster bootstrap's interval is" in both.reason
    assert envelope(fit, n=300)[0] == both


def test_two_bootstraps_that_agree_are_not_mentioned():
    assert envelope(lines(outliers=False), n=300)[0].reason is None


def test_few_configurations_are_not_drawn(fit):
    assert cluster_draws(fit, 20) is None
