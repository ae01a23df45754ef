"""Files and exports of other tools, as small as they can be."""

import json

import pandas as pd
import pytest

from analysis.errors import AnalysisError
from analysis.imports.mapping import ImportSettings
from analysis.imports.tables import import_rows

ALL = ImportSettings(mapping={"n_rec": "width", "metric": "val_loss"}, task="mine", direction="min")
FRAME = pd.DataFrame({"width": [16, 32], "val_loss": [2.5, 2.0], "opt": ["adam", "sgd"]})
WANDB = """"Name","State","Runtime","width","val_loss"
"calm-sun-1","finished","12","16","2.5"
"odd-lake-2","crashed","3","32",""
"new-hill-3","running","1","64","2.9"
"""


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl"])
def test_each_kind_of_file_gives_the_same_rows(ending, tmp_path):
    path = tmp_path / f"runs{ending}"
    write = {".csv": lambda: FRAME.to_csv(path, index=False), ".parquet": lambda: FRAME.to_parquet(path)}
    write.get(ending, lambda: FRAME.to_json(path, orient="records", lines=True))()
    rows, origin, left_out = import_rows(str(path), ALL)
    assert rows["n_rec"].tolist() == [16, 32]
    assert rows["final_test_metric"].tolist() == [2.5, 2.0]
    assert (origin.source, origin.unused, left_out, len(origin.source_sha256)) == (path.name, ("opt",), 0, 64)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("runs.xlsx", b"x", "the name must end in .csv, .parquet, .jsonl, .ndjson"),
        ("runs.csv", b"", "an empty file"),
        ("runs.csv", b"width,val_loss\n", "no row"),
        ("runs.csv", b'a,b\n1,2\n"3', "not readable as csv"),
        ("runs.csv", b"\xff\xfe\x00", "not readable as csv"),
        ("runs.parquet", b"width", "not readable as parquet"),
        ("runs.jsonl", b"{width", "not readable as jsonl"),
    ],
)
def test_a_file_that_is_no_table_is_one_line(name, content, message, tmp_path):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(AnalysisError) as found:
        import_rows(str(tmp_path / name), ALL)
    assert message in str(found.value)
    assert "\n" not in str(found.value)


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(AnalysisError, match="nothing.csv: no such file"):
        import_rows(str(tmp_path / "nothing.csv"), ALL)


def test_an_export_of_wandb(tmp_path):
    path = tmp_path / "wandb.csv"
    path.write_text(WANDB)
    rows, _, left_out = import_rows(str(path), ALL, kind="wandb-export")
    assert rows["trial_id"].tolist() == ["calm-sun-1", "odd-lake-2"]
    assert rows["status"].tolist() == ["finished", "failed"]
    assert rows["reason"].tolist() == [None, "wandb: crashed"]
    assert rows["wall_s"].tolist() == [12, 3]
    assert left_out == 1  # still running


def test_a_storage_of_optuna(tmp_path):
    optuna = pytest.importorskip("optuna")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = tmp_path / "study.db"
    study = optuna.create_study(storage=f"sqlite:///{path}", study_name="one", direction="maximize")
    widths = optuna.distributions.IntDistribution(1, 64)
    for width, value in ((16, 0.5), (32, 0.7)):
        trial = optuna.trial.create_trial(params={"width": width}, distributions={"width": widths}, value=value)
        study.add_trial(trial)
    study.add_trial(
        optuna.trial.create_trial(
            params={"width": 64}, distributions={"width": widths}, state=optuna.trial.TrialState.PRUNED
        )
    )
    study.ask()
    how = ImportSettings(mapping={"n_rec": "width"}, task="mine", metric_name="accuracy")
    rows, origin, left_out = import_rows(str(path), how, kind="optuna-storage")
    assert rows["trial_id"].tolist() == ["trial-0", "trial-1", "trial-2"]
    assert rows["status"].tolist() == ["finished", "finished", "pruned"]
    assert rows["final_test_metric"].dropna().tolist() == [0.5, 0.7]
    assert (set(rows["direction"]), set(rows["metric"]), left_out) == ({"max"}, {"accuracy"}, 1)
    assert origin.kind == "optuna-storage"
    optuna.create_study(storage=f"sqlite:///{path}", study_name="two")
    with pytest.raises(AnalysisError, match="holds 2 studies; choose one with --study: one, two"):
        import_rows(str(path), how, kind="optuna-storage")
    assert len(import_rows(str(path), how, kind="optuna-storage", study="one")[0]) == 3


