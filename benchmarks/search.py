"""How many trials each search needs: `python -m benchmarks.search [--seeds 30] [--searches grid,theory]`.

A search reaches the frontier when the networks that it has run, and would name as best, lie within 1 % of the budget's
range of the true frontier, at every budget and at two looks in a row. It brackets the optimum when at every budget the
true best d_m lies between the neighbours that it has run of the one that it would name. Everybody is looked at after
every fourth trial and named by the best measured mean, except theory and "grid + law", which name the best by law and
discrepancy. Worlds are those of `benchmarks.search_worlds`.
"""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import click
import numpy as np

from analysis.errors import AnalysisError
from benchmarks.search_worlds import World, worlds
from cluster.errors import unknown_name
from sweeper.plan.search_section import SearchSettings
from sweeper.search.optuna import OptunaSearcher
from sweeper.search.plain import GridSearcher, RandomSearcher
from sweeper.search.space import Observation, Point, Searcher, Sizes
from sweeper.search.theory import TheorySearcher
from theory.errors import TheoryError

CLOSE = 0.01
"""Reached: regret below this share of the budget's range of the metric."""

BATCH = 4
"""Trials between two looks, for every search."""

MOST = 108
"""Trials after which a search counts as not having arrived."""

SEARCHES = ("grid", "grid + law", "random", "tpe", "nsga2", "gp", "theory")


class Arrival(NamedTuple):
    """When a search arrived; infinite where it did not."""

    frontier: float
    """Trials until the frontier was reached."""
    frontier_cost: float
    """Trainable parameters trained until then, in units of one trial at the largest budget."""
    bracket: float
    """Trials until the optima were bracketed."""
    seconds: float
    """CPU time of the search itself."""


class Task(NamedTuple):
    """One search on one world with one seed."""

    world: str
    search: str
    seed: int

    def arrive(self) -> Arrival:
        """Run the search and return when it arrived."""
        # Worlds are made anew in each process, since laws hold functions that cannot be sent to another one.
        return _Run(world=worlds(self.seed)[self.world], search=self.search, seed=self.seed).arrive()


def make(search: str, world: World, seed: int) -> Searcher:
    """A search on a world.

    Raises:
        AnalysisError: unknown search.
    """
    if search not in SEARCHES:
        raise AnalysisError(unknown_name("--searches", search, SEARCHES))
    # The grid has fewer values of d_m, as a person would choose them; the other searches may choose from all.
    fine = world.space(world.d_m)
    # "grid + law" runs the same trials as "grid"; only who names the best network differs.
    if search.startswith("grid"):
        return GridSearcher(space=world.space(world.coarse))
    if search == "random":
        return RandomSearcher(space=fine, seed=seed)
    if search == "theory":
        return TheorySearcher(space=fine, seed=seed)
    # NSGA-II searches all budgets at once; the other samplers know a single objective, one budget at a time.
    objective = "pareto" if search == "nsga2" else "per_budget"
    settings = SearchSettings(kind="optuna", sampler=search, objective=objective, seed=seed, batch=BATCH)
    return OptunaSearcher(space=fine, settings=settings)


