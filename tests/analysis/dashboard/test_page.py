"""The page's payload holds the numbers of the analysis, is safe inside HTML, and is the same for the same rows."""

import base64
import gzip
import hashlib
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.commands.pages import dashboard
from analysis.dashboard import page, run_table
from analysis.laws.theory_fit import FitSettings
from analysis.rows.load import read_sweep
from analysis.rows.sweep import Measure, Selection
from sweeper.store.store import ResultsStore

GRADIENTS = Path(__file__).resolve().parents[3] / "studies" / "figures" / "results" / "gradients"
"""Two networks whose norms were kept."""

SETTINGS = FitSettings(law="effective_information:floor=additive")


def build(uri, path, **measure):
    return dashboard(str(uri), Selection(measure=Measure(**measure)), SETTINGS, str(path))


def unpack(node):
    return np.frombuffer(base64.b64decode(node["bdata"]), dtype="<" + node["dtype"])


def parts(text):
    content = json.loads(re.search(r'id="payload">(.*?)</script>', text, re.S).group(1))
    packed = re.search(r'id="lazy">(.*?)</script>', text, re.S).group(1)
    return content, json.loads(gzip.decompress(base64.b64decode(packed)))


def columns(text):
    """The table of trials as lists by column."""
    packed = re.search(r'id="table-data">(.*?)</script>', text, re.S).group(1)
    table = json.loads(gzip.decompress(base64.b64decode(packed)))
    count = len(table["columns"][0]["texts"])

    def values(column):
        if "same" in column:
            return [column["same"]] * count
        if "values" in column:
            return unpack(column["values"]).tolist()
        return column["texts"] if "texts" in column else [column["words"][c] for c in unpack(column["codes"])]

    return {column["name"]: values(column) for column in table["columns"]}


@pytest.fixture(scope="module")
def text(sweep_dir, tmp_path_factory):
    return build(sweep_dir, tmp_path_factory.mktemp("page") / "page.html").read_text()


def test_the_payload_holds_every_row_and_the_means_of_the_analysis(text, view):
    content, _ = parts(text)
    (group,) = content["groups"]
    trials = dict(zip(group["trials"]["id"], unpack(group["trials"]["value"]), strict=True))
    assert trials == dict(zip(view.data.rows["trial_id"], view.data.rows["value"], strict=True))
    assert unpack(group["configurations"]["mean"]).tolist() == view.table["mean"].tolist()
    place = unpack(group["trials"]["configuration"])
    assert view.table["configuration"].to_numpy()[place].tolist() == view.data.rows["configuration"].tolist()
    assert content["subtitle"].startswith("48 trials: ")


def test_specs_and_curves_wait_packed(text, view):
    _, lazy = parts(text)
    assert set(lazy) == set(
        view.sweep.trials["trial_id"]
    )  # also those that failed: their spec says how to run them again
    record = lazy[view.data.rows["trial_id"].iloc[0]]
    assert "d_m" in json.loads(record["spec"])
    assert record["curves"]["valid"]["step"][-1] == 2000
    assert len(record["curves"]["valid"]["metric"]) == len(record["curves"]["valid"]["step"]) <= page.CURVE_POINTS
    assert "trial_id == " in record["rerun"]


def test_norms_of_gradients_are_there_where_they_were_kept(text, view, tmp_path):
    _, lazy = parts(text)
    without = lazy[view.data.rows["trial_id"].iloc[0]]["curves"]
    assert not any("gradient_norm" in curve for curve in without.values())
    _, lazy = parts(build(GRADIENTS, tmp_path / "page.html").read_text())
    stored = ResultsStore.open(GRADIENTS).read("curves").to_pandas()
    for trial_id, record in lazy.items():
        kept = stored[(stored["trial_id"] == trial_id) & (stored["split"] == "train")].sort_values("step")
        assert len(kept) <= page.CURVE_POINTS
        drawn = np.array(record["curves"]["train"]["gradient_norm"], dtype=float)
        assert drawn == pytest.approx(kept["gradient_norm"].to_numpy(float), rel=1e-5, nan_ok=True)
        assert "gradient_norm" not in record["curves"]["valid"]


def test_the_same_rows_give_the_same_bytes(text, sweep_dir, tmp_path):
    ResultsStore.open(sweep_dir)
    assert build(sweep_dir, tmp_path / "again.html").read_text() == text


def test_only_these_scripts_may_run_and_nothing_may_be_fetched(text):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text).group(1)
    scripts = re.findall(r"<script>(.*?)</script>\n?", text, re.S)
    assert len(scripts) == 3
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "connect-src 'none'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy
    outside = re.sub(r"<script>.*?</script>", "", text, flags=re.S)
    assert not re.search(r'(src|href)="(https?:)?//', outside)
    assert '"showSendToCloud":false' in text


