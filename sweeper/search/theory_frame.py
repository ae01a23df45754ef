"""What a theory search knows of its space before any result: the configurations, their sizes, and the budget lines."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sweeper.errors import GridError
from sweeper.plan.targets import TargetError
from sweeper.search.space import Point, Sizes, Space
from theory.data.cost import Cost, interpolated_cost
from theory.data.design import Design, join_designs
from theory.errors import TheoryError
from theory.optimum.locate import budget_line

IntArray = npt.NDArray[np.int64]

LEVELS = 24
"""Values of d_m that are considered where the grid gives a range."""

LINE = 40
"""Places along a budget line where its optimum may lie."""

REACH = 10.0
"""Factor between a target's budget and the nearest one of the grid beyond which nothing can be promised: one decade."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Frame:
    """Everything about a space that does not depend on results."""

    points: tuple[Point, ...]
    """Configurations that can be run, seed 0."""
    seconds: npt.NDArray[np.float64]
    """Expected time of each."""
    places: Design
    """The configurations, then the lines."""
    lines: dict[float, IntArray]
    """Places of each budget's line, evenly spaced in ln d_m."""
    cost: Cost
    """Counts along d_m."""

    @property
    def smooth(self) -> IntArray:
        """Places that are points of a curve and no configurations."""
        return np.concatenate(list(self.lines.values()))

    def line_near(self, budget: float) -> dict[float, IntArray]:
        """The line of a budget that was asked for only after the frame was made.

        Raises:
            TheoryError: there is none.
        """
        # The belief holds a covariance of all places, so a line cannot be added to it afterwards.
        raise TheoryError(
            f"P = {budget:g} has no line; name it among the targets. Budgets: {', '.join(f'{b:g}' for b in self.lines)}"
        )


def make_frame(space: Space, targets: Sequence[float]) -> Frame:
    """Lay out configurations and budget lines.

    Raises:
        TargetError: a target lies outside of what the space can reach.
        GridError: nothing can be run.
    """
    (dimension,) = space.dimensions
    configurations: list[tuple[Point, Sizes]] = []
    for budget in space.budgets:
        for value in dimension.levels(LEVELS):
            point = space.point(budget, {dimension.name: value}, 0)
            # Sizes do not depend on the seed: 0 stands for all of them, and a seed of the grid is measured.
            sizes = space.measure(point._replace(seed=space.seeds[0]))
            if isinstance(sizes, Sizes):
                configurations.append((point, sizes))
    # Fewer cannot show an optimum between two others.
    if len({sizes.d_m for _, sizes in configurations}) < 3:
        raise GridError(
            f"search: theory needs 3 or more values of {dimension.name} that fit the budgets, "
            f"found {len(configurations)}"
        )
    cost = _cost([sizes for _, sizes in configurations])
    designs = [design_of([(sizes, point.budget) for point, sizes in configurations])]
    lines: dict[float, IntArray] = {}
    count = len(configurations)
    for place in sorted({float(b) for b in space.budgets if b is not None} | set(targets)):
        budgets = [float(budget) for budget in space.budgets if budget is not None]
        line = _line(place, [sizes for _, sizes in configurations], cost, budgets)
        # A budget whose line is too short has no optimum to look for; its configurations still count as runs.
        if line is None:
            continue
        designs.append(line)
        lines[place] = np.arange(count, count + len(line))
        count += len(line)
    return Frame(
        points=tuple(point for point, _ in configurations),
        seconds=np.array([sizes.seconds for _, sizes in configurations]),
        places=join_designs(designs),
        lines=lines,
        cost=cost,
    )


def _line(budget: float, sizes: Sequence[Sizes], cost: Cost, budgets: Sequence[float]) -> Design | None:
    nearest = min(budgets, key=lambda known: max(known / budget, budget / known))
    # The small allowance lets a budget of exactly one decade pass, whatever the division rounds to.
    if max(nearest / budget, budget / nearest) > REACH * (1 + 1e-9):
        raise TargetError(
            f"target: P = {budget:g} is more than a factor of {REACH:g} from the nearest budget of the grid, "
            f"{nearest:g}; add a budget nearer to it"
        )
    d_m = [size.d_m for size in sizes if size.d_m is not None]
    low, high = min(d_m), max(d_m)
    room = budget - cost.readout_params
    if room <= cost.k_c + float(cost.complexity(low)):
        raise TargetError(
            f"target: P = {budget:g} does not cover the read-out ({cost.readout_params:g}) and one neuron"
        )
    # A line ends where the neurons become fewer than in any configuration: there the law would only extrapolate.
    least = min(size.n_rec for size in sizes)
    # Fine enough that the end of the line is known to within a fiftieth of a decade whatever the range of d_m.
    ladder = np.exp(np.linspace(np.log(low), np.log(high), 400))
    fits = ladder[cost.neurons(budget, ladder) >= least * (1 - 1e-9)]
    if len(fits) < 2:
        return None
    return budget_line(budget, cost, np.exp(np.linspace(np.log(fits[0]), np.log(fits[-1]), LINE)))


def _cost(sizes: Sequence[Sizes]) -> Cost:
    """Counts along d_m as the configurations realise them, interpolated in logarithms."""
    known = {float(size.d_m): size for size in sizes if size.d_m is not None}
    d_m = sorted(known)
    one = sizes[0]
    # The same for every configuration of the frame, because theory varies d_m alone: any one of them shows it.
    readout = one.trainable_params - one.n_rec * (one.k_e + one.k_c)
    return interpolated_cost(d_m, [known[value].k_e for value in d_m], k_c=one.k_c, readout_params=readout)


def design_of(rows: Sequence[tuple[Sizes, int | None]]) -> Design:
    """Sizes and budgets as columns."""
    sizes = [size for size, _ in rows]
    return Design(
        n_rec=np.array([size.n_rec for size in sizes]),
        k_e=np.array([size.k_e for size in sizes]),
        k_c=np.array([size.k_c for size in sizes]),
        trainable_params=np.array([size.trainable_params for size in sizes]),
        budget=np.array([float(budget or 0) for _, budget in rows]),
        d_m=np.array([float(size.d_m or 0) for size in sizes]),
    )
