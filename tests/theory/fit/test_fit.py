"""Recovery, invariances, groups, losses, priors, and what is refused."""

import numpy as np
import pytest

from tests.theory.truths import SIGMA, grid_design, log_sizes
from theory.data.design import Design
from theory.errors import TheoryError
from theory.fit.fit import fit_law
from theory.fit.robust import replicate_scale
from theory.laws.parameters import Prior
from theory.laws.registry import get_law
from theory.optimum.locate import locate

BUDGETS = np.geomspace(1e6, 1e7, 3)
SIZES = log_sizes(9)
SMALL = grid_design(BUDGETS, SIZES)
LARGE = grid_design(BUDGETS, SIZES, seeds=3)


def law_of(truth, **options):
    return get_law("effective_information", floor=truth.floor, link=truth.link, **options)


def ln_error(fit, truth, name):
    return np.log(fit.values[name] / float(truth.curve.theta[name][0]))


def ln_optimum(curve, cost, budget=3.5e6):
    return np.log(locate(curve, budget, cost, (0.5, 1000)).d_m[0])


@pytest.mark.parametrize("name", ["t1", "t1_log", "t2"])
def test_exact_recovery_without_noise(name, request):
    truth = request.getfixturevalue(name)
    fit = fit_law(law_of(truth), SMALL, truth.metric(SMALL))
    for parameter in ("alpha", "beta", "k_floor"):
        assert abs(ln_error(fit, truth, parameter)) < 1e-6
    assert fit.aicc is None
    assert fit.has("converged")


@pytest.mark.parametrize(
    ("name", "loss", "outliers", "limit"),
    [
        ("t1", "least_squares", 0.0, 0.04),
        ("t2", "least_squares", 0.0, 0.04),
        ("t1", "tukey", 0.0, 0.04),
        ("t1", "tukey", 0.1, 0.06),
        ("t2", "tukey", 0.1, 0.06),
        ("t1", "huber", 0.1, 0.06),
    ],
)
def test_recovery_under_noise_and_outliers(name, loss, outliers, limit, request, cost):
    truth, errors = request.getfixturevalue(name), []
    for seed in range(8):
        rng = np.random.default_rng(1000 + seed)
        crashed = rng.random(len(LARGE)) < outliers
        metric = truth.simulate(LARGE, seed) + crashed * rng.exponential(0.1, len(LARGE))
        fit = fit_law(law_of(truth), LARGE, metric, loss=loss, starts=8)
        gap = ln_optimum(fit.curve(), cost) - ln_optimum(truth.curve, cost)
        errors.append([ln_error(fit, truth, "alpha"), ln_error(fit, truth, "beta"), gap])
    assert (np.median(np.abs(errors), axis=0) < limit).all()


def test_outliers_ruin_least_squares_and_not_tukey(t1):
    metric = t1.simulate(LARGE, 0)
    metric[[5, 40, 70]] += 0.3
    plain = fit_law(law_of(t1), LARGE, metric)
    robust = fit_law(law_of(t1), LARGE, metric, loss="tukey")
    assert abs(ln_error(robust, t1, "alpha")) < 0.08 < abs(ln_error(plain, t1, "alpha"))
    assert (robust.robust_weights[[5, 40, 70]] == 0).all()
    assert robust.aicc is None
    assert robust.noise_sd == pytest.approx(SIGMA, rel=0.3)


@pytest.mark.parametrize("loss", ["tukey", "huber"])
def test_robust_fits_count_starts_and_not_the_ends_that_they_share(loss):
    design = Design(n_rec=2.0 ** np.arange(14), k_e=np.ones(14))
    metric = 1 + design.n_rec**-0.5 + 0.003 * np.random.default_rng(0).standard_normal(14)
    fit = fit_law("power_law", design, metric, loss=loss)
    assert (fit.starts.agreeing, fit.starts.total) == (32, 32)
    assert not fit.has("starts_disagree")


@pytest.mark.parametrize(
    ("truth_name", "fitted", "least"),
    [
        ("t1_log", {"floor": "max", "link": "affine"}, 0.3),
        ("t2", {"floor": "max"}, 0.2),
    ],
)
def test_wrong_form_biases_the_optimum_more_than_noise(truth_name, fitted, least, request, cost):
    truth = request.getfixturevalue(truth_name)
    design = grid_design(np.geomspace(3e5, 1e7, 5), SIZES, seeds=3)
    fit = fit_law(get_law("effective_information", **fitted), design, truth.simulate(design, 0))
    assert abs(ln_optimum(fit.curve(), cost) - ln_optimum(truth.curve, cost)) > least


