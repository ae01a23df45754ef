"""Tables of time series: windows within their split, targets some rows ahead, and forecasts that anybody can make."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tasks.errors import DataError, TaskError
from tasks.loaders import load_task
from tasks.losses import MetricAccumulator
from tasks.spec import canonical_options, data_sha256, task_spec

ROWS = 200


def series() -> pd.DataFrame:
    """A noisy oscillation, a column that leads it by two rows, and words."""
    time = np.arange(ROWS + 2)
    wave = np.sin(time / 3) * 5 + 20 + np.random.default_rng(0).normal(0, 0.5, ROWS + 2)
    return pd.DataFrame(
        {
            "when": pd.date_range("2024-01-01", periods=ROWS, freq="h").strftime("%Y-%m-%dT%H:%M"),
            "load": wave[:ROWS],
            "ahead": wave[2:] + 1,
            "day": ["working"] * ROWS,
        }
    )


def saved(folder: Path, frame: pd.DataFrame, suffix: str = "csv") -> dict[str, Any]:
    """Write a table and return the task's options."""
    path = folder / f"series.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    return {"data": str(path), "target": ["load"], "window": 8, "horizon": 2}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_window_is_followed_by_its_target_in_units_of_the_training_rows(tmp_path: Path, suffix: str) -> None:
    frame = series()
    options = saved(tmp_path, frame, suffix) | {"time": "when"}
    task = load_task("table", options)
    assert data_sha256("table", options) == task.data_sha256
    assert (task.spec.n_in, task.spec.n_out, task.spec.length, task.spec.loss, task.spec.metric) == (
        2,
        1,
        8,
        "mse",
        "mse",
    )
    trained = frame[["load", "ahead"]][:140].to_numpy()  # 70 of 100 rows, the first
    scaled = (frame[["load", "ahead"]].to_numpy() - trained.mean(0)) / trained.std(0)
    batches = list(task.eval_batches("test", batch_size=8, length=8, max_batches=None))
    x, y = (torch.cat([getattr(batch, part) for batch in batches])[:21].numpy() for part in ("x", "y"))
    for number, start in enumerate(range(170, 170 + 21)):  # windows whose target is still in the table
        assert np.allclose(x[number], scaled[start : start + 8], atol=1e-5)
        assert np.allclose(y[number], scaled[start + 9, :1], atol=1e-5)
    assert sum(float(torch.ones(8).sum() if b.weight is None else b.weight.sum()) for b in batches) == 21


def test_no_window_or_target_of_training_reaches_into_validation(tmp_path: Path) -> None:
    frame = pd.DataFrame({"load": np.arange(ROWS, dtype=float)})
    task = load_task("table", saved(tmp_path, frame))
    mean, spread = np.arange(140).mean(), np.arange(140).std()
    read = [task.train_batch(step, seed=0, batch_size=32, length=8) for step in range(5)]
    rows = np.round(torch.cat([batch.y for batch in read]).numpy() * spread + mean)
    assert (rows.min(), rows.max()) == (9, 139)


def forecast(task: Any, guess: Any) -> dict[str, float]:
    """Metrics of a guess from x on the test split."""
    accumulator = MetricAccumulator(task.spec)
    for batch in task.eval_batches("test", batch_size=16, length=8, max_batches=None):
        accumulator.update(guess(batch.x.double())[:, None], batch)
    return accumulator.result()


