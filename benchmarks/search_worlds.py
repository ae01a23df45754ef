"""The worlds of the search benchmark: ground truths on budget lines, with the noise of single trials.

Some are laws of the form that the theory search fits, others are of forms that it does not, and the published tables
are a lookup. The parameters of a law are drawn anew for each seed, so that no grid is lucky.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt

from sweeper.search.space import Dimension, Point, Sizes, Space
from theory.data.cost import Cost, elm_cost
from theory.data.design import Design
from theory.data.published import load_published
from theory.laws.base import Curve
from theory.laws.registry import get_law

FloatArray = npt.NDArray[np.float64]

SEEDS = 4
"""Replicates that a configuration may have."""

FINE, COARSE = 24, 9
"""Values of d_m that searches choose from, and those of the grid (the default design of the theory's page)."""


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
        """Return the world as a space to search."""
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
        if n_rec < 8:  # assumption: so few neurons would be another regime than the law's
            return "fewer than 8 neurons"
        k_e, params = float(self.cost.complexity(d_m)), float(self.cost.trainable_params(n_rec, d_m))
        # parameters stand for the seconds, since the time of a trial grows with them
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
            # A share of the range, so that worlds with metrics of different scale count alike.
            best, worst, d_m = min(losses.values()), max(losses.values()), named.get(budget)
            shares.append(1.0 if d_m is None else (losses[d_m] - best) / (worst - best))
        return max(shares)

    def bracketed(self, named: Mapping[int, int | None], run: Mapping[int, set[int]]) -> bool:
        """Whether the true best d_m lies between the neighbours that were run of the named one, at every budget."""
        for budget, losses in self.truth.items():
            best, d_m, tried = min(losses, key=losses.__getitem__), named.get(budget), run.get(budget, set())
            below = [value for value in tried if d_m is not None and value < d_m]
            above = [value for value in tried if d_m is not None and value > d_m]
            # A best value at an end of what was run might go on beyond it, so an end brackets nothing.
            if not below or not above or not max(below) < best < min(above):
                return False
        return True


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
    # The places of bump and dent move with the seed as well, so that no ladder of d_m happens to avoid them.
    shift = float(np.exp(rng.normal(0, 0.2)))

    def rate(design: Design) -> FloatArray:
        """One learning rate for all, too high for large d_m: a bump that no law has."""
        return np.asarray(additive(design) + 0.03 / (1 + np.exp(-(np.log(_d_m(design)) - np.log(35 * shift)) / 0.15)))

    def dent(design: Design) -> FloatArray:
        """A hump near the optimum, as from a resonance of sizes and hardware-friendly shapes."""
        return np.asarray(
            additive(design) + 0.02 * np.exp(-0.5 * ((np.log(_d_m(design)) - np.log(14 * shift)) / 0.3) ** 2)
        )

    # The first two are of forms that the theory search fits; the others are what it must not be misled by.
    forms = {
        "additive floor": (True, additive),
        "max floor": (True, _law("max", "affine", near(_MAX), 1.7653, 1.6e-4)),
        "max floor + log link": (False, _law("max", "log", near(_LOG), 2.0630, 0.061688)),
        "learning-rate bump": (False, rate),
        "dent": (False, dent),
    }
    sizes, coarse = _ladder(FINE), _ladder(COARSE)
    # A decade and a half, the span over which exponents can be told.
    budgets = tuple(round(value) for value in np.geomspace(3e5, 1e7, 4))
    every = {
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
    # The noise of single runs as inferred from the published tables, since they give no replicates.
    for table, column, noise in (("enwik8", "test_bpc", 0.0045), ("shd_adding", "test_accuracy", 0.03)):
        every[f"published {table}"] = _published(table, column, noise)
    return every


def _near(theta: Mapping[str, float], rng: np.random.Generator) -> dict[str, float]:
    """Parameters near the given ones: u_ref and the floor within a factor of about 1.3, the exponents within 5 %."""
    spread = {"u_ref": 0.25, "k_floor": 0.25, "alpha": 0.05, "beta": 0.05}
    return {name: value * float(np.exp(rng.normal(0, spread[name]))) for name, value in theta.items()}


def _d_m(design: Design) -> FloatArray:
    assert design.d_m is not None, "every design of this module has d_m"
    return design.d_m


def _ladder(count: int) -> tuple[int, ...]:
    # Rounding may make neighbours equal at the small end, so a ladder can have fewer values than were asked for.
    return tuple(int(value) for value in np.unique(np.round(np.geomspace(3, 150, count))))


def _published(name: str, column: str, noise: float) -> World:
    """A published table as a world: its values are the truth, the noise of single runs is added."""
    table = load_published(name)
    sign = 1.0 if table.metrics[column] == "min" else -1.0
    # Only what was published can be looked up, so the ladder is the table's own.
    d_m = tuple(int(value) for value in table.columns["d_m"])
    # With the sign, so that a smaller value is better in both tables.
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
