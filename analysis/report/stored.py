"""Intervals and held-out errors of a stored report, read back for the page, which computes none of its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.errors import AnalysisError
from analysis.laws.findings import Estimate, Exponents, HeldOutErrors, NoInterval, StoredEvidence
from analysis.laws.view import View
from analysis.report.verify import read_report
from theory.uncertainty.heldout import HeldOut
from theory.uncertainty.intervals import Interval


def evidence_in(view: View, folder: Path | None) -> StoredEvidence | None:
    """The evidence of the first report in a results directory that was made from these very rows with this very law.

    A directory may hold several: a fit of some rows chosen by a condition, say, and one of all.

    Args:
        view: the group with its fitted law.
        folder: where `analysis fit-theory` has written reports; None where there can be none.

    Returns:
        The evidence, that of a whole report before that of a quick one; None where no report fits.
    """
    reports = [] if folder is None else sorted(folder.glob("fit*.json"))
    fitting = [stored for path in reports if (stored := stored_evidence(view, path)) is not None]
    return min(fitting, key=lambda stored: stored.of_quick_report, default=None)


def stored_evidence(view: View, path: Path) -> StoredEvidence | None:
    """The evidence of a stored report, if it was made from these very rows with this very law.

    Args:
        view: the group with its fitted law.
        path: the report's JSON.

    Returns:
        The evidence; None where there is no such report, or one that cannot be read: the page then says that intervals
        need a new one.
    """
    fit = view.law.fit
    if not path.exists() or fit is None:
        return None
    try:
        report = read_report(str(path))
        # Compared by the hash of the rows and not by the name of the group: after new trials the old intervals do not
        # hold.
        same = [name for name, rows in report["provenance"]["rows_sha256"].items() if rows == view.data.rows_sha256]
        # The page fits anew and may have been asked for another law, whose parameters the stored intervals do not
        # describe.
        groups = [group for group in report["groups"] if group["label"] in same and group["law"]]
        if not groups or groups[0]["law"]["law"]["label"] != fit.law.label:
            return None
        return _evidence(groups[0]["evidence"], path.name)
    except (AnalysisError, KeyError, TypeError, AttributeError):  # another version's file, or no report at all
        return None


def _evidence(stored: Mapping[str, Any], source: str) -> StoredEvidence:
    """Read one group's evidence; a quick report has none, and its dictionary is empty."""
    held_out = dict(stored.get("held_out", {}))
    for part in ("budget", "k_e"):
        if part in held_out:
            held_out[part] = tuple(HeldOut(**row) for row in held_out[part])
    return StoredEvidence(
        parameters=tuple(Interval(**row) for row in stored.get("parameters", ())),
        exponents=tuple(_exponents(row) for row in stored.get("exponents", ())),
        held_out=HeldOutErrors(**held_out),
        intervals_reason=stored.get("intervals_reason"),
        source=source,
    )


def _exponents(row: Mapping[str, Any]) -> Exponents:
    sizes = {name: _estimate(row[name]) for name in ("n_rec", "k_e", "d_m")}
    return Exponents(budget=row["budget"], k_c=row["k_c"], **sizes)


def _estimate(row: Mapping[str, Any]) -> Estimate:
    return Interval(**row) if "quantity" in row else NoInterval(**row)
