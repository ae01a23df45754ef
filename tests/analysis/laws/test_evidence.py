"""Evidence about a law: which laws are asked."""

from dataclasses import replace

from analysis.laws.evidence import one_of_each_family
from theory.uncertainty.selection import compare


def test_families_are_told_by_the_laws_and_not_by_the_names_of_the_fits(law):
    """Two names of one law are one family; a user's law may bear any name, with a colon too."""
    quadratic, power = law.fits["quadratic"], law.fits["power_law"]
    fits = {"chosen": law.fit, "a: b": quadratic, "first": power, "a: c": law.fits["constant"], "second": power}
    renamed = replace(law, fits=fits, comparison=compare(fits))
    kept = one_of_each_family(renamed, fits)
    assert len(kept) == 3
    assert next(iter(kept)) == "chosen"
    names = [fit.law.name for fit in kept.values()]
    assert len(set(names)) == 3
    ranked = [row.name for row in compare(fits).rows]
    assert list(kept)[1:] == sorted(list(kept)[1:], key=ranked.index)
