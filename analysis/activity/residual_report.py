"""What `analysis residuals` says about saved networks: a table, a JSON document, and a page with figures."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from analysis.activity.report import figure_html, page
from analysis.activity.residuals import ByState, FloatArray, Residuals
from analysis.figures.isobudget import Figure, scatter
from analysis.figures.theme import axis, layout, titled
from analysis.html import Cell
from analysis.report.html import html_table
from analysis.report.tables import Table


@dataclass(frozen=True, kw_only=True)
class NetworkResiduals:
    """One network and how it misses the voltage."""

    trial_id: str
    data_name: str
    architecture: str
    d_m: int
    k_e: float
    seed: int
    windows: int
    residuals: Residuals

    @property
    def label(self) -> str:
        """Short name in figures."""
        return f"{self.architecture}, d_m {self.d_m}, seed {self.seed} ({self.trial_id[:8]})"


COLUMNS = (
    "trial", "architecture", "d_m", "k_e", "seed", "R2", "bias mV", "sd mV", "sd lowest", "sd highest", "sd at spike",
    "corr. at 1 ms", "time ms",
)  # fmt: skip

EXPLAINED = (
    "Residual: predicted less true soma voltage, in mV. R2: share of the voltage's variance that is explained. sd "
    "lowest and highest: of the residual in the tenth of the milliseconds with the lowest and the highest voltage; sd "
    "at spike: in those with an output spike. time: milliseconds between independent residuals, 1 where each stands "
    "alone."
)


def residual_table(networks: Sequence[NetworkResiduals]) -> Table:
    """One row for each network."""
    return Table(COLUMNS, [_row(network) for network in networks], keys=1)


def _row(network: NetworkResiduals) -> tuple[Cell, ...]:
    found = network.residuals
    at_spike = found.after_spike.place == 0
    return (
        network.trial_id[:8],
        network.architecture,
        network.d_m,
        network.k_e,
        network.seed,
        found.explained,
        found.bias,
        found.sd,
        float(found.by_voltage.sd[0]),
        float(found.by_voltage.sd[-1]),
        float(found.after_spike.sd[at_spike][0]) if at_spike.any() else None,
        float(found.by_lag.correlation[1]) if len(found.by_lag.correlation) > 1 else None,
        found.by_lag.time,
    )


def residual_json(networks: Sequence[NetworkResiduals], settings: dict[str, Any]) -> dict[str, Any]:
    """All numbers, for programs."""
    fields = ("trial_id", "data_name", "architecture", "d_m", "k_e", "seed", "windows")
    return {
        "settings": settings,
        "networks": [
            {name: getattr(network, name) for name in fields}
            | {name: getattr(network.residuals, name) for name in ("bias", "sd", "explained")}
            | {name: getattr(network.residuals, name)._asdict() for name in ("by_voltage", "after_spike", "by_lag")}
            for network in networks
        ],
    }


def residual_page(networks: Sequence[NetworkResiduals], title: str, subtitle: str) -> str:
    """A page with the table and three figures, which opens from disk."""
    parts = [html_table("Networks", residual_table(networks)), f"<p>{escape(EXPLAINED)}</p>", "<div class='pair'>"]
    parts += [figure_html(plot(networks), len(networks)) for plot in (plot_states, plot_after_spike, plot_lags)]
    return page(title, subtitle, [*parts, "</div>"])


def plot_states(networks: Sequence[NetworkResiduals]) -> Figure:
    """Standard deviation of the residual against the voltage."""
    titles = ("Residuals by state", "Tenths of the milliseconds, by the true voltage")
    return _deviations(networks, lambda found: found.by_voltage, "voltage in mV above the reference", titles)


def plot_after_spike(networks: Sequence[NetworkResiduals]) -> Figure:
    """Standard deviation of the residual against the time since the last spike."""
    titles = ("Residuals after a spike", "0: the millisecond of the spike itself")
    return _deviations(networks, lambda found: found.after_spike, "milliseconds since the last output spike", titles)


def plot_lags(networks: Sequence[NetworkResiduals]) -> Figure:
    """Autocorrelation of the residual."""
    return _lines(
        networks,
        lambda found: (found.by_lag.lag.astype(float), found.by_lag.correlation),
        axis("lag in milliseconds"),
        axis("autocorrelation of the residual"),
        ("Residuals by lag", "A model that has caught all timescales leaves none of it"),
    )


def _deviations(
    networks: Sequence[NetworkResiduals], states: Callable[[Residuals], ByState], what: str, titles: tuple[str, str]
) -> Figure:
    """Standard deviation of the residual against the state that it is sorted by."""
    return _lines(
        networks,
        lambda found: (states(found).place, states(found).sd),
        axis(what),
        axis("standard deviation of the residual in mV", rangemode="tozero"),
        titles,
    )


def _lines(
    networks: Sequence[NetworkResiduals],
    points: Callable[[Residuals], tuple[FloatArray, FloatArray]],
    x: dict[str, Any],
    y: dict[str, Any],
    titles: tuple[str, str],
) -> Figure:
    traces = []
    for place, network in enumerate(networks):
        at, values = points(network.residuals)
        line = {"color": f"@budget:{place}", "width": 2}
        traces.append(scatter("lines+markers", at, values, name=network.label, line=line, marker={"size": 4}))
    shown = {"data": traces, "layout": layout(x, y, showlegend=len(traces) > 1, legend={"font": {"size": 11}})}
    return titled(shown, *titles)