@pytest.mark.parametrize("name", ["t1", "t1_log"])
def test_box_cox_link_repairs_the_link(name, request, cost):
    truth = request.getfixturevalue(name)
    design = grid_design(np.geomspace(3e5, 1e7, 5), SIZES, seeds=3)
    fit = fit_law(get_law("effective_information", link="boxcox"), design, truth.simulate(design, 0))
    assert abs(ln_optimum(fit.curve(), cost) - ln_optimum(truth.curve, cost)) < 0.03


def test_invariant_to_row_order_units_and_affine_scaling(t2):
    metric, order = t2.simulate(LARGE, 3), np.random.default_rng(0).permutation(len(LARGE))
    base = fit_law(law_of(t2), LARGE, metric)
    shuffled = fit_law(law_of(t2), LARGE.take(order), metric[order])
    scaled = fit_law(law_of(t2), LARGE, 7 - 250 * metric, direction="max")
    units = fit_law(law_of(t2, k_ref=17.0, n_ref=5.0), LARGE, metric)
    fewer = fit_law(law_of(t2), LARGE, metric, starts=12, seed=5)
    for other in (shuffled, scaled, units, fewer):
        for name in ("alpha", "beta", "k_floor"):
            assert other.values[name] == pytest.approx(base.values[name], rel=1e-6)
    assert scaled.coefficients["all"]["b"] == pytest.approx(-250 * base.coefficients["all"]["b"], rel=1e-6)
    assert scaled.rmse == pytest.approx(250 * base.rmse, rel=1e-9)


def test_merging_replicates_changes_nothing(t2):
    metric = t2.simulate(LARGE, 4)
    merged = fit_law(law_of(t2), LARGE, metric)
    single = Design(
        n_rec=LARGE.n_rec, k_e=LARGE.k_e, k_c=LARGE.k_c, budget=LARGE.budget, covariates={"seed": np.arange(len(LARGE))}
    )
    apart = fit_law(law_of(t2), single, metric)
    assert merged.rss == pytest.approx(apart.rss, rel=1e-9)
    assert merged.aicc == pytest.approx(apart.aicc, abs=1e-7)
    assert merged.values["alpha"] == pytest.approx(apart.values["alpha"], rel=1e-6)
    assert merged.pure_error_df == len(LARGE) * 2 // 3
    assert apart.pure_error_sd is None


def test_weights_count_like_repeated_rows(t2):
    metric = t2.simulate(SMALL, 5)
    weights = np.where(np.arange(len(SMALL)) % 2, 3.0, 1.0)
    repeated = np.repeat(np.arange(len(SMALL)), weights.astype(int))
    weighted = fit_law(law_of(t2), SMALL, metric, weights=weights)
    copied = fit_law(law_of(t2), SMALL.take(repeated), metric[repeated])
    assert weighted.values["beta"] == pytest.approx(copied.values["beta"], rel=1e-6)


def test_groups_share_theta_and_vary_moves_one_parameter(t1):
    """The paper's joint fit in small: two tau_m_max levels with their own alpha, two tasks with their own affine
    map."""
    n = len(SMALL)
    parts, metric = [], []
    rng = np.random.default_rng(0)
    for tau, alpha in ((10, 0.7), (100, 0.95)):
        for task, (a, b) in {"x": (1.75, 1.3e-4), "y": (0.9, 4e-4)}.items():
            moved = {**{k: v[0] for k, v in t1.curve.theta.items()}, "alpha": alpha, "alpha@reference": 0.7}
            metric.append(t1.curve.law.predict(moved, [a, b], SMALL) + SIGMA * rng.standard_normal(n))
            parts.append((np.full(n, tau), np.full(n, task)))
    design = Design(
        **{name: np.tile(getattr(SMALL, name), 4) for name in ("n_rec", "k_e", "k_c", "budget")},
        covariates={"tau_m_max": np.concatenate([p[0] for p in parts]), "task": np.concatenate([p[1] for p in parts])},
    )
    fit = fit_law(law_of(t1, k_ref=2461.0), design, np.concatenate(metric), groups="task", vary={"alpha": "tau_m_max"})
    assert fit.values["alpha[tau_m_max=10]"] == pytest.approx(0.7, rel=0.1)
    assert fit.values["alpha[tau_m_max=100]"] == pytest.approx(0.95, rel=0.1)
    assert fit.coefficients["task=y"]["b"] / fit.coefficients["task=x"]["b"] == pytest.approx(4 / 1.3, rel=0.05)
    assert fit.p == 5 + 4
    np.testing.assert_allclose(fit.predict(design), np.concatenate(metric), atol=6 * SIGMA)
    with pytest.raises(TheoryError, match=r"tau_m_max: level 50 was not in the fit; known: alpha\[tau_m_max=10\]"):
        fit.predict(Design(n_rec=[10.0], k_e=[500.0], covariates={"tau_m_max": [50], "task": ["x"]}))


