"""What an entry about joint fits says of its models: tests, values per level, and the verdict, as JSON values."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from analysis.laws.theory_fit import TIE
from theory.errors import TheoryError
from theory.fit.f_tests import holm, nested
from theory.fit.result import FitResult
from theory.uncertainty.intervals import delta

Json = dict[str, Any]

SHARED = "all shared"
"""The model in which no parameter varies, against which the others are tested."""

SURE = 0.01
"""Chance below which a difference between levels counts as shown (F test, after Holm). Assumption."""


def write_models(
    entry: Json, fits: Mapping[str, FitResult], tested: Mapping[str, str], setting: str, *, whole: str | None = None
) -> None:
    """Write models, parameters per level and the verdict into an entry."""
    known = {name: fit.aicc for name, fit in fits.items() if fit.aicc is not None}
    lowest = min(known.values(), default=None)
    for name, fit in fits.items():
        # With several named parameters the parts are tested against the whole fit, else each against the one in which
        # all is shared.
        other = fits.get(whole) if whole and name != whole else fits.get(SHARED)
        test = nested(fit, other) if other is not None and other is not fit else None
        entry["models"].append(
            {
                "model": name,
                "vary": dict(fit.inputs.vary),
                "p": fit.p,
                "n": fit.n,
                "rmse": fit.rmse,
                "aicc": fit.aicc,
                "delta": None if name not in known or lowest is None else known[name] - lowest,
                "usable": fit.usable,
                "warnings": [status.code for status in fit.statuses if status.level in ("warning", "error")],
            }
            | ({"f": None, "df": None, "p_value": None} if test is None else test._asdict() | {"df": list(test.df)})
        )
    for name in tested:
        if name in fits and fits[name].inputs.vary:
            entry["parameters"] += _per_level(name, fits[name])
    _adjust(entry, tested)
    entry["sentences"] += _verdict(entry, tested, setting)


def _adjust(entry: Json, tested: Mapping[str, str]) -> None:
    """Adjust the chances for the number of models tested."""
    rows = [row for row in entry["models"] if row["model"] in tested and row["p_value"] is not None]
    # One test per parameter that might vary: the more are tried, the likelier the smallest chance is small by luck.
    adjusted = holm([row["p_value"] for row in rows])
    for row in entry["models"]:
        row["p_holm"] = None
    for row, chance in zip(rows, adjusted, strict=True):
        row["p_holm"] = chance


def _per_level(model: str, fit: FitResult) -> list[Json]:
    """Value of each varying parameter at each level, with its interval by the delta method."""
    try:
        # An interval around numbers that did not converge would look like knowledge.
        known = {row.quantity: row for row in delta(fit)} if fit.usable else {}
        reason = None if fit.usable else "the fit is not usable"
    except (TheoryError, np.linalg.LinAlgError) as error:
        known, reason = {}, str(error)
    rows = []
    for label, number in fit.searched.items():
        # Parameters that are shared stand in the group's own report.
        if number.column is None:
            continue
        interval = known.get(label)
        rows.append(
            {
                "model": model,
                "parameter": number.parameter.name,
                "level": str(number.level),
                "setting": number.column,
                "value": fit.values[label],
                "low": None if interval is None else interval.low,
                "high": None if interval is None else interval.high,
                "reason": reason if interval is None else interval.reason,
            }
        )
    order = in_order({str(row["level"]) for row in rows})  # the fit numbers levels by the alphabet: 128 before 16
    parameters = list(dict.fromkeys(row["parameter"] for row in rows))
    return sorted(rows, key=lambda row: (parameters.index(row["parameter"]), order.index(row["level"])))


def _verdict(entry: Json, tested: Mapping[str, str], setting: str) -> list[str]:
    rows = [row for row in entry["models"] if row["model"] in tested and row["p_holm"] is not None and row["usable"]]
    if not rows:
        return []
    shown = [row for row in rows if row["p_holm"] < SURE]
    if not shown:
        least = min(rows, key=lambda row: row["p_holm"])
        return [
            f"No difference between the levels of {setting} is shown (smallest p = {least['p_holm']:.2g} after Holm, "
            f"for {least['model']}): one set of parameters describes them all."
        ]
    # A difference can often be put down to several parameters; among those that the test finds AICc decides.
    ranked = sorted((row for row in shown if row["aicc"] is not None), key=lambda row: row["aicc"])
    if not ranked:
        return []
    best = ranked[0]
    ties = [row["model"] for row in ranked[1:] if row["aicc"] - best["aicc"] <= TIE]
    equals = f" {', '.join(ties)} describe{'s' * (len(ties) == 1)} it as well (AICc within {TIE:g})." if ties else ""
    return [
        f"The levels of {setting} differ: best described by {best['model']} (F = {best['f']:.3g} with {best['df'][0]} "
        f"and {best['df'][1]} degrees of freedom, p = {best['p_holm']:.2g} after Holm).{equals}"
    ]


def in_order(levels: Iterable[str]) -> list[str]:
    """Levels that are numbers by size, then words; combinations of several settings likewise, part by part.

    >>> in_order(["none", "20", "5", "follows P"]), in_order(["10, 2", "10, 1", "9, none", "9, 16"])
    (['5', '20', 'follows P', 'none'], ['9, 16', '9, none', '10, 1', '10, 2'])
    """

    def key(level: str) -> list[tuple[bool, float, str]]:
        parts = pd.Series(level.split(", "), dtype=object)
        numbers = pd.to_numeric(parts, errors="coerce")
        # a word becomes NaN, which is equal to nothing and could not be sorted by
        return list(zip(numbers.isna(), numbers.fillna(0.0).astype(float), parts, strict=True))

    return sorted(levels, key=key)
