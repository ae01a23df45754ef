"""The trace against brute force."""

import numpy as np
import pytest

from theory.laws.spectrum import trace


@pytest.mark.parametrize("n", [1, 3, 16, 17, 500])
@pytest.mark.parametrize("beta", [0.3, 1.0, 1.0001, 2.5])
def test_trace_and_derivatives(n, beta):
    i = np.arange(1, n + 1, dtype=float)
    found = trace(n, beta)
    assert float(found.ln_z) == pytest.approx(np.log((i**-beta).sum()), abs=1e-9)
    assert float(found.d_beta) == pytest.approx(-(np.log(i) * i**-beta).sum() / (i**-beta).sum(), abs=1e-8)


def test_slope_in_neurons():
    step = 1e-4
    up, down = trace(300 * np.exp(step), 0.8).ln_z, trace(300 * np.exp(-step), 0.8).ln_z
    assert float(trace(300, 0.8).d_ln_n) == pytest.approx(float(up - down) / (2 * step), rel=1e-6)