def test_coefficients_are_looked_up_once_per_budget_not_once_per_row(monkeypatch):
    design = Design(n_rec=np.tile([10.0, 20, 40, 80, 160, 320], 2), k_e=np.repeat([50.0, 500.0], 6), budget=[1e4] * 12)
    fit = fit_law("quadratic", design, np.log(design.n_rec) ** 2)
    asked = []
    original = type(fit).group_key
    monkeypatch.setattr(type(fit), "group_key", lambda self, *args: asked.append(args) or original(self, *args))
    assert fit.predict(design) == pytest.approx(np.log(design.n_rec) ** 2)
    assert len(asked) == 1


def test_a_quadratic_has_coefficients_of_its_own_at_every_connectivity():
    n_rec = np.tile([10.0, 20, 40, 80, 160, 320], 2)
    k_c = np.repeat([5.0, 50.0], 6)
    design = Design(n_rec=n_rec, k_e=1e4 / n_rec, k_c=k_c, budget=[1e4] * 12)
    metric = (np.log(n_rec / k_c)) ** 2  # best at n_rec = k_c
    fit = fit_law("quadratic", design, metric)
    assert fit.predict(design) == pytest.approx(metric, abs=1e-9)
    assert list(fit.coefficients) == ["budget=10000.0, k_c=5.0", "budget=10000.0, k_c=50.0"]
    with pytest.raises(TheoryError, match=r"k_c: needed, the law quadratic is fitted per k_c: \[5.0, 50.0\]"):
        fit.curve(budget=1e4)


def test_a_budget_counts_the_coefficients_that_its_sizes_determine():
    n_rec = np.array([10.0, 20, 40, 80, 160, 320, *[10, 20] * 2, *[10] * 6])
    design = Design(n_rec=n_rec, k_e=[50.0] * 16, budget=[1e4] * 6 + [1e5] * 4 + [1e6] * 6)
    fit = fit_law("quadratic", design, np.log(n_rec) ** 2 + np.tile([0.1, -0.1], 8))
    assert (fit.n, fit.p) == (16, 3 + 2 + 1)


def test_connectivity_in_redundancy_is_recovered(t1):
    wide = grid_design(BUDGETS, SIZES)
    k_c = np.tile([300.0, 750.0, 1500.0], len(wide))[: len(wide)]
    design = Design(n_rec=wide.n_rec, k_e=wide.k_e, k_c=k_c, budget=wide.budget)
    law = get_law("effective_information", floor="none", connectivity=True, k_ref=2461.0, n_ref=562.0).bind(design)
    theta = {"u_ref": 1.0, "alpha": 0.9, "beta": 0.8, "gamma": 0.2}
    fit = fit_law(law, design, law.predict(theta, [2.0, 1e-4], design))
    for name, value in theta.items():
        assert fit.values[name] == pytest.approx(value, rel=1e-5)


def test_prior_pulls_and_is_announced(t2):
    one_budget = grid_design([3.5e6], log_sizes(14))
    metric = t2.simulate(one_budget, 0)
    free = fit_law(law_of(t2), one_budget, metric)
    guided = fit_law(law_of(t2), one_budget, metric, priors={"alpha": Prior(mean=0.95, sd=0.20)})
    pinned = fit_law(law_of(t2), one_budget, metric, priors={"alpha": Prior(mean=0.95, sd=1e-5)})
    assert abs(np.log(guided.values["alpha"] / 0.95)) < abs(np.log(free.values["alpha"] / 0.95))
    assert pinned.values["alpha"] == pytest.approx(0.95, rel=1e-4)
    assert guided.has("prior_used")
    assert not free.has("prior_used")


def test_accuracy_is_fitted_upwards(t1, cost):
    fit = fit_law(law_of(t1), LARGE, 1 - t1.simulate(LARGE, 0), direction="max")
    assert fit.coefficients["all"]["b"] < 0
    assert abs(ln_optimum(fit.curve(), cost) - ln_optimum(t1.curve, cost)) < 0.1


def test_wrong_direction_is_a_finding(t1):
    fit = fit_law("separable_power_law", LARGE, 1 - t1.simulate(LARGE, 0))
    assert fit.has("no_effect")


def test_pure_noise_beats_no_constant():
    metric = 1.7 + SIGMA * np.random.default_rng(0).standard_normal(len(LARGE))
    for name in ("effective_information", "separable_power_law", "power_law"):
        fit = fit_law(name, LARGE, metric)
        assert fit.has("no_better_than_constant"), name