def test_a_file_that_is_no_storage_of_optuna_is_refused_and_left_as_it_is(tmp_path):
    pytest.importorskip("optuna")
    (tmp_path / "study.db").write_text("no database at all")
    with pytest.raises(AnalysisError, match="not readable as a storage of Optuna"):
        import_rows(str(tmp_path / "study.db"), ALL, kind="optuna-storage")
    assert (tmp_path / "study.db").read_text() == "no database at all"


def test_results_of_ray_tune(tmp_path):
    experiment = tmp_path / "experiment"
    for name, width, results, error in (
        ("a", 16, [{"val_loss": 3.0, "time_total_s": 1.0}, {"val_loss": 2.5, "time_total_s": 2.0}], None),
        ("b", 32, [], "Traceback\nValueError: made-up"),
        ("c", 64, [], None),
    ):
        folder = experiment / name
        folder.mkdir(parents=True)
        (folder / "params.json").write_text(json.dumps({"width": width, "optimiser": {"lr": 0.1}}))
        lines = [json.dumps({**result, "config": {"width": width}}) for result in results]
        (folder / "result.json").write_text("\n".join(lines))
        if error:
            (folder / "error.txt").write_text(error)
    how = ImportSettings(mapping={"n_rec": "config/width", "metric": "val_loss"}, task="mine", direction="min")
    rows, origin, left_out = import_rows(str(experiment), how, kind="ray-results")
    assert rows["n_rec"].tolist() == [16, 32]
    assert rows["final_test_metric"].tolist()[:1] == [2.5]
    assert rows["reason"].tolist() == [None, "ValueError: made-up"]
    assert (rows["wall_s"].tolist()[0], left_out, origin.source_sha256) == (2.0, 1, None)
    assert "config/optimiser/lr" in origin.unused
    with pytest.raises(AnalysisError, match="no trial with a result"):
        import_rows(str(experiment / "a"), how, kind="ray-results")


REPORT = b'{"val_loss": 2.5, "time_total_s": 2.0}\n'
RAY = ImportSettings(mapping={"n_rec": "config/width", "metric": "val_loss"}, task="mine", direction="min")


def experiment(tmp_path, **results):
    """An experiment of Ray Tune with the bytes of each trial's result.json."""
    for name, content in results.items():
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "params.json").write_text('{"width": 16}')
        (tmp_path / name / "result.json").write_bytes(content)
    return str(tmp_path)


def test_a_line_of_ray_tune_that_was_cut_off_costs_one_warning(tmp_path):
    told = []
    torn = {"torn": REPORT + b'{"val_loss": 2.', "letter": REPORT + b"\xff\xfe{", "list": REPORT + b"[3]\n"}
    folder = experiment(tmp_path, whole=REPORT, **torn, nothing=b'{"val_lo', empty=b"", blank=b"\n\n")
    rows, _, left_out = import_rows(folder, RAY, kind="ray-results", warn=told.append)
    assert sorted(rows["trial_id"]) == ["letter", "list", "torn", "whole"]
    assert set(rows["final_test_metric"]) == {2.5}
    assert left_out == 3
    assert told == [
        "letter/result.json and 3 others: passed over what is no JSON object, most often the last line of a trial that "
        "was killed"
    ]


def test_results_of_ray_tune_without_a_fault_warn_of_nothing(tmp_path):
    told = []
    import_rows(experiment(tmp_path, whole=REPORT), RAY, kind="ray-results", warn=told.append)
    assert told == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]", "expected the parameters of a trial, found list"),
        (b'{"w', "not readable as JSON"),
        (b"\xff", "not read"),
    ],
)
def test_parameters_of_ray_tune_that_are_none_are_one_line(content, message, tmp_path):
    folder = experiment(tmp_path, one=REPORT)
    (tmp_path / "one" / "params.json").write_bytes(content)
    with pytest.raises(AnalysisError, match=message) as raised:
        import_rows(folder, RAY, kind="ray-results")
    assert "one/params.json" in str(raised.value)


@pytest.mark.parametrize("error", [b"", b"\xff\xfe"])
def test_an_error_of_ray_tune_that_says_nothing_is_a_failure_all_the_same(error, tmp_path):
    folder = experiment(tmp_path, whole=REPORT, broken=b"")
    (tmp_path / "broken" / "error.txt").write_bytes(error)
    rows, _, _ = import_rows(folder, RAY, kind="ray-results")
    assert dict(zip(rows["trial_id"], rows["status"], strict=True)) == {"whole": "finished", "broken": "failed"}
