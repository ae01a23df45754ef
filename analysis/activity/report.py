"""What `analysis activity` says about saved networks: a table, a JSON document, and a page with figures."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from string import Template
from typing import Any

import numpy as np

from analysis.activity import timescales
from analysis.activity.figures import PANELS, drawn, plot_spectra
from analysis.activity.measures import SAMPLES_PER_NEURON, Measures
from analysis.activity.timescales import LearnedTimescales, plot_learned, timescale_document, timescale_table
from analysis.figures.theme import CONFIG
from analysis.html import Cell, asset
from analysis.report.html import html_table
from analysis.report.tables import Table


@dataclass(frozen=True, kw_only=True)
class NetworkActivity:
    """One network and its measures."""

    trial_id: str
    data_name: str
    budget: float | None
    n_rec: int
    d_m: int
    k_e: float
    k_c: float
    seed: int
    measures: Measures

    @property
    def label(self) -> str:
        """Short name in figures."""
        return f"N {self.n_rec}, d_m {self.d_m}, k_c {self.k_c:g}, seed {self.seed}"

    @property
    def too_few_samples(self) -> bool:
        """Whether the small eigenvalues are shrunk by a short recording."""
        return self.measures.spectrum.samples < SAMPLES_PER_NEURON * self.n_rec


COLUMNS = (
    "trial", "P", "N", "d_m", "k_c", "seed", "active", "rate CV", "interval CV", "synchrony", "beta", "beta se",
    "dimensions", "skew", "kurtosis",
)  # fmt: skip


def activity_table(networks: Sequence[NetworkActivity]) -> Table:
    """One row for each network."""
    return Table(COLUMNS, [_row(network) for network in networks], keys=1)


def _row(network: NetworkActivity) -> tuple[Cell, ...]:
    measures = network.measures
    population, spectrum, shape = measures.population, measures.spectrum, measures.gaussianity
    rates = population.rates
    return (
        network.trial_id[:8],
        network.budget,
        network.n_rec,
        network.d_m,
        network.k_c,
        network.seed,
        float(rates.mean()),
        float(rates.std() / rates.mean()) if rates.mean() > 0 else None,
        _median(population.interval_cv),
        population.synchrony,
        spectrum.exponent,
        spectrum.standard_error,
        spectrum.participation_ratio,
        _median(shape.skew),
        _median(shape.excess_kurtosis),
    )


def _median(values: Any) -> float | None:
    return float(np.median(values)) if len(values) else None


EXPLAINED = (
    "active: share of neurons and steps above the threshold. rate CV: spread of that share over neurons. "
    "interval CV: of the steps between onsets, median over neurons (1 for a Poisson process, 0 for a clock). "
    "synchrony: Golomb and Rinzel's chi, 1 where all neurons do the same. beta: exponent of the eigenvalues of the "
    "covariance. dimensions: participation ratio. skew and kurtosis: of w_y . m, 0 for a Gaussian, median over neurons."
)


def sentences(networks: Sequence[NetworkActivity]) -> list[str]:
    """What a reader has to know beside the numbers."""
    lines = []
    if short := [network for network in networks if network.too_few_samples]:
        worst = max(short, key=lambda network: network.n_rec / network.measures.spectrum.samples)
        lines.append(
            f"{len(short)} of {len(networks)} recordings have fewer than {SAMPLES_PER_NEURON} independent samples for "
            f"each neuron (fewest: {worst.measures.spectrum.samples:.0f} for N = {worst.n_rec}), which makes beta look "
            "steeper than it is: record more --sequences or --steps."
        )
    return lines


def activity_json(
    networks: Sequence[NetworkActivity], learned: Sequence[LearnedTimescales], settings: dict[str, Any]
) -> dict[str, Any]:
    """All numbers, for programs."""
    return {
        "settings": settings,
        "networks": [_document(network) for network in networks],
        "learned_timescales": [timescale_document(one) for one in learned],
    }


def _document(network: NetworkActivity) -> dict[str, Any]:
    measures = network.measures
    fields = ("trial_id", "data_name", "budget", "n_rec", "d_m", "k_e", "k_c", "seed")
    return {name: getattr(network, name) for name in fields} | {
        "population": measures.population._asdict(),
        "spectrum": measures.spectrum._asdict(),
        "power_spectra": measures.power._asdict(),
        "gaussianity": measures.gaussianity._asdict(),
        "timescales": measures.timescales,
    }


def activity_page(
    networks: Sequence[NetworkActivity], learned: Sequence[LearnedTimescales], title: str, subtitle: str
) -> str:
    """A page with the table and all figures, which opens from disk."""
    parts = [f"<p>{escape(line)}</p>" for line in sentences(networks)]
    if networks:
        spectra = plot_spectra([network.label for network in networks], [network.measures for network in networks])
        parts += [
            html_table("Networks", activity_table(networks)),
            f"<p>{escape(EXPLAINED)}</p>",
            figure_html(spectra, len(networks)),
        ]
    if learned:
        parts += [html_table("Learned timescales", timescale_table(learned)), f"<p>{escape(timescales.EXPLAINED)}</p>"]
        parts += ["<div class='pair'>", *(figure_html(plot_learned(one)) for one in learned), "</div>"]
    for network in networks:
        parts.append(f"<h2>{escape(network.label)} ({network.trial_id[:8]})</h2><div class='pair'>")
        parts += [figure_html(plot(network.measures)) for plot in PANELS.values()]
        parts.append("</div>")
    return page(title, subtitle, parts)


def page(title: str, subtitle: str, parts: Sequence[str]) -> str:
    """A page of parts in HTML, with Plotly inside, which opens from disk."""
    from plotly.offline import get_plotlyjs

    return Template(asset("activity.html")).substitute(
        title=escape(title),
        subtitle=escape(subtitle),
        css=asset("page.css"),
        plotly=get_plotlyjs(),
        body="\n".join(parts),
    )


def figure_html(figure: dict[str, Any], colours: int = 1) -> str:
    """A figure as a part of a page."""
    html: str = drawn(figure, colours).to_html(full_html=False, include_plotlyjs=False, config=CONFIG)
    return f"<div>{html}</div>"
