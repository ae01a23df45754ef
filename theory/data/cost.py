"""What a neuron costs: from d_m to k_e, from a budget to n_rec.

    P = n_rec (k_e(d_m) + k_c) + readout_params

`theory` knows no network; anything with a monotone k_e(d_m) fits. `elm_cost` writes down the ELM Network's own counts.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from theory.errors import TheoryError
from theory.types import FloatArray

D_M_MAX = 1e9
"""Where the inversion of k_e(d_m) gives up (assumption: far beyond any network)."""

INNER = np.arange(1.0, 16.0)
"""Inner points of a bracket that is cut into 16 parts."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cost:
    """Parameter counts of a family of networks along d_m, everything else fixed.

    >>> cost = elm_cost(d_tree=50, d_branch=15, n_out=204)
    >>> int(cost.n_rec(3_516_748, 25.0)), int(cost.trainable_params(561, 25))
    (561, 3511095)
    """

    k_e: Callable[[FloatArray], FloatArray]
    """Trainable parameters of a neuron without its synapses, rising with d_m (real d_m allowed)."""
    k_c: float
    """Synapses per neuron."""
    readout_params: float = 0.0
    """Trainable parameters outside the recurrent layer."""

    def complexity(self, d_m: npt.ArrayLike) -> FloatArray:
        """Return k_e at each d_m."""
        return np.asarray(self.k_e(np.asarray(d_m, dtype=np.float64)), dtype=np.float64)

    def neurons(self, budget: npt.ArrayLike, d_m: npt.ArrayLike) -> FloatArray:
        """Return the real n_rec that spends the budget exactly."""
        return (np.asarray(budget, dtype=np.float64) - self.readout_params) / (self.complexity(d_m) + self.k_c)

    def n_rec(self, budget: npt.ArrayLike, d_m: npt.ArrayLike) -> FloatArray:
        """Return the largest whole n_rec within the budget."""
        # A budget that n neurons spend exactly may come out as n minus a rounding error, which floor would turn into
        # one neuron less.
        return np.floor(self.neurons(budget, d_m) * (1 + 1e-14))

    def trainable_params(self, n_rec: npt.ArrayLike, d_m: npt.ArrayLike) -> FloatArray:
        """Return the trainable parameters of the whole network."""
        return np.asarray(n_rec, dtype=np.float64) * (self.complexity(d_m) + self.k_c) + self.readout_params

    def d_m(self, k_e: npt.ArrayLike) -> FloatArray:
        """Invert k_e(d_m) by ever finer brackets; real d_m."""
        target = np.asarray(k_e, dtype=np.float64)
        # In the logarithm, so that one bracket serves neurons of any size.
        low, high = np.full(target.shape, np.log(1e-6)), np.full(target.shape, np.log(D_M_MAX))
        if (self.complexity(np.exp(low)) > target).any() or (self.complexity(np.exp(high)) < target).any():
            raise TheoryError(f"k_e: {target.min():g}..{target.max():g} is outside what this cost reaches")
        # The bracket spans 35 units of the logarithm; 16 cuts into 16 parts bring it below the spacing of doubles.
        # Counting the points below the target needs nothing but a rising k_e, and all targets go through it at once.
        # Cuts into two would ask for fewer points, but it is the number of calls that costs.
        for _ in range(16):
            step = (high - low) / 16
            below = (self.complexity(np.exp(low + INNER.reshape(-1, *[1] * low.ndim) * step)) < target).sum(axis=0)
            low, high = low + below * step, np.minimum(low + (below + 1) * step, high)
        return np.asarray(np.exp((low + high) / 2), dtype=np.float64)


def elm_cost(
    *,
    d_tree: int,
    d_branch: int,
    n_out: int | None = None,
    readout_params: float | None = None,
    mlp_ratio: float = 2.0,
    l_mlp: int = 1,
) -> Cost:
    """Counts of the ELM Network (they reproduce all 36 published rows).

    Args:
        d_tree: Branches per neuron.
        d_branch: Synapses per branch.
        n_out: Readout neurons (d_m = 3, no hidden layer, followed by a dense map with bias); or give `readout_params`.
        readout_params: Trainable parameters outside the recurrent layer; 0 without `n_out`.
        mlp_ratio: Hidden width of the neuron's network in units of d_m.
        l_mlp: Its hidden layers, 0 or 1.

    >>> float(elm_cost(d_tree=50, d_branch=15).complexity(15))
    2461.0
    """
    # The counts below hold for these two; deeper networks bring their own.
    if l_mlp not in (0, 1):
        raise TheoryError(f"l_mlp: {l_mlp} is not one of: 0, 1 (pass your own k_e to Cost for deeper ones)")
    k_c = float(d_tree * d_branch)

    def k_e(d_m: FloatArray) -> FloatArray:
        if l_mlp == 0:
            # The MLP reads branches and memory; 2 d_m + 1 are the biases of its last layer and the output's weights and
            # bias.
            return d_m * (d_tree + d_m) + 2 * d_m + 1
        hidden = mlp_ratio * d_m
        return hidden * (d_tree + d_m) + hidden + d_m * hidden + 2 * d_m + 1

    if readout_params is None:
        # The k_e of a readout neuron: the formula above without a hidden layer, at d_m = 3.
        linear_neuron = 3 * (d_tree + 3) + 3 + 3 + 1
        readout_params = 0.0 if n_out is None else n_out * (linear_neuron + k_c) + n_out**2 + n_out
    return Cost(k_e=k_e, k_c=k_c, readout_params=readout_params)


def interpolated_cost(d_m: npt.ArrayLike, k_e: npt.ArrayLike, *, k_c: float, readout_params: float) -> Cost:
    """Counts along d_m as networks realise them: interpolated between the sizes that were run, a power law beyond them.

    Args:
        d_m: At least two different values, rising, [values].
        k_e: Of each, rising, [values].
        k_c: Synapses per neuron.
        readout_params: Trainable parameters outside the recurrent layer.

    >>> cost = interpolated_cost([2, 4, 8], [20, 40, 80], k_c=16.0, readout_params=0.0)
    >>> cost.complexity([3, 16]).round(9).tolist()
    [30.0, 160.0]
    """
    from scipy.interpolate import PchipInterpolator  # slow to load, and most commands do without

    x, y = np.log(np.asarray(d_m, dtype=np.float64)), np.log(np.asarray(k_e, dtype=np.float64))
    # This interpolant is monotone between its points, where a cubic spline may overshoot; neurons(budget, d_m) would
    # then not fall.
    inside = PchipInterpolator(x, y)
    first, last = (y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2])

    def k_e_of(sizes: FloatArray) -> FloatArray:
        at = np.log(sizes)
        # The cubics at the ends turn around soon after them, and `Cost.d_m` looks far beyond. So the logarithms go on
        # along straight lines there, with the slopes between the outermost pairs of points, which rise for certain.
        beyond = first * np.minimum(at - x[0], 0.0) + last * np.maximum(at - x[-1], 0.0)
        return np.asarray(np.exp(inside(np.clip(at, x[0], x[-1])) + beyond))

    return Cost(k_e=k_e_of, k_c=k_c, readout_params=readout_params)
