"""Verify a report: compute every number again from the rows and compare it with what the file says."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from analysis.errors import AnalysisError
from analysis.laws.evidence import EvidenceSettings
from analysis.laws.findings import MeasuredValue
from analysis.laws.theory_fit import FitSettings
from analysis.report.collect import collect
from analysis.report.html import embedded_report
from analysis.report.model import FORMAT, ReportSettings
from analysis.report.report import assemble
from analysis.rows.load import datasets, read_sweep
from analysis.rows.sweep import Measure, Selection

TOLERANCE = 1e-6
"""Relative difference up to which two numbers agree: libraries and processors differ in the last digits of a fit."""

NOISY_TOLERANCE = 0.02
"""The same for numbers that rest on simulated draws, whose refits may end elsewhere in a last digit."""

NOISY = ("calibration", "optimum_intervals", "exponents", "parameters", "compute", "identifiability", "draws")
"""Parts of the evidence that rest on draws or profiles."""

LISTED = 20
"""Most differences that are listed."""


class OtherFormat(AnalysisError):
    """The file is no report, or one whose layout is another version's."""


class Difference(NamedTuple):
    """One number or text for which report and recomputation differ."""

    place: str
    """Its path in the document, such as ``report.groups[0].law.rmse``."""
    reported: str
    """What the file says, shortened."""
    recomputed: str
    """What the rows give, shortened."""


class Verdict(NamedTuple):
    """How many numbers were compared, and which of them differ."""

    numbers: int
    """Numbers compared."""
    differences: tuple[Difference, ...]
    versions: tuple[str, ...]
    """Libraries of another version than at the time of the report, as sentences."""

    @property
    def holds(self) -> bool:
        """Whether everything came out as the report says."""
        return not self.differences


def read_report(path: str) -> dict[str, Any]:
    """Read a report, HTML or JSON.

    Raises:
        AnalysisError: the file cannot be read or is no report of this format.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AnalysisError(f"{path}: cannot be read: {error}") from error
    try:
        report = json.loads(text) if path.endswith(".json") else embedded_report(text, path)
    except json.JSONDecodeError as error:
        raise AnalysisError(f"{path}: not readable as a report ({error})") from error
    # A list or a number is valid JSON too.
    if not isinstance(report, dict) or report.get("format") != FORMAT:
        raise OtherFormat(f"{path}: not a report of format {FORMAT}; make it anew with `analysis fit-theory`")
    return report


def verify(path: str, results: str | None = None) -> Verdict:
    """Compute a report again and compare.

    Args:
        path: the report, HTML or JSON.
        results: where the rows are now; default: where the report says they were.

    Raises:
        AnalysisError: the report or the rows cannot be read.
    """
    reported = read_report(path)
    origin = reported["provenance"]
    sweep = read_sweep(results or reported["sweep"]["uri"])
    settings = ReportSettings(
        selection=Selection(
            measure=Measure(**origin["measure"]),
            where=origin["where"],
            group=origin.get("group"),
            tokens=origin.get("tokens", False),
        ),
        fit=FitSettings(**origin["fit"]),
        evidence=EvidenceSettings(**origin["evidence"]) if origin["evidence"] else None,
        vary=tuple(origin["vary"]),
        fixed=tuple(MeasuredValue(**row) for row in origin.get("fixed", ())),
    )
    # a report without a group has stored no metric: there was no trial
    groups = datasets(sweep, settings.selection) if origin["measure"] else []
    again = assemble(sweep, list(collect(sweep, groups, settings)), settings)
    return compare_reports(reported, again.to_dict())


def compare_reports(reported: Mapping[str, Any], recomputed: Mapping[str, Any]) -> Verdict:
    """Compare two reports, number by number."""
    # Other versions explain a difference but are none themselves, so they are reported beside the verdict.
    ours, theirs = recomputed["provenance"].pop("versions"), dict(reported["provenance"])
    before = theirs.pop("versions")
    versions = [f"{k}: {before.get(k)} then, {v} now" for k, v in sorted(ours.items()) if before.get(k) != v]
    # Rows may have been moved or copied since; where they lie changes no number.
    place = {"label", "uri"}
    left = dict(reported) | {
        "provenance": theirs,
        "sweep": {k: v for k, v in reported["sweep"].items() if k not in place},
    }
    right = dict(recomputed) | {"sweep": {k: v for k, v in recomputed["sweep"].items() if k not in place}}
    pairs = list(_pairs(left, right, "report"))
    return Verdict(len(pairs), tuple(difference for pair in pairs if (difference := _differs(*pair))), tuple(versions))


def _pairs(reported: Any, recomputed: Any, place: str) -> Iterator[tuple[Any, Any, str]]:
    if isinstance(reported, Mapping) and isinstance(recomputed, Mapping):
        for key in sorted(set(reported) | set(recomputed)):
            yield from _pairs(reported.get(key, MISSING), recomputed.get(key, MISSING), f"{place}.{key}")
    # Lists of unequal length are one difference as a whole: element by element, everything behind an inserted row would
    # count.
    elif isinstance(reported, list) and isinstance(recomputed, list) and len(reported) == len(recomputed):
        for index, (one, two) in enumerate(zip(reported, recomputed, strict=True)):
            yield from _pairs(one, two, f"{place}[{index}]")
    else:
        yield reported, recomputed, place


MISSING = "(missing)"


def _differs(reported: Any, recomputed: Any, place: str) -> Difference | None:
    # Only within the evidence: a parameter's value elsewhere in the report does not rest on draws.
    noisy = any(f".{name}" in place for name in NOISY) and ".evidence." in place
    # True and False are numbers in Python, but a flag that flips is no rounding.
    if isinstance(reported, (int, float)) and isinstance(recomputed, (int, float)) and not isinstance(reported, bool):
        tolerance = NOISY_TOLERANCE if noisy else TOLERANCE
        # The last term lets numbers pass that are zero but for rounding, for which a relative tolerance allows nothing.
        if abs(reported - recomputed) <= tolerance * max(abs(reported), abs(recomputed)) + 1e-12:
            return None
    elif isinstance(reported, str) and isinstance(recomputed, str):
        # sentences quote rounded numbers, which are compared where they stand as numbers
        if reported == recomputed or (
            " " in reported and re.sub(r"[-+\d.e]+", "#", reported) == re.sub(r"[-+\d.e]+", "#", recomputed)
        ):
            return None
    elif reported == recomputed:
        return None
    return Difference(place, _short(reported), _short(recomputed))


def _short(value: Any) -> str:
    text = json.dumps(value) if not isinstance(value, str) else value
    return text if len(text) <= 80 else f"{text[:77]}..."
