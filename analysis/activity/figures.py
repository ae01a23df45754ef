"""Figures of recorded activity: all networks' spectra in one, and four panels for each network."""

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from analysis.activity.measures import Measures
from analysis.figures.isobudget import Figure, band_trace, scatter
from analysis.figures.theme import axis, layout, resolve, theme, titled

MOST_NEURONS, MOST_STEPS = 200, 500
"""Neurons and steps of a raster that a screen can tell apart."""


def plot_spectra(names: Sequence[str], all_measures: Sequence[Measures]) -> Figure:
    """Eigenvalues of the covariance against their rank, each spectrum as shares of its variance."""
    traces, shares, ranks = [], [], []
    for place, (name, measures) in enumerate(zip(names, all_measures, strict=True)):
        values = measures.spectrum.eigenvalues
        if not len(values):
            continue
        rank, share = np.arange(1.0, len(values) + 1.0), values / values.sum()
        colour = f"@budget:{place}"
        traces.append(scatter("lines", rank, share, name=name, line={"color": colour, "width": 2}))
        shares.append(share)
        ranks.append(rank)
    empty = np.ones(1)
    x = axis("rank of the eigenvalue", np.concatenate(ranks or [empty]))
    y = axis("share of the variance", np.concatenate(shares or [empty]))
    drawn = {"data": traces, "layout": layout(x, y, showlegend=len(traces) > 1, legend={"font": {"size": 11}})}
    return titled(drawn, "Spectrum of the covariance of activity", "A straight line is a power law; its slope is beta")


def plot_raster(measures: Measures) -> Figure:
    """Which neurons are active when, in the first sequence, and the share of them at each step."""
    shown = measures.raster[:MOST_NEURONS, :MOST_STEPS]
    neurons, steps = np.nonzero(shown)
    dots = scatter("markers", steps, neurons, name="active", marker={"color": "@ink", "size": 2}, yaxis="y")
    share = measures.population.share[:MOST_STEPS]
    line = scatter("lines", np.arange(len(share)), share, name="share", line={"color": "@accent"}, yaxis="y2")
    x = axis("time step after the burn-in")
    # The raster above, the population below, on one axis of time.
    above = axis("neuron", domain=[0.36, 1.0])
    below = axis("share active", domain=[0.0, 0.28], rangemode="tozero", anchor="x")
    drawn = {"data": [dots, line], "layout": layout(x | {"anchor": "y2"}, above, yaxis2=below)}
    note = f"Activity above {measures.threshold:g}, first sequence, {len(shown)} of {len(measures.raster)} neurons"
    return titled(drawn, "Raster and population activity", note)


def plot_power(measures: Measures) -> Figure:
    """Power spectra of single neurons: the median, and the band that eight of ten lie in."""
    power = measures.power
    traces = [
        band_trace(power.frequency, np.maximum(power.low, np.finfo(float).tiny), power.high, "10th to 90th percentile"),
        scatter("lines", power.frequency, power.median, name="median", line={"color": "@accent", "width": 2}),
    ]
    y = axis("share of the power", power.median[np.isfinite(power.median)])
    drawn = {"data": traces, "layout": layout(axis("cycles per time step", power.frequency), y)}
    return titled(drawn, "Power spectra of single neurons", "Median over neurons, and the band that 8 of 10 lie in")


def plot_quantiles(measures: Measures) -> Figure:
    """Quantiles of w_y . m of all neurons, each standardised, against those of a Gaussian."""
    shape = measures.gaussianity
    ends = [float(shape.theoretical[0]), float(shape.theoretical[-1])]
    traces = [
        scatter("lines", ends, ends, name="Gaussian", line={"color": "@muted", "dash": "dot"}),
        scatter("markers", shape.theoretical, shape.observed, name="w_y m", marker={"color": "@accent", "size": 4}),
    ]
    drawn = {"data": traces, "layout": layout(axis("standard Gaussian"), axis("w<sub>y</sub> · m, standardised"))}
    return titled(drawn, "How Gaussian the neurons' answers are", "On the dotted line: as Gaussian")


def plot_timescales(measures: Measures) -> Figure:
    """Distribution of the memory timescales."""
    values = measures.timescales
    edges = np.geomspace(values[0], values[-1], 31) if values[-1] > values[0] else values[[0, 0]] * [0.9, 1.1]
    counts, _ = np.histogram(values, bins=edges)
    bars = {
        "type": "bar",
        "x": np.sqrt(edges[1:] * edges[:-1]),
        "y": counts,
        "width": np.diff(edges),
        "marker": {"color": "@accent"},
    }
    drawn = {"data": [bars], "layout": layout(axis("timescale, in the unit of dt", values), axis("memory units"))}
    return titled(drawn, "Memory timescales", "Of all memory units of all neurons")


PANELS = {"raster": plot_raster, "power": plot_power, "quantiles": plot_quantiles, "timescales": plot_timescales}
"""Panels of one network, by name."""


def drawn(figure: Figure, colours: int = 1) -> go.Figure:
    """Put the colours in and make a figure that a notebook shows."""
    return go.Figure(resolve(figure, theme("light", colours)))
