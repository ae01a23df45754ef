"""The two estimators of the second study on lines whose optimum is known."""

import numpy as np
import pandas as pd
import pytest

from studies.interior_optimum.estimators import CUBIC, QUADRATIC, Line, cubic_minimum, estimates, lines, neurons
from studies.statistics import DRAWS, vertex
from tests.studies.made_up import LEVELS, line, study

X = np.log(LEVELS)
NOISE = 0.006
"""Between seeds, bits per character; the curves below are as steep as those of the first study."""


def curve(best: float, cubic: float = 0.0) -> np.ndarray:
    """Values with their optimum at ln d_m = `best`."""
    return 2.5 + 0.05 * (X - best) ** 2 + cubic * (X - best) ** 3


def simulated(truth: np.ndarray, draw: int, seeds: int = 4) -> Line:
    values = truth[:, None] + NOISE * np.random.default_rng(draw).standard_normal((len(truth), seeds))
    # The pooled noise itself is estimated, from as many runs as the study has.
    return line(LEVELS, values)


@pytest.mark.parametrize(("name", "cubic"), [(QUADRATIC, 0.0), (CUBIC, 0.0), (CUBIC, 0.012)])
def test_the_interval_covers_the_optimum_as_often_as_it_says(name, cubic):
    best = np.log(7.0)
    ends = np.array([estimates(simulated(curve(best, cubic), draw), seed=draw)[name].interval for draw in range(120)])
    covered = ((ends[:, 1] < best) & (best < ends[:, 2])).mean()
    # 95 % of 120, with three standard errors; the noise is estimated from 24 degrees of freedom, which costs a little
    assert 0.87 <= covered <= 1.0
    assert np.median(ends[:, 0]) == pytest.approx(best, abs=0.05)
    assert np.median(ends[:, 2] - ends[:, 1]) < 0.7


def test_an_optimum_beyond_the_range_is_put_at_its_end_and_does_not_count_as_interior():
    for found in estimates(simulated(curve(np.log(1.2)), 0)).values():
        assert found.interval[0] == X[0]
        assert not found.is_interior
        assert found.inside < 0.5
    for found in estimates(simulated(curve(np.log(60.0)), 0)).values():
        assert found.interval[0] == X[-1]
        assert not found.is_interior


def test_a_steep_optimum_is_interior_and_a_flat_curve_has_none():
    assert all(found.is_interior for found in estimates(simulated(curve(np.log(7.0)), 1)).values())
    for found in estimates(simulated(np.full(len(X), 2.5), 2)).values():
        _, low, high = found.interval
        assert high - low > 0.8 * (X[-1] - X[0])
        assert not found.is_interior


def test_fewer_seeds_widen_the_interval_and_a_missing_level_is_left_out():
    whole = simulated(curve(np.log(7.0)), 3)
    few = Line(
        budget=whole.budget,
        k_c=whole.k_c,
        d_m=whole.d_m,
        losses=tuple(values[:1] for values in whole.losses),
        noise=whole.noise,
        cost=None,
    )
    width = {name: np.diff(found.interval[1:])[0] for name, found in estimates(whole).items()}
    wider = {name: np.diff(found.interval[1:])[0] for name, found in estimates(few).items()}
    assert all(1.5 < wider[name] / width[name] < 4 for name in width)
    # one level without any run: the others still say where the optimum is
    keep = [i for i in range(len(X)) if i != 3]
    gap = line(tuple(LEVELS[i] for i in keep), np.array([whole.losses[i] for i in keep]))
    for found in estimates(gap).values():
        assert found.interval[0] == pytest.approx(np.log(7.0), abs=0.3)


def test_too_few_levels_have_no_estimate():
    assert set(estimates(line(LEVELS[:4], np.array([[3.0, 3.1], [2.0, 2.1], [2.5, 2.4], [3.0, 3.1]])))) == {
        QUADRATIC,
        CUBIC,
    }
    assert set(estimates(line(LEVELS[:3], np.array([[3.0, 3.1], [2.0, 2.1], [2.5, 2.4]])))) == {QUADRATIC}
    assert estimates(line(LEVELS[:2], np.array([[3.0, 3.1], [2.0, 2.1]]))) == {}


def test_a_cubic_is_searched_between_the_outermost_levels():
    x = np.linspace(0, 3, 7)
    with_minimum = (x - 2) ** 2 * (x + 1)
    # without an interior minimum: rising throughout, falling throughout, and flat
    rising, falling, flat = x**3 + x, -(x**3) - x, np.full(7, 2.0)
    # a local minimum inside that is not the smallest value between the ends
    deeper = (x - 2) ** 2 * (x - 0.2)
    # exactly a parabola, whose cubic coefficient is nothing but rounding
    parabola = (x - 1.3) ** 2
    places = cubic_minimum(x, np.array([with_minimum, rising, falling, deeper, parabola]))
    assert places == pytest.approx([2.0, 0.0, 3.0, 0.0, 1.3], abs=1e-6)
    assert 0.0 <= cubic_minimum(x, flat[None])[0] <= 3.0


def test_the_parabola_uses_the_best_level_and_two_on_each_side():
    values = curve(np.log(7.0))
    far = values.copy()
    far[0] += 5.0  # three levels below the best one, so it must not matter
    turned = -values
    assert vertex(X, np.array([values, far, turned])) == pytest.approx([np.log(7.0), np.log(7.0), X[np.argmin(turned)]])


def test_lines_pool_the_noise_of_a_budget_and_know_their_neurons():
    data = study(budgets=(10_000, 30_000), seeds=3)
    found = lines(data)
    assert [(one.k_c, one.budget) for one in found] == [(16, 10_000), (16, 30_000), (64, 10_000), (64, 30_000)]
    at_10k = data.rows[data.rows["budget"] == 10_000]
    by_hand = np.sqrt((at_10k.groupby("configuration")["value"].var()).mean())  # equal seeds everywhere
    assert [one.noise for one in found if one.budget == 10_000] == pytest.approx([by_hand] * 2)
    first = found[0]
    assert first.d_m.tolist() == sorted(at_10k.loc[at_10k["k_c"] == 16, "d_m"].unique())
    assert first.runs.tolist() == [3.0] * len(first.d_m)
    estimate = estimates(first)[QUADRATIC]
    n_rec = neurons(first, estimate)
    d_m = np.exp(estimate.draws)
    assert n_rec == pytest.approx((10_000 - 1944) / (4 * d_m**2 + 12 * d_m + 1 + 16))
    assert len(n_rec) == DRAWS + 1
    assert lines(study(budgets=(10_000,), seeds=1)) == []
    assert isinstance(data.rows, pd.DataFrame)
