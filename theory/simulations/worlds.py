"""Worlds to simulate sweeps from: laws that are among those fitted, and worlds in which every fitted law is wrong.

The sizes and costs are those of the published Enwik8 table: 3 budgets over a decade, up to 9 d_m, 3 seeds, seed noise
0.003 BPC. The departures of the wrong worlds are of the order of one to a few seed standard deviations: larger ones are
seen at once, smaller ones do no harm.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from theory.data.cost import elm_cost
from theory.data.design import Design
from theory.laws.registry import get_law
from theory.optimum.locate import budget_line
from theory.types import FloatArray

SIGMA = 0.003
"""Standard deviation between seeds, BPC (measured between splits of the published table)."""

# Without a read-out: it would only shift the budgets.
COST = elm_cost(d_tree=50, d_branch=15)
BUDGETS = (1e6, 10**6.5, 1e7)
SIZES = (3.0, 5.0, 8.0, 13.0, 21.0, 34.0, 55.0, 90.0, 150.0)
SEEDS = 3

K_REF, N_REF = 2461.0, 562.0
"""Where the laws below are written down: the middle of the published table."""

MAX_FLOOR = {"u_ref": 1.1325, "alpha": 0.95, "beta": 0.9, "k_floor": 20641.0}
ADDITIVE_FLOOR = {"u_ref": 0.0963, "alpha": 0.95, "beta": 1.745, "k_floor": 141.3}
"""The effective-information law with a max floor (at d_m = 60) and with a strong additive one, fitted to that table."""

Mean = Callable[[Design], FloatArray]
Noise = Callable[[np.random.Generator, Design, int], FloatArray]


def grid(seeds: int = SEEDS, k_c: tuple[float, ...] = (COST.k_c,)) -> Design:
    """Return budgets x d_m x k_c x seeds, with whole numbers of at least 8 neurons."""
    lines = []
    for budget in BUDGETS:
        sizes = np.array(SIZES)
        # A whole number of few neurons leaves a large part of its budget unspent.
        line = budget_line(budget, COST, sizes[COST.n_rec(budget, sizes) >= 8], whole=True)
        # Sizes are those of the published k_c; the other levels of it only change the metric, so that nothing else
        # differs between them.
        lines += [(line, synapses) for synapses in k_c]
    count = [len(line) for line, _ in lines]
    columns = [
        np.concatenate([line.n_rec for line, _ in lines]),
        np.concatenate([line.k_e for line, _ in lines]),
        np.repeat([synapses for _, synapses in lines], count),
        np.concatenate([line.budgets for line, _ in lines]),
        np.concatenate([np.asarray(line.d_m) for line, _ in lines]),
    ]
    n_rec, k_e, connectivity, budgets, d_m = (np.tile(column, seeds) for column in columns)
    return Design(n_rec=n_rec, k_e=k_e, k_c=connectivity, budget=budgets, d_m=d_m)


def effective(floor: str, theta: dict[str, float], a: float, b: float, **moved: Callable[[Design], FloatArray]) -> Mean:
    """Return the effective-information law's mean, with parameters that may change from row to row.

    Args:
        floor: max, additive or none.
        theta: Parameters.
        a: Metric without information.
        b: Metric per unit of information.
        moved: Factor on a parameter, row by row, by its name.
    """
    # References are given, because a bound law would take them from the rows and so move with the design.
    law = get_law("effective_information", floor=floor, k_ref=K_REF, n_ref=N_REF, k_range=(200.0, 1e5))

    def mean(design: Design) -> FloatArray:
        values = {name: value * (moved[name](design) if name in moved else 1.0) for name, value in theta.items()}
        # What all rows share, the first channel's signal, follows from the unmoved numbers.
        values |= {f"{name}@reference": theta[name] for name in moved}
        return law.predict(values, (a, b), design)

    return mean


def max_floor(**moved: Callable[[Design], FloatArray]) -> Mean:
    """Return the mean of the law with a max floor."""
    return effective("max", MAX_FLOOR, 1.7653, 1.6e-4, **moved)


def additive_floor(**moved: Callable[[Design], FloatArray]) -> Mean:
    """Return the mean of the law with an additive floor."""
    return effective("additive", ADDITIVE_FLOOR, 2.0816, 6.3556e-3, **moved)


def separable(design: Design, interaction: float = 0.0) -> FloatArray:
    """Return the separable power law's mean, with an interaction that no fitted law has."""
    n, k = design.n_rec / N_REF, design.k_e / K_REF
    return 1.05 + 0.12 * n**-0.5 + 0.10 * k**-0.6 + interaction * (n * k) ** -0.35 * np.log(n / k)


