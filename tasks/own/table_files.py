"""Tables of time series: read, checked, scaled, and described with what simple forecasts reach.

No torch: a plan needs the description.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cluster.errors import choices_hint, path_hint
from tasks.base import Options, Place
from tasks.errors import DataError
from tasks.own.notes import noted

Floats = npt.NDArray[np.float64]
_ALL, _NONE = "numbers", "none"
_MOST_WEIGHTS = 2_000
"""Weights of the linear autoregression; of longer windows it reads the latest rows, so that fitting takes a second."""
_RIDGE = 1e-6
"""Share of the mean square of the inputs that is added to them, so that columns which repeat each other do no harm."""
_NOTE_VERSION = "table 1"
"""Raised whenever `_facts` finds something else in the same file."""


class Series(NamedTuple):
    """A table as a network reads it: every column less its mean over its standard deviation, both of the training rows.

    Errors are therefore in units of the targets' standard deviation: a mean squared error of 1 is that of the mean.
    """

    inputs: Floats
    """[rows, n_in]"""
    targets: Floats
    """[rows, n_out]"""
    starts: Mapping[str, npt.NDArray[np.int64]]
    """first rows of the windows of each split; a window and its target lie in one split"""
    window: int
    """rows of a window"""
    horizon: int
    """rows from a window's last row to its target"""

    def target_rows(self, split: str) -> npt.NDArray[np.int64]:
        """Return the rows of the targets of a split's windows."""
        return self.starts[split] + self.window - 1 + self.horizon


def read_series(options: Options, where: str) -> Series:
    """Read and scale a table.

    Raises:
        DataError: the file, a column or a number in it is missing or unusable.
    """
    place = f"{where}.data: {options['data']}"
    frame = _frame(Path(str(options["data"])), where)
    targets = _names(options["target"])
    time = str(options["time"])
    for key, names in (("target", targets), ("inputs", _names(options["inputs"])), ("time", [time])):
        for name in names:
            if name not in frame and name not in (_ALL, _NONE):
                raise DataError(f"{where}.{key}: {name!r} is no column of {options['data']}{choices_hint(name, frame)}")
    if time != _NONE:
        _check_time(frame[time], f"{place}: column {time!r}")
    inputs = _names(options["inputs"])
    if inputs == [_ALL]:
        inputs = [str(name) for name in frame if frame[name].dtype.kind in "biuf" and name != time]
        if not inputs:
            raise DataError(f"{place} has no column of numbers to read")
    columns = {name: _numbers(frame[name], f"{place}: column {name!r}") for name in dict.fromkeys([*inputs, *targets])}
    window, horizon = int(options["window"]), int(options["horizon"])
    borders = _borders(len(frame), float(options["valid_share"]), float(options["test_share"]), where)
    starts = {}
    for split, (low, high) in borders.items():
        count = high - low - window - horizon + 1
        if count < 1:
            raise DataError(
                f"{place}: the {split} part has {max(high - low, 0)} of {len(frame)} rows; a window of {window} rows "
                f"with horizon {horizon} needs {window + horizon}"
            )
        starts[split] = np.arange(low, low + count)
    end = borders["train"][1]
    for name in targets:
        if np.ptp(columns[name][:end]) == 0:
            raise DataError(
                f"{place}: column {name!r} is {columns[name][0]:g} in every training row; nothing can be learnt"
            )
    scaled = {name: _scaled(column, end) for name, column in columns.items()}
    return Series(
        np.stack([scaled[name] for name in inputs], axis=1),
        np.stack([scaled[name] for name in targets], axis=1),
        starts,
        window,
        horizon,
    )


def noted_facts(options: Options, place: Place) -> dict[str, Any]:
    """Return what one pass over the table finds, from a note where the file is the one of an earlier pass.

    Raises:
        DataError: the table is missing or unusable.
    """
    path = Path(str(options["data"]))
    if not path.is_file():
        raise DataError(f"{place.where}.data: no such file: {path}{path_hint(path)}")

    def find() -> dict[str, Any]:
        series = read_series(options, place.where)
        return {
            "data_name": path.name,
            "n_in": series.inputs.shape[1],
            "n_out": series.targets.shape[1],
            "baselines": baselines(series),
        }

    return noted(_NOTE_VERSION, [path], options, place, find, ("data_name", "n_in", "n_out", "baselines"))


