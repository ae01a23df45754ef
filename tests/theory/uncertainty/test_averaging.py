"""Intervals that carry the choice of the law: weights, ends, and the widening where a law is wrong."""

import numpy as np
import pytest
from scipy import stats

from tests.theory.truths import SIM_COST, grid_design, log_sizes
from theory.errors import TheoryError
from theory.fit.fit import fit_law
from theory.laws.registry import get_law
from theory.simulations.coverage import measure
from theory.simulations.worlds import worlds
from theory.uncertainty.averaging import Evidence, average, averaged, weights_of
from theory.uncertainty.intervals import delta
from theory.uncertainty.quantities import best_d_m

DESIGN = grid_design(np.geomspace(1e6, 1e7, 3), log_sizes(9), seeds=3)
OPTIMUM = best_d_m(3.5e6, SIM_COST)


def says(aicc, estimate, error, degrees=20):
    return Evidence(np.array([aicc]), np.array([[estimate]]), np.array([[error]]), degrees)


def ends(*laws):
    low, high = average(laws, weights_of(laws), 0.95)
    return low[0, 0], high[0, 0]


def test_one_law_has_its_t_interval():
    half = stats.t.ppf(0.975, 20) * 0.1
    assert ends(says(0.0, 2.0, 0.1)) == pytest.approx((2 - half, 2 + half))
    assert ends(says(0.0, 2.0, 0.1), says(50.0, 9.0, 0.1)) == pytest.approx((2 - half, 2 + half))


def test_ends_are_where_the_weighted_tails_are_a_fortieth():
    laws = (says(0.0, 2.0, 0.1), says(2.0, 2.5, 0.2, 10))
    weight = weights_of(laws)[0]
    assert weight == pytest.approx(np.array([1, np.exp(-1)]) / (1 + np.exp(-1)))
    for end, tail in zip(ends(*laws), (0.025, 0.975), strict=True):
        area = weight[0] * stats.t.cdf((end - 2) / 0.1, 20) + weight[1] * stats.t.cdf((end - 2.5) / 0.2, 10)
        assert area == pytest.approx(tail, abs=1e-9)


def test_laws_that_disagree_widen_the_interval():
    low, high = ends(says(0.0, 2.0, 0.1), says(0.0, 2.5, 0.1))
    half = stats.t.ppf(0.95, 20) * 0.1  # each law has half of the weight, and the other's tail is far away
    assert (low, high) == pytest.approx((2 - half, 2.5 + half), abs=1e-3)


def test_a_law_with_weight_that_leaves_the_quantity_open_opens_the_interval():
    assert ends(says(0.0, 2.0, 0.1), says(1.0, 2.0, np.inf)) == (-np.inf, np.inf)
    assert np.isfinite(ends(says(0.0, 2.0, 0.1), says(60.0, 2.0, np.inf))).all()


def test_averaged_interval_names_its_laws_and_is_no_narrower_than_the_delta_methods(t2):
    metric = t2.simulate(DESIGN, 0)
    links = {link: get_law("effective_information", floor="additive", link=link) for link in ("affine", "boxcox")}
    fits = {name: fit_law(law, DESIGN, metric) for name, law in links.items()}
    both = averaged(fits, [OPTIMUM])[0]
    alone = averaged({"affine": fits["affine"]}, [OPTIMUM])[0]
    assert both.low < both.estimate < both.high
    assert "affine" in both.reason
    assert "boxcox" in both.reason
    plain = delta(fits["affine"], [OPTIMUM])[0]
    assert np.log(alone.high / alone.low) > 0.95 * np.log(plain.high / plain.low)


def test_robust_fits_have_no_weight(t2):
    fit = fit_law("separable_power_law", DESIGN, t2.simulate(DESIGN, 0), loss="tukey", starts=8)
    with pytest.raises(TheoryError, match="has no AICc"):
        averaged({"one": fit}, [OPTIMUM])
    with pytest.raises(TheoryError, match="empty"):
        averaged({}, [OPTIMUM])


@pytest.mark.slow
def test_averaged_intervals_hold_where_the_chosen_laws_do_not():
    """A floor that moves with k_e: no fitted law is right, and every sweep warns."""
    world = next(world for world in worlds() if world.name == "e")
    rows = measure(world, 12, 0)
    assert all(row.chosen < 0.3 for row in rows)
    assert all(row.averaged > 0.8 and row.warned == 1.0 and row.silent == 0.0 for row in rows)
