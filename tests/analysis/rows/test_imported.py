import json

import numpy as np
import pandas as pd
import pytest

from analysis.errors import AnalysisError
from analysis.imports.mapping import ImportSettings, mapped
from analysis.rows.imported import Origin, imported_sweep, read_import, write_import
from analysis.rows.load import datasets, read_sweep
from analysis.rows.sweep import Selection
from sweeper.errors import DamageError

ORIGIN = Origin(source="t.csv", source_sha256=None, kind="table", mapping={"n_rec": "width"}, units={"n_rec": "units"})


def rows(**columns):
    names = [name for name in columns if name != "loss"]
    how = ImportSettings(mapping={name: name for name in names} | {"metric": "loss"}, task="mine", direction="min")
    return mapped(pd.DataFrame({"loss": [2.0, 1.0]} | columns), how, place="t.csv")[0]


@pytest.mark.parametrize(
    ("given", "n_rec", "k_e", "params"),
    [
        ({"n_rec": [2, 4]}, [2, 4], [1, 1], [2, 4]),
        ({"trainable_params": [10, 20]}, [10, 20], [1, 1], [10, 20]),
        ({"n_rec": [2, 4], "trainable_params": [10, 40]}, [2, 4], [5, 10], [10, 40]),
        ({"n_rec": [2, 4], "k_e": [3, 5]}, [2, 4], [3, 5], [6, 20]),
        ({"k_e": [3, 5], "trainable_params": [6, 20]}, [2, 4], [3, 5], [6, 20]),
        ({"n_rec": [2, 4], "k_e": [3, 5], "k_c": [1, 1]}, [2, 4], [3, 5], [8, 24]),
        ({"n_rec": [2, 4], "k_e": [3, 5], "trainable_params": [100, 200]}, [2, 4], [3, 5], [100, 200]),
        ({"n_rec": [2, 4], "trainable_params": [10, np.nan]}, [2, 4], [5, 1], [10, 4]),
    ],
)
def test_sizes_that_are_missing_follow_from_those_that_are_there(given, n_rec, k_e, params):
    sweep = imported_sweep(rows(**given), ORIGIN, label="t")
    found = sweep.trials[["n_rec", "k_e", "trainable_params"]].to_numpy(float).T.tolist()
    assert found == [n_rec, k_e, params]
    assert sweep.notes[0] == "imported from t.csv: n_rec is width [units]."
    told = sweep.notes[1] if len(sweep.notes) > 1 else ""
    for name in ("n_rec", "k_e", "k_c", "trainable_params"):
        assert (f"{name} is " in told) == (name not in given or bool(np.isnan(given[name]).any()))


def test_what_was_written_is_read_and_what_was_missing_is_missing(tmp_path):
    write_import(tmp_path / "one", rows(n_rec=[2, 4]), ORIGIN)
    record = json.loads((tmp_path / "one" / "import.json").read_text())
    assert (record["provenance"], record["mapping"], record["units"]) == (
        "imported",
        {"n_rec": "width"},
        {"n_rec": "units"},
    )
    stored = pd.read_parquet(tmp_path / "one" / "rows.parquet")
    assert stored["k_e"].isna().all()  # nothing that stands in is stored
    assert stored["learning_rate"].isna().all()
    (data,) = datasets(read_sweep(tmp_path / "one"), Selection())
    assert data.label == "mine"
    assert data.rows["value"].tolist() == [2.0, 1.0]
    assert "imported from t.csv" in data.notes[0]


def test_a_directory_with_anything_in_it_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    for target in (tmp_path, tmp_path / "file"):
        with pytest.raises(AnalysisError, match="not an empty directory"):
            write_import(target, rows(n_rec=[2, 4]), ORIGIN)
    assert (tmp_path / "file").read_text() == "mine"


def test_damaged_rows_are_refused(tmp_path):
    write_import(tmp_path / "one", rows(n_rec=[2, 4]), ORIGIN)
    path = tmp_path / "one" / "rows.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamageError, match="not the rows that were imported"):
        read_import(str(tmp_path / "one"))
    (tmp_path / "one" / "import.json").write_text("{")
    with pytest.raises(DamageError, match="not the record of an import"):
        read_import(str(tmp_path / "one"))
