"""The numbers behind scaling, surface, fit and run figures."""

import json
import sys

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from analysis.cli import main
from analysis.commands.groups import make_views
from analysis.dashboard.tabs import runs_tab
from analysis.dashboard.tabs_law import group_tabs
from analysis.figures.fit import Whisker, agreement_data, plot_agreement, plot_residuals, plot_whiskers, residual_data
from analysis.figures.frontier import PowerLawCurve, frontier_data, plot_reducible
from analysis.figures.runs import cost_data, pace_data, plot_cost, plot_pace, plot_progress, progress_data
from analysis.figures.scaling import (
    SurfaceData,
    along_k_c,
    along_k_e,
    along_n_rec,
    path_data,
    plot_path,
    plot_scaling,
    plot_surface,
)
from analysis.figures.theme import resolve, theme
from analysis.html import to_json
from analysis.laws.findings import plain
from analysis.laws.theory_fit import FitSettings
from analysis.report.report import card
from analysis.report.stored import evidence_in, stored_evidence
from analysis.rows.load import read_sweep
from analysis.rows.means import Frontier
from analysis.rows.sweep import Selection
from benchmarks.synthetic import Design, write_sweep


@pytest.fixture(scope="module")
def two_trees(tmp_path_factory):
    """Two connectivities, so that k_c has something to say."""
    path = tmp_path_factory.mktemp("trees") / "sweep"
    write_sweep(path, Design(trees=((20, 5), (40, 10)), d_m=(3, 6, 12, 24)))
    (view,) = make_views(read_sweep(path), Selection(), FitSettings(law="effective_information:floor=additive"))
    return view


def accepted(figure):
    """The figure as Plotly's own classes take it, with no colour token left."""
    resolved = resolve(figure, theme("dark", 3))
    assert '"@' not in to_json(resolved)
    return go.Figure(resolved)


def test_metric_along_n_rec_keeps_the_complexity_fixed(view):
    found = along_n_rec(view.data, view.table, view.overlay)
    assert len(found.lines) == 8
    for line in found.lines:
        rows = view.table.iloc[line.position.astype(int)]
        assert set(rows["d_m"]) == {line.fixed}
        assert rows["mean"].tolist() == line.mean.tolist()
        assert (np.diff(line.mean) < 0.01).all()  # more neurons are never much worse
        assert line.theory_y[-1] == pytest.approx(line.mean[-1], abs=0.02)
    accepted(plot_scaling(found))


def test_metric_along_k_e_is_interpolated_where_no_n_rec_repeats(view):
    found = along_k_e(view.data, view.table, view.overlay)
    assert found.interpolated
    for line in found.lines:
        assert np.isnan(line.position).all()
        for k_e, mean in zip(line.x, line.mean, strict=True):
            same = view.table[view.table["k_e"] == k_e]
            assert same["mean"].min() <= mean <= same["mean"].max()
    accepted(plot_scaling(found))


def test_metric_along_k_c_compares_the_best_of_each_budget(two_trees):
    found = along_k_c(two_trees.data, two_trees.table, two_trees.optima)
    assert [line.fixed for line in found.lines] == [3e4, 1e5, 3e5]
    for line in found.lines:
        assert line.x.tolist() == [100, 400]
        for k_c, mean in zip(line.x, line.mean, strict=True):
            own = two_trees.table[(two_trees.table["k_c"] == k_c) & (two_trees.table["budget"] == line.fixed)]
            assert mean == own["mean"].min()
    accepted(plot_scaling(found))


def test_one_connectivity_says_so_instead_of_a_figure(view):
    tab = next(tab for tab in group_tabs(view) if tab.id == "scaling")
    panel = next(panel for panel in tab.panels if panel.id == "scaling-k_c")
    assert panel.choices == ()
    assert "One connectivity only" in panel.summary


def test_the_surface_meets_the_budget_lines(two_trees):
    assert [surface.k_c for surface in two_trees.overlay.surfaces] == [100, 400]
    for surface in two_trees.overlay.surfaces:
        assert surface.metric.shape == (len(surface.k_e), len(surface.n_rec))
        assert np.isfinite(surface.metric).any()
        assert np.isnan(surface.metric).any()  # nothing is drawn far beyond the budgets
        for budget, n_rec, k_e in surface.budgets:
            readout = two_trees.law.costs[surface.k_c].readout_params
            assert n_rec * (k_e + surface.k_c) + readout == pytest.approx(budget)
    gap = two_trees.table["mean"].to_numpy() - two_trees.overlay.predicted
    data = SurfaceData("bpc", two_trees.table, gap, two_trees.overlay.surfaces, tuple(two_trees.optima))
    accepted(plot_surface(data))
    scale = plot_surface(data, difference=True)["data"][-len(two_trees.optima) - 1]["marker"]
    assert scale["cmin"] == -scale["cmax"] == pytest.approx(-np.abs(gap).max())  # centred at no difference


def test_the_optimal_path_runs_through_the_allocations(view, law):
    found = path_data(view.table, view.optima, view.overlay, x="d_m")
    (path,) = found.paths
    for allocation in law.allocations:
        at = np.interp(np.log(allocation.budget), np.log(path.budget), np.log(path.d_m))
        assert np.exp(at) == pytest.approx(allocation.continuum_d_m, rel=0.02)
    assert (found.low <= found.best).all()
    assert (found.best <= found.high).all()
    accepted(plot_path(found))


def test_agreement_and_residuals_are_measured_minus_law(view):
    found = agreement_data(view.data, view.table, view.overlay)
    assert found.correlation == pytest.approx(np.corrcoef(view.table["mean"], view.overlay.predicted)[0, 1])
    residual = residual_data(found, view.table, x="k_e")
    assert residual.y.tolist() == (view.table["mean"] - view.overlay.predicted).tolist()
    accepted(plot_agreement(found))
    accepted(plot_residuals(residual))
    accepted(plot_whiskers([Whisker("alpha", 1.0, 0.9, 1.2), Whisker("beta", 2.0, None, None)]))


