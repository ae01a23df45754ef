"""Which law to believe: AICc on the same rows, with ties called ties and verdicts kept for leads that bear one."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from theory.errors import TheoryError
from theory.fit.fit import aicc_penalty
from theory.fit.restore import missed_means, restore
from theory.fit.result import FitResult
from theory.fit.statuses import TIE
from theory.types import FloatArray

MARGIN = 7.0
"""AICc by which a law must lead, beyond what nesting alone gives it, before it is called the right one: laws within 2
to 7 of the best keep some support and should not be dismissed (Burnham, Anderson and Huyvaert 2011, Behavioral Ecology
and Sociobiology 65, 23-35); it is a ratio of likelihoods of 33, "strong evidence" (Royall 1997: 32)."""


@dataclass(frozen=True, kw_only=True)
class Rank:
    """One law in a comparison."""

    name: str
    """Name given by the caller."""
    label: str
    """The law with its options."""
    n: int
    """Number of rows."""
    p: int
    """Number of parameters, coefficients included."""
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
    """The laws, best first."""
    verdict: str
    """What may be concluded, as a sentence."""

    @property
    def best(self) -> str:
        """Name of the first."""
        return self.rows[0].name


def compare(fits: Mapping[str, FitResult], *, titles: Mapping[str, str] | None = None) -> Comparison:
    """Rank least-squares fits of the same rows by AICc.

    Args:
        fits: Fits by a name of the caller's choice; the rows, weights and direction must be the same.
        titles: What the verdict calls each of them; default: its name.

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
    scores = {name: fit.aicc for name, fit in fits.items() if fit.aicc is not None}
    lowest = min(scores.values(), default=None)
    # Fits without an AICc come last; the sort is stable, so ties keep the caller's order.
    order = sorted(fits, key=lambda name: scores.get(name, np.inf))
    rows = tuple(_rank(name, fits[name], lowest) for name in order)
    return Comparison(rows=rows, verdict=_verdict(rows, titles or {}))


def means_aicc(rss: FloatArray, means: int, p: int) -> FloatArray:
    """AICc of the means of configurations, from their weighted sum of squares; inf where there are too few.

    >>> float(means_aicc(np.array(27 * 0.01), 27, 6).round(2))
    -104.44
    """
    penalty = aicc_penalty(means, p)
    if penalty is None:
        return np.full(np.shape(rss), np.inf)
    # An exact fit has an AICc of minus infinity, which is the right order and no error.
    with np.errstate(divide="ignore"):
        return np.asarray(means * np.log(rss / means) + penalty)


@dataclass(frozen=True, kw_only=True)
class Decision:
    """Which kind of law is the right one, if these rows say so whichever way they are looked at."""

    winner: str | None
    """The kind that leads everywhere by more than the margin; None: not decided."""
    leads: dict[str, tuple[str, float]]
    """By condition: the kind of the best law, and its smallest AICc lead over laws of other kinds beyond nesting."""
    sentence: str
    """What may be concluded, as a sentence."""


def decide(fits: Mapping[str, Mapping[str, FitResult]], kinds: Mapping[str, str] | None = None) -> Decision:
    """Decide between kinds of laws, such as forms of the noise law, under several links and on runs and means alike.

    A law that contains another one never does worse but for the penalty of its further parameters, so a lead of the
    smaller law by that penalty says nothing against the larger. The verdict asks for `MARGIN` beyond it, and for the
    same winner under every link, with the runs and with the means of the configurations as the rows.

    Args:
        fits: Least-squares fits by link (or other condition), then by the law's name; the same names under every link.
        kinds: Kind of each law by its name; default: each is its own kind.

    Raises:
        TheoryError: no fits, fits of other rows, or a single kind.

    >>> from theory.data.published import load_published
    >>> from theory.fit.fit import fit_law
    >>> table = load_published("enwik8")
    >>> names = ("quadratic", "cubic")
    >>> decide({"affine": {name: fit_law(name, table.design, table.columns["test_bpc"]) for name in names}}).winner
    """
    if not fits:
        raise TheoryError("fits: empty; nothing to compare")
    leads: dict[str, tuple[str, float]] = {}
    for link, laws in fits.items():
        _check_same(laws)
        names = {name: name if kinds is None else kinds[name] for name in laws}
        if len(set(names.values())) < 2:
            raise TheoryError(f"fits.{link}: one kind of law only ({', '.join(laws)}); nothing to decide")
        # Both units of evidence are asked, because each can mislead: runs count a law's miss once for every seed, means
        # have fewer degrees of freedom.
        for unit, scores in (("runs", _scores(laws)), ("means", _scores(laws, means=True))):
            leads[f"{link} link, {unit}"] = _lead(scores, names)
    best = {kind for kind, _ in leads.values()}
    least = min(lead for _, lead in leads.values())
    # A single kind must lead everywhere: a verdict that changes with the link or the unit of evidence is none.
    winner = best.pop() if len(best) == 1 and least > MARGIN else None
    by_condition = "; ".join(f"{name}: {kind} by {lead:.1f}" for name, (kind, lead) in leads.items())
    if winner is not None:
        return Decision(
            winner=winner,
            leads=leads,
            sentence=f"{winner} leads everywhere by more than {MARGIN:g} AICc ({by_condition}).",
        )
    return Decision(
        winner=None,
        leads=leads,
        sentence=f"Not decided: a verdict takes a lead of {MARGIN:g} AICc beyond nesting under every link, on runs and "
        f"on means ({by_condition}).",
    )


