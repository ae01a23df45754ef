"""Optima against their closed condition, published tables of u*, brute force, and asymptotes."""

import numpy as np
import pytest

from tests.theory.truths import SIM_COST, grid_design, log_sizes, make_truth
from theory.data.cost import Cost
from theory.data.design import Design
from theory.errors import TheoryError
from theory.fit.fit import fit_law
from theory.laws.base import Curve
from theory.laws.channel import channel_information
from theory.laws.noise import noise
from theory.laws.registry import get_law
from theory.optimum.allocation import optimum
from theory.optimum.locate import budget_line, locate

BETAS = [0.25, 0.5, 0.75, 0.9, 1, 1.25, 1.5, 2, 3]
TABLE = {
    0.5: [0, 0, 0.1091, 0.1614, 0.1910, 0.2513, 0.2974, 0.3633, 0.4410],
    0.75: [0, 0.2546, 0.4116, 0.4803, 0.5189, 0.5972, 0.6572, 0.7429, 0.8442],
    1.0: [0.4275, 0.6993, 0.8761, 0.9552, 1, 1.092, 1.162, 1.265, 1.386],
    2.0: [4.46, 4.812, 5.057, 5.170, 5.236, 5.372, 5.480, 5.639, 5.833],
}
NO_SYNAPSES = Cost(k_e=lambda d_m: d_m**2, k_c=0.0)


def bare(floor, theta, link="affine", coefficients=(0.0, 1.0)):
    law = get_law("effective_information", floor=floor, link=link, k_ref=2461.0, n_ref=1.0, k_range=(1.0, 1e9))
    return Curve(law=law, theta=theta, coefficients=coefficients)


def slopes(curve, budget, cost, d_m_range):
    """d ln n_rec / d ln P and d ln k_e / d ln P of the located optimum."""
    ends = []
    for moved in budget * np.exp([-0.02, 0.02]):
        d_m = locate(curve, moved, cost, d_m_range).d_m[0]
        ends.append(np.log([float(cost.neurons(moved, d_m)), float(cost.complexity(d_m))]))
    return (ends[1] - ends[0]) / 0.04


def last_snr(alpha, beta):
    """The last channel's snr at the optimum without floor and synapses; 0 where the simplest neuron is best."""
    found = locate(bare("none", {"u_ref": 300.0, "alpha": alpha, "beta": beta}), 1e7, NO_SYNAPSES, (1e-3, 3e3))
    k_e = found.d_m[0] ** 2
    return 0.0 if found.edge[0] < 0 else 300.0 * (k_e / 2461.0) ** alpha * (1e7 / k_e) ** -beta


@pytest.mark.parametrize("alpha", sorted(TABLE))
def test_last_channel_of_the_optimum_has_the_snr_of_the_published_table(alpha):
    np.testing.assert_allclose([last_snr(alpha, beta) for beta in BETAS], TABLE[alpha], rtol=2e-3)


def test_the_snr_of_the_optimum_has_an_exact_case_and_need_not_exist():
    assert last_snr(1.0, 1.0) == pytest.approx(1.0, abs=1e-6)
    assert [last_snr(alpha, beta) for alpha, beta in ((0.3, 0.7), (0.5, 0.5), (0.2, 0.1))] == [0, 0, 0]


@pytest.mark.parametrize(("alpha", "beta", "slope"), [(1, 1, 0.5), (0.95, 0.9, 0.95 / 1.85), (2, 1, 2 / 3)])
def test_slopes_without_floor_and_synapses(alpha, beta, slope):
    curve = bare("none", {"u_ref": 300.0, "alpha": alpha, "beta": beta})
    n_rec, k_e = slopes(curve, 1e8, NO_SYNAPSES, (0.1, 1e5))
    assert n_rec == pytest.approx(slope, abs=1e-6)
    assert k_e == pytest.approx(1 - slope, abs=1e-6)