def baselines(series: Series) -> dict[str, dict[str, float]]:
    """Return test errors of two forecasts: the last value of the target, and a linear regression on the window.

    The regression is least squares of the targets on all rows of a window and a constant, fitted on the training
    windows.
    """
    rows = series.target_rows("test")
    wanted = series.targets[rows]
    found = {"last value": series.targets[rows - series.horizon]}
    lags = max(1, min(series.window, _MOST_WEIGHTS // series.inputs.shape[1]))
    features = series.inputs.shape[1] * lags + 1
    square, product = np.zeros((features, features)), np.zeros((features, series.targets.shape[1]))
    for part in np.array_split(series.starts["train"], 1 + len(series.starts["train"]) * features // (1 << 22)):
        x = _lagged(series, part, lags)
        square += x.T @ x
        product += x.T @ series.targets[part + series.window - 1 + series.horizon]
    square += _RIDGE * np.trace(square) / features * np.eye(features)
    weights = np.linalg.solve(square, product)
    found["linear autoregression"] = _lagged(series, series.starts["test"], lags) @ weights
    return {name: _errors(guess, wanted) for name, guess in found.items()}


def _lagged(series: Series, starts: npt.NDArray[np.int64], lags: int) -> Floats:
    """Return the last rows of windows side by side with a constant, [windows, lags * n_in + 1]."""
    rows = starts[:, None] + np.arange(series.window - lags, series.window)
    return np.concatenate([series.inputs[rows].reshape(len(starts), -1), np.ones((len(starts), 1))], axis=1)


def _errors(guess: Floats, wanted: Floats) -> dict[str, float]:
    squared = ((guess - wanted) ** 2).mean(0)
    spread = wanted.var(0)
    # A target that does not move in the test part has no r2; the error against its mean is then left out.
    r2 = 1 - squared[spread > 0] / spread[spread > 0]
    return {
        "mse": float(squared.mean()),
        "mae": float(np.abs(guess - wanted).mean()),
        "r2": float(r2.mean()) if len(r2) else 0.0,
    }


def _names(value: object) -> list[str]:
    return [name.strip() for name in str(value).split(",")]


def _frame(path: Path, where: str) -> Any:
    # Here and not above: it takes longer to import than all other tasks to describe.
    import pandas as pd

    if not path.is_file():
        raise DataError(f"{where}.data: no such file: {path}{path_hint(path)}")
    readers: dict[str, Any] = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    if path.suffix not in readers:
        raise DataError(f"{where}.data: {path} is no .csv or .parquet file")
    try:
        frame = readers[path.suffix](path)
    except (OSError, ValueError) as error:
        raise DataError(f"{where}.data: cannot read {path} ({' '.join(str(error).split())})") from error
    if not len(frame):
        raise DataError(f"{where}.data: {path} has no rows")
    return frame.rename(columns=str)


def _check_time(column: Any, place: str) -> None:
    import pandas as pd

    if column.dtype.kind not in "biufM":
        try:
            column = pd.to_datetime(column, format="ISO8601")
        except (ValueError, TypeError) as error:
            raise DataError(f"{place}: holds neither numbers nor times as in ISO 8601 (2024-05-31T12:00)") from error
    if column.isna().any():
        raise DataError(f"{place}: has no time in row {int(np.argmax(column.isna().to_numpy()))}")
    rises = np.diff(column.to_numpy()) > np.zeros(1, np.diff(column.to_numpy()).dtype)
    if not rises.all():
        row = 1 + int(np.argmin(rises))
        raise DataError(
            f"{place}: row {row} ({column.iloc[row]}) is not later than the row before; sort the rows by time"
        )


def _numbers(column: Any, place: str) -> Floats:
    if column.dtype.kind not in "biuf":
        import pandas as pd

        wrong = pd.to_numeric(column, errors="coerce").isna().to_numpy() & ~column.isna().to_numpy()
        row = int(np.argmax(wrong))
        raise DataError(f"{place}: holds {column.iloc[row]!r} in row {row}; only numbers can be read")
    values: Floats = column.to_numpy(dtype=np.float64)
    bad = ~np.isfinite(values)
    if bad.any():
        raise DataError(
            f"{place}: has no finite number in {int(bad.sum())} of {len(values)} rows, the first is row "
            f"{int(np.argmax(bad))}; fill them in or leave them out"
        )
    return values


def _borders(rows: int, valid_share: float, test_share: float, where: str) -> dict[str, tuple[int, int]]:
    """Return the first row and the one after the last of each split: training first, since forecasts look ahead."""
    if valid_share + test_share >= 1:
        raise DataError(f"{where}: valid_share {valid_share:g} and test_share {test_share:g} leave no row for training")
    valid, test = round(rows * (1 - valid_share - test_share)), round(rows * (1 - test_share))
    return {"train": (0, valid), "valid": (valid, test), "test": (test, rows)}


def _scaled(column: Floats, end: int) -> Floats:
    spread = column[:end].std()
    # A column that never moves in training says nothing then; it is only centred.
    scaled: Floats = (column - column[:end].mean()) / (spread if spread > 0 else 1.0)
    return scaled
