"""The task `table`: windows of a table of time series, and the values that come some rows after each."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tasks.base import TaskSpec
from tasks.data.cache import data_directory, noted_sha256
from tasks.data.leaks import Hashes, sequence_hashes, sequence_leaks, warn_of_leaks
from tasks.options import OptionValue
from tasks.own.table_files import Series, read_series
from tasks.sequences.sequences import Numbers, SequenceTask, SplitData


class Windows:
    """The windows of a table, numbered by their first rows."""

    def __init__(self, series: Series) -> None:
        self._inputs, self._targets = series.inputs.astype(np.float32), series.targets.astype(np.float32)
        self._rows, self._ahead = np.arange(series.window), series.window - 1 + series.horizon

    def inputs(self, numbers: Numbers) -> Tensor:
        """Return the rows of the numbered windows, [B, window, n_in]."""
        return torch.from_numpy(self._inputs[numbers[:, None] + self._rows])

    def targets(self, numbers: Numbers) -> npt.NDArray[np.float32]:
        """Return what is to be forecast, [B, n_out]."""
        return self._targets[numbers + self._ahead]

    def hashes(self, numbers: Numbers) -> Hashes:
        """Return a hash of every numbered window, uint64 [n]."""
        return sequence_hashes(self._inputs[number : number + len(self._rows)] for number in numbers.tolist())


def load_table(
    spec: TaskSpec, options: Mapping[str, OptionValue], *, cache_dir: str | Path | None, where: str
) -> SequenceTask:
    """Load the task `table`."""
    directory = data_directory(cache_dir)
    series = read_series(options, where)
    windows, sha256 = Windows(series), noted_sha256(Path(str(options["data"])), directory)
    settings = "-".join(str(value) for value in (series.window, series.horizon, *map(len, series.starts.values())))
    warn_of_leaks(
        spec.data_name,
        f"{sha256[:24]}-windows-{series.inputs.shape[1]}-{settings}",
        directory,
        lambda: sequence_leaks({split: windows.hashes(starts) for split, starts in series.starts.items()}, "windows"),
    )
    data = {split: SplitData(windows, starts) for split, starts in series.starts.items()}
    return SequenceTask(spec, sha256, data, where=where)  # type: ignore[arg-type]  # the keys are the splits' names