@dataclass
class _Run:
    """The trials of one search."""

    world: World
    search: str
    seed: int
    history: list[Observation] = field(default_factory=list)

    def arrive(self) -> Arrival:
        # The noise has a generator of its own, so that what a search draws does not change it.
        searcher, rng = make(self.search, self.world, self.seed), np.random.default_rng(1000 + self.seed)
        judge = self._judge(searcher)
        frontier: list[tuple[int, float]] = []
        bracket, began = np.inf, time.process_time()
        while len(self.history) < MOST and self._run_until_the_next_look(searcher, rng):
            named = self._named(judge)
            if bracket == np.inf and self.world.bracketed(named, self._tried()):
                bracket = len(self.history)
            close = self.world.regret(named) <= CLOSE
            # two looks in a row, or a lucky draw of noise would count as an arrival; the first of them is when it was
            frontier = [*frontier, (len(self.history), self._spent())] if close else []
            # Both have been reached, so further trials would change neither number.
            if len(frontier) >= 2 and bracket < np.inf:
                break
        arrived = frontier[0] if len(frontier) >= 2 else (np.inf, np.inf)
        return Arrival(arrived[0], arrived[1], bracket, time.process_time() - began)

    def _run_until_the_next_look(self, searcher: Searcher, rng: np.random.Generator) -> bool:
        """Run `BATCH` trials, in as many batches as the search makes of them; whether any was left to run."""
        before = len(self.history)
        while (missing := before + BATCH - len(self.history)) > 0:
            # A search may propose fewer than it was asked for, so it is asked again until the look is full.
            points = searcher.propose(self.history, missing).points
            if not points:
                break
            self.history += [Observation(point, self._loss(point, rng)) for point in points]
        return len(self.history) > before

    def _judge(self, searcher: Searcher) -> TheorySearcher | None:
        if isinstance(searcher, TheorySearcher):
            return searcher
        return TheorySearcher(space=self.world.space(self.world.coarse)) if self.search == "grid + law" else None

    def _loss(self, point: Point, rng: np.random.Generator) -> float:
        return self.world.truth[int(point.budget or 0)][point.values["d_m"]] + self.world.noise * rng.standard_normal()

    def _spent(self) -> float:
        params = [sizes.seconds for o in self.history if isinstance(sizes := self.world.sizes(o.point), Sizes)]
        # In trials of the largest budget, so that costs of different worlds can be compared.
        return sum(params) / max(self.world.budgets)

    def _tried(self) -> dict[int, set[int]]:
        run: dict[int, set[int]] = {}
        for observation in self.history:
            run.setdefault(int(observation.point.budget or 0), set()).add(observation.point.values["d_m"])
        return run

    def _named(self, judge: TheorySearcher | None) -> dict[int, int | None]:
        """The networks that the search would name as best: by the law, or by measurement before there is one."""
        measured = {budget: self._best_measured(budget) for budget in self.world.budgets}
        if judge is None:
            return measured
        try:
            return dict(judge.named(self.history))
        # Before a law can be fitted, the best measured network is named, as anybody would.
        except TheoryError:
            return measured

    def _best_measured(self, budget: int) -> int | None:
        losses: dict[int, list[float]] = {}
        for observation in self.history:
            if observation.point.budget == budget and observation.loss is not None:
                losses.setdefault(observation.point.values["d_m"], []).append(observation.loss)
        return min(losses, key=lambda d_m: float(np.mean(losses[d_m]))) if losses else None


def measure(search: str, name: str, seeds: int) -> list[Arrival]:
    """Run a search on a world with several seeds."""
    return [Task(name, search, seed).arrive() for seed in range(seeds)]


def run_all(tasks: Sequence[Task], jobs: int, keep: Path | None) -> Iterator[tuple[Task, Arrival]]:
    """Run tasks side by side; yields each as it ends.

    Args:
        tasks: What to run.
        jobs: Processes.
        keep: File of arrivals, one JSON object per line: what it holds is taken from it, what is new is appended.
    """
    stored = {} if keep is None or not keep.exists() else _read(keep)
    yield from ((task, stored[task]) for task in tasks if task in stored)
    fresh = [task for task in tasks if task not in stored]
    # Results come in the order of the tasks, so that an interrupted run has kept whole cells of the table.
    with ProcessPoolExecutor(jobs) as pool:
        for task, arrival in zip(fresh, pool.map(Task.arrive, fresh), strict=True):
            if keep is not None:
                _append(keep, task, arrival)
            yield task, arrival


def _read(keep: Path) -> dict[Task, Arrival]:
    stored = {}
    for number, line in enumerate(keep.read_text().splitlines(), 1):
        try:
            row = json.loads(line)
            arrival = Arrival(*(math.inf if row[name] is None else row[name] for name in Arrival._fields))
            stored[Task(*(row[name] for name in Task._fields))] = arrival
        except (json.JSONDecodeError, KeyError) as error:
            raise AnalysisError(f"{keep}: line {number} is no arrival ({error!r}); remove the line") from None
    return stored


