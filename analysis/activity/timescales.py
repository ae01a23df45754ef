"""Memory timescales that training moved: before and after, as a table of quantiles and a histogram."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.activity.measures import FloatArray
from analysis.figures.isobudget import Figure, scatter
from analysis.figures.theme import axis, layout, titled
from analysis.html import Cell
from analysis.report.tables import Table

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 30
"""Bars of a histogram, evenly wide on the logarithmic scale."""


@dataclass(frozen=True, kw_only=True)
class LearnedTimescales:
    """The memory timescales of one saved network, or of one single neuron, that were trained."""

    trial_id: str
    """The trial."""
    budget: float | None
    """Parameter budget that was asked for."""
    n_rec: int
    """Neurons; 1 for the single neuron."""
    d_m: int
    """Memory units per neuron."""
    seed: int
    """Replicate."""
    dt: float
    """Time of one step, in the unit of the timescales."""
    before: FloatArray
    """Of all memory units of the recurrent layer before training, [N * D]."""
    after: FloatArray
    """Of the same units after the last step, [N * D]."""

    @property
    def label(self) -> str:
        """Short name in figures."""
        return f"N {self.n_rec}, d_m {self.d_m}, seed {self.seed}"

    @property
    def moved(self) -> float:
        """Factor by which the median unit's timescale changed, up or down; 1 where nothing moved."""
        return float(np.exp(np.median(np.abs(np.log(self.after / self.before)))))

    def quantiles(self, values: FloatArray) -> FloatArray:
        """`QUANTILES` of timescales."""
        return np.asarray(np.quantile(values, QUANTILES))


def timescale_table(learned: Sequence[LearnedTimescales]) -> Table:
    """Two rows for each network: quantiles before and after training."""
    columns = ("trial", "P", "N", "d_m", "seed", "dt", "training", *(f"{share:.0%}" for share in QUANTILES), "moved by")
    rows: list[tuple[Cell, ...]] = []
    for one in learned:
        about = (one.trial_id[:8], one.budget, one.n_rec, one.d_m, one.seed, one.dt)
        rows.append((*about, "before", *map(float, one.quantiles(one.before)), None))
        rows.append((*about, "after", *map(float, one.quantiles(one.after)), one.moved))
    return Table(columns, rows, keys=1)


EXPLAINED = (
    "Learned timescales: quantiles over all memory units of the recurrent layer, in the unit of dt. "
    "moved by: factor by which the median unit's timescale changed, up or down."
)


def plot_learned(learned: LearnedTimescales) -> Figure:
    """Histogram of the timescales after training, and the outline of that before."""
    values = np.concatenate([learned.before, learned.after])
    # A margin, so that the ends lie within the outer bars and equal values still have a width.
    edges = np.geomspace(0.99 * values.min(), 1.01 * values.max(), BINS + 1)
    before, after = (np.histogram(part, bins=edges)[0] for part in (learned.before, learned.after))
    bars = {
        "type": "bar",
        "x": np.sqrt(edges[1:] * edges[:-1]),
        "y": after,
        "width": np.diff(edges),
        "name": "after training",
        "marker": {"color": "@accent"},
    }
    outline = scatter(
        "lines",
        edges,
        np.append(before, before[-1]),
        name="before",
        line={"color": "@ink", "shape": "hv", "width": 1.5},
    )
    x = axis("timescale, in the unit of dt", values)
    drawn = {"data": [bars, outline], "layout": layout(x, axis("memory units"), showlegend=True)}
    return titled(drawn, f"Learned timescales: {learned.label}", f"Trial {learned.trial_id[:8]}, dt {learned.dt:g}")


def timescale_document(learned: LearnedTimescales) -> dict[str, Any]:
    """All numbers of one network, for programs."""
    fields = ("trial_id", "budget", "n_rec", "d_m", "seed", "dt", "moved")
    parts = {"before": learned.before, "after": learned.after}
    return {
        **{name: getattr(learned, name) for name in fields},
        **{name: part.tolist() for name, part in parts.items()},
        "quantiles": {"shares": list(QUANTILES), **{n: learned.quantiles(part).tolist() for n, part in parts.items()}},
    }
