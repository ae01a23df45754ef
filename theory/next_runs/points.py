"""Which of some candidates to run next, to know the best allocation of a budget better: a face of `sequential.choose`.

A fit and a list of sizes go in, runs with what each of them is expected to bring come out.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from theory.data.cost import Cost
from theory.data.design import Design, join_designs
from theory.errors import TheoryError
from theory.fit.result import FitResult
from theory.next_runs.belief import Belief, believe
from theory.next_runs.sequential import Goal, choose, foresee, locate_optimum
from theory.optimum.locate import budget_line
from theory.types import FloatArray

IntArray = npt.NDArray[np.int64]

LINE = 40
"""Places along a budget line where its optimum may lie: a step of a tenth in ln d_m over the usual two decades."""

SAME = 0.02
"""Difference of ln k_e below which a candidate is the configuration that was run: the interpolation between realised
sizes errs by less, and neighbouring whole values of d_m up to 60 are further apart."""


@dataclass(frozen=True, kw_only=True)
class Pick:
    """One run to do, in order of choice; the same candidate may be picked again (another seed)."""

    row: int
    """Row of the candidates."""
    n_rec: float
    """Neurons of the candidate."""
    trainable_params: float
    """Trainable parameters of the candidate."""
    target_sd: tuple[float, ...]
    """Relative standard deviation of each target after this run and all before it."""
    reason: str
    """target, confirm or spread."""


@dataclass(frozen=True, kw_only=True)
class NextPoints:
    """A batch of runs."""

    picks: tuple[Pick, ...]
    """The runs in order of choice."""
    targets: tuple[str, ...]
    """Names of the numbers that the runs make more certain."""
    target_sd: tuple[float, ...]
    """Relative standard deviation of each target now."""
    law: str
    """Law that drove the choice."""
    sentences: tuple[str, ...]
    """Sentences that say what the choice rests on."""


def next_points(
    fit: FitResult,
    candidates: Design,
    budgets: Sequence[float],
    cost: Cost,
    n: int,
    *,
    cost_power: float = 0.5,
    seed: int = 0,
) -> NextPoints:
    """Choose the runs that make the optimal d_m of some budgets most certain.

    The choice follows the law that explains the runs best and departs from it where the runs do, see
    `theory.next_runs.belief`.

    Args:
        fit: A usable fit of the runs so far; those of another connectivity than the cost's are left out.
        candidates: Sizes that could be run, with budgets and d_m; those beyond the data's k_e are left out.
        budgets: Where the optimum is asked for.
        cost: Counts of the family of networks.
        n: Runs to choose.
        cost_power: Gains are divided by trainable_params to this power; 0 ignores cost.
        seed: Of searches and draws.

    Raises:
        TheoryError: no candidate lies within the data's range of k_e, the fit is not usable, or no law can be fitted.
    """
    if not fit.usable:
        raise TheoryError("fit: not usable, so it cannot choose runs; read its statuses")
    if n < 1:
        raise TheoryError(f"n: {n} is not a number of runs; need at least 1")
    runs, loss = _runs(fit, cost)
    allowed = _allowed(runs, candidates)
    sizes, was_run = _as_run(candidates.take(allowed), runs)
    # an optimum need not be confirmed at budgets that are not asked for: there all candidates count as known
    confirmed = was_run | ~np.isin(sizes.budgets, budgets)
    lines = [_line(budget, cost, runs) for budget in budgets]
    count = len(sizes)
    # Places of a line stand behind the candidates, line by line, as they are joined below.
    places = [np.arange(count + LINE * i, count + LINE * (i + 1), dtype=np.int64) for i in range(len(lines))]
    # Candidates and lines are believed about together, because a run at the one must teach about the other.
    belief = believe(runs, loss, join_designs([sizes, *lines]), smooth=np.concatenate(places), seed=seed)
    # The price is the trainable parameters, since the time of a step grows with them.
    batch = choose(
        belief,
        Goal(lines=tuple(places)),
        np.arange(count, dtype=np.int64),
        sizes.params,
        n,
        already_run=np.flatnonzero(confirmed),
        seed=seed,
        cost_power=cost_power,
    )
    after = replace(belief, plausible=())  # which laws a run will rule out cannot be expected, so one law is asked
    # One seed for all, so that differences between them are not those of draws.
    spreads = [_spreads(after, places, seed)]
    for pick in batch.picks:
        # After each pick in turn, so that a reader sees where further runs stop to pay.
        after = foresee(after, pick.place)
        spreads.append(_spreads(after, places, seed))
    picks = [
        Pick(
            row=int(allowed[pick.place]),
            n_rec=float(sizes.n_rec[pick.place]),
            trainable_params=float(sizes.params[pick.place]),
            target_sd=spread,
            reason=pick.reason,
        )
        for pick, spread in zip(batch.picks, spreads[1:], strict=True)
    ]
    return NextPoints(
        picks=tuple(picks),
        targets=tuple(f"d_m at {budget:g}" for budget in budgets),
        target_sd=spreads[0],
        law=belief.fit.law.label,
        sentences=(_sentence(belief),),
    )


def _runs(fit: FitResult, cost: Cost) -> tuple[Design, FloatArray]:
    """The fitted runs of the cost's connectivity, their metric as a loss."""
    design, metric = fit.inputs.design, fit.inputs.metric
    loss = metric if fit.direction == "min" else -metric
    if design.k_c is None:
        return design, loss
    # Costs describe one connectivity, and the belief has no coordinate for another.
    connected = np.isclose(design.k_c, cost.k_c)
    return design.take(connected), loss[connected]