def _append(keep: Path, task: Task, arrival: Arrival) -> None:
    # JSON knows no infinity, so null stands for what never arrived.
    row = task._asdict() | {k: None if value == math.inf else value for k, value in arrival._asdict().items()}
    # One line at a time, so that an interrupted run loses nothing that it has measured.
    with keep.open("a") as file:
        file.write(json.dumps(row) + "\n")


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile, by rank, so that what never arrived stays infinite."""
    # By rank and not by interpolation, which infinity would spoil.
    ranked = sorted(values)
    return tuple(ranked[round(share * (len(ranked) - 1))] for share in (0.25, 0.5, 0.75))  # type: ignore[return-value]


HEAD = (
    "| world | search | seeds | frontier: trials | of grid's | of random's | cost | bracket: trials | CPU s |\n"
    "|---|---|---|---|---|---|---|---|---|"
)


def rows(world: str, by_search: Mapping[str, Sequence[Arrival]]) -> Iterator[str]:
    """Table rows of every search on one world; ratios are to the medians of grid and random."""
    # Ratios of medians: means would be infinite where a single run never arrived.
    base = {
        name: quartiles([a.frontier for a in by_search[name]])[1] for name in ("grid", "random") if name in by_search
    }
    for search, arrivals in by_search.items():
        trials, cost, bracket = (
            quartiles([getattr(arrival, name) for arrival in arrivals])
            for name in ("frontier", "frontier_cost", "bracket")
        )
        cells = [world, search, str(len(arrivals)), _three(trials)]
        cells += [_ratio(trials[1], base.get(name)) for name in ("grid", "random")]
        cells += [_number(cost[1]), _three(bracket), f"{np.mean([arrival.seconds for arrival in arrivals]):.2g}"]
        yield f"| {' | '.join(cells)} |"


def _three(values: tuple[float, float, float]) -> str:
    low, middle, high = (_number(value) for value in values)
    return f"{middle} ({low}–{high})"


def _number(value: float) -> str:
    return "never" if value == np.inf else f"{value:.3g}"


def _ratio(value: float, reference: float | None) -> str:
    """A quotient of medians; a bound where the reference never arrived within `MOST` trials."""
    if reference is None or value == np.inf:
        return "–"
    # The reference needed more than MOST trials, so this is the largest that the ratio can be.
    return f"< {value / MOST:.2f}" if reference == np.inf else f"{value / reference:.2f}"


def _chosen(option: str, text: str, known: Sequence[str]) -> list[str]:
    names = list(known) if text == "all" else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise AnalysisError(unknown_name(option, name, known))
    return names


@click.command()
@click.option("--seeds", default=30, show_default=True, type=click.IntRange(1), help="Runs of every search and world.")
@click.option("--searches", default="all", show_default=True, help=f"Some of {', '.join(SEARCHES)}.")
@click.option("--worlds", "names", default="all", show_default=True, help=f"Some of {'; '.join(worlds())}: by commas.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1), help="Processes side by side.")
@click.option(
    "--keep",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Keep arrivals in this file, and do not measure again what it holds; remove it when the code has changed.",
)
def main(seeds: int, searches: str, names: str, jobs: int, keep: Path | None) -> None:
    """Print for each world how many trials each search needs, as a Markdown table."""
    world_names = _chosen("--worlds", names, list(worlds()))
    search_names = _chosen("--searches", searches, SEARCHES)
    tasks = [Task(name, search, seed) for name in world_names for search in search_names for seed in range(seeds)]
    arrivals = dict(run_all(tasks, jobs, keep))
    click.echo(HEAD)
    for name in world_names:
        of_world = {search: [arrivals[Task(name, search, seed)] for seed in range(seeds)] for search in search_names}
        for row in rows(name, of_world):
            click.echo(row)


if __name__ == "__main__":
    main()
