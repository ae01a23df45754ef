"""The questions of a replication study that a law answers: the noise law, and what moves its exponents."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from analysis.laws.theory_fit import FitSettings, LawFit, design_of, fit_dataset
from analysis.rows.sweep import Dataset
from studies.answers import Answer
from studies.paper_in_miniature.questions import NOT_DECIDED, NOT_REPRODUCED, REPRODUCED
from theory.errors import TheoryError
from theory.fit.fit import fit_law
from theory.fit.result import FitResult
from theory.laws.registry import get_law
from theory.uncertainty.selection import MARGIN, decide

DECAYS, FLOORS = ("power", "exponential", "stretched"), ("additive", "max", "none")
NOISE_LINKS = ("affine", "boxcox")
OURS = "a power law with a floor"


def noise_law(data: Dataset, settings: FitSettings) -> Answer:
    """Is the noise of a neuron a power law of k_e with a floor?

    Rule (`theory.uncertainty.selection.decide`): reproduced if the best power law with a floor leads every form of
    another kind (no floor, or no power) by more than 7 AICc beyond nesting, under the affine and the Box-Cox link, on
    the runs and on the means of the configurations; not reproduced if a form of another kind leads so; otherwise not
    decided.
    """
    question = "Is the noise law a power law with a floor?"
    law = fit_dataset(data, settings)
    # The rows that the law was fitted to, so that the forms are ranked on the same ones.
    rows = data.rows[~data.rows["trial_id"].isin([t for e in law.excluded for t in e.trial_ids])]
    fits: dict[str, dict[str, FitResult]] = {link: {} for link in NOISE_LINKS}
    kinds: dict[str, str] = {}
    for decay in DECAYS:
        for floor in FLOORS:
            name = f"{decay}, {floor} floor" if floor != "none" else f"{decay}, no floor"
            kinds[name] = OURS if decay == "power" and floor != "none" else "another form"
            # A verdict must not hang on the link between information and metric, which nobody knows.
            for link in NOISE_LINKS:
                fit = _noise_fit(law, settings, rows, decay=decay, floor=floor, link=link)
                if fit is not None:
                    fits[link][name] = fit
    affine = {name: fit.aicc for name, fit in fits["affine"].items() if fit.aicc is not None}
    lowest = min(affine.values(), default=0.0)
    delta = {name: score - lowest for name, score in sorted(affine.items(), key=lambda item: item[1])}
    try:
        decision = decide(fits, kinds)
    except TheoryError as error:
        return Answer(question, NOT_DECIDED, f"Too few forms could be fitted: {error}.", {"delta_aicc": delta})
    verdict = NOT_DECIDED if decision.winner is None else REPRODUCED if decision.winner == OURS else NOT_REPRODUCED
    listed = ", ".join(f"{name} {value:.1f}" for name, value in list(delta.items())[:4])
    sentence = f"{decision.sentence} AICc behind the best (affine link, runs): {listed}."
    return Answer(question, verdict, sentence, {"delta_aicc": delta, "leads": decision.leads})


def _noise_fit(
    law: LawFit, settings: FitSettings, rows: pd.DataFrame, *, decay: str, floor: str, link: str
) -> FitResult | None:
    try:
        fit = fit_law(
            get_law("effective_information", decay=decay, floor=floor, link=link),
            design_of(rows),
            law.scale.to(rows["value"].to_numpy(float)),
            direction=_direction(law),
            starts=settings.starts,
            seed=settings.seed,
        )
    except TheoryError:
        return None
    # A form that did not converge has an AICc that is too large, and would make another one look better than it is.
    return fit if fit.usable else None


def _direction(law: LawFit) -> Any:
    return "max" if law.scale.name == "logit" or law.data.direction == "max" else "min"


def moved_exponent(joint: Mapping[str, Any], expected: str) -> Answer:
    """Does a setting move the exponent that the paper says it moves?

    Rule: reproduced if the joint fit in which that exponent differs between the levels has the smallest AICc by more
    than 7 (`theory.uncertainty.selection.MARGIN`); not reproduced if another one (nothing differs, another parameter,
    or the metric's map) has.

    Args:
        joint: entry of `analysis.laws.joint.joint_fits` about the setting.
        expected: the exponent, `alpha` or `beta`.
    """
    question = f"Does {joint['setting']} move {expected} (joint fit)?"
    scores = {row["model"]: row["aicc"] for row in joint["models"] if row["usable"] and row["aicc"] is not None}
    if expected not in scores or len(scores) < 2:
        return Answer(question, NOT_DECIDED, " ".join(joint["sentences"]) or "No joint fit.", {"aicc": scores})
    lead = min(score for name, score in scores.items() if name != expected) - scores[expected]
    # The models contain one another, and one that contains another loses no more than the penalty of its parameters.
    verdict = REPRODUCED if lead > MARGIN else NOT_REPRODUCED if lead < -MARGIN else NOT_DECIDED
    lowest = min(scores.values())
    listed = ", ".join(f"{name} {scores[name] - lowest:.1f}" for name in sorted(scores, key=lambda name: scores[name]))
    levels = ", ".join(row["level"] for row in joint["levels"])
    sentence = f"Levels {levels}. AICc behind the best where what differs is: {listed}."
    values = [row for row in joint["parameters"] if row["parameter"] == expected]
    return Answer(question, verdict, sentence, {"aicc": scores, "values": values})