@pytest.mark.parametrize("floor", ["none", "additive", "max"])
def test_stationarity_and_brute_force(floor):
    theta = {"u_ref": 300.0, "alpha": 0.95, "beta": 0.9, "k_floor": 1e5}
    curve = bare(floor, theta)
    d_m = locate(curve, 3.5e6, SIM_COST, (0.5, 1000)).d_m[0]
    k_e, n_rec = float(SIM_COST.complexity(d_m)), float(SIM_COST.neurons(3.5e6, d_m))
    local = noise(k_e, 2461.0, {k: np.asarray(v) for k, v in theta.items()}, floor=floor)
    u = 300.0 * np.exp(-float(local.ln_nu)) * n_rec**-0.9
    left = float(local.local_exponent) * float(channel_information(np.log(u), 0.9).f)
    assert left == pytest.approx(k_e / (k_e + 750) * np.log1p(u), rel=1e-6)
    fine = np.geomspace(1, 300, 20_001)
    assert fine[np.argmin(curve.on_grid(budget_line(3.5e6, SIM_COST, fine))[0])] == pytest.approx(d_m, rel=5e-3)


def test_a_jump_of_the_slope_is_found_to_rounding():
    """The max floor's slope jumps at k_floor, where interpolation has nothing to go by; sets of both kinds at once."""
    k_floor = np.array([2e4, 1e5, 3e3, 1e5])
    theta = {"u_ref": np.exp(5.9), "alpha": np.array([1.0, 1.0, 1.0, 0.8]), "beta": 1.0, "k_floor": k_floor}
    d_m = locate(bare("max", theta), 6e7, SIM_COST, (0.5, 1000)).d_m
    np.testing.assert_allclose(SIM_COST.complexity(d_m)[[0, 2]], [2e4, 3e3], rtol=1e-13)
    for i in (1, 3):
        one = {name: value[i] if np.ndim(value) else value for name, value in theta.items()}
        assert locate(bare("max", one), 6e7, SIM_COST, (0.5, 1000)).d_m[0] == pytest.approx(d_m[i], rel=1e-13)


def test_optimum_does_not_know_the_link():
    theta = {"u_ref": 300.0, "alpha": 0.95, "beta": 0.9, "k_floor": 2e4, "lam": 0.4}
    found = [
        locate(bare("max", theta, link, coefficients), 3.5e6, SIM_COST, (0.5, 1000)).d_m[0]
        for link, coefficients in (("affine", (0, 1)), ("log", (7, 3)), ("boxcox", (-2, 0.1)))
    ]
    np.testing.assert_allclose(found, found[0], rtol=1e-9)


def test_the_max_floor_binds_from_a_budget_on():
    """Above 5.664e7 parameters (solved by hand from the optimum's condition at k_floor) all goes to more neurons."""
    curve = bare("max", {"u_ref": np.exp(5.9), "alpha": 1.0, "beta": 1.0, "k_floor": 2e4})
    bind = 5.664e7
    above, below = (locate(curve, bind * f, SIM_COST, (0.5, 1000)).d_m[0] for f in (1.01, 0.99))
    assert float(SIM_COST.complexity(above)) == pytest.approx(2e4, rel=1e-6)
    assert float(SIM_COST.complexity(below)) < 2e4 * (1 - 1e-4)
    assert slopes(curve, 3 * bind, SIM_COST, (0.5, 1000))[0] == pytest.approx(1.0, abs=1e-6)


def test_additive_floor_limits():
    saturated = {"u_ref": 1e4, "alpha": 0.95, "beta": 0.5, "k_floor": 100.0}
    law = get_law("effective_information", floor="additive", k_ref=100.0, n_ref=1.0, k_range=(1.0, 1e4))
    curve = Curve(law=law, theta=saturated, coefficients=(0, 1))
    k_e = NO_SYNAPSES.complexity(locate(curve, 1e17, NO_SYNAPSES, (0.1, 1e4)).d_m)[0]
    assert k_e == pytest.approx(100 * (0.95 / 0.5 - 1) ** (1 / 0.95), rel=5e-3)
    growing = Curve(law=law, theta={**saturated, "beta": 1.75}, coefficients=(0, 1))
    n_rec, k_e = slopes(growing, 1e14, NO_SYNAPSES, (0.1, 1e6))
    assert k_e / n_rec == pytest.approx(0.75 / 0.95, abs=1e-3)


