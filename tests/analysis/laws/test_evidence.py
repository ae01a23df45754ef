"""Evidence about a law: which laws are asked."""

from dataclasses import replace

from analysis.laws.evidence import one_of_each_family
from theory.uncertainty.selection import compare


def test_families_are_told_by_the_laws_and_not_by_the_names_of_the_fits(law):
    """A law of two names is one family, and names that begin alike are none."""
    first, second = [row.name for row in law.comparison.rows if law.fits[row.name] is not law.fit][:2]
    best, next_best = law.fits[first], law.fits[second]
    assert best.law.name != next_best.law.name
    fits = {"chosen": law.fit, "one": best, "two": best, "one: more": next_best}
    kept = one_of_each_family(replace(law, fits=fits, comparison=compare(fits)), fits)
    assert [fit.law.name for fit in kept.values()] == [law.fit.law.name, best.law.name, next_best.law.name]
