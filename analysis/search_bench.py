"""How many trials each search needs: `python -m analysis.search_bench [--seeds 30] [--searches grid,theory]`.

Worlds are ground truths with seeded noise: laws of the form that the theory search fits, others that it does not, and
the published tables as a lookup. The parameters of a law are drawn anew for each seed, so that no grid is lucky.

A search reaches the frontier when the networks that it has run, and would name as best, lie within 1 % of the budget's
range of the true frontier, at every budget and at two batch ends in a row. It brackets the optimum when at every budget
the true best d_m lies between the neighbours that it has run of the one that it would name. Everybody names the best
measured mean, except theory and "grid + law", which name the best by law and discrepancy.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import NamedTuple

import click
import numpy as np
import numpy.typing as npt
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from analysis.errors import AnalysisError
from sweeper.errors import unknown_name
from sweeper.search import Dimension, GridSearcher, Observation, Point, RandomSearcher, Searcher, Sizes, Space
from sweeper.search_optuna import OptunaSearcher
from sweeper.search_settings import SearchSettings
from sweeper.search_theory import TheorySearcher
from theory.base import Curve
from theory.cost import Cost, elm_cost
from theory.data import Design
from theory.errors import TheoryError
from theory.laws import get_law
from theory.published import load_published

FloatArray = npt.NDArray[np.float64]

CLOSE = 0.01
"""Reached: regret below this share of the budget's range of the metric."""

BATCH = 4
"""Trials between two looks."""

MOST = 108
"""Trials after which a search counts as not having arrived."""

MOST_LAW = 52
"""The same for searches that fit the law at each look."""

SEEDS = 4
"""Replicates that a configuration may have."""

FINE, COARSE = 24, 9
"""Values of d_m that searches choose from, and those of the grid (the default design of the theory's page)."""

SEARCHES = ("grid", "random", "tpe", "nsga2", "gp", "theory", "grid + law")


@dataclass(frozen=True, kw_only=True)
class World:
    """A ground truth on budget lines."""

    name: str
    right: bool | None
    """Whether the theory search fits the form of this law; None for tables."""
    mean: Callable[[Design], FloatArray]
    """Expected loss."""
    noise: float
    """Standard deviation of a trial."""
    budgets: tuple[int, ...]
    cost: Cost
    d_m: tuple[int, ...]
    """Values of d_m to choose from."""
    coarse: tuple[int, ...]
    """Values of d_m of the grid."""

    def space(self, values: tuple[int, ...]) -> Space:
        """The world as a space."""
        return Space(
            budgets=self.budgets,
            dimensions=(Dimension(name="d_m", values=values),),
            seeds=tuple(range(SEEDS)),
            measure=self.sizes,
        )

    def sizes(self, point: Point) -> Sizes | str:
        """Sizes of a point; networks of fewer than 8 neurons are left out."""
        d_m, budget = point.values["d_m"], float(point.budget or 0)
        n_rec = float(self.cost.n_rec(budget, d_m))
        if n_rec < 8:
            return "fewer than 8 neurons"
        k_e, params = float(self.cost.complexity(d_m)), float(self.cost.trainable_params(n_rec, d_m))
        return Sizes(n_rec, k_e, self.cost.k_c, float(d_m), params, params)

    @cached_property
    def truth(self) -> dict[int, dict[int, float]]:
        """Expected loss of every choice, by budget and d_m."""
        return {
            budget: {
                d_m: float(self.mean(_design(sizes, budget))[0])
                for d_m in sorted({*self.d_m, *self.coarse})
                if isinstance(sizes := self.sizes(Point(budget, (("d_m", d_m),), 0)), Sizes)
            }
            for budget in self.budgets
        }

    def regret(self, named: Mapping[int, int | None]) -> float:
        """Largest distance of a named network to the frontier, as a share of its budget's range."""
        shares = []
        for budget, losses in self.truth.items():
            best, worst, d_m = min(losses.values()), max(losses.values()), named.get(budget)
            shares.append(1.0 if d_m is None else (losses[d_m] - best) / (worst - best))
        return max(shares)

    def bracketed(self, named: Mapping[int, int | None], run: Mapping[int, set[int]]) -> bool:
        """Whether the true best d_m lies between the neighbours that were run of the named one, at every budget."""
        for budget, losses in self.truth.items():
            best, d_m, tried = min(losses, key=losses.__getitem__), named.get(budget), run.get(budget, set())
            below = [value for value in tried if d_m is not None and value < d_m]
            above = [value for value in tried if d_m is not None and value > d_m]
            if not below or not above or not max(below) < best < min(above):
                return False
        return True


