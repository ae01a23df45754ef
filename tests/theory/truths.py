"""Two truths to simulate from, after the published Enwik8 table: T1 with a max floor, T2 with a strong additive one."""

from dataclasses import dataclass

import numpy as np

from theory.data.cost import elm_cost
from theory.data.design import Design
from theory.data.published import load_published
from theory.laws.base import Curve
from theory.laws.registry import get_law
from theory.optimum.locate import budget_line

SIGMA = 0.003
ENWIK8 = load_published("enwik8")
SIM_COST = elm_cost(d_tree=50, d_branch=15)
K_D60 = float(ENWIK8.cost.complexity(60))


@dataclass(frozen=True)
class Truth:
    """A law with numbers on Enwik8's costs."""

    curve: Curve
    link: str
    floor: str

    def metric(self, design):
        return self.curve.on_grid(design)[0].copy()

    def simulate(self, design, seed, sd=SIGMA):
        return self.metric(design) + sd * np.random.default_rng(seed).standard_normal(len(design))


def make_truth(floor, theta, *, link="affine", a, b):
    law = get_law("effective_information", floor=floor, link=link, k_ref=2461.0, n_ref=562.0, k_range=(200.0, 1e5))
    return Truth(Curve(law=law, theta=theta, coefficients=(a, b)), link, floor)


def grid_design(budgets, sizes, seeds=1, least=8):
    """Budgets x d_m x seeds on Enwik8's neurons (no readout), with whole n_rec of at least 8."""
    lines = [
        budget_line(budget, SIM_COST, sizes[SIM_COST.n_rec(budget, sizes) >= least], whole=True) for budget in budgets
    ]
    columns = {
        name: np.tile(np.concatenate([getattr(line, name) for line in lines]), seeds)
        for name in ("n_rec", "k_e", "k_c", "trainable_params", "budget", "d_m")
    }
    return Design(**columns)


def log_sizes(count, low=3, high=150):
    return np.unique(np.round(np.geomspace(low, high, count)))