def normal(rng: np.random.Generator, design: Design, count: int) -> FloatArray:
    """Normal noise of one size."""
    return SIGMA * rng.standard_normal((count, len(design)))


def heavy(rng: np.random.Generator, design: Design, count: int) -> FloatArray:
    """Student's t with 2 degrees of freedom: no variance, median size of the normal noise."""
    # 0.6745 and 0.8165 are the third quartiles of the normal and of this t distribution: half of all noise is as large
    # as the normal one.
    return SIGMA * 0.6745 / 0.8165 * rng.standard_t(2, (count, len(design)))


def uneven(rng: np.random.Generator, design: Design, count: int) -> FloatArray:
    """Normal noise that falls with the number of neurons, from 4 to 0.5 times the usual."""
    size = np.clip(2.0 * (design.n_rec / 100.0) ** -0.5, 0.5, 4.0)
    return SIGMA * size * rng.standard_normal((count, len(design)))


@dataclass(frozen=True, kw_only=True)
class World:
    """Where sweeps come from."""

    name: str
    """Short key of the world."""
    sentence: str
    """What holds in this world, in words."""
    right: bool
    """Whether one of the fitted laws is right, and noise is normal and even."""
    mean: Mean
    """Expected metric of each row."""
    noise: Noise = normal
    """Noise of count sweeps, [count, rows]."""
    design: Design = field(default_factory=grid)
    """Sizes of the sweep's runs."""

    def sweeps(self, count: int, seed: int) -> FloatArray:
        """Draw the metrics of count sweeps, [count, rows]."""
        return self.mean(self.design) + self.noise(np.random.default_rng(seed), self.design, count)

    def best_d_m(self, budget: float) -> float:
        """Return where the expected metric is best along a budget (continuum, to 1e-4)."""
        # A plain search by values, independent of the code that is being measured.
        d_m = np.geomspace(2.0, 400.0, 60_001)
        d_m = d_m[COST.n_rec(budget, d_m) >= 1]
        return float(d_m[np.argmin(self.mean(budget_line(budget, COST, d_m)))])


def worlds() -> list[World]:
    """List all worlds: three right ones, the misspecified (a) to (h)."""
    connected = grid(seeds=2, k_c=(375.0, 750.0, 1500.0))
    return [
        World(name="max floor", sentence="effective information, max floor", right=True, mean=max_floor()),
        World(
            name="additive floor", sentence="effective information, additive floor", right=True, mean=additive_floor()
        ),
        World(name="separable", sentence="separable power law", right=True, mean=separable),
        World(
            name="a",
            sentence="the noise exponent alpha rises with n_rec, 3 % per e-fold",
            right=False,
            mean=additive_floor(alpha=lambda design: 1 + 0.03 * np.log(design.n_rec / N_REF)),
        ),
        World(
            name="b",
            sentence="redundancy beta falls with k_c (exponent 0.02), which the fitted laws ignore; 3 k_c, 2 seeds",
            right=False,
            mean=additive_floor(beta=lambda design: (design.connectivity / COST.k_c) ** -0.02),
            design=connected,
        ),
        World(
            name="c",
            sentence="undertraining grows with P: the metric rises by 0.01 per 1e7 recurrent parameters",
            right=False,
            mean=lambda design: additive_floor()(design) + 0.01 * design.n_rec * design.k_e / 1e7,
        ),
        World(
            name="d",
            sentence="heavy-tailed seed noise (t with 2 degrees of freedom)",
            right=False,
            mean=additive_floor(),
            noise=heavy,
        ),
        World(
            name="e",
            sentence="the floor of the metric moves with k_e: it falls by 0.004 per squared e-fold beyond k_ref",
            right=False,
            mean=_moving_floor,
        ),
        World(
            name="f",
            sentence="seed noise falls with n_rec, from 4 to 0.5 times the usual",
            right=False,
            mean=additive_floor(),
            noise=uneven,
        ),
        World(
            name="g",
            sentence="separable law with an interaction that no fitted law has",
            right=False,
            mean=lambda design: separable(design, 0.01),
        ),
        World(
            name="h",
            sentence="the noise exponent alpha rises with n_rec beyond n_ref alone, 6 % per e-fold",
            right=False,
            mean=additive_floor(alpha=lambda design: 1 + 0.06 * np.maximum(np.log(design.n_rec / N_REF), 0.0)),
        ),
    ]


def _moving_floor(design: Design) -> FloatArray:
    return additive_floor()(design) - 0.004 * np.maximum(np.log(design.k_e / K_REF), 0.0) ** 2
