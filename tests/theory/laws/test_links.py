"""Links and the logit scale."""

import numpy as np
import pytest

from theory.errors import TheoryError
from theory.laws.links import apply_link, from_logit, to_logit

BITS = np.array([3.0, 40.0, 900.0])


def test_box_cox_contains_affine_and_log():
    one = apply_link(BITS, "boxcox", lam=np.array(1.0), i_ref=10.0).value
    np.testing.assert_allclose(one, BITS / 10 - 1)
    zero = apply_link(BITS, "boxcox", lam=np.array(0.0), i_ref=10.0).value
    np.testing.assert_allclose(zero, np.log(BITS / 10))


@pytest.mark.parametrize("lam", [-1.5, -1e-5, 0.0, 3e-5, 0.4, 2.0])
def test_box_cox_derivatives(lam):
    step = 1e-6
    at = apply_link(BITS, "boxcox", lam=np.array(lam), i_ref=10.0)
    up, down = (apply_link(BITS, "boxcox", lam=np.array(lam + s), i_ref=10.0).value for s in (step, -step))
    np.testing.assert_allclose(at.d_lam, (up - down) / (2 * step), rtol=1e-5)
    up, down = (apply_link(BITS * np.exp(s), "boxcox", lam=np.array(lam), i_ref=10.0).value for s in (step, -step))
    np.testing.assert_allclose(at.d_ln_i, (up - down) / (2 * step), rtol=1e-7)


def test_logit_inverts():
    accuracy = np.array([0.1, 0.5, 0.94])
    np.testing.assert_allclose(from_logit(to_logit(accuracy, chance=0.05), chance=0.05), accuracy)


def test_logit_names_the_row_at_chance():
    with pytest.raises(TheoryError, match=r"row 1 is 0.05"):
        to_logit([0.5, 0.05], chance=0.05)