def test_many_rows_start_on_a_subsample(t2):
    rng = np.random.default_rng(0)
    design = Design(n_rec=np.exp(rng.uniform(3, 8, 6000)), k_e=np.exp(rng.uniform(5, 11, 6000)))
    fit = fit_law(law_of(t2), design, t2.simulate(design, 0), starts=8)
    assert fit.values["beta"] == pytest.approx(1.745, rel=0.02)
    assert fit.has("converged")


BAD = np.full(len(SMALL), 1.7) + np.linspace(0, 0.1, len(SMALL))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"metric": np.where(np.arange(27) == 3, np.nan, 1.7)[: len(SMALL)]},
            r"metric: 1 of \d+ values are not finite, first row 3",
        ),
        (
            {"metric": np.where(np.arange(27) == 3, np.inf, 1.7)[: len(SMALL)]},
            r"metric: 1 of \d+ values are not finite",
        ),
        ({"metric": np.full(len(SMALL), 1.7)}, "metric: constant"),
        ({"law": "effectiv"}, "law: 'effectiv' is not known.*Valid: effective_information"),
        ({"fixed": {"alfa": 1.0}}, r"fixed.alfa: 'alfa' is not known.*Valid: u_ref, alpha, beta, k_floor"),
        ({"vary": {"gamma": "tau"}}, "vary.gamma|vary"),
        ({"vary": {"alpha": "tau"}}, r"vary.alpha: 'tau' is not known.*Valid: budget"),
        ({"fixed": {"alpha": -1.0}}, r"fixed.alpha: -1.0 is not a finite value above 0"),
        ({"loss": "l1"}, "loss: 'l1' is not known.*Valid: least_squares, tukey, huber"),
        ({"direction": "up"}, "direction: 'up' is not known"),
        ({"weights": np.zeros(len(SMALL))}, "weights: need one finite value above 0"),
        ({"starts": 2}, "starts: 2 is too few"),
        ({"bounds": {"alpha": (2.0, 1.0)}}, "alpha: bounds"),
        ({"loss": "tukey", "priors": {"alpha": Prior(mean=0.95, sd=0.20)}}, "priors: not available with loss"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"law": "effective_information", "design": SMALL, "metric": BAD} | change
    with pytest.raises(TheoryError, match=message):
        fit_law(**arguments)


def test_too_few_rows_are_refused_with_advice():
    with pytest.raises(TheoryError, match="10 rows cannot support 6 parameters; need at least 11"):
        fit_law("effective_information", SMALL.take(np.arange(10)), BAD[:10])


def test_duplicated_rows_single_seed_and_few_levels_are_statuses(t1):
    metric = t1.metric(SMALL) + 0.003 * np.cos(np.arange(len(SMALL)))
    twice = np.concatenate([np.arange(len(SMALL)), [0, 1]])
    fit = fit_law("separable_power_law", SMALL.take(twice), metric[twice])
    assert fit.has("duplicated_rows")
    assert fit_law("separable_power_law", SMALL, metric).has("no_replicates")
    two = grid_design(BUDGETS, np.array([5.0, 20.0]), seeds=3)
    flat = fit_law("separable_power_law", two, t1.simulate(two, 0))
    assert flat.has("few_levels")


def test_everything_at_a_bound_is_a_status(t1):
    tight = {"alpha": (0.1, 0.11), "beta": (3.0, 3.1), "u_ref": (10.0, 11.0), "k_floor": (1e3, 1.1e3)}
    fit = fit_law("effective_information", LARGE, t1.simulate(LARGE, 0), bounds=tight)
    bound = [status.sentence for status in fit.statuses if status.code in ("at_bound", "rests_at_bound")]
    assert len(bound) >= 3
    assert any(sentence.startswith("alpha = 0.11 is at its upper bound") for sentence in bound)


def test_replicate_scale_and_pure_error_are_those_of_a_run_of_weight_one():
    """Two kinds of runs, one with three times the noise and so a ninth of the weight."""
    rng = np.random.default_rng(0)
    configurations = np.repeat(np.arange(400), 2)
    noisy = np.repeat(np.arange(400) % 2 == 0, 2)
    metric = np.where(noisy, 3.0, 1.0) * rng.standard_normal(800)
    weights = np.where(noisy, 1 / 9, 1.0)
    assert replicate_scale(metric, configurations, weights) == pytest.approx(1.0, rel=0.1)
    sizes = np.repeat(np.geomspace(10, 1e4, 400), 2)
    fit = fit_law("power_law", Design(n_rec=sizes, k_e=np.ones(800)), 5 + metric, weights=weights, starts=8)
    unit = weights.mean() ** -0.5  # weights are scaled to mean 1, and with them the noise of a run of weight 1
    assert fit.pure_error_sd == pytest.approx(unit, rel=0.1)
    assert fit.noise_sd == pytest.approx(fit.pure_error_sd, rel=0.05)
