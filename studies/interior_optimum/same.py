"""H7: does the optimum move with P on spikes as it does on text?"""

from collections.abc import Sequence

import numpy as np

from analysis.rows.means import LEVEL
from studies.answers import Answer, interval_text
from studies.interior_optimum.estimators import QUADRATIC
from studies.interior_optimum.hypotheses import CONTRADICTED, NOT_DECIDED, SUPPORTED, Estimated
from studies.statistics import FloatArray, interval, log_slope

WIDEST = 1.0
"""Width of the interval of the difference below which two exponents that may be equal count as one."""


def same_exponent(text: Sequence[Estimated], spikes: Sequence[Estimated]) -> Answer:
    """H7: the slope of ln d_m* on ln P, by the quadratic estimator at the smaller k_c, is the same on both.

    Rule: supported if the 95 % interval of the difference holds zero and is narrower than 1; contradicted if it does
    not hold zero.

    Args:
        text: lines of the smaller k_c of text.
        spikes: lines of the smaller k_c of spikes.
    """
    question = "H7: the exponent of d_m* is the same on spikes as on text"
    slopes = [_slope(lines) for lines in (text, spikes)]
    if slopes[0] is None or slopes[1] is None:
        return Answer(question, NOT_DECIDED, "One of the two has no optimum at three budgets.", {})
    # Draws of the two are independent: each line is drawn from its own P and k_c, and no k_c is common to both.
    difference = interval(slopes[1] - slopes[0])
    _, low, high = difference
    same = SUPPORTED if high - low < WIDEST else NOT_DECIDED
    verdict = same if low <= 0 <= high else CONTRADICTED
    ends = {"text": interval(slopes[0]), "spikes": interval(slopes[1]), "difference": difference}
    told = f"Exponent of d_m* on text {interval_text(ends['text'])}, on spikes {interval_text(ends['spikes'])}"
    sentence = f"{told}; difference {interval_text(difference)}, {LEVEL:.0%} interval {high - low:.2f} wide."
    return Answer(question, verdict, sentence, {"exponents": ends})


def _slope(lines: Sequence[Estimated]) -> FloatArray | None:
    """The exponent of each draw; None with fewer than the three budgets that H2 asks for."""
    here = [one for one in lines if QUADRATIC in one.by]
    if len(here) < 3:
        return None
    places = np.stack([np.exp(one.by[QUADRATIC].draws) for one in here], axis=-1)
    return log_slope(np.array([one.line.budget for one in here]), places)