def test_the_baseline_is_the_better_of_the_last_value_and_a_linear_regression(tmp_path: Path) -> None:
    options = saved(tmp_path, series()) | {"horizon": 3, "inputs": "load"}
    task = load_task("table", options)
    every = task.train_batch(0, seed=0, batch_size=130, length=8)  # each window once
    x, y = every.x.double().flatten(1), every.y.double()
    features = torch.cat([x, torch.ones(len(x), 1).double()], dim=1)
    weights = torch.linalg.lstsq(features, y).solution
    linear = forecast(task, lambda x: torch.cat([x.flatten(1), torch.ones(len(x), 1).double()], dim=1) @ weights)
    last = forecast(task, lambda x: x[:, -1, :1])
    assert linear["mse"] < last["mse"]
    for metric in ("mse", "mae", "r2"):
        spec = task_spec("table", options | {"metric": metric})
        assert spec.baseline == pytest.approx(linear[metric], rel=1e-3)
        assert spec.baselines == pytest.approx(
            {"last value": last[metric], "linear autoregression": linear[metric]}, rel=1e-3
        )
        assert spec.chance == (0.0 if metric == "r2" else None)
    walk = pd.DataFrame({"load": np.random.default_rng(1).normal(size=ROWS).cumsum() ** 3})
    task = load_task("table", saved(tmp_path, walk) | {"horizon": 1})
    assert task.spec.baseline <= forecast(task, lambda x: x[:, -1, :1])["mse"] + 1e-6


def test_columns_are_given_as_a_list_or_as_text(tmp_path: Path) -> None:
    options = saved(tmp_path, series()) | {"target": ["load", "ahead"], "inputs": "ahead"}
    assert canonical_options("table", options)["target"] == "load, ahead"
    assert canonical_options("table", options) == canonical_options("table", options | {"target": "load, ahead"})
    spec = task_spec("table", options)
    assert (spec.n_in, spec.n_out) == (1, 2)


def test_repeated_windows_are_named_with_their_share(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    frame = series()
    frame.loc[170:, ["load", "ahead"]] = frame.loc[:29, ["load", "ahead"]].to_numpy()
    load_task("table", saved(tmp_path, frame))
    assert "series.csv: 21 of 21 windows of test (100.0%) also stand in train" in caplog.text


BAD: list[tuple[Any, dict[str, Any], str]] = [
    (None, {"target": ["lod"]}, "task.target: 'lod' is no column of "),
    (None, {"target": ["day"]}, "column 'day': holds 'working' in row 0; only numbers can be read"),
    (None, {"target": ["a,b"]}, "task.target: ['a,b'] is not valid; give texts without commas"),
    (None, {"inputs": ["load", "ahed"]}, "task.inputs: 'ahed' is no column of "),
    (
        lambda f: f.assign(load=f["load"].where(f.index != 17)),
        {},
        "column 'load': has no finite number in 1 of 200 rows",
    ),
    (lambda f: f.assign(load=3.0), {}, "column 'load' is 3 in every training row; nothing can be learnt"),
    (lambda f: f[:0], {}, "has no rows"),
    (lambda f: f[::-1], {"time": "when"}, "row 1 (2024-01-09 06:00:00) is not later than the row before"),
    (None, {"time": "day"}, "holds neither numbers nor times"),
    (None, {"window": 40}, "the valid part has 30 of 200 rows; a window of 40 rows with horizon 2 needs 42"),
    (None, {"valid_share": 0.6, "test_share": 0.5}, "valid_share 0.6 and test_share 0.5 leave no row for training"),
    (lambda f: f[["when", "day"]].assign(load=1.5), {"inputs": "numbers"}, "every training row"),
]


@pytest.mark.parametrize(("spoil", "options", "line"), BAD, ids=[line for _, _, line in BAD])
def test_bad_tables_are_one_line(tmp_path: Path, spoil: Any, options: dict[str, Any], line: str) -> None:
    frame = series()
    with pytest.raises((DataError, TaskError)) as error:
        task_spec("table", saved(tmp_path, frame if spoil is None else spoil(frame)) | options)
    assert line in str(error.value)
    assert str(error.value).startswith("task")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "content", "line"),
    [
        ("none.csv", None, "no such file"),
        ("table.xls", b"x", "is no .csv or .parquet file"),
        ("broken.parquet", b"x", "cannot read"),
        ("empty.csv", b"", "cannot read"),
    ],
)
def test_files_that_are_no_tables_are_one_line(tmp_path: Path, name: str, content: bytes | None, line: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as error:
        task_spec("table", {"data": str(tmp_path / name), "target": "load"})
    assert line in str(error.value)
    assert "\n" not in str(error.value)
