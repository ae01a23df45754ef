"""What a search is for, `optimum at P=1e6`, and when it ends, `ci(d_m_opt @ 1e6) < 20% or hours >= 8`.

Both are small languages of their own, read by two patterns and refused with an example otherwise; nothing is evaluated.
"""

import re
from dataclasses import dataclass

from cluster.errors import unknown_name
from cluster.limits import check_limit
from cluster.values import raised_as
from sweeper.errors import SweeperError

QUANTITIES = ("d_m_opt", "n_rec_opt", "metric", "exponent", "alpha", "beta")
"""What an interval can be asked for: the optimal d_m or n_rec and the frontier's metric at a budget, d ln d_m / d ln P,
and the law's exponents of noise and redundancy."""

AT_A_BUDGET = ("d_m_opt", "n_rec_opt", "metric")

LEAST_TRIALS = 9
"""Trials of the space-filling start, before which no law is fitted (assumption)."""

_NUMBER = r"[0-9][0-9_,]*(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?"
_TARGET = re.compile(rf"(?P<what>[a-z_]+)(?:\s*(?:at|@)\s*(?:p\s*=\s*)?(?P<budget>{_NUMBER}))?", re.IGNORECASE)
_INTERVAL = re.compile(rf"ci\(\s*(?P<target>[^)]*)\)\s*<=?\s*(?P<width>{_NUMBER})\s*(?P<percent>%?)", re.IGNORECASE)
_COUNT = re.compile(rf"(?P<what>trials|hours|plateau)\s*>=?\s*(?P<number>{_NUMBER})", re.IGNORECASE)


class TargetError(SweeperError):
    """A target or stop rule that cannot be read or cannot be met; the message shows how one looks."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A quantity that shall become certain."""

    quantity: str
    """One of `QUANTITIES`."""
    budget: float | None = None
    """P; None means every budget of the grid."""

    def __str__(self) -> str:
        return self.quantity if self.budget is None else f"{self.quantity} @ {self.budget:g}"


@dataclass(frozen=True, kw_only=True)
class Limit:
    """One condition that ends a search."""

    kind: str
    """`ci`, `trials`, `hours` or `plateau`."""
    bound: float
    """Half-width of the 95 % interval relative to the estimate; trials; hours; batches."""
    target: Target | None = None
    """ci: of what."""


def read_target(text: str) -> Target:
    """Read ``optimum at P=1e6``, ``metric at P=1e6``, ``exponent``, ``alpha``.

    Raises:
        TargetError: it is none of these.
    """
    match = _TARGET.fullmatch(text.strip())
    if match is None:
        raise TargetError(
            f"target: {text!r} is not understood; write for example 'optimum at P=1e6', 'exponent' or 'alpha'"
        )
    name = match["what"].lower()
    # The words that people use for them beside their names.
    quantity = {"optimum": "d_m_opt", "frontier": "metric", "d_m": "d_m_opt", "n_rec": "n_rec_opt"}.get(name, name)
    if quantity not in QUANTITIES:
        raise TargetError(unknown_name("target", name, ("optimum", *QUANTITIES)))
    budget = None if match["budget"] is None else _within("budget", _number(match["budget"]), f"target: {text!r}")
    if budget is not None and quantity not in AT_A_BUDGET:
        raise TargetError(f"target: {text!r}: {quantity} belongs to the law, not to one budget; leave the budget out")
    return Target(quantity=quantity, budget=budget)


def read_rule(text: str) -> tuple[Limit, ...]:
    """Read a stop rule: conditions joined by `or`.

    Raises:
        TargetError: a condition is not understood, contradicts another one, or can never be met.
    """
    # Only `or` is understood: a search ends by the first of several conditions, and `and` would need all of them at one
    # time.
    parts = [part.strip() for part in re.split(r"\s+or\s+", text.strip(), flags=re.IGNORECASE)]
    if re.search(r"\sand\s", text, flags=re.IGNORECASE):
        raise TargetError(f"until: {text!r}: conditions are joined by `or`: the first one that holds ends the search")
    limits = tuple(_limit(part, text) for part in parts)
    named = [(limit.kind, limit.target) for limit in limits]
    for limit in limits:
        if named.count((limit.kind, limit.target)) > 1:
            raise TargetError(f"until: {text!r} has two limits on {_name(limit)}; they contradict each other, keep one")
    few = [limit for limit in limits if limit.kind == "trials" and limit.bound < LEAST_TRIALS]
    # Such a rule would end every search before its interval could be looked at.
    if few and any(limit.kind == "ci" for limit in limits):
        raise TargetError(
            f"until: {text!r}: an interval needs at least {LEAST_TRIALS} trials, and trials >= {few[0].bound:g} ends "
            "the search before; raise it or leave it out"
        )
    return limits


def _limit(part: str, text: str) -> Limit:
    interval = _INTERVAL.fullmatch(part)
    if interval is not None:
        width = _number(interval["width"]) / (100 if interval["percent"] else 1)
        # Half a width of 100 % reaches down to zero, which says nothing about a size.
        if not 0 < width < 1:
            raise TargetError(
                f"until: {part!r}: half the width of an interval over its estimate lies between 0 and 100 %"
            )
        return Limit(kind="ci", bound=width, target=read_target(interval["target"]))
    count = _COUNT.fullmatch(part)
    if count is None:
        raise TargetError(
            f"until: {part!r} is not understood in {text!r}; write for example 'ci(d_m_opt @ 1e6) < 20%', "
            "'trials >= 200', 'hours >= 8', 'plateau >= 3' (batches without progress), joined by `or`"
        )
    kind, bound = count["what"].lower(), _number(count["number"])
    if bound <= 0 or (kind != "hours" and not bound.is_integer()):
        raise TargetError(f"until: {part!r}: {kind} needs a {'number' if kind == 'hours' else 'whole number'} above 0")
    _within("hours" if kind == "hours" else "trials", bound, f"until: {part!r}")
    return Limit(kind=kind, bound=bound)


def _name(limit: Limit) -> str:
    return limit.kind if limit.target is None else f"ci({limit.target})"


def _within(key: str, value: float, place: str) -> float:
    """The value, within its limit of `cluster.limits`."""
    with raised_as(TargetError):
        check_limit(key, value, place)
    return value


def _number(text: str) -> float:
    # As people and YAML write large numbers: 1_000_000 or 1,000,000.
    return float(text.replace("_", "").replace(",", ""))
