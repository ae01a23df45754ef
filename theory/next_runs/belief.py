"""A belief about the metric along budget lines: the fitted law, and how far the runs may depart from it.

The belief is the law, linearised in its parameters, plus a smooth discrepancy (a Gaussian process; Kennedy and O'Hagan
2001), plus a roughness that every configuration has of its own and that its replicates share (rounded sizes, shapes
that suit the hardware), plus noise. How large each of them is, nobody knows, so the belief is the average over all
sizes, weighted by their likelihood: few runs do not show that a law is right, and a belief that took the likeliest
size for the true one would be too sure of it. Where the law's form is right the departures vanish as runs come in, and
every run teaches about all budgets; where it is wrong they take over. So distrust of the law costs no separate rule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from theory.data.design import Design
from theory.errors import TheoryError
from theory.fit.fit import fit_law
from theory.fit.information import information_matrix
from theory.fit.restore import restore
from theory.fit.result import FitResult
from theory.laws.base import Law
from theory.laws.registry import get_law
from theory.types import FloatArray
from theory.uncertainty.quantities import Draws
from theory.uncertainty.restore import as_draws

IntArray = npt.NDArray[np.int64]

AMPLITUDES = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)
"""Standard deviations of the discrepancy that are averaged over, in units of the law's residual."""

ROUGHNESSES = (0.0, 0.5, 1.0, 2.0)
"""Standard deviations of the roughness that are averaged over, likewise."""

LENGTHS = (0.7, 1.4)
"""Length scales of the discrepancy that are averaged over, in ln k_e; along ln budget twice as long (assumption: optima
of neighbouring budgets resemble each other)."""

NOISES = (0.25, 0.5, 0.7, 1.0, 1.4)
"""Noise levels that are averaged over, in units of the law's residual."""

ODDS = 0.5
"""Prior chance that there is a discrepancy at all, and that there is a roughness: nobody knows."""

NEGLIGIBLE = 0.01
"""Sizes of departures whose weight is below this share of the largest are left out."""

DISTRUST = 4.0
"""Gain in log-likelihood from which departures are called significant (chi-squared, 2 degrees: 2 %)."""

PLAUSIBLE = 10.0
"""Laws within this many AICc units of the best are not ruled out (Burnham and Anderson 2002, section 2.6)."""

STARTS = 8
"""Searches per fit: the previous batch's fit was checked with more, and a miss here costs runs, not conclusions."""

JITTER = 1e-12
"""Added to the diagonal of a covariance, in units of its mean."""

COEFFICIENT_RANGE = 10.0
"""Prior standard deviation of a linear coefficient in units of the metric's range: a trace, so that matrices invert."""


class Hyper(NamedTuple):
    """What the runs say about noise and departures from the law: root mean squares over the average."""

    noise: float
    """Standard deviation of a run."""
    amplitude: float
    """Standard deviation of the discrepancy."""
    roughness: float
    """Standard deviation of a configuration's own departure."""
    length: float
    """Length scale of the discrepancy in ln k_e."""
    gain: float
    """Log-likelihood that the likeliest departures gain over the law alone."""

    @property
    def departure(self) -> float:
        """Standard deviation of discrepancy and roughness together."""
        return float(np.hypot(self.amplitude, self.roughness))


@dataclass(frozen=True, kw_only=True, eq=False)
class Belief:
    """Joint normal belief about the mean metric at some places."""

    places: Design
    """The places that are believed about, [places]."""
    mean: FloatArray
    """[places], as a loss."""
    covariance: FloatArray
    """Covariance of the means, [places, places]."""
    loading: FloatArray
    """Covariance of the law's searched parameters (search coordinates) with the places, [parameters, places]."""
    spread: FloatArray
    """Variance of each searched parameter (search coordinates), [parameters]."""
    hyper: Hyper
    """Sizes of the noise and of the departures from the law."""
    fit: FitResult
    """The fitted law underneath."""
    plausible: tuple[FitResult, ...] = ()
    """Other laws that the runs do not rule out: their optima widen an interval."""

    @property
    def trusted(self) -> bool:
        """Whether the law needs no departures."""
        return self.hyper.gain < DISTRUST


