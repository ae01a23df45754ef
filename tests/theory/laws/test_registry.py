"""Every law's derivatives, references, and the registry."""

import itertools

import numpy as np
import pytest

from theory.data.design import Design
from theory.errors import TheoryError
from theory.laws.base import REFERENCE
from theory.laws.registry import LAWS, get_law

RNG = np.random.default_rng(0)
DESIGN = Design(
    n_rec=RNG.uniform(20, 3000, 25),
    k_e=10 ** RNG.uniform(2.5, 5, 25),
    k_c=RNG.choice([300.0, 750.0, 1500.0], 25),
    tokens=10 ** RNG.uniform(5, 8, 25),
)
VARIANTS = [
    {"decay": decay, "floor": floor, "link": link, "connectivity": True}
    for decay, floor, link in itertools.product(
        ("power", "exponential", "stretched"), ("none", "max", "additive"), ("affine", "log", "boxcox")
    )
]
ALL = [("effective_information", options) for options in VARIANTS] + [
    *(("effective_information", {"floor": f, "alpha_of_n": True, "tokens": True}) for f in ("none", "max", "additive")),
    ("separable_power_law", {"connectivity": True, "tokens": True}),
    ("parameters_and_tokens", {}),
    ("power_law", {}),
    ("broken_power_law", {}),
]


def at(law, x):
    return {p.name: np.array([[float(p.to_natural(np.array(x[p.name])))]]) for p in law.parameters}


@pytest.mark.parametrize(("name", "options"), ALL)
def test_derivatives_against_central_differences(name, options):
    law = get_law(name, **options).bind(DESIGN)
    step = 1e-6
    for seed in range(2):
        rng = np.random.default_rng(seed)
        x = {p.name: rng.uniform(*p.start_range) for p in law.parameters}
        terms = law.terms(at(law, x), DESIGN)
        for p in law.parameters:
            up, down = (law.terms(at(law, {**x, p.name: x[p.name] + s}), DESIGN).columns for s in (step, -step))
            for j in range(len(terms.columns)):
                slope = terms.gradient.get((p.name, j), 0.0) + terms.gradient.get((p.name + REFERENCE, j), 0.0)
                expected = (up[j] - down[j]) / (2 * step)
                scale = np.abs(expected).max() + 1e-12
                np.testing.assert_allclose(slope * np.ones_like(expected), expected, atol=2e-6 * scale)


def test_references_do_not_change_predictions():
    theta = {"u_ref": 2.0, "alpha": 0.9, "beta": 1.2, "k_floor": 2e4}
    one = get_law("effective_information", k_ref=1e3, n_ref=100.0, k_range=(1e2, 1e5))
    two = get_law("effective_information", k_ref=5e3, n_ref=400.0, k_range=(1e2, 1e5))
    moved = {**theta, "u_ref": 2.0 * 5**0.9 * 4**-1.2}
    np.testing.assert_allclose(one.predict(theta, [3, 0.1], DESIGN), two.predict(moved, [3, 0.1], DESIGN), rtol=1e-12)


def test_derived_numbers_follow_the_definitions():
    law = get_law("effective_information", k_ref=1e3, n_ref=100.0, k_range=(1e2, 1e5))
    derived = law.derived({"u_ref": 2.0, "alpha": 0.9, "beta": 1.2, "k_floor": 2e4})
    assert derived["snr_ref"] == pytest.approx(2.0 * 100**1.2)
    assert derived["phi"] == pytest.approx(20**-0.9)


def test_unbound_law_says_what_to_do():
    with pytest.raises(TheoryError, match="bind the law"):
        _ = LAWS["effective_information"].parameters


def test_registry_lists_choices():
    with pytest.raises(TheoryError, match=r"separable_power_law.*path/to/file.py:name"):
        get_law("chinchilla")
    with pytest.raises(TheoryError, match="floor"):
        get_law("effective_information", flor="max")
    with pytest.raises(TheoryError, match="none, max, additive"):
        get_law("effective_information", floor="min")


def test_k_c_is_asked_for():
    with pytest.raises(TheoryError, match="k_c: missing"):
        get_law("separable_power_law", connectivity=True).bind(Design(n_rec=[1.0, 2.0], k_e=[1.0, 2.0]))
