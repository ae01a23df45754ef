"""Two lines of a notebook give every figure of a results directory, titled."""

from pathlib import Path

import pytest

from analysis.errors import AnalysisError
from analysis.figures.notebook import figures, view_figures

STUDY = Path(__file__).resolve().parents[3] / "studies" / "paper_in_miniature" / "results"


def test_two_lines_are_enough(sweep_dir):
    found = figures(sweep_dir)
    assert {"isobudget-n_rec", "isobudget-d_m", "frontier", "scaling-n_rec", "surface", "agreement"} <= set(found)
    for name, figure in found.items():
        assert figure.layout.title.text, name
        assert figure.layout.title.subtitle.text.startswith("text"), name
        assert "@" not in figure.to_json()


def test_networks_without_d_m_have_the_figures_that_they_can_have():
    found = figures(STUDY / "text", where="architecture == 'gru'")
    assert {"isobudget-n_rec", "frontier"} <= set(found)
    assert not any("d_m" in name or "k_e" in name for name in found)


def test_every_figure_is_titled_and_shows_one_connectivity(view):
    assert all(figure.layout.title.text for figure in view_figures(view, mode="dark").values())


def test_groups_are_called_by_their_label(sweep_dir):
    with pytest.raises(AnalysisError, match="group: 'nothing' is not among the groups: text"):
        figures(sweep_dir, group="nothing")
    with pytest.raises(AnalysisError, match="none of the"):
        figures(sweep_dir, where="d_m > 1000")
