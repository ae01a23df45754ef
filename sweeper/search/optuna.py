"""Optuna's samplers behind the interface of all searches: TPE, NSGA-II and a Gaussian process, by ask and tell.

The study is rebuilt from the store's rows for every batch and lives in memory; the trials of a batch are asked for one
after the other while the earlier ones count as running. TPE (`constant_liar`) and the Gaussian process take running
trials for bad or pending ones; NSGA-II makes each child from the last generation alone. Infeasible suggestions are told
as pruned or failed and cost nothing. What is said here of the samplers was read in the source of Optuna 5.0.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler, GPSampler, NSGAIISampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from sweeper.plan.search_section import SearchSettings
from sweeper.search.plain import TRIES, RandomSearcher, Untried
from sweeper.search.space import Dimension, Observation, Point, Proposal, Sizes, Space

BUDGET = "budget"
"""Name of the budget among a study's parameters, where it is one."""

GENERATION = "generation"
"""Name of a stored trial's generation among its attributes."""

MAX_SEED = 2**32 - 1
"""Seeds lie below it: the random states of NumPy that samplers use take 32 bits."""


class _RebuiltGenerations(NSGAIISampler):  # type: ignore[misc]  # mypy does not follow Optuna
    """NSGA-II in a study that was not grown by it: each stored trial brings its generation along.

    By itself the sampler numbers the trials that it was asked for, in an attribute that rows do not carry. In a study
    that is rebuilt from rows every new trial would be of the first generation, which has no parents.
    """

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        """The generation a trial is of; one that is asked for now continues the last one until that is full."""
        if GENERATION in trial.user_attrs:
            return int(trial.user_attrs[GENERATION])
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        generations = [int(other.user_attrs[GENERATION]) for other in complete]
        # `population_size` finished trials close a generation, as in the base class.
        last = max(generations, default=0)
        return last + (generations.count(last) >= (self.population_size or 1))

    def get_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        """The finished trials of a generation."""
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return [trial for trial in complete if trial.user_attrs[GENERATION] == generation]


@dataclass(frozen=True, kw_only=True)
class OptunaSearcher:
    """Suggestions of an Optuna sampler; see the module."""

    space: Space
    settings: SearchSettings

    def propose(self, history: Sequence[Observation], n: int) -> Proposal:
        """See `sweeper.search.space.Searcher`."""
        # By itself Optuna writes a line to stderr for every study, and a study is made per batch and budget.
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        untried = Untried(self.space, history)
        if self.settings.objective == "pareto":
            return self._batch(history, [(None, n)], untried)
        # A study for each budget: across budgets a sampler would learn only that larger networks are better.
        shares = _shares(history, self.space.budgets, n)
        return self._batch(history, [(budget, count) for budget, count in shares.items() if count], untried)

    def _batch(
        self, history: Sequence[Observation], parts: Sequence[tuple[int | None, int]], untried: Untried
    ) -> Proposal:
        points: list[Point] = []
        missing = 0
        for budget, count in parts:
            suggested = self._ask(history, budget, count, untried)
            points += suggested
            missing += count - len(suggested)
        if not missing:
            return Proposal(tuple(points))
        # What was just asked for is in no store yet, and must not be drawn again.
        known = [*history, *(Observation(point, None) for point in points)]
        rest = RandomSearcher(space=self.space, seed=self.settings.seed).propose(known, missing).points
        sentence = (
            f"{self.settings.sampler} repeats itself: {len(rest)} of {len(points) + len(rest)} trials are random draws"
        )
        return Proposal((*points, *rest), (sentence,) if rest else ())

    def _ask(self, history: Sequence[Observation], budget: int | None, count: int, untried: Untried) -> list[Point]:
        """Suggestions for one budget, or over all budgets where the study has them as a parameter."""
        pareto = self.settings.objective == "pareto"
        study = optuna.create_study(
            directions=["minimize"] * (2 if pareto else 1),
            # The length of the history makes each batch draw anew, and the same batch draw the same.
            sampler=self._sampler(f"{self.settings.seed}-{len(history)}-{budget}"),
        )
        distributions = _distributions(self.space, with_budget=pareto)
        finished = 0
        for observation in (o for o in history if pareto or o.point.budget == budget):
            trial = self._as_trial(observation, distributions, finished)
            finished += trial.state == TrialState.COMPLETE
            study.add_trial(trial)
        points: list[Point] = []
        misses = 0
        # Fewer tries than a random draw gets: each suggestion fits the sampler's model once more.
        while len(points) < count and misses < TRIES // 10:
            trial = study.ask(distributions)
            values = {d.name: _value(d, trial.params[d.name]) for d in self.space.dimensions}
            where = self.space.budgets[trial.params[BUDGET]] if pareto else budget
            point = untried.next(where, values)
            if point is None:
                # TPE ranks pruned trials behind all finished ones and so learns where nothing fits; failed ones it
                # leaves out (`_split_trials`). With two objectives Optuna's own pruning raises NotImplementedError, so
                # there no meaning of a pruned trial can be relied on.
                study.tell(trial, state=TrialState.PRUNED if not pareto else TrialState.FAIL)
                misses += 1
                continue
            points.append(point)
        return points

    def _sampler(self, text: str) -> BaseSampler:
        seed = _hash(text)
        if self.settings.sampler == "nsga2":
            # A generation is a batch: all of its trials are chosen before any of them is known. The sampler refuses a
            # population below 2, because its crossover takes two parents.
            return _RebuiltGenerations(seed=seed, population_size=max(2, self.settings.batch))
        if self.settings.sampler == "gp":
            # Optuna's own 10 random trials are too many for a short search in few dimensions (assumption).
            return GPSampler(seed=seed, n_startup_trials=min(10, 2 + 2 * len(self.space.dimensions)))
        return TPESampler(seed=seed, constant_liar=True, n_startup_trials=min(10, 2 + 2 * len(self.space.dimensions)))

    def _as_trial(
        self, observation: Observation, distributions: dict[str, BaseDistribution], finished: int
    ) -> FrozenTrial:
        """A stored trial as Optuna keeps it, after `finished` earlier ones; one without a value counts as failed."""
        values = observation.point.values
        params = {d.name: _coordinate(d, values[d.name]) for d in self.space.dimensions}
        if BUDGET in distributions:
            # By its place: budgets lie evenly in the logarithm more often than in their values, and a sampler knows
            # only steps.
            params[BUDGET] = self.space.budgets.index(observation.point.budget)
        sizes = self.space.measure(observation.point)
        usable = observation.loss is not None and isinstance(sizes, Sizes)
        objectives: list[float] | None = None
        if usable and observation.loss is not None and isinstance(sizes, Sizes):
            objectives = (
                [observation.loss, math.log(sizes.trainable_params)] if BUDGET in distributions else [observation.loss]
            )
        # Failed trials are of no generation: to Optuna one is full once it holds as many finished trials as there are
        # in a population, and with a failed trial in its place the last one would never be, nor give any parents.
        generation = finished // max(2, self.settings.batch)
        return create_trial(
            state=TrialState.COMPLETE if usable else TrialState.FAIL,
            params=params,
            distributions=distributions,
            values=objectives,
            user_attrs={GENERATION: generation},
        )


