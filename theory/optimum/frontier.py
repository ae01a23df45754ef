"""The frontier: the best metric for each number of trainable parameters, how sure its members are, and the power law
through it."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from theory.data.design import BUDGET_TOLERANCE, Design, IntArray, check_metric, infer_budgets
from theory.data.moderated import run_noise
from theory.errors import TheoryError
from theory.fit.fit import fit_law
from theory.fit.result import Direction, FitResult
from theory.types import FloatArray


class Pareto(NamedTuple):
    """Configurations in rising order of budget and, within one, of trainable parameters; arrays of shape
    [configurations]."""

    trainable_params: FloatArray
    """Trainable parameters as realised."""
    budget: FloatArray
    """Level that counts as equal cost."""
    metric: FloatArray
    """Mean over seeds."""
    seeds: IntArray
    """Number of runs behind each mean."""
    row: IntArray
    """First row of the configuration in the input."""
    member: npt.NDArray[np.bool_]
    """On the frontier of the means."""
    probability: FloatArray | None
    """Probability to be on the frontier under seed noise; None if the noise is unknown."""
    noise_sd: float | None
    """Seed noise that was used."""
    sentence: str
    """Sentence that says what the probabilities rest on."""


def pareto(
    trainable_params: npt.ArrayLike,
    metric: npt.ArrayLike,
    *,
    configurations: npt.ArrayLike | None = None,
    direction: Direction = "min",
    noise_sd: float | None = None,
    draws: int = 4000,
    seed: int = 0,
    tolerance: float = BUDGET_TOLERANCE,
) -> Pareto:
    """Find the configurations that no cheaper or equally expensive one beats.

    Args:
        trainable_params: Realised counts, [rows].
        metric: [rows].
        configurations: Label of each row's configuration, [rows]; None: every row its own.
        direction: "min" or "max".
        noise_sd: Seed noise of a single run; default: that of each configuration, moderated by its budget's.
        draws: Draws for the probabilities.
        seed: Their seed.
        tolerance: Counts within this relative gap are one budget; 0 compares exact counts.

    >>> found = pareto([100, 101, 1000], [2.0, 1.9, 1.5], noise_sd=0.01)
    >>> found.member.tolist(), found.probability.round(2).tolist()
    ([False, True, True], [0.0, 1.0, 1.0])
    """
    params = np.asarray(trainable_params, dtype=np.float64)
    values = check_metric(metric, params.size)
    if not (np.isfinite(params) & (params > 0)).all():
        raise TheoryError("trainable_params: every count must be finite and above 0")
    labels = np.arange(params.size) if configurations is None else np.asarray(configurations)
    _, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    codes = codes.ravel().astype(np.int64)
    seeds = np.bincount(codes)
    means = np.bincount(codes, weights=values) / seeds
    cost = params[first]
    # Realised counts scatter a little around their budget. Compared exactly, a run would not be beaten by one of the
    # same budget that happens to have a few parameters more.
    level = infer_budgets(cost, tolerance=tolerance) if tolerance > 0 else cost
    noise = run_noise(values, codes, level[codes])
    sds = np.full(seeds.size, noise_sd) if noise_sd is not None else None if noise is None else noise.sd
    # lexsort sorts by its last key first: by level, and by count within one.
    order = np.lexsort((cost, level))
    sign = 1.0 if direction == "min" else -1.0
    probability, sentence = (
        None,
        "No replicates and no noise_sd: membership has no probability. Add seeds to the frontier's configurations.",
    )
    sd = None if sds is None else float(np.sqrt(np.sum(seeds * sds**2) / seeds.sum()))
    if sds is not None:
        # The mean of s seeds scatters by sd / sqrt(s). The sign turns larger-is-better into badness, so one rule serves
        # both.
        drawn = np.random.default_rng(seed).standard_normal((draws, order.size)) * (sds / np.sqrt(seeds))[order]
        probability = _members(level[order], sign * means[order] + drawn).mean(axis=0)
        sentence = f"Membership under a seed sd of {sd:.3g} per run, {draws} draws."
    # Membership itself is that of the means; the draws only say how sure it is.
    member = _members(level[order], sign * means[order][None])[0]
    return Pareto(
        cost[order], level[order], means[order], seeds[order], first[order], member, probability, sd, sentence
    )


def _members(level: FloatArray, badness: FloatArray) -> npt.NDArray[np.bool_]:
    """Which of the configurations (sorted by level) are strictly best among all of their level and below: [draws,
    configurations]."""
    member = np.zeros(badness.shape, dtype=bool)
    # Levels are walked from the cheapest, and each keeps the best of all that cost no more.
    best = np.full(len(badness), np.inf)
    for value in np.unique(level):
        inside = np.flatnonzero(level == value)
        here = badness[:, inside]
        lowest = here.min(axis=1)
        winner = inside[here.argmin(axis=1)]
        # Strictly: a dearer configuration that is only as good is no member.
        improves = lowest < best
        member[np.flatnonzero(improves), winner[improves]] = True
        best = np.minimum(best, lowest)
    return member


def power_law(
    trainable_params: npt.ArrayLike,
    metric: npt.ArrayLike,
    *,
    weights: npt.ArrayLike | None = None,
    direction: Direction = "min",
    seed: int = 0,
) -> FitResult:
    """Fit E + A (P/p_ref)^-exponent through frontier points; intervals come from `uncertainty.delta` and
    `uncertainty.bootstrap`.

    Args:
        trainable_params: Counts of the frontier's members (or of all their runs), [rows], at least 4 budgets.
        metric: [rows].
        weights: Seeds behind each mean, [rows].
        direction: "min" or "max".
        seed: Seed of the starts.

    >>> fit = power_law([1e4, 1e5, 1e6, 1e7, 1e8], [2.0, 1.5, 1.25, 1.125, 1.0625])
    >>> round(fit.values["exponent"], 6), round(fit.coefficients["all"]["E"], 6)
    (0.30103, 1.0)
    """
    params = np.asarray(trainable_params, dtype=np.float64)
    levels = np.unique(infer_budgets(params)).size
    if levels < 4:
        # Three parameters go through any three points exactly.
        raise TheoryError(f"trainable_params: a power law with a floor needs at least 4 budgets, got {levels}")
    # The law reads trainable_params alone; the other sizes are there because a design must have them.
    design = Design(n_rec=np.ones_like(params), k_e=params, trainable_params=params)
    # A frontier has few points, often one for each of four budgets, against three parameters: spare=1 admits them.
    return fit_law("power_law", design, metric, weights=weights, direction=direction, seed=seed, spare=1)