def believe(
    design: Design, loss: npt.ArrayLike, places: Design, *, smooth: IntArray | None = None, seed: int = 0
) -> Belief:
    """Condition law and departures on runs.

    Args:
        design: Runs so far.
        loss: Their metric, smaller is better, [runs].
        places: Where the belief is wanted.
        smooth: Those places that stand for a curve rather than for a configuration, and so have no roughness.
        seed: Of the searches.

    Raises:
        TheoryError: no law can be fitted to so few runs.
    """
    observed = np.asarray(loss, dtype=np.float64)
    fit, *rivals = best_fits(design, observed, seed=seed)
    problem = _problem(fit, design, observed, places, smooth)
    # An exact fit has no residual, but noise sizes must be above 0 to be averaged over.
    # Sizes are in units of the law's residual, so that one list of them suits every metric.
    weighed, gain = _weigh(problem, max(fit.noise_sd, 1e-9 * float(np.abs(observed).max())))
    # What was conditioned is the departure from the fitted law, so the law's prediction is added back below; behind the
    # places come the law's parameters.
    mean, covariance = _average([problem.condition(hyper) for hyper, _ in weighed], [w for _, w in weighed])
    count = len(places)
    # Variances add over a mixture, so its sizes are summarised by root mean squares.
    square = {
        name: float(np.sqrt(sum(w * getattr(hyper, name) ** 2 for hyper, w in weighed)))
        for name in ("noise", "amplitude", "roughness", "length")
    }
    return Belief(
        places=places,
        mean=as_draws(fit, restore(fit)).predict(places)[0] + mean[:count],
        covariance=covariance[:count, :count],
        loading=covariance[count:, :count],
        spread=np.diag(covariance)[count:],
        hyper=Hyper(**square, gain=gain),
        fit=fit,
        plausible=tuple(rivals),
    )


class _Problem(NamedTuple):
    """The runs by configuration, and what they are to be asked about: places, then the law's searched parameters."""

    counts: FloatArray
    """Runs of each configuration."""
    residual: FloatArray
    """Mean distance of each to the law."""
    within: float
    """Sum of squares of single runs about their configuration's mean."""
    base: FloatArray
    """Covariance of the configurations by the law's parameters."""
    towards: FloatArray
    """Covariance of what is asked with the configurations, by the law's parameters."""
    asked: FloatArray
    """Covariance of what is asked, by the law's parameters."""
    near: FloatArray
    """Squared distances between configurations."""
    across: FloatArray
    """Squared distances from places to configurations."""
    apart: FloatArray
    """Squared distances between places."""
    same: FloatArray
    """1 where a place is a configuration, [asked, configurations]."""
    rough: FloatArray
    """1 where what is asked has a roughness, [asked]."""

    def covariance(self, hyper: Hyper) -> FloatArray:
        """Return the covariance of the configurations' means."""
        # Replicates share a roughness, so more seeds lower the noise of a mean but not its roughness.
        variance = hyper.roughness**2 + hyper.noise**2 / self.counts
        return _steady(self.base + _kernel(self.near, hyper) + np.diag(variance))

    def log_likelihood(self, hyper: Hyper) -> float:
        """Return the log-likelihood of all single runs."""
        from scipy.linalg import cho_factor, cho_solve  # slow to load, and commands that propose nothing do without

        factor, lower = cho_factor(self.covariance(hyper))
        likelihood = -0.5 * self.residual @ cho_solve((factor, lower), self.residual) - np.log(np.diag(factor)).sum()
        # Runs about their configuration's mean say something of the noise alone; constants that no size changes are
        # left out.
        spare = self.counts.sum() - len(self.counts)
        return float(likelihood - self.within / (2 * hyper.noise**2) - spare * np.log(hyper.noise))

    def condition(self, hyper: Hyper) -> tuple[FloatArray, FloatArray]:
        """Mean and covariance of what is asked, given sizes of noise and departures."""
        from scipy.linalg import cho_factor, cho_solve

        factor, count = cho_factor(self.covariance(hyper)), len(self.apart)
        # The law's parameters, asked for behind the places, have no discrepancy of their own, so kernels go to the
        # first rows.
        shared = self.towards + hyper.roughness**2 * self.same
        shared[:count] += _kernel(self.across, hyper)
        covariance = self.asked + np.diag(hyper.roughness**2 * self.rough)
        covariance[:count, :count] += _kernel(self.apart, hyper)
        return shared @ cho_solve(factor, self.residual), covariance - shared @ cho_solve(factor, shared.T)


