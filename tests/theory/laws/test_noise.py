"""Floors of the noise law."""

import numpy as np
import pytest

from theory.errors import TheoryError
from theory.laws.noise import DECAYS, noise

K = np.geomspace(10, 1e5, 50)
VALUES = {"alpha": np.array(0.8), "k_decay": np.array(3e3), "stretch": np.array(0.5)}


@pytest.mark.parametrize("decay", list(DECAYS))
def test_max_floor_is_the_decay_at_the_smaller_size(decay):
    theta = {name: VALUES[name] for name in DECAYS[decay]} | {"k_floor": np.array(2e3)}
    floored = noise(K, 1e3, theta, decay=decay, floor="max").ln_nu
    np.testing.assert_array_equal(floored, noise(np.minimum(K, 2e3), 1e3, theta, decay=decay).ln_nu)


def test_additive_floor_vanishes_as_it_moves_out():
    theta = {"alpha": np.array(0.8), "k_floor": np.array(1e25)}
    np.testing.assert_allclose(
        noise(K, 1e3, theta, floor="additive").ln_nu, noise(K, 1e3, theta, floor="none").ln_nu, atol=1e-12
    )


def test_additive_floor_doubles_the_noise_at_k_floor():
    found = noise(500.0, 1e3, {"alpha": np.array(0.8), "k_floor": np.array(500.0)}, floor="additive")
    assert float(found.ln_nu) == pytest.approx(np.log(2 * 0.5**-0.8))
    assert float(found.local_exponent) == pytest.approx(0.4)


@pytest.mark.parametrize("decay", list(DECAYS))
@pytest.mark.parametrize("floor", ["none", "max", "additive"])
def test_local_exponent_is_the_slope(decay, floor):
    theta = {name: VALUES[name] for name in DECAYS[decay]} | {"k_floor": np.array(2e3)}
    step = 1e-6
    up, down = (noise(K * np.exp(s), 1e3, theta, decay=decay, floor=floor).ln_nu for s in (step, -step))
    slope = noise(K, 1e3, theta, decay=decay, floor=floor).local_exponent
    np.testing.assert_allclose(slope, -(up - down) / (2 * step), atol=1e-6)


def test_unknown_names_list_choices():
    with pytest.raises(TheoryError, match="none, max, additive"):
        noise(K, 1e3, VALUES, floor="min")
    with pytest.raises(TheoryError, match="power, exponential, stretched"):
        noise(K, 1e3, VALUES, decay="linear")


def test_stretched_exponential_joins_power_law_and_exponential():
    theta = {"alpha": np.array(0.8), "stretch": np.array(1e-9), "k_decay": np.array(1e3 / 0.8)}
    stretched = noise(K, 1e3, theta, decay="stretched").ln_nu
    np.testing.assert_allclose(stretched, noise(K, 1e3, theta).ln_nu, rtol=1e-6)
    one = noise(K, 1e3, {**theta, "stretch": np.array(1.0)}, decay="stretched").ln_nu
    np.testing.assert_allclose(one, noise(K, 1e3, theta, decay="exponential").ln_nu, rtol=1e-12, atol=1e-15)
