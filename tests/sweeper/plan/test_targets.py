"""Targets and stop rules: what is understood, and that everything else is refused with an example."""

import re

import pytest

from sweeper.plan.targets import Limit, Target, TargetError, read_rule, read_target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("optimum at P=1e6", Target(quantity="d_m_opt", budget=1e6)),
        ("optimum", Target(quantity="d_m_opt")),
        ("d_m_opt @ 1_000_000", Target(quantity="d_m_opt", budget=1e6)),
        ("metric at P = 3,500,000", Target(quantity="metric", budget=3.5e6)),
        ("n_rec_opt @ 1e+06", Target(quantity="n_rec_opt", budget=1e6)),
        ("Exponent", Target(quantity="exponent")),
        ("alpha", Target(quantity="alpha")),
    ],
)
def test_targets_are_read(text, target):
    assert read_target(text) == target
    assert read_target(str(target)) == target


def test_rules_are_read():
    rule = read_rule("ci(d_m_opt @ 1e6) < 20% or trials >= 200 OR hours > 8 or plateau >= 3")
    assert rule == (
        Limit(kind="ci", bound=0.2, target=Target(quantity="d_m_opt", budget=1e6)),
        Limit(kind="trials", bound=200),
        Limit(kind="hours", bound=8),
        Limit(kind="plateau", bound=3),
    )
    assert read_rule("ci(alpha) < 0.1")[0].bound == 0.1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("optimum at 1e6 please", "is not understood; write for example 'optimum at P=1e6'"),
        ("optimun", "target: 'optimun' is not known; did you mean 'optimum'"),
        ("beta at P=1e6", "beta belongs to the law, not to one budget"),
        ("optimum at P=-3", "is not understood"),
    ],
)
def test_other_targets_are_refused(text, message):
    with pytest.raises(TargetError, match=re.escape(message)):
        read_target(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ci(d_m_opt @ 1e6) < 0%", "lies between 0 and 100 %"),
        ("ci(d_m_opt @ 1e6) < 20", "lies between 0 and 100 %"),
        ("ci(d_m_opt @ 1e6) > 20%", "is not understood in"),
        ("__import__('os')", "write for example 'ci(d_m_opt @ 1e6) < 20%', 'trials >= 200'"),
        ("trials >= 2.5", "trials needs a whole number above 0"),
        ("hours >= 0", "hours needs a number above 0"),
        ("trials >= 50 or trials >= 90", "two limits on trials; they contradict each other"),
        ("ci(alpha) < 5% or ci(alpha) < 9%", "two limits on ci(alpha)"),
        (
            "trials >= 5 or ci(alpha) < 9%",
            "an interval needs at least 9 trials, and trials >= 5 ends the search before",
        ),
        ("trials >= 5 and hours >= 3", "conditions are joined by `or`"),
    ],
)
def test_other_rules_are_refused(text, message):
    with pytest.raises(TargetError, match=re.escape(message)):
        read_rule(text)
