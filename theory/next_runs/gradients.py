"""Which runs to do next: candidates scored by how much they narrow what is asked for (linearised optimal design).

Sequential design saves a factor of 1 to 3 in runs (typically 2) if the law's form is right and loses about a factor of
2 if it is wrong. So the
design is driven by the law with the flexible Box-Cox link, keeps away from sizes beyond the data, and spends a third of
its picks in the band around
the predicted optimum; and it says all of this in its sentences.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from theory.data.design import Design
from theory.errors import TheoryError
from theory.fit.fit import fit_given
from theory.fit.result import FitResult
from theory.laws.effective import EffectiveInformation
from theory.types import FloatArray
from theory.uncertainty.covariance import STEP, linearise
from theory.uncertainty.quantities import Draws, Quantity
from theory.uncertainty.restore import Restored, as_draws, restore

GRID_FIRST = 27
"""Runs on a grid (3 budgets x 9 d_m) before which a fitted law is no guide."""

SPREAD_EVERY = 4
"""Every fourth pick is the one that teaches most about all parameters (D-gain) instead of the target."""

BAND_EVERY = 3
"""Every third pick comes from the predicted near-optimal band, if it is not there already."""


@dataclass(frozen=True, kw_only=True)
class Pick:
    """One run to do, in order of choice; the same candidate may be picked again (another seed)."""

    row: int
    """Row of the candidates."""
    n_rec: float
    """Its neurons."""
    k_e: float
    """Its complexity."""
    trainable_params: float
    """Its count."""
    predicted: float
    """Predicted metric."""
    target_sd: tuple[float, ...]
    """Standard deviation of each target after this run and all before it (relative for positive quantities)."""
    reason: str
    """target, spread or band."""


@dataclass(frozen=True, kw_only=True)
class NextPoints:
    """A batch of runs."""

    picks: tuple[Pick, ...]
    """In order."""
    targets: tuple[str, ...]
    """What they are for."""
    target_sd: tuple[float, ...]
    """Standard deviation of each target now."""
    law: str
    """Law that drove the choice."""
    sentences: tuple[str, ...]
    """What the choice rests on, and where it can go wrong."""


def next_points(
    fit: FitResult,
    candidates: Design,
    target: Quantity | Sequence[Quantity],
    n: int,
    *,
    cost_power: float = 0.5,
    flexible_link: bool = True,
    delta: float | None = None,
    group: object = None,
) -> NextPoints:
    """Choose runs that most reduce the variance of the targets.

    Args:
        fit: A usable fit of the runs so far.
        candidates: Sizes that could be run, with budgets; those beyond the data's k_e are left out.
        target: Such as `quantities.best_d_m(budget, cost)` at each budget of interest.
        n: Runs to choose.
        cost_power: Gains are divided by trainable_params to this power; 0 ignores cost.
        flexible_link: Refit an effective-information law with the Box-Cox link before choosing.
        delta: Width of the near-optimal band, metric units; default: the residual noise.
        group: Metric group of the new runs, if the fit has several.

    Raises:
        TheoryError: no candidate lies within the data's range of k_e, or the fit is not usable.

    >>> from theory.fit.fit import fit_law
    >>> from theory.optimum.locate import budget_line
    >>> from theory.data.published import load_published
    >>> from theory.uncertainty.quantities import best_d_m
    >>> table = load_published("enwik8")
    >>> fit = fit_law("separable_power_law", table.design, table.columns["train_bpc"])
    >>> line = budget_line(1e6, table.cost, [5, 10, 20, 40], whole=True)
    >>> found = next_points(fit, line, best_d_m(3_516_748, table.cost), 2)
    >>> len(found.picks), found.picks[-1].target_sd < found.target_sd
    (2, True)
    """
    if not fit.usable:
        raise TheoryError("fit: not usable, so it cannot choose runs; read its statuses")
    if n < 1:
        raise TheoryError(f"n: {n} is not a number of runs; need at least 1")
    targets = [target] if isinstance(target, Quantity) else list(target)
    guide, sentences = _guide(fit, flexible_link)
    allowed = _allowed(guide, candidates)
    restored = restore(guide)
    state = _State(guide, restored, targets, candidates.take(allowed), group)
    band = _band(guide, candidates.take(allowed), guide.noise_sd if delta is None else delta, group)
    start = state.target_sd()
    price = candidates.take(allowed).params ** cost_power
    picks = []
    for place in range(n):
        gain, reason = state.target_gain(), "target"
        if place % SPREAD_EVERY == SPREAD_EVERY - 1:
            gain, reason = state.spread_gain(), "spread"
        elif place % BAND_EVERY == BAND_EVERY - 1 and band.any():
            gain, reason = np.where(band, gain, -np.inf), "band"
        chosen = int(np.argmax(gain / price))
        state.add(chosen)
        picks.append(_pick(candidates, int(allowed[chosen]), float(state.predicted[chosen]), state.target_sd(), reason))
    return NextPoints(
        picks=tuple(picks),
        targets=tuple(item.name for item in targets),
        target_sd=start,
        law=guide.law.label,
        sentences=tuple(sentences),
    )


class _State:
    """The information gathered so far, as a covariance that each pick shrinks by a rank-one update."""

    def __init__(
        self, fit: FitResult, restored: Restored, targets: list[Quantity], candidates: Design, group: object
    ) -> None:
        here = as_draws(fit, restored)
        jacobian = restored.problem.full_jacobian(restored.x[None], restored.coefficients[None])[0]
        information = jacobian @ jacobian.T / restored.variance
        information += np.diag(weak_prior(fit, restored, information))
        linear = linearise(restored.problem, here, np.array([restored.variance]), targets)
        self.covariance = np.linalg.inv(information)
        self.gradient = linear.gradient[0]
        self.predicted = here.predict(candidates, group=group)[0]
        self.rows = row_gradients(here, candidates, group)
        self.noise = fit.noise_sd**2

    def target_sd(self) -> tuple[float, ...]:
        variance = np.einsum("kz,zy,ky->k", self.gradient, self.covariance, self.gradient)
        return tuple(float(value) for value in np.sqrt(variance))

    def target_gain(self) -> FloatArray:
        """Fall of the summed variance of the targets by each candidate."""
        shared = self.gradient @ self.covariance @ self.rows.T
        return np.asarray((shared**2).sum(axis=0) / (self.noise + self._leverage()))

    def spread_gain(self) -> FloatArray:
        """Fall of ln det of the covariance by each candidate."""
        return np.log1p(self._leverage() / self.noise)

    def add(self, chosen: int) -> None:
        move = self.covariance @ self.rows[chosen]
        self.covariance = self.covariance - np.outer(move, move) / (self.noise + self.rows[chosen] @ move)

    def _leverage(self) -> FloatArray:
        return np.asarray(np.einsum("mz,zy,my->m", self.rows, self.covariance, self.rows))


def _guide(fit: FitResult, flexible_link: bool) -> tuple[FitResult, list[str]]:
    """The fit that drives the choice: with the Box-Cox link where that can be fitted."""
    sentences = [
        "Chosen by the fitted law: saves a factor of 1 to 3 in runs (typically 2) if its form is right, "
        "loses about 2 if it is wrong; "
        "compare floors and links again afterwards."
    ]
    if fit.n < GRID_FIRST:
        sentences.append(
            f"{fit.n} runs so far: finish a grid of {GRID_FIRST} (3 budgets x 9 d_m) "
            "before trusting a sequential choice."
        )
    law = fit.law
    if not isinstance(law, EffectiveInformation) or law.link == "boxcox" or not flexible_link:
        return fit, sentences
    try:
        guide = fit_given(replace(law, link="boxcox"), fit.given)
    except TheoryError as error:
        sentences.append(f"The link stays {law.link}: {error}")
        return fit, sentences
    sentences.append(
        f"Driven by the Box-Cox link (the fit's own link is {law.link}), so that a wrong link does not steer the runs."
    )
    return guide, sentences


def _allowed(fit: FitResult, candidates: Design) -> npt.NDArray[np.int64]:
    seen = fit.given.design.k_e
    inside = (candidates.k_e >= seen.min() * (1 - 1e-9)) & (candidates.k_e <= seen.max() * (1 + 1e-9))
    allowed = np.flatnonzero(inside)
    if not allowed.size:
        raise TheoryError(
            f"candidates: none lies within the data's k_e from {seen.min():g} to {seen.max():g}; "
            "linearised gains mean nothing there"
        )
    return allowed


def _band(fit: FitResult, candidates: Design, delta: float, group: object) -> npt.NDArray[np.bool_]:
    """Candidates within delta of the best candidate of their budget."""
    sign = 1.0 if fit.direction == "min" else -1.0
    metric = sign * as_draws(fit, restore(fit)).predict(candidates, group=group)[0]
    budgets = candidates.budgets
    best = {budget: metric[budgets == budget].min() for budget in np.unique(budgets)}
    return np.array([value <= best[budget] + delta for value, budget in zip(metric, budgets, strict=True)])


def weak_prior(fit: FitResult, restored: Restored, information: FloatArray) -> FloatArray:
    """Weak priors: half the starting range of each searched parameter; a trace for coefficients, so that the matrix
    inverts."""
    free = restored.problem.free
    width = [max(high - low, 1e-6) / 2 for low, high in (item.parameter.start_range for item in free)]
    coefficients = np.diag(information)[len(free) :]
    return np.concatenate([1 / np.array(width) ** 2, 1e-9 * coefficients + 1e-300])


def row_gradients(here: Draws, candidates: Design, group: object) -> FloatArray:
    """Derivative of each candidate's prediction in searched parameters and coefficients, [candidates, z], by central
    differences."""
    p, shape = here.x.shape[1], here.coefficients.shape
    flat = here.coefficients.reshape(-1)
    steps = np.concatenate([np.full(p, STEP), STEP * np.maximum(np.abs(flat), 1e-12)])
    moves = np.concatenate([np.diag(steps), -np.diag(steps)])
    draws = Draws(
        fit=here.fit, x=here.x + moves[:, :p], coefficients=(flat + moves[:, p:]).reshape(len(moves), *shape[1:])
    )
    values = draws.predict(candidates, group=group)
    return np.asarray(((values[: steps.size] - values[steps.size :]) / (2 * steps[:, None])).T)


def _pick(candidates: Design, row: int, predicted: float, target_sd: tuple[float, ...], reason: str) -> Pick:
    return Pick(
        row=row,
        n_rec=float(candidates.n_rec[row]),
        k_e=float(candidates.k_e[row]),
        trainable_params=float(candidates.params[row]),
        predicted=predicted,
        target_sd=target_sd,
        reason=reason,
    )