def _problem(fit: FitResult, design: Design, observed: FloatArray, places: Design, smooth: IntArray | None) -> _Problem:
    identity = _identity(design)
    _, rows, of, counts = np.unique(identity, axis=0, return_index=True, return_inverse=True, return_counts=True)
    # Means of configurations and the spread about them hold all that normal runs say, so the covariance has a row for
    # each configuration and not for each run.
    means = np.bincount(of, observed) / counts
    runs = design.take(rows)
    fitted = as_draws(fit, restore(fit))
    run_gradients, asked_gradients = _row_gradients(fitted, runs), _row_gradients(fitted, places)
    free = len(fit.free)
    # A searched parameter is a linear function of all parameters too: its row of the identity.
    asked_gradients = np.concatenate([asked_gradients, np.eye(free, run_gradients.shape[1])])
    # The prior is wide: it only keeps matrices invertible where the runs determine nothing.
    prior = _prior_variance(fit, run_gradients, float(np.ptp(observed)))
    at, to = _coordinates(runs), _coordinates(places)
    rough = np.ones(len(places), dtype=bool)
    rough[[] if smooth is None else smooth] = False
    same = (_identity(places)[:, None] == identity[rows][None]).all(axis=2) & rough[:, None]
    return _Problem(
        counts=counts.astype(np.float64),
        residual=means - fitted.predict(runs)[0],
        within=float(((observed - means[of]) ** 2).sum()),
        base=(run_gradients * prior) @ run_gradients.T,
        towards=(asked_gradients * prior) @ run_gradients.T,
        asked=(asked_gradients * prior) @ asked_gradients.T,
        near=_distance(at, at),
        across=_distance(to, at),
        apart=_distance(to, to),
        same=np.concatenate([same, np.zeros((free, len(rows)))]).astype(np.float64),
        rough=np.concatenate([rough, np.zeros(free)]).astype(np.float64),
    )


def _row_gradients(fitted: Draws, design: Design) -> FloatArray:
    """Derivative of each prediction in searched parameters and coefficients, [rows, z], by central differences."""
    p, shape = fitted.x.shape[1], fitted.coefficients.shape
    flat = fitted.coefficients.reshape(-1)
    steps = information_matrix(restore(fitted.fit).problem, fitted.x, fitted.coefficients).steps[0]
    moves = np.concatenate([np.diag(steps), -np.diag(steps)])
    draws = Draws(
        fit=fitted.fit, x=fitted.x + moves[:, :p], coefficients=(flat + moves[:, p:]).reshape(len(moves), *shape[1:])
    )
    # All moved parameters are draws of one call, up first and down behind.
    values = draws.predict(design)
    return np.asarray(((values[: steps.size] - values[steps.size :]) / (2 * steps[:, None])).T)


def _weigh(problem: _Problem, scale: float) -> tuple[list[tuple[Hyper, float]], float]:
    """Sizes of noise and departures with their weights, and the log-likelihood that departures gain."""
    sizes: list[tuple[Hyper, float, float]] = []
    for amplitude, prior in _half_cauchy(AMPLITUDES):
        for roughness, rough_prior in _half_cauchy(ROUGHNESSES):
            # Without a discrepancy its length means nothing, and counting that case for each length would double its
            # weight.
            lengths = LENGTHS if amplitude else LENGTHS[:1]
            for length in lengths:
                for noise in NOISES:
                    hyper = Hyper(noise * scale, amplitude * scale, roughness * scale, length, 0.0)
                    sizes.append((hyper, problem.log_likelihood(hyper), prior * rough_prior / len(lengths)))
    # Each side at its likeliest noise, so that the gain is that of departures and not of a better noise.
    alone = max(likelihood for hyper, likelihood, _ in sizes if hyper.departure == 0)
    best = max(likelihood for _, likelihood, _ in sizes)
    # Relative to the best, since likelihoods themselves underflow.
    weights = [(hyper, prior * float(np.exp(likelihood - best))) for hyper, likelihood, prior in sizes]
    least = NEGLIGIBLE * max(weight for _, weight in weights)
    likely = [(hyper, weight) for hyper, weight in weights if weight >= least]
    total = sum(weight for _, weight in likely)
    return [(hyper, weight / total) for hyper, weight in likely], best - alone


def _half_cauchy(sizes: Sequence[float]) -> list[tuple[float, float]]:
    """Sizes with their prior weights: those above 0 share the odds by the half-Cauchy density per octave (Gelman 2006:
    weakly informative, and heavy enough to be overruled)."""
    weights = [size / (1 + size**2) for size in sizes]
    return [(s, 1 - ODDS if s == 0 else ODDS * w / sum(weights)) for s, w in zip(sizes, weights, strict=True)]


