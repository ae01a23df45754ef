"""Where nothing can be analysed yet, the reader is told to wait, to look, or to launch."""

from dataclasses import replace
from types import SimpleNamespace

from analysis.rows import summary
from analysis.rows.load import read_sweep
from sweeper.store.store import ResultsStore


def test_a_running_launch_is_not_told_to_launch(tmp_path, monkeypatch):
    ResultsStore.create(tmp_path)
    sweep = read_sweep(tmp_path)
    assert summary.what_first(sweep).startswith("Launch a grid first")
    launch = SimpleNamespace(running=("a", "b"), total=45)
    monkeypatch.setattr(summary, "live_launches", lambda store, wait: [launch])
    assert "2 of 45 trials running, none ended yet" in summary.what_first(sweep)


def test_rows_that_cannot_be_used_have_their_reasons_named(sweep):
    assert "tells why no row can be used" in summary.what_first(replace(sweep, store=None))