def _shares(history: Sequence[Observation], budgets: Sequence[int | None], n: int) -> dict[int | None, int]:
    """How many of n trials each budget gets, so that all budgets come out even."""
    # Failed trials count too: a budget whose trials fail must not get all the others' share.
    made = {budget: sum(o.point.budget == budget for o in history) for budget in budgets}
    shares: dict[int | None, int] = dict.fromkeys(budgets, 0)
    for _ in range(n):
        poorest = min(budgets, key=lambda budget: made[budget] + shares[budget])
        shares[poorest] += 1
    return shares


def _distributions(space: Space, *, with_budget: bool) -> dict[str, BaseDistribution]:
    distributions: dict[str, BaseDistribution] = {
        dimension.name: _distribution(dimension) for dimension in space.dimensions
    }
    if with_budget:
        distributions[BUDGET] = IntDistribution(0, len(space.budgets) - 1)
    return distributions


def _distribution(dimension: Dimension) -> BaseDistribution:
    """Ordered values by their place, ranges as they are, anything else without an order."""
    if dimension.range is not None:
        low, high, log = dimension.range.low, dimension.range.high, dimension.range.log
        return (
            IntDistribution(int(low), int(high), log=log)
            if dimension.range.whole
            else FloatDistribution(low, high, log=log)
        )
    if _ordered(dimension.values):
        # As places in order: a categorical distribution would forget that 8 lies between 4 and 16.
        return IntDistribution(0, len(dimension.values) - 1)
    return CategoricalDistribution(dimension.values)


def _ordered(values: tuple[Any, ...]) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _value(dimension: Dimension, coordinate: Any) -> Any:
    if dimension.range is not None or not _ordered(dimension.values):
        # The number is written into a grid and read back: six digits survive that, and the trial keeps its id.
        return coordinate if dimension.range is None or dimension.range.whole else float(f"{coordinate:.6g}")
    return sorted(dimension.values)[coordinate]


def _coordinate(dimension: Dimension, value: Any) -> Any:
    if dimension.range is not None or not _ordered(dimension.values):
        return value
    return sorted(dimension.values).index(value)


def _hash(text: str) -> int:
    """A seed from a text, the same on every machine."""
    # Not `hash`, which Python salts anew in every process.
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) % MAX_SEED
