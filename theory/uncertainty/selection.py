"""Which law to believe: AICc on the same rows, with ties called ties."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from theory.errors import TheoryError
from theory.fit.result import FitResult
from theory.fit.statuses import TIE


@dataclass(frozen=True, kw_only=True)
class Rank:
    """One law in a comparison."""

    name: str
    """Name given by the caller."""
    label: str
    """The law with its options."""
    n: int
    """Rows."""
    p: int
    """Parameters, coefficients included."""
    aicc: float | None
    """Smaller is better; None where it is undefined."""
    delta: float | None
    """AICc above the best."""
    tied: bool
    """Within 2 of the best."""
    pearson_r: float | None
    """In-sample correlation: last in rank, no evidence by itself."""
    rmse: float
    """In-sample error, metric units."""
    usable: bool
    """Whether the fit has no error status."""
    warnings: tuple[str, ...]
    """Codes of its warnings."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Laws in order of AICc."""

    rows: tuple[Rank, ...]
    """Best first."""
    verdict: str
    """What may be concluded, as a sentence."""

    @property
    def best(self) -> str:
        """Name of the first."""
        return self.rows[0].name


def compare(fits: Mapping[str, FitResult]) -> Comparison:
    """Rank least-squares fits of the same rows by AICc.

    Args:
        fits: Fits by a name of the caller's choice; the rows, weights and direction must be the same.

    Raises:
        TheoryError: fits of different rows or of robust losses, which have no common likelihood.

    >>> from theory.fit.fit import fit_law
    >>> from theory.data.published import load_published
    >>> table = load_published("enwik8")
    >>> names = ("quadratic", "separable_power_law", "constant")
    >>> fits = {name: fit_law(name, table.design, table.columns["test_bpc"]) for name in names}
    >>> [(row.name, round(row.delta, 1)) for row in compare(fits).rows]
    [('quadratic', 0.0), ('separable_power_law', 10.5), ('constant', 42.0)]
    """
    _check_same(fits)
    known = {name: fit.aicc for name, fit in fits.items() if fit.aicc is not None}
    lowest = min(known.values(), default=None)
    # Fits without an AICc come last; the sort is stable, so ties keep the caller's order.
    order = sorted(fits, key=lambda name: known.get(name, np.inf))
    rows = tuple(_rank(name, fits[name], lowest) for name in order)
    return Comparison(rows=rows, verdict=_verdict(rows))


def _check_same(fits: Mapping[str, FitResult]) -> None:
    if not fits:
        raise TheoryError("fits: empty; nothing to compare")
    first = next(iter(fits.values())).given
    # AICc compares likelihoods of the same data: other rows, weights or a transformed metric would shift it by
    # what has nothing to do with the laws.
    for name, fit in fits.items():
        given = fit.given
        if given.loss != "least_squares":
            raise TheoryError(
                f"fits.{name}: loss {given.loss!r} has no AICc; "
                "compare least-squares fits and report the robust ones beside them"
            )
        if (
            given.metric.shape != first.metric.shape
            or not np.array_equal(given.metric, first.metric)
            or given.direction != first.direction
        ):
            raise TheoryError(
                f"fits.{name}: fitted to other rows than the first; AICc compares laws on the same rows only"
            )
        if (given.weights is None) != (first.weights is None) or (
            given.weights is not None and first.weights is not None and not np.array_equal(given.weights, first.weights)
        ):
            raise TheoryError(f"fits.{name}: fitted with other weights than the first")


def _rank(name: str, fit: FitResult, lowest: float | None) -> Rank:
    delta = None if fit.aicc is None or lowest is None else fit.aicc - lowest
    return Rank(
        name=name,
        label=fit.law.label,
        n=fit.n,
        p=fit.p,
        aicc=fit.aicc,
        delta=delta,
        tied=delta is not None and delta <= TIE,
        pearson_r=fit.pearson_r,
        rmse=fit.rmse,
        usable=fit.usable,
        warnings=tuple(status.code for status in fit.statuses if status.level == "warning"),
    )


def _verdict(rows: tuple[Rank, ...]) -> str:
    tied = [row.name for row in rows if row.tied]
    if not tied:
        return "No law has an AICc here: fits are exact or have too few rows."
    # Asked before ties in general: a tie with no law at all is the stronger statement.
    if any(row.label == "constant" for row in rows if row.tied):
        return f"No law beats the constant (within {TIE:g} of the best AICc); the data show no dependence on the sizes."
    if len(tied) > 1:
        return f"Tie: {', '.join(tied)} are within {TIE:g} AICc units; these rows cannot tell them apart."
    second = (
        f", {rows[1].delta:.1f} AICc units before {rows[1].name}" if len(rows) > 1 and rows[1].delta is not None else ""
    )
    return f"{tied[0]} is preferred{second}; in-sample, so check it against a held-out budget."