class Arrival(NamedTuple):
    """When a search arrived; infinite where it did not."""

    frontier: float
    """Trials."""
    frontier_cost: float
    """Trainable parameters trained until then, in units of one trial at the largest budget."""
    bracket: float
    """Trials until the optima were bracketed."""
    seconds: float
    """CPU time of the search itself."""


def _design(sizes: Sizes, budget: int) -> Design:
    return Design(
        n_rec=[sizes.n_rec],  # type: ignore[arg-type]
        k_e=[sizes.k_e],  # type: ignore[arg-type]
        k_c=sizes.k_c,  # type: ignore[arg-type]
        trainable_params=[sizes.trainable_params],  # type: ignore[arg-type]
        budget=[float(budget)],  # type: ignore[arg-type]
        d_m=[float(sizes.d_m or 0)],  # type: ignore[arg-type]
    )


def _law(floor: str, link: str, theta: dict[str, float], a: float, b: float) -> Callable[[Design], FloatArray]:
    law = get_law("effective_information", floor=floor, link=link, k_ref=2461.0, n_ref=562.0, k_range=(200.0, 1e5))
    curve = Curve(law=law, theta=theta, coefficients=(a, b))
    return lambda design: curve.on_grid(design)[0]


_ADDITIVE = {"u_ref": 0.0963, "alpha": 0.95, "beta": 1.745, "k_floor": 141.3}
_MAX = {"u_ref": 1.1325, "alpha": 0.95, "beta": 0.9, "k_floor": 20641.0}
_LOG = {"u_ref": 1.2013, "alpha": 0.95, "beta": 0.9, "k_floor": 20641.0}


def worlds(seed: int = 0) -> dict[str, World]:
    """All worlds by name: numbers after the published Enwik8 table, noise 0.003 bits per character as measured there.

    Args:
        seed: of the factors by which parameters and places are off those numbers.
    """
    rng = np.random.default_rng(seed)
    near = partial(_near, rng=rng)
    additive = _law("additive", "affine", near(_ADDITIVE), 2.0816, 6.3556e-3)
    shift = float(np.exp(rng.normal(0, 0.2)))

    def rate(design: Design) -> FloatArray:
        """One learning rate for all, too high for large d_m: a bump that no law has."""
        return np.asarray(additive(design) + 0.03 / (1 + np.exp(-(np.log(_d_m(design)) - np.log(35 * shift)) / 0.15)))

    def dent(design: Design) -> FloatArray:
        """A hump near the optimum, as from a resonance of sizes and hardware-friendly shapes."""
        return np.asarray(
            additive(design) + 0.02 * np.exp(-0.5 * ((np.log(_d_m(design)) - np.log(14 * shift)) / 0.3) ** 2)
        )

    forms = {
        "additive floor": (True, additive),
        "max floor": (True, _law("max", "affine", near(_MAX), 1.7653, 1.6e-4)),
        "max floor, log link": (False, _law("max", "log", near(_LOG), 2.0630, 0.061688)),
        "learning-rate bump": (False, rate),
        "dent": (False, dent),
    }
    sizes, coarse = _ladder(FINE), _ladder(COARSE)
    budgets = tuple(round(value) for value in np.geomspace(3e5, 1e7, 4))
    found = {
        name: World(
            name=name,
            right=right,
            mean=mean,
            noise=0.003,
            budgets=budgets,
            cost=elm_cost(d_tree=50, d_branch=15),
            d_m=sizes,
            coarse=coarse,
        )
        for name, (right, mean) in forms.items()
    }
    for table, column, noise in (("enwik8", "test_bpc", 0.0045), ("shd_adding", "test_accuracy", 0.03)):
        found[f"published {table}"] = _published(table, column, noise)
    return found