def test_the_reducible_part_is_the_distance_from_the_floor(view):
    x = np.array([1e3, 1e4, 1e5])
    power = PowerLawCurve(floor=1.5, exponent=0.5, x=x, y=1.5 + x**-0.5)
    base = frontier_data(view.data, view.table, view.frontier, None)._replace(x=x, y=1.5 + 1.1 * x**-0.5, power=power)
    law, points = plot_reducible(base)["data"]
    assert law["y"] == pytest.approx(x**-0.5)
    assert points["y"] == pytest.approx(1.1 * x**-0.5)
    accepted(plot_reducible(base))


def test_a_power_law_goes_through_a_frontier_of_enough_budgets(view):
    size = np.array([1e3, 3e3, 1e4, 3e4, 1e5, 3e5])
    rows = {"trainable_params": size, "mean": 1.0 + size**-0.3, "half": np.nan, "n": 1.0, "budget": size}
    table = pd.DataFrame(rows)
    found = frontier_data(view.data, table, Frontier(np.arange(6), None), None)
    assert found.power.floor == pytest.approx(1.0, abs=1e-6)
    assert found.power.exponent == pytest.approx(0.3, abs=1e-6)
    few = frontier_data(view.data, table.head(3), Frontier(np.arange(3), None), None)
    assert few.power is None


def test_progress_counts_every_trial_once(sweep):
    found = progress_data(sweep.trials)
    assert found.budgets == ("30k", "100k", "300k")
    assert sum(sum(numbers) for numbers in found.counts.values()) == len(sweep.trials)
    assert set(found.counts) == set(sweep.trials["status"])
    for figure in (plot_progress(found), plot_pace(pace_data(sweep.trials)), plot_cost(cost_data(sweep.trials))):
        accepted(figure)


def test_pace_and_cost_follow_the_clock(sweep):
    pace = pace_data(sweep.trials)
    assert pace.ended[-1] == len(sweep.trials)
    assert (np.diff(pace.hours) >= 0).all()
    assert pace.core_hours == pytest.approx(sweep.trials["wall_s"].sum() / 3600)
    cost = cost_data(sweep.trials)
    finished = sweep.trials[sweep.trials["status"] == "finished"]
    assert cost.seconds.tolist() == pytest.approx(finished.groupby("budget")["wall_s"].median().tolist())
    published = read_sweep("published:enwik8").trials  # no times at all
    assert len(pace_data(published).hours) == len(cost_data(published).x) == 0


def test_failures_are_grouped_by_reason(sweep):
    panel = next(panel for panel in runs_tab(sweep).panels if panel.id == "failures")
    assert sorted(panel.rows) == [
        ("diverged", "loss is nan at step 17", 2),
        ("failed", "ValueError: made-up failure", 2),
    ]


def test_intervals_of_a_stored_report_are_shown_only_for_the_same_rows(own_dir, monkeypatch, capsys):
    law = "effective_information:floor=additive"
    arguments = ["fit-theory", str(own_dir), "--law", law, "--draws", "40", "--json"]
    monkeypatch.setattr(sys, "argv", ["analysis", *arguments])
    with pytest.raises(SystemExit):
        main()
    said = json.loads(capsys.readouterr().out)["groups"][0]["evidence"]
    (view,) = make_views(read_sweep(own_dir), Selection(), FitSettings(law=law))
    stored = stored_evidence(view, own_dir / "fit.json")
    assert stored is not None
    assert plain(stored.parameters) == said["parameters"]
    assert plain(stored.exponents) == said["exponents"]
    known = view._replace(stored=stored)
    panels = {p.id: p for tab in group_tabs(known) for p in tab.panels}
    assert panels["parameters"].rows[1][2:4] == (stored.parameters[1].low, stored.parameters[1].high)
    (line,) = [line for line in card(known) if line.startswith("Exponents")]
    assert line.endswith("(from fit.json).")
    assert f"N* ~ P^{stored.exponents[-1].n_rec.estimate:.2f} (" in line
    (other,) = make_views(read_sweep(own_dir), Selection(where="d_m > 2"), FitSettings(law=law))
    assert stored_evidence(other, own_dir / "fit.json") is None
    assert evidence_in(view, None) is None
    assert stored_evidence(view, own_dir / "none.json") is None
    # A fit of some rows stands beside that of all, and each group finds its own.
    (own_dir / "fit.json").rename(own_dir / "fit_all.json")
    (own_dir / "fit.json").write_text((own_dir / "fit_all.json").read_text().replace(view.data.rows_sha256, "0" * 64))
    assert evidence_in(view, own_dir).source == "fit_all.json"
    (own_dir / "fit_all.json").rename(own_dir / "fit.json")
    whole = (own_dir / "fit.json").read_text()
    for damaged in (
        whole[:500],
        whole.replace('"rows_sha256"', '"rows"'),
        whole.replace('"estimate"', '"value"'),
        "[]",
    ):
        (own_dir / "fit.json").write_text(damaged)
        assert stored_evidence(view, own_dir / "fit.json") is None


def test_rows_without_a_budget_are_drawn_once(view):
    found = agreement_data(view.data, view.table.assign(budget=np.nan), view.overlay)
    points = [trace for trace in plot_agreement(found)["data"] if trace["mode"] == "markers"]
    assert len(points) == view.table["k_c"].nunique()
    assert sum(len(trace["x"]) for trace in points) == len(view.table)
    assert points[0]["meta"]["budget"] is None
    assert "nan" not in points[0]["hovertemplate"]