def _average(parts: Sequence[tuple[FloatArray, FloatArray]], weights: Sequence[float]) -> tuple[FloatArray, FloatArray]:
    """Mean and covariance of a mixture."""
    mean = sum((w * one for (one, _), w in zip(parts, weights, strict=True)), np.zeros_like(parts[0][0]))
    covariance = np.zeros_like(parts[0][1])
    for (one, within), weight in zip(parts, weights, strict=True):
        # The spread between the means of a mixture is part of its variance: sizes that disagree widen the belief.
        covariance += weight * (within + np.outer(one - mean, one - mean))
    # Rounding breaks the symmetry that eigenvalue solvers take for granted.
    return mean, (covariance + covariance.T) / 2


def best_fits(design: Design, loss: FloatArray, *, seed: int = 0) -> list[FitResult]:
    """Fit the laws that this many runs can support; smallest AICc first, without those that the runs rule out.

    Raises:
        TheoryError: none can be fitted.
    """
    fits, refused = [], []
    for law in _laws(design):
        try:
            # A law with too many parameters for the runs so far refuses; it gets its turn when there are more. Three
            # spare rows, fewer than a reported fit needs, let the design lean on a law early.
            # The metric was turned into a loss before, so every fit minimises.
            fits.append(fit_law(law, design, loss, starts=STARTS, seed=seed, spare=3))
        except TheoryError as error:
            refused.append(f"{error}")
    usable = [fit for fit in fits if fit.usable and fit.aicc is not None]
    if not usable:
        raise TheoryError(f"no law can be fitted to {len(design)} runs: {'; '.join(refused) or 'none is usable'}")
    usable.sort(key=_score)
    return [fit for fit in usable if _score(fit) <= _score(usable[0]) + PLAUSIBLE]


def _score(fit: FitResult) -> float:
    return np.inf if fit.aicc is None else fit.aicc


def _laws(design: Design) -> list[str | Law]:
    # Only laws that place an optimum at budgets that were not run; polynomials per budget cannot.
    laws: list[str | Law] = ["separable_power_law", get_law("effective_information", floor="additive")]
    # These have a link's exponent or a kink to determine as well, of which one or two budgets say little.
    if np.unique(design.budgets).size >= 3:
        laws.append(get_law("effective_information", floor="additive", link="boxcox"))
        laws.append(get_law("effective_information", floor="max"))
    return laws


def _prior_variance(fit: FitResult, gradients: FloatArray, span: float) -> FloatArray:
    """Variances of searched parameters (half their starting range) and of coefficients."""
    ranges = [number.parameter.start_range for number in fit.searched.values()]
    width = np.array([(high - low) / 2 for low, high in ranges])
    # A coefficient's column says what one unit of it does to the metric, so this prior is the same in any unit.
    size = np.sqrt(np.mean(gradients[:, len(width) :] ** 2, axis=0))
    return np.concatenate([width**2, (COEFFICIENT_RANGE * span / np.maximum(size, 1e-300)) ** 2])


def _coordinates(design: Design) -> FloatArray:
    """Where a run lies for the discrepancy: ln k_e, and half of ln budget, [rows, 2]."""
    # half, so that one length scale is twice as long along the budget, see LENGTHS
    return np.stack([np.log(design.k_e), np.log(design.params) / 2], axis=1)


def _identity(design: Design) -> FloatArray:
    """What tells configurations apart, [rows, 4]."""
    return np.stack([design.n_rec, design.k_e, design.params, design.budgets], axis=1)


def _distance(one: FloatArray, other: FloatArray) -> FloatArray:
    return np.asarray(((one[:, None] - other[None]) ** 2).sum(axis=2))


def _kernel(distance: FloatArray, hyper: Hyper) -> FloatArray:
    """Covariance of the discrepancy at squared distances."""
    if hyper.amplitude == 0:
        return np.zeros_like(distance)
    # The squared-exponential kernel: a law of a wrong form errs smoothly in the sizes.
    return np.asarray(hyper.amplitude**2 * np.exp(-distance / (2 * hyper.length**2)))


def _steady(matrix: FloatArray) -> FloatArray:
    """Keep a covariance positive definite in floating point, also where runs have no noise at all."""
    # Relative to the matrix, so that the unit of the metric does not matter.
    return matrix + JITTER * float(np.mean(np.diag(matrix))) * np.eye(len(matrix))
