"""Calibration: simulate from the fitted law on this very design and noise, refit, and count how often the intervals
hold the truth."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from theory.errors import TheoryError, unknown
from theory.fit.restore import restore
from theory.fit.result import FitResult
from theory.types import FloatArray
from theory.uncertainty.covariance import linearise
from theory.uncertainty.quantities import Draws, Quantity, all_parameters
from theory.uncertainty.resample import Refits, refit_many, resample
from theory.uncertainty.restore import as_draws

METHODS = ("delta", "percentile", "envelope")

BATCH = 20
"""Simulations whose bootstraps are refitted together."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How the intervals of one quantity did."""

    quantity: str
    """Name of the quantity."""
    truth: float
    """The value that was simulated from."""
    coverage: float
    """Share of intervals that held it."""
    coverage_se: float
    """Monte Carlo standard error of that share."""
    bias: float
    """Mean error of the estimate: relative (of the logarithm) for positive quantities, absolute for others."""
    rmse: float
    """Root mean square error, likewise."""
    width: float
    """Median width of the intervals, likewise."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Measured coverage and bias on one design."""

    rows: tuple[Coverage, ...]
    """One for each quantity."""
    level: float
    """Nominal coverage."""
    method: str
    """Kind of interval that was measured."""
    n: int
    """Simulations that gave a fit."""
    failed: int
    """Simulations that gave none."""
    noise_sd: float
    """Noise that was simulated."""
    sentence: str
    """The finding as a sentence."""


def calibrate(
    fit: FitResult,
    quantities: Sequence[Quantity] | None = None,
    *,
    n: int = 200,
    method: str = "delta",
    level: float = 0.95,
    draws: int = 100,
    starts: int = 2,
    seed: int = 0,
) -> Calibration:
    """Measure coverage and bias of intervals, taking the fitted law as the truth.

    Args:
        fit: A usable least-squares fit.
        quantities: See `theory.uncertainty.quantities`; default: the searched parameters.
        n: Simulations.
        method: "delta", "percentile" or "envelope" (the wider of both).
        level: Nominal coverage.
        draws: Residual bootstrap draws inside each simulation (not for "delta").
        starts: Searches of each simulated fit.
        seed: Of noise, starts and draws.

    >>> from theory.data.design import Design
    >>> from theory.fit.fit import fit_law
    >>> design = Design(n_rec=2.0 ** np.arange(12), k_e=np.ones(12))
    >>> fit = fit_law("power_law", design, 1 + design.params ** -0.5 + 0.003 * np.cos(np.arange(12)))
    >>> found = calibrate(fit, n=100)
    >>> found.rows[0].quantity, found.rows[0].coverage > 0.85
    ('exponent', True)
    """
    if not fit.usable or fit.inputs.loss != "least_squares":
        raise TheoryError("calibrate: needs a usable least-squares fit; read the fit's statuses")
    if method not in METHODS:
        raise unknown("method", method, METHODS)
    if n < 10:
        raise TheoryError(f"n: {n} simulations measure no coverage; need at least 10, better 400")
    quantities = all_parameters(fit) if quantities is None else list(quantities)
    rng = np.random.default_rng(seed)
    # Noise is normal and of the fit's own size: the question is how the intervals hold if everything that they assume
    # is true.
    metric, _ = resample(fit, n, "parametric", rng=rng)
    assert metric is not None, "parametric draws are metrics"
    # Another seed for the starts, so that they are independent of the noise.
    refits = refit_many(fit, metric=metric, starts=starts, seed=seed + 1)
    estimate, low, high = _intervals(fit, quantities, refits, method, level)
    if method != "delta":
        low, high = _widen(fit, quantities, refits, metric, (low, high), method, level, draws, rng)
    restored = restore(fit)
    truth = _values(quantities, as_draws(fit, restored))[0]
    rows = tuple(
        _coverage(quantities[k], truth[k], estimate[:, k], low[:, k], high[:, k]) for k in range(len(quantities))
    )
    return Calibration(
        rows=rows,
        level=level,
        method=method,
        n=len(refits.draws),
        failed=refits.draws.failed,
        noise_sd=fit.noise_sd,
        sentence=_sentence(rows, level, method, len(refits.draws)),
    )


