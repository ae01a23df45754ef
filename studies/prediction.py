"""A prediction before looking: what a law that was fitted to small budgets expects of a larger one."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import numpy as np

from analysis.errors import AnalysisError
from analysis.laws.theory_fit import LawFit
from analysis.rows.sweep import Sweep
from sweeper.plan.expand import Plan
from theory.data.design import Design
from theory.errors import TheoryError
from theory.fit.result import FitResult
from theory.uncertainty.intervals import prediction


def refuse_late(output: Path, plan: Plan, sweep: Sweep) -> None:
    """Refuse a prediction that is not made before looking.

    Args:
        output: where it is to be written.
        plan: the trials to come.
        sweep: all rows of the results directory, not only those that enter the fit.

    Raises:
        AnalysisError: there is a prediction already, or one of the trials to come has a row.
    """
    # A prediction that could be made again after looking would prove nothing.
    if output.exists():
        raise AnalysisError(f"{output}: there is a prediction already; a second one would not be made before looking")
    # The prediction is worth something only if nobody could have looked.
    already_run = set(sweep.trials["trial_id"]) & set(plan.trials)
    if already_run:
        raise AnalysisError(
            f"{plan.name}: {len(already_run)} of its trials are among the rows; a prediction must come first"
        )


def predict(law: LawFit, plan: Plan) -> dict[str, Any]:
    """Write down what the fitted laws expect of trials that have not been run.

    Args:
        law: the fit to what the prediction may rest on.
        plan: the trials to come; replicates count once.

    Returns:
        JSON values: per size the chosen law's mean and 95 % interval of one new run, and each rival's mean.

    Raises:
        AnalysisError: no law was fitted.
    """
    if law.fit is None:
        raise AnalysisError(f"{law.data.label}: no law was fitted, so nothing can be predicted")
    # Seeds of one network have the same expectation.
    points = {(row.spec.model, row.budget): row for row in plan.trials.values() if row.spec is not None}
    rows = [row for row in points.values() if row.counts is not None]
    design = _design(rows)
    expected = prediction(law.fit, design, kind="new_run")
    back = law.scale.back
    ends = np.sort(np.vstack([back(expected.low), back(expected.high)]), axis=0)
    rivals = {name: values for name, fit in law.fits.items() if (values := _extrapolated(law, fit, design)) is not None}
    return {
        # The time stands in the verdict beside the result, so that everybody can compare it with the rows' own times.
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "sweep": plan.name,
        "fitted_rows": len(law.data.rows),
        "rows_sha256": law.data.rows_sha256,
        "law": law.fit.law.label,
        "points": [
            {
                "budget": row.budget,
                "n_rec": row.spec.model.n_rec,  # type: ignore[union-attr]
                "d_m": getattr(row.spec.model, "d_m", None),  # type: ignore[union-attr]
                "k_c": row.counts.k_c,  # type: ignore[union-attr]
                "mean": float(back(expected.mean)[i]),
                "low": float(ends[0, i]),
                "high": float(ends[1, i]),
            }
            for i, row in enumerate(rows)
        ],
        "rivals": rivals,
    }


def _extrapolated(law: LawFit, fit: FitResult, design: Design) -> list[float] | None:
    """What a law expects; None where it cannot leave the budgets it was fitted to."""
    try:
        return [float(value) for value in law.scale.back(fit.predict(design))]
    except TheoryError:
        return None


def _design(rows: list[Any]) -> Design:
    return Design(
        n_rec=np.array([row.spec.model.n_rec for row in rows], dtype=float),
        k_e=np.array([row.counts.k_e for row in rows], dtype=float),
        k_c=np.array([row.counts.k_c for row in rows], dtype=float),
        trainable_params=np.array([row.counts.trainable_params for row in rows], dtype=float),
        budget=np.array([row.budget for row in rows], dtype=float),
        d_m=np.array([row.spec.model.d_m for row in rows], dtype=float),
    )


def write_prediction(expected: Mapping[str, Any], output: Path) -> None:
    """Write a prediction as JSON and print its points."""
    output.write_text(json.dumps(expected, indent=1) + "\n", encoding="utf-8")
    echo_points(expected)
    click.echo(f"wrote {output}")


def echo_points(expected: Mapping[str, Any]) -> None:
    """Print what is expected of each point."""
    for point in expected["points"]:
        place = f"P = {point['budget']:,} k_c = {point['k_c']} d_m = {point['d_m']}"
        click.echo(f"{place}: {point['mean']:.4f} ({point['low']:.4f} to {point['high']:.4f})")
