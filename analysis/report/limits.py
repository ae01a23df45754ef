"""What a fitted law leaves open, judged by one interval for each of its parameters."""

from analysis.laws.findings import Evidence, StoredEvidence
from analysis.rows.axes import listed

WIDE = 10.0
"""Ratio of an interval's ends beyond which a parameter counts as not identified. Assumption."""


def unidentified(evidence: Evidence | StoredEvidence | None) -> list[str]:
    """Name the parameters whose interval is open or too wide to mean anything."""
    parameters = () if evidence is None else evidence.parameters or ()
    wide = [
        row.quantity
        for row in parameters
        # A ratio needs positive ends; parameters that may be negative, such as a Box-Cox exponent, are judged by it no
        # more than by an end that is missing.
        if row.low is None or row.high is None or (row.low > 0 and row.high / row.low > WIDE)
    ]
    if not wide:
        return []
    verb, plural = ("is", "") if len(wide) == 1 else ("are", "s")
    return [
        f"The law's parameter{plural} {listed(wide)} {verb} not identified by these rows (95 % interval{plural} open "
        f"or wider than a factor of {WIDE:g}); the best split may be known all the same. Run a sweep of n_rec at fixed "
        "d_m, more budgets or more seeds."
    ]