def _intervals(
    fit: FitResult, quantities: list[Quantity], refits: Refits, method: str, level: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Estimates and delta intervals of every simulation, [n, quantities]."""
    if method == "percentile":
        values = _values(quantities, refits.draws)
        # Empty intervals (from +inf to -inf): the widening below then leaves the bootstrap's ends alone.
        return values, np.full(values.shape, np.inf), np.full(values.shape, -np.inf)
    restored = restore(fit)
    linear = linearise(restored.problem, refits.draws, refits.variance, quantities)
    half = float(stdtrit(restored.degrees, 0.5 + level / 2)) * linear.standard_error
    return linear.estimate, linear.estimate - half, linear.estimate + half


def _widen(
    fit: FitResult,
    quantities: list[Quantity],
    refits: Refits,
    metric: FloatArray,
    ends: tuple[FloatArray, FloatArray],
    method: str,
    level: float,
    draws: int,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """Combine with a residual bootstrap inside each simulation."""
    low, high = ends[0].copy(), ends[1].copy()
    count, sets = len(refits.draws), refits.kept.astype(np.int64)
    # Residuals times the root of their weight have one variance, so they may be exchanged between rows.
    root = np.ones(fit.n) if fit.inputs.weights is None else np.sqrt(fit.inputs.weights / fit.inputs.weights.mean())
    for start in range(0, count, BATCH):
        block = np.arange(start, min(start + BATCH, count))
        part = Draws(fit=fit, x=refits.draws.x[block], coefficients=refits.draws.coefficients[block])
        mean = part.predict(fit.inputs.design)
        # A fit takes up part of the noise: residuals are inflated to the variance that was there before it, and centred
        # so that draws carry no shift of their own.
        residual = root * (metric[sets[block]] - mean) * np.sqrt(fit.n / (fit.n - fit.p))
        residual -= residual.mean(axis=1, keepdims=True)
        picked = rng.integers(0, fit.n, (block.size, draws, fit.n))
        noisy = mean[:, None] + residual[np.arange(block.size)[:, None, None], picked] / root
        # Each bootstrap starts from its own simulation's optimum and not from the fit's.
        again = refit_many(fit, metric=noisy.reshape(-1, fit.n), centre=np.repeat(part.x, draws, axis=0))
        # Refits that failed stay nan and are left out of the quantiles.
        values = np.full((block.size * draws, len(quantities)), np.nan)
        values[again.kept.astype(np.int64)] = _values(quantities, again.draws)
        lower, upper = np.nanquantile(values.reshape(block.size, draws, -1), [0.5 - level / 2, 0.5 + level / 2], axis=1)
        # The wider end on each side, as `envelope` does; for "percentile" the ends before were empty.
        low[block], high[block] = np.minimum(low[block], lower), np.maximum(high[block], upper)
    return low, high


def _values(quantities: list[Quantity], draws: Draws) -> FloatArray:
    """[R, quantities], in logarithms where the quantity asks for it."""
    return np.stack([np.log(q.evaluate(draws)) if q.log else q.evaluate(draws) for q in quantities], axis=1)


def _coverage(quantity: Quantity, truth: float, estimate: FloatArray, low: FloatArray, high: FloatArray) -> Coverage:
    share = float(np.mean((low <= truth) & (truth <= high)))
    error = estimate - truth
    # The binomial error is 0 when every interval holds the truth, which no finite number of simulations shows; half
    # of one simulation is the least.
    return Coverage(
        quantity=quantity.name,
        truth=float(np.exp(truth)) if quantity.log else float(truth),
        coverage=share,
        coverage_se=float(np.sqrt(max(share * (1 - share), 0.25 / estimate.size) / estimate.size)),
        bias=float(error.mean()),
        rmse=float(np.sqrt((error**2).mean())),
        width=float(np.median(high - low)),
    )


def _sentence(rows: tuple[Coverage, ...], level: float, method: str, n: int) -> str:
    # The verdict is that of the worst quantity: a reader does not know in advance which one matters.
    worst = min(rows, key=lambda row: row.coverage)
    # Two Monte Carlo errors and two points of coverage are allowed: less is no difference to a reader.
    verdict = "hold" if worst.coverage >= level - 2 * worst.coverage_se - 0.02 else "are too narrow for some quantities"
    return (
        f"{100 * level:g} % {method} intervals {verdict} on this design if the law is right: lowest measured coverage "
        f"{100 * worst.coverage:.1f} % ({worst.quantity}), {n} simulations."
    )