def _near(theta: Mapping[str, float], rng: np.random.Generator) -> dict[str, float]:
    """Parameters near the given ones: u_ref and the floor within a factor of about 1.3, the exponents within 5 %."""
    spread = {"u_ref": 0.25, "k_floor": 0.25, "alpha": 0.05, "beta": 0.05}
    return {name: value * float(np.exp(rng.normal(0, spread[name]))) for name, value in theta.items()}


def _d_m(design: Design) -> FloatArray:
    assert design.d_m is not None, "every design of this module has d_m"
    return design.d_m


def _ladder(count: int) -> tuple[int, ...]:
    return tuple(int(value) for value in np.unique(np.round(np.geomspace(3, 150, count))))


def _published(name: str, column: str, noise: float) -> World:
    """A published table as a world: its values are the truth, the noise of single runs is added."""
    table = load_published(name)
    sign = 1.0 if table.metrics[column] == "min" else -1.0
    d_m = tuple(int(value) for value in table.columns["d_m"])
    losses = dict(zip(d_m, sign * table.columns[column], strict=True))
    budget = int(table.design.budgets[0])
    return World(
        name=f"published {name}",
        right=None,
        mean=lambda design: np.array([losses[int(value)] for value in _d_m(design)]),
        noise=noise,
        budgets=(budget,),
        cost=table.cost,
        d_m=d_m,
        coarse=d_m,
    )


def make(search: str, world: World, seed: int) -> Searcher:
    """A search on a world.

    Raises:
        AnalysisError: unknown search.
    """
    if search not in SEARCHES:
        raise AnalysisError(unknown_name("--searches", search, SEARCHES))
    fine = world.space(world.d_m)
    if search.startswith("grid"):
        return GridSearcher(space=world.space(world.coarse))
    if search == "random":
        return RandomSearcher(space=fine, seed=seed)
    if search == "theory":
        return TheorySearcher(space=fine, seed=seed)
    objective = "pareto" if search == "nsga2" else "per_budget"
    settings = SearchSettings(kind="optuna", sampler=search, objective=objective, seed=seed, batch=BATCH)
    return OptunaSearcher(space=fine, settings=settings)


