"""The questions of a replication study that a law answers: a prediction after looking, the noise law, ablations."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.laws.theory_fit import FitSettings, LawFit, design_of, fit_dataset
from analysis.rows.means import pooled_noise
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


def held_out(path: Path, rows: pd.DataFrame) -> Answer:
    """Compare a prediction with what the trials then showed.

    Rule: reproduced if the chosen law's root mean square error over configurations is at most twice the seed noise and
    it names the best d_m to within one sampled value; not reproduced if it fails both.

    Args:
        path: file written by `predict`.
        rows: the rows of that sweep, with `value`.
    """
    question = "Does the law fitted to the smaller budgets predict the largest?"
    if not path.exists():
        return Answer(question, NOT_DECIDED, "No prediction was made beforehand.", {})
    stored = json.loads(path.read_text(encoding="utf-8"))
    points = pd.DataFrame(stored["points"])
    means = rows.groupby(["budget", "n_rec", "d_m"])["value"].agg(["mean", "size"]).reset_index()
    both = points.assign(place=range(len(points))).merge(means, on=["budget", "n_rec", "d_m"], suffixes=("", "_seen"))
    both = both.sort_values("d_m", ignore_index=True)  # neighbours in the list are neighbours in d_m
    # A prediction that is checked at some of its points alone could be checked at those that suit it.
    if len(both) < len(points):
        return Answer(question, NOT_DECIDED, f"{len(points) - len(both)} of {len(points)} points were not run.", {})
    noise, _ = pooled_noise(rows, ["budget", "n_rec", "d_m"])
    if noise is None:
        return Answer(question, NOT_DECIDED, "No point was run twice, so there is no seed noise to measure by.", {})
    measured = both["mean_seen"].to_numpy(float)

    def error(expected: Any) -> float:
        return float(np.sqrt(np.mean((np.asarray(expected, dtype=float)[both["place"]] - measured) ** 2)))

    rmse = error(points["mean"])
    rivals = {name: error(values) / noise for name, values in stored["rivals"].items()}
    # Coverage is counted over single runs, since the interval is of one new run.
    runs = rows.merge(points, on=["budget", "n_rec", "d_m"])
    covered = float(runs["value"].between(runs["low"], runs["high"]).mean())
    better = np.argmin if rows["direction"].iloc[0] == "min" else np.argmax
    expected_best, measured_best = int(better(both["mean"])), int(better(measured))
    # Neighbouring values of d_m often cannot be told apart under seed noise.
    near = abs(expected_best - measured_best) <= 1
    close = rmse <= 2 * noise
    verdict = REPRODUCED if close and near else NOT_REPRODUCED if not (close or near) else NOT_DECIDED
    best_rival = min(rivals, key=lambda name: rivals[name])
    sentence = (
        f"Error {rmse:.3g}, that is {rmse / noise:.1f} times the seed noise ({noise:.3g}); {covered:.0%} of the new "
        f"runs inside their 95 % interval; best d_m predicted {both['d_m'].iloc[expected_best]:.0f}, measured "
        f"{both['d_m'].iloc[measured_best]:.0f}. Best of all laws tried: {best_rival} with {rivals[best_rival]:.1f}."
    )
    numbers = {"rmse": rmse, "seed_sd": noise, "in_seed_sds": rmse / noise, "coverage": covered, "rivals": rivals}
    return Answer(question, verdict, sentence, numbers | {"made_at": stored["made_at"], "law": stored["law"]})


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
