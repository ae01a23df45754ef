"""The best split of compute is that of a search by values, with intervals."""

import numpy as np
import pytest

from theory.data.design import Design
from theory.errors import TheoryError
from theory.fit.fit import fit_law
from theory.fit.restore import restore
from theory.uncertainty.compute_split import best_split, check_split, split_exponents, split_quantities
from theory.uncertainty.intervals import delta
from theory.uncertainty.restore import as_draws

N, D = (axis.ravel() for axis in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e11, 5)))
DESIGN = Design(n_rec=N, k_e=np.ones(N.size), tokens=D)
LOSS = 1.8 + 480 * N**-0.35 + 2100 * D**-0.37 + 1e-3 * np.random.default_rng(0).standard_normal(N.size)


@pytest.fixture(scope="module")
def fit():
    return fit_law("parameters_and_tokens", DESIGN, LOSS)


@pytest.mark.parametrize("flop", [6.0, 2.0])
def test_the_best_split_is_the_smallest_metric_along_the_compute(fit, flop):
    split = best_split(as_draws(fit, restore(fit)), 1e19, flop=flop)
    n = np.geomspace(1e6, 1e12, 60_001)
    metric = fit.predict(Design(n_rec=n, k_e=np.ones(n.size), tokens=1e19 / flop / n))
    best = int(np.argmin(metric))
    assert split.n[0] == pytest.approx(n[best], rel=1e-3)
    assert split.tokens[0] * split.n[0] * flop == pytest.approx(1e19)
    assert split.metric[0] == pytest.approx(metric[best], rel=1e-9)


def test_splits_and_exponents_have_intervals_that_hold_the_truth(fit):
    a, b = 0.35, 0.37
    n = (a * 480 / (b * 2100)) ** (1 / (a + b)) * (1e20 / 6) ** (b / (a + b))
    truths = {"d ln N / d ln C": b / (a + b), "d ln D / d ln C": a / (a + b), "N at C = 1e+20": n}
    rows = delta(fit, [*split_exponents().values(), *split_quantities(1e20).values()])
    for row in rows:
        assert row.low < row.estimate < row.high
        if row.quantity in truths:
            assert row.low < truths[row.quantity] < row.high


def test_laws_without_a_split_say_why():
    with pytest.raises(TheoryError, match="has no split of compute; fit parameters_and_tokens"):
        check_split(fit_law("power_law", DESIGN, LOSS))
    with pytest.raises(TheoryError, match="B = 0: the data show no effect"):
        check_split(fit_law("parameters_and_tokens", DESIGN, 1.8 + 480 * N**-0.35 + 0.01 * np.log(D)))
