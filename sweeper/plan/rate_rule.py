"""A learning rate that follows the network's sizes: ``scale n_rec^a d_m^b``, kept within the range it was fitted on.

A rule is part of the grid and not looked up in a store, so that a trial's id says what was trained. `analysis
learning-rate DIR` fits one to a pilot and prints the line.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from cluster.limits import check_limit
from cluster.values import check_keys, number
from sweeper.errors import GridError

DIGITS = 4
"""Significant digits of a rate, so that it reads well and does not depend on a processor's last bit."""


@dataclass(frozen=True, kw_only=True)
class RateRule:
    """The peak learning rate of a trial as a power of its sizes."""

    scale: float
    """Rate of a network with n_rec = d_m = 1."""
    n_rec: float = 0.0
    """Exponent of the number of neurons."""
    d_m: float = 0.0
    """Exponent of the memory units per neuron; without effect where the architecture has none."""
    low: float = 0.0
    """Smallest rate."""
    high: float = float("inf")
    """Largest rate."""

    def rate(self, model: Any) -> float:
        """The learning rate of a model configuration."""
        # 1 to any power is 1: an architecture without d_m follows n_rec alone.
        sizes = float(model.n_rec) ** self.n_rec * float(getattr(model, "d_m", 1)) ** self.d_m
        # Rounded, because the rate enters the trial's id, and powers differ in their last bit between libraries of
        # mathematics.
        return float(f"{min(self.high, max(self.low, self.scale * sizes)):.{DIGITS}g}")


def read_rule(entry: Mapping[Any, Any], place: str) -> RateRule:
    """Read ``{rule: {scale: 0.05, n_rec: -0.3, d_m: -0.2, low: 1e-4, high: 0.03}}``.

    Raises:
        GridError: a key is unknown, a value is no number, or no rate is left.
    """
    content = entry["rule"]
    if set(entry) != {"rule"} or not isinstance(content, dict):
        raise GridError(
            f"{place}: expected one mapping {{rule: {{scale: ..., n_rec: ..., d_m: ...}}}}, got {dict(entry)}"
        )
    valid = [field.name for field in fields(RateRule)]
    check_keys(f"{place}.rule.", content, valid)
    values = {key: number(value, f"{place}.rule.{key}") for key, value in content.items()}
    for key in ("n_rec", "d_m"):
        check_limit("exponent", values.get(key, 0.0), f"{place}.rule.{key}")
    if "scale" not in values:
        raise GridError(f"{place}.rule.scale: missing; `analysis learning-rate DIR` prints a fitted rule")
    rule = RateRule(**values)
    # Comparisons with NaN are false, so that a NaN is refused here as well.
    if not 0 < rule.scale < float("inf") or not 0 <= rule.low <= rule.high or rule.high == 0:
        raise GridError(f"{place}.rule: needs scale > 0 and 0 <= low <= high, got {content}")
    return rule
