"""The F tests are those of the textbook, and say nothing where nothing can be said."""

import numpy as np
import pytest
from scipy import stats

from theory.data.design import Design
from theory.data.replicates import Noise
from theory.fit.f_tests import holm, lack_of_fit, nested
from theory.fit.fit import fit_law


def test_nested_fits_are_compared_as_by_analysis_of_variance():
    rng = np.random.default_rng(0)
    design = Design(n_rec=np.geomspace(10, 1000, 12), k_e=np.full(12, 5.0), k_c=0.0, budget=np.full(12, 1e4))
    metric = 1 + 0.1 * np.log(design.n_rec) ** 2 + rng.normal(0, 0.05, 12)
    quadratic, cubic = (fit_law(name, design, metric) for name in ("quadratic", "cubic"))
    test = nested(cubic, quadratic)
    x = np.log(design.n_rec) - np.log(design.n_rec).mean()
    rss = [float(np.polyfit(x, metric, degree, full=True)[1][0]) for degree in (2, 3)]
    ratio = (rss[0] - rss[1]) / (rss[1] / 8)
    assert test.df == (1, 8)
    assert test.f == pytest.approx(ratio, rel=1e-6)
    assert test.p_value == pytest.approx(stats.f.sf(ratio, 1, 8), rel=1e-6)
    assert nested(cubic, cubic) is None


def test_lack_of_fit_compares_misses_with_seed_noise():
    test = lack_of_fit(3 * 4.0, 3, Noise(1.0, 10))
    assert test.f == pytest.approx(4)
    assert test.p_value == pytest.approx(stats.f.sf(4, 3, 10))
    assert lack_of_fit(1.0, 0, Noise(1.0, 10)) is None
    assert lack_of_fit(1.0, 3, Noise(None, 0)) is None


def test_holm_is_monotone_and_never_above_one():
    assert holm([0.5, 0.001, 0.9]) == pytest.approx([1.0, 0.003, 1.0])
    assert holm([0.02, 0.02]) == pytest.approx([0.04, 0.04])
    assert holm([]) == []