def test_names_from_people_cannot_break_out(tmp_path, trial):
    evil = "</script><b onmouseover=alert(1)>&\"'$x<!--"
    store = ResultsStore.create(tmp_path / "evil")
    rows = [trial(f"t{d}", task=evil, metric=evil, d_m=d, n_rec=600 // d, spec=json.dumps({"x": evil})) for d in (3, 5)]
    store.write("trials", [*rows, trial("f", task=evil, status="failed", reason=evil)])
    written = build(tmp_path / "evil", tmp_path / "page.html").read_text()
    content, lazy = parts(written)
    assert content["groups"][0]["label"].startswith(evil)
    assert json.loads(lazy["t3"]["spec"]) == {"x": evil}
    assert written.count("</script>") == 6
    figure = json.dumps(content["groups"][0]["tabs"])
    assert "<b onmouseover" not in figure.replace(json.dumps(evil)[1:-1], "") or "&lt;b onmouseover" in figure


@pytest.mark.parametrize("kind", ["empty", "all_failed", "one", "nan", "no_budget", "higher_is_better"])
def test_poor_sweeps_still_make_a_page(tmp_path, trial, kind):
    rows = {
        "empty": [],
        "all_failed": [trial("a", status="diverged", reason="loss is nan", final_test_metric=None)],
        "one": [trial("a")],
        "nan": [trial("a", final_test_metric=float("nan")), trial("b", seed=1)],
        "no_budget": [trial("a", budget=None), trial("b", budget=None, d_m=8)],
        "higher_is_better": [trial("a", direction="max"), trial("b", direction="max", d_m=8, final_test_metric=3.0)],
    }[kind]
    ResultsStore.create(tmp_path / kind).write("trials", rows)
    content, _ = parts(build(tmp_path / kind, tmp_path / "page.html").read_text())
    shown = sum(len(group["trials"]["id"]) for group in content["groups"])
    assert shown == {"empty": 0, "all_failed": 0, "one": 1, "nan": 1}.get(kind, 2)
    assert content["warnings"] == ([] if shown else ["No finished trial with a value yet."])


def test_missing_numbers_become_null_and_arrays_are_packed():
    text = page.to_json(
        {"a": float("nan"), "b": np.array([1.5, np.nan]), "c": [np.int64(3), "<"], "d": np.float64("inf")}
    )
    found = json.loads(text)
    assert found["a"] is None
    assert found["d"] is None
    assert found["c"] == [3, "<"]
    assert "<" not in text
    assert unpack(found["b"])[0] == 1.5


def test_a_large_group_is_sampled_and_says_so(monkeypatch, sweep_dir, tmp_path, view):
    monkeypatch.setattr(run_table, "LISTED", 20)
    text = build(sweep_dir, tmp_path / "page.html").read_text()
    content, lazy = parts(text)
    (group,) = content["groups"]
    assert len(group["trials"]["id"]) == 20
    assert len(lazy) == len(columns(text)["trial_id"]) == 20 + 4  # and the four that did not finish
    assert group["left_out"] == len(view.data.rows) - 20
    assert unpack(group["configurations"]["mean"]).tolist() == view.table["mean"].tolist()  # means use every trial


def test_published_tables_make_a_page(tmp_path):
    content, _ = parts(build("published:enwik8", tmp_path / "page.html").read_text())
    panels = {panel["id"]: panel for tab in content["groups"][0]["tabs"] for panel in tab["panels"]}
    (row,) = panels["optima"]["rows"]
    named = dict(zip(panels["optima"]["columns"], row, strict=True))
    assert (named["N*"], named["N as good"], named["95 % ±"]) == (440, "unknown", "1 run, no interval")
    assert read_sweep("published:enwik8").curves.empty


def test_the_table_holds_every_trial_with_its_status_and_why_it_was_left_out(tmp_path, trial):
    spec = json.dumps({"training": {"clip_norm": 2.0}})
    rows = [
        *(trial(f"a{seed}", seed=seed, learning_rate=0.01, spec=spec) for seed in (0, 1)),
        *(trial(f"b{seed}", seed=seed, learning_rate=0.03, final_valid_metric=3.0, spec=spec) for seed in (0, 1)),
        trial("f", d_m=8, status="failed", reason="out of luck", final_test_metric=None, spec=spec),
        trial("g", d_m=3, spec=json.dumps({"training": {"clip_norm": 1.0}})),
    ]
    ResultsStore.create(tmp_path / "mixed").write("trials", rows)
    found = columns(build(tmp_path / "mixed", tmp_path / "page.html").read_text())
    of = {name: dict(zip(found["trial_id"], found[name], strict=True)) for name in found}
    assert set(of["trial_id"]) == {"a0", "a1", "b0", "b1", "f", "g"}
    assert {of["enters"][name] for name in ("a0", "a1", "g")} == {"yes"}
    assert {of["enters"][name] for name in ("b0", "b1", "f")} == {"no"}
    assert "another learning rate is better" in of["reason"]["b0"]
    assert of["reason"]["f"] == "out of luck"
    assert of["learning_rate"]["b0"] == 0.03
    assert (of["training.clip_norm"]["f"], of["training.clip_norm"]["g"]) == (2.0, 1.0)
    assert np.isnan(of["final_test_metric"]["f"])
    assert len(of) > 60  # every stored column


def test_no_cell_of_a_csv_file_is_a_formula():
    frame = run_table.safe_frame(pd.DataFrame({"text": ["=1+1", "@x", "-y", "fine", None], "number": [-1, 2, 3, 4, 5]}))
    assert frame["text"].tolist()[:4] == ["'=1+1", "'@x", "'-y", "fine"]
    assert frame["number"].tolist() == [-1, 2, 3, 4, 5]


def test_the_command_that_runs_a_trial_again_survives_a_shell():
    command = page.rerun_command("my results/it's", "abc")
    assert shlex.split(command) == ["sweeper", "retry", "my results/it's", "--where", "trial_id == 'abc'"]
