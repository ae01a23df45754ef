"""Seed noise and its tests agree with the textbook, and say nothing where there are no replicates."""

import numpy as np
import pytest
from scipy import stats

from theory.data.replicates import Noise, bartlett, pure_error, replicate_weights
from theory.errors import TheoryError


def test_pure_error_without_replicates_is_unknown():
    assert pure_error(np.array([1.0, 2.0]), np.array([0, 1])) == (None, 0)


def test_replicate_weights_follow_the_noise():
    rng = np.random.default_rng(0)
    group = np.repeat([1, 2], 300)
    configuration = np.repeat(np.arange(200), 3)
    weights = replicate_weights(rng.standard_normal(600) * np.where(group == 1, 0.01, 0.03), configuration, group)
    assert weights[0] / weights[-1] == pytest.approx(9, rel=0.35)
    assert weights.mean() == pytest.approx(1)
    with pytest.raises(TheoryError, match="none has two seeds"):
        replicate_weights([1.0, 2.0], [0, 1], [0, 0])


def test_bartlett_agrees_with_scipy():
    rng = np.random.default_rng(0)
    samples = [rng.normal(0, sd, n) for sd, n in ((1.0, 12), (2.0, 9), (1.5, 20))]
    noises = [Noise(float(x.std(ddof=1)), len(x) - 1) for x in samples]
    assert bartlett(noises) == pytest.approx(stats.bartlett(*samples).pvalue, rel=1e-10)
    assert bartlett(noises[:1]) is None
