"""Truths to simulate from, as fixtures."""

import pytest

from tests.theory.truths import K_D60, SIM_COST, make_truth


@pytest.fixture(scope="session")
def cost():
    return SIM_COST


@pytest.fixture(scope="session")
def t1():
    return make_truth("max", {"u_ref": 1.1325, "alpha": 0.95, "beta": 0.9, "k_floor": K_D60}, a=1.7653, b=1.6e-4)


@pytest.fixture(scope="session")
def t1_log():
    theta = {"u_ref": 1.2013, "alpha": 0.95, "beta": 0.9, "k_floor": K_D60}
    return make_truth("max", theta, link="log", a=2.0630, b=0.061688)


@pytest.fixture(scope="session")
def t2():
    return make_truth(
        "additive", {"u_ref": 0.0963, "alpha": 0.95, "beta": 1.745, "k_floor": 141.3}, a=2.0816, b=6.3556e-3
    )