def _allowed(runs: Design, candidates: Design) -> IntArray:
    """Candidates between the smallest and the largest k_e that was run: beyond, neither law nor correction is known."""
    low, high = runs.k_e.min(), runs.k_e.max()
    # A little beyond the range is allowed, since realised sizes differ from those asked for.
    allowed = np.flatnonzero((candidates.k_e >= low * (1 - SAME)) & (candidates.k_e <= high * (1 + SAME)))
    if not allowed.size:
        raise TheoryError(
            f"candidates: none lies within the data's k_e from {low:g} to {high:g}; nothing is known beyond"
        )
    return allowed


def _as_run(candidates: Design, runs: Design) -> tuple[Design, npt.NDArray[np.bool_]]:
    """Give candidates that were run the sizes that the run realised, so that both count as one configuration.

    Returns:
        The candidates, and whether each was run, [candidates].
    """
    # Sizes are whole numbers, so what was run differs a little from the candidate that it realised.
    near = np.abs(np.log(candidates.k_e[:, None] / runs.k_e[None])) < SAME
    # The same k_e at another budget is another configuration.
    near &= candidates.budgets[:, None] == runs.budgets[None]
    # argmax gives row 0 where nothing is near; `was_run` keeps those from being used.
    run = np.argmax(near, axis=1)
    was_run: npt.NDArray[np.bool_] = np.asarray(near.any(axis=1))

    def realised(column: FloatArray, of_runs: FloatArray) -> FloatArray:
        return np.where(was_run, of_runs[run], column)

    snapped = Design(
        n_rec=realised(candidates.n_rec, runs.n_rec),
        k_e=realised(candidates.k_e, runs.k_e),
        k_c=candidates.k_c,
        trainable_params=realised(candidates.params, runs.params),
        budget=candidates.budgets,
        d_m=candidates.d_m,
    )
    return snapped, was_run


def _line(budget: float, cost: Cost, runs: Design) -> Design:
    """Places of a budget line over the sampled k_e, as far as one neuron fits."""
    smallest, largest = runs.k_e.min(), min(runs.k_e.max(), budget - cost.readout_params - cost.k_c)
    # Asked in k_e, before d_m is looked for: to what a budget below a single neuron leaves, no d_m belongs.
    if not smallest < largest:
        raise TheoryError(f"budget: {budget:g} leaves no range of d_m with at least one neuron")
    low, high = cost.d_m([smallest, largest])
    # Even in ln d_m, as `locate_optimum` needs for its parabola.
    return budget_line(budget, cost, np.exp(np.linspace(np.log(low), np.log(high), LINE)))


def _spreads(belief: Belief, lines: Sequence[IntArray], seed: int) -> tuple[float, ...]:
    return tuple(locate_optimum(belief, line, seed=seed).relative_sd for line in lines)


def _sentence(belief: Belief) -> str:
    if belief.trusted:
        return (
            f"Chosen by {belief.fit.law.label}, from which the runs do not depart significantly; how far they still "
            "may is allowed for."
        )
    return (
        f"Chosen by {belief.fit.law.label} with a smooth correction: the runs depart from the law by "
        f"{belief.hyper.departure:.2g} (ln-likelihood +{belief.hyper.gain:.1f}), so the choice spreads out."
    )