def _scores(laws: Mapping[str, FitResult], *, means: bool = False) -> dict[str, tuple[float, float]]:
    """AICc and its penalty by law, of the runs or of the means; laws without one are left out."""
    scores: dict[str, tuple[float, float]] = {}
    for name, fit in laws.items():
        if means:
            restored = restore(fit)
            n = len(restored.problem.design)
            # Back to metric units, so that laws fitted under the same rows share one scale.
            rss = missed_means(fit, restored) * restored.compiled.scale**2
            score = float(means_aicc(np.array(rss), n, fit.p))
        else:
            n, score = fit.n, np.inf if fit.aicc is None else fit.aicc
        penalty = aicc_penalty(n, fit.p)
        if penalty is not None and np.isfinite(score):
            scores[name] = (score, penalty)
    return scores


def _lead(scores: Mapping[str, tuple[float, float]], kinds: Mapping[str, str]) -> tuple[str, float]:
    """The kind of the best law, and its smallest lead over the laws of other kinds beyond nesting."""
    if not scores:
        return "none", 0.0
    first = min(scores, key=lambda name: scores[name][0])
    score, penalty = scores[first]
    # Laws of the winner's own kind do not count: a verdict is between kinds.
    leads = [
        # A larger law that contains the winner can fit no worse, so its AICc is at most the difference of the penalties
        # behind. Only what goes beyond that is evidence against it.
        other - score - max(0.0, more - penalty)
        for name, (other, more) in scores.items()
        if kinds[name] != kinds[first]
    ]
    return kinds[first], min(leads, default=0.0)


def _check_same(fits: Mapping[str, FitResult]) -> None:
    if not fits:
        raise TheoryError("fits: empty; nothing to compare")
    first = next(iter(fits.values())).inputs
    # AICc compares likelihoods of the same data: other rows, weights or a transformed metric would shift it by
    # what has nothing to do with the laws.
    for name, fit in fits.items():
        inputs = fit.inputs
        if inputs.loss != "least_squares":
            raise TheoryError(
                f"fits.{name}: loss {inputs.loss!r} has no AICc; "
                "compare least-squares fits and report the robust ones beside them"
            )
        if (
            inputs.metric.shape != first.metric.shape
            or not np.array_equal(inputs.metric, first.metric)
            or inputs.direction != first.direction
        ):
            raise TheoryError(
                f"fits.{name}: fitted to other rows than the first; AICc compares laws on the same rows only"
            )
        if (inputs.weights is None) != (first.weights is None) or (
            inputs.weights is not None
            and first.weights is not None
            and not np.array_equal(inputs.weights, first.weights)
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
        # Unusable fits stay in the table with their AICc, since hiding them would hide that they were tried.
        usable=fit.usable,
        warnings=tuple(status.code for status in fit.statuses if status.level == "warning"),
    )


def _verdict(rows: tuple[Rank, ...], titles: Mapping[str, str]) -> str:
    tied = [titles.get(row.name, row.name) for row in rows if row.tied]
    if not tied:
        return "No law has an AICc here: fits are exact or have too few rows."
    # Asked before ties in general: a tie with no law at all is the stronger statement.
    if any(row.label == "constant" for row in rows if row.tied):
        return f"No law beats the constant (within {TIE:g} of the best AICc); the data show no dependence on the sizes."
    if len(tied) > 1:
        return f"Tie: {', '.join(tied)} are within {TIE:g} AICc units; these rows cannot tell them apart."
    # The first row is the one that leads; the next with an AICc is its rival.
    others = [row for row in rows[1:] if row.delta is not None]
    if not others:
        return f"{tied[0]} is the only law with an AICc here."
    second = others[0]
    assert second.delta is not None, "laws without an AICc were left out"
    rival = titles.get(second.name, second.name)
    ahead = f"{second.delta:.1f} AICc units before {rival}"
    if second.delta <= MARGIN:
        return f"{tied[0]} is ahead, {ahead}: less than the {MARGIN:g} of a verdict, so {rival} is not ruled out."
    return f"{tied[0]} is preferred, {ahead}; in-sample, so check it against a held-out budget."
