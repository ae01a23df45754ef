"""The command line: fast help, one line per error, and the files it promises."""

import json
import resource
import subprocess
import sys

import pandas as pd
import pytest

from analysis import cli_options
from analysis.cli import main
from analysis.imports.tables import KINDS
from analysis.rows.sweep import MEASURES
from analysis.rows.weights import CHOICES
from sweeper.store.schema import SPLITS

HEAVY = ("torch", "ray", "pandas", "numpy", "plotly", "scipy", "pyarrow")


def run(monkeypatch, *arguments):
    """Run the command in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["analysis", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code


def test_importing_the_command_line_loads_nothing_heavy():
    code = f"import sys, analysis.cli; print([m for m in {HEAVY!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_the_choices_written_out_for_help_are_those_of_the_modules_behind_them():
    assert (cli_options.MEASURES, cli_options.SPLITS, cli_options.WEIGHTS) == (MEASURES, SPLITS, CHOICES)
    assert tuple(KINDS) == cli_options.TABLES


def test_commands_that_fit_nothing_load_no_fitting_library():
    """scipy's statistics, optimisers and splines take longer to load than a summary takes to make."""
    slow = ("scipy.stats", "scipy.optimize", "scipy.interpolate")
    commands = "from analysis.commands import fits, next_runs, pages, tables"
    code = f"import sys; {commands}; print([m for m in {slow!r} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_help_answers_at_once():
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = subprocess.run([sys.executable, "-m", "analysis.cli", "--help"], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "fit-theory" in found.stdout
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent < 1.0  # CPU seconds: 0.1 s is usual, pandas alone would take 1 s


def test_fit_theory_prints_a_table_and_saves_unrounded_numbers(monkeypatch, capsys, own_dir):
    assert run(monkeypatch, "fit-theory", own_dir, "--law", "effective_information:floor=additive") == 0
    shown = capsys.readouterr().out
    for word in ("alpha", "optimum per budget", "laws by AICc", "quadratic", "saved:", "left out: 2 (failed"):
        assert word in shown
    report = json.loads((own_dir / "fit.json").read_text())
    (group,) = report["groups"]
    assert group["metric"]["column"] == "final_test_metric"
    assert [row["budget"] for row in group["optima"]] == [3e4, 1e5, 3e5]
    assert group["data"]["rows"] + sum(e["rows"] for e in group["data"]["excluded"]) == report["sweep"]["trials"] == 48
    assert len(repr(group["law"]["values"]["alpha"])) > 10
    assert f"{group['law']['values']['alpha']:.4g}" in shown
    assert report["provenance"]["rows_sha256"]


def test_json_on_standard_output_is_the_saved_report(monkeypatch, capsys, own_dir, tmp_path):
    code = run(monkeypatch, "fit-theory", own_dir, "--law", "quadratic", "--json", "-o", tmp_path / "x.json")
    assert code == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "x.json").read_text())
    assert not (own_dir / "fit.json").exists()


def test_poor_data_are_told_what_to_run(monkeypatch, capsys):
    assert run(monkeypatch, "fit-theory", "published:shd_adding", "--law", "effective_information:floor=additive") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "10 rows cannot support 6 parameters" in shown
    assert "1 budget only" in shown
    assert "One run per configuration: no interval" in shown
    assert "not saved: give -o FILE" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit-theory", "{tmp}/none"], "Error: {tmp}/none: not a results directory"),
        (["fit-theory", "published:enwik9"], "'enwik9' is not known"),
        (["fit-theory", "{dir}", "--law", "nonsense"], "--law nonsense"),
        (["fit-theory", "{dir}", "--where", "d_x > 3"], "'d_x' is not known"),
        (["fit-theory", "published:enwik8", "--metric", "final_loss"], "column final_test_loss is empty"),
        (["dashboard", "published:enwik8"], "say where the page should go with -o FILE"),
        (["dashboard", "{dir}", "-o", "{tmp}/no/such/x.html"], "cannot be written: No such file"),
        (["export", "{dir}", "-o", "{tmp}/x.xlsx"], "must end in .parquet or .csv"),
    ],
)
def test_errors_are_one_line_and_code_1(monkeypatch, capsys, own_dir, tmp_path, arguments, message):
    fill = {"tmp": str(tmp_path), "dir": str(own_dir)}
    assert run(monkeypatch, *[a.format(**fill) for a in arguments]) == 1
    said = capsys.readouterr().err
    assert message.format(**fill) in said
    assert said.count("\n") == 1


def test_usage_errors_are_code_2_and_list_the_choices(monkeypatch, capsys, own_dir):
    assert run(monkeypatch, "fit-theory", own_dir, "--metric", "auc") == 2
    assert "final_metric" in capsys.readouterr().err
    assert run(monkeypatch, "fit-theory", own_dir, "-r", "another") == 2


def test_debug_shows_the_traceback(monkeypatch, own_dir):
    monkeypatch.setattr(sys, "argv", ["analysis", "fit-theory", str(own_dir), "--law", "nonsense", "--debug"])
    with pytest.raises(Exception, match="--law nonsense"):
        main()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_export_writes_the_rows_that_enter(monkeypatch, capsys, own_dir, tmp_path, data, suffix):
    path = tmp_path / f"rows.{suffix}"
    assert run(monkeypatch, "export", own_dir, "-o", path) == 0
    rows = pd.read_csv(path) if suffix == "csv" else pd.read_parquet(path)
    assert rows["trial_id"].tolist() == data.rows["trial_id"].tolist()
    assert rows["value"].tolist() == pytest.approx(data.rows["value"].tolist())
    assert "44 rows" in capsys.readouterr().out


def test_a_table_of_another_tool_is_imported_once_and_then_read(monkeypatch, capsys, tmp_path):
    table, target = tmp_path / "runs.csv", tmp_path / "imported"
    table.write_text("width,val_loss,lr\n" + "".join(f"{2**k},{1 + 2**-k},0.1\n" for k in range(8)))
    arguments = ("import", table, "--map", "n_rec=width,metric=val_loss", "--task", "mine", "--direction", "min")
    assert run(monkeypatch, *arguments, "-o", target) == 0
    shown = capsys.readouterr().out
    assert "8 rows imported from" in shown
    assert "not used: lr" in shown
    assert run(monkeypatch, "fit-theory", target, "--law", "power_law", "--starts", "8", "--quick") == 0
    assert "imported from runs.csv: n_rec is width, metric is val_loss." in capsys.readouterr().err
    assert (target / "fit.json").is_file()
    assert run(monkeypatch, "serve", target) == 1
    assert "imported rows do not change" in capsys.readouterr().err
    assert run(monkeypatch, *arguments, "-o", target) == 1
    assert "not an empty directory" in capsys.readouterr().err
