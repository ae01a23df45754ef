"""The benchmark measures what it says. Whether targets hold is its own to tell: a busy machine must fail no test."""

import json

import numpy as np
import pytest

from benchmarks import theory as bench


@pytest.mark.parametrize("floor", ["additive", "max"])
def test_simulated_sweep_has_the_stated_noise(floor):
    design, metric = bench.simulated(floor, 300)
    assert len(design) == metric.size == 300
    codes = design.configurations()
    spread = [metric[codes == code].std(ddof=1) for code in np.unique(codes) if (codes == code).sum() > 2]
    assert np.mean(spread) == pytest.approx(bench.NOISE, rel=0.2)
    distinct, _ = bench.simulated(floor, 300, distinct=True)
    assert np.unique(distinct.configurations()).size == 300


@pytest.mark.slow
def test_everything_that_has_a_target_is_timed():
    figures = [*bench.evaluation(), *bench.bootstraps()]
    assert len({figure.name for figure in figures}) == len(figures) > 2
    assert all(0 < figure.seconds < float("inf") for figure in figures)


def test_missed_target_is_an_exit_code(monkeypatch, capsys):
    slow = bench.Figure(name="a", seconds=3.0, target=2.0)
    monkeypatch.setattr(bench, "evaluation", lambda: [slow])
    monkeypatch.setattr(bench, "fits", list)
    monkeypatch.setattr(bench, "bootstraps", list)
    assert bench.main([]) == 1
    assert "MISSED" in capsys.readouterr().out
    assert bench.main(["--json"]) == 1
    assert json.loads(capsys.readouterr().out)[0]["met"] is False