def test_heuristic_of_d_m_as_root_of_n_rec():
    """alpha = beta = 1 on Enwik8's neurons, scaled so that d_m = 25 at 3.5e6, against a table made independently."""
    low, high, reference = 0.0, 20.0, 3.5e6 - 228_684  # the table's 3.5e6 counts the readout
    for _ in range(40):
        middle = (low + high) / 2
        d_m = locate(
            bare("none", {"u_ref": np.exp(middle), "alpha": 1, "beta": 1}), reference, SIM_COST, (0.5, 1e3)
        ).d_m[0]
        low, high = (middle, high) if d_m > 25 else (low, middle)
    curve = bare("none", {"u_ref": np.exp(low), "alpha": 1, "beta": 1})
    budgets = [1e5, 3e5, 1e6, reference, 1e7, 3e7, 1e8]
    found = np.array([locate(curve, budget, SIM_COST, (0.5, 1e3)).d_m[0] for budget in budgets])
    np.testing.assert_allclose(found, [8.3, 11.7, 17.2, 25, 35.2, 48.8, 69.1], rtol=6e-3)
    ratio = found / np.sqrt([float(SIM_COST.neurons(b, d)) for b, d in zip(budgets, found, strict=True)])
    assert ((ratio > 1.045) & (ratio < 1.145)).all()


def test_whole_numbers_spend_the_budget(t1):
    design = grid_design(np.geomspace(1e6, 1e7, 3), log_sizes(9), seeds=3)
    fit = fit_law(get_law("effective_information"), design, t1.simulate(design, 0))
    best = optimum(fit, 3.5e6, SIM_COST)
    assert best.trainable_params <= 3.5e6 < (best.n_rec + 1) * (best.k_e + best.k_c)
    assert best.band[0] <= best.d_m <= best.band[1]
    assert best.delta == fit.pure_error_sd
    inside = [fit.predict(budget_line(3.5e6, SIM_COST, [d], whole=True))[0] - best.metric for d in best.band]
    outside = [
        fit.predict(budget_line(3.5e6, SIM_COST, [d], whole=True))[0] - best.metric
        for d in (best.band[0] - 1, best.band[1] + 1)
    ]
    assert max(inside) <= best.delta < min(outside)


@pytest.mark.parametrize(("sizes", "side"), [((3, 8), "larger d_m"), ((40, 150), "smaller d_m")])
def test_optimum_beyond_the_data_is_not_bracketed(sizes, side, t1):
    design = grid_design(np.geomspace(1e6, 1e7, 3), log_sizes(8, *sizes), seeds=3)
    best = optimum(fit_law("effective_information", design, t1.simulate(design, 0)), 3.5e6, SIM_COST)
    assert not best.bracketed
    assert best.extend == side
    assert best.d_m is None
    assert best.metric is None
    assert side in best.sentence


def test_kink_of_the_floor_at_the_end_of_the_range_is_an_edge():
    curve = bare("max", {"u_ref": np.exp(5.9), "alpha": 1.0, "beta": 1.0, "k_floor": 2e4})
    end = float(SIM_COST.d_m(2e4)) * (1 + 1e-7)
    assert not optimum(curve, 1e8, SIM_COST, d_m_range=(1.0, end)).bracketed
    assert optimum(curve, 1e8, SIM_COST, d_m_range=(1.0, 2 * end)).bracketed


def test_budget_below_the_readout_is_refused(t1):
    with pytest.raises(TheoryError, match="does not cover the readout"):
        optimum(t1.curve, 500, SIM_COST)


def test_many_sets_at_once_agree_with_one_by_one(t2):
    alphas = np.array([0.8, 0.95, 1.1])
    theta = {**t2.curve.theta, "alpha": alphas}
    both = locate(
        Curve(law=t2.curve.law, theta=theta, coefficients=t2.curve.coefficients), 3.5e6, SIM_COST, (1, 500)
    ).d_m
    single = [
        locate(
            Curve(law=t2.curve.law, theta={**theta, "alpha": a}, coefficients=(0, 1)), 3.5e6, SIM_COST, (1, 500)
        ).d_m[0]
        for a in alphas
    ]
    np.testing.assert_allclose(both, single, rtol=1e-9)


def test_published_truth_helper_matches_the_law():
    truth = make_truth("none", {"u_ref": 2.0, "alpha": 1.0, "beta": 1.0}, a=1.0, b=1e-4)
    design = Design(n_rec=[100.0], k_e=[2461.0])
    ln_u = np.log(2.0) + np.log(562 / 100)
    bits = 100 * float(channel_information(ln_u, 1.0).h) / (2 * np.log(2))
    assert truth.metric(design)[0] == pytest.approx(1 - 1e-4 * bits)