@dataclass
class _Run:
    """One search on one world with one seed."""

    world: World
    search: str
    seed: int
    history: list[Observation] = field(default_factory=list)

    def arrive(self) -> Arrival:
        searcher, rng = make(self.search, self.world, self.seed), np.random.default_rng(1000 + self.seed)
        judge = self._judge(searcher)
        most = MOST if judge is None else MOST_LAW
        frontier: list[tuple[int, float]] = []
        bracket, began = np.inf, time.process_time()
        while len(self.history) < most:
            proposal = searcher.propose(self.history, min(BATCH, most - len(self.history)))
            if not proposal.points:
                break
            for point in proposal.points:
                self.history.append(Observation(point, self._loss(point, rng)))
            named = self._named(judge)
            run: dict[int, set[int]] = {}
            for observation in self.history:
                run.setdefault(int(observation.point.budget or 0), set()).add(observation.point.values["d_m"])
            if bracket == np.inf and self.world.bracketed(named, run):
                bracket = len(self.history)
            close = self.world.regret(named) <= CLOSE
            frontier = [*frontier, (len(self.history), self._spent())] if close else []
            if len(frontier) == 2 and bracket < np.inf:
                break
        arrived = frontier[0] if len(frontier) >= 2 else (np.inf, np.inf)
        return Arrival(arrived[0], arrived[1], bracket, time.process_time() - began)

    def _judge(self, searcher: Searcher) -> TheorySearcher | None:
        if isinstance(searcher, TheorySearcher):
            return searcher
        return TheorySearcher(space=self.world.space(self.world.coarse)) if self.search == "grid + law" else None

    def _loss(self, point: Point, rng: np.random.Generator) -> float:
        return self.world.truth[int(point.budget or 0)][point.values["d_m"]] + self.world.noise * rng.standard_normal()

    def _spent(self) -> float:
        params = [sizes.seconds for o in self.history if isinstance(sizes := self.world.sizes(o.point), Sizes)]
        return sum(params) / max(self.world.budgets)

    def _named(self, judge: TheorySearcher | None) -> dict[int, int | None]:
        """The networks that the search would name as best: by the law, or by measurement before there is one."""
        measured = {budget: self._best_measured(budget) for budget in self.world.budgets}
        if judge is None:
            return measured
        try:
            return dict(judge.named(self.history))
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
    return [_Run(world=worlds(seed)[name], search=search, seed=seed).arrive() for seed in range(seeds)]


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile, by rank, so that what never arrived stays infinite."""
    ranked = sorted(values)
    return tuple(ranked[round(share * (len(ranked) - 1))] for share in (0.25, 0.5, 0.75))  # type: ignore[return-value]


def table(world: World, found: Mapping[str, Sequence[Arrival]]) -> Table:
    """Arrivals of every search on one world; the ratio is to the grid's median."""
    kind = {True: "the law's form is right", False: "the law's form is wrong", None: "lookup"}[world.right]
    drawn = Table(title=f"{world.name} ({kind})", title_justify="left", box=SIMPLE_HEAD)
    for heading in (
        "search",
        "frontier: trials",
        "of grid",
        "cost",
        "of grid",
        "bracket: trials",
        "of grid",
        "seeds",
        "CPU s",
    ):
        drawn.add_column(heading, justify="left" if heading == "search" else "right")
    base = found.get("grid")
    for search, arrivals in found.items():
        cells = [search]
        for name in ("frontier", "frontier_cost", "bracket"):
            low, middle, high = quartiles([getattr(arrival, name) for arrival in arrivals])
            reference = None if base is None else quartiles([getattr(arrival, name) for arrival in base])[1]
            cells += [f"{_number(middle)} ({_number(low)}–{_number(high)})", _ratio(middle, reference)]
        cells += [str(len(arrivals)), f"{np.mean([arrival.seconds for arrival in arrivals]):.2g}"]
        drawn.add_row(*cells)
    return drawn


def _number(value: float) -> str:
    return "never" if value == np.inf else f"{value:.3g}"


def _ratio(value: float, reference: float | None) -> str:
    if reference is None or (value == np.inf and reference == np.inf):
        return "–"
    return "never" if value == np.inf else "< 1" if reference == np.inf else f"{value / reference:.2f}"


@click.command()
@click.option("--seeds", default=30, show_default=True, type=click.IntRange(1), help="Runs of every search and world.")
@click.option(
    "--gp-seeds", default=5, show_default=True, type=click.IntRange(0), help="The same for gp, which is slow."
)
@click.option("--searches", default=",".join(SEARCHES), show_default=True, help="Which searches, separated by commas.")
@click.option("--worlds", "names", default="all", show_default=True, help="Which worlds, separated by commas.")
def main(seeds: int, gp_seeds: int, searches: str, names: str) -> None:
    """Print for each world how many trials each search needs."""
    known = worlds()
    chosen = list(known) if names == "all" else [name.strip() for name in names.split(",")]
    for name in chosen:
        if name not in known:
            raise AnalysisError(unknown_name("--worlds", name, known))
    console = Console(width=150)
    for name in chosen:
        found: dict[str, list[Arrival]] = {}
        for search in (one.strip() for one in searches.split(",")):
            count = min(seeds, gp_seeds) if search == "gp" else seeds
            if count:
                found[search] = measure(search, name, count)
        console.print(table(known[name], found))


if __name__ == "__main__":
    main()
