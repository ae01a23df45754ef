"""Tasks of one's own data: what they ask of a network is found out by one pass over the files, and noted."""

from pathlib import Path
from typing import Any

from cluster.errors import choices_hint
from tasks.base import METRICS, Loss, Options, Place, Room, TaskDefinition, TaskSpec, loaded_by
from tasks.errors import TaskError
from tasks.options import Option

_ALL, _NONE = "numbers", "none"
"""Values of the options `inputs` and `time` of a table where no column is named."""
_USUAL = "usual"
"""Value of the option `metric` that stands for the first metric of the loss."""


class Arrays(TaskDefinition):
    """Labels or values for sequences that lie in arrays."""

    options = (
        Option(
            name="data",
            default="",
            required=True,
            help="an .npz file, a folder of .npy files or an HDF5 file with x_train, y_train, x_valid, y_valid, x_test "
            "and y_test; weight_train, length_train and so on where there are such",
        ),
        Option(name="loss", default="cross_entropy", choices=("cross_entropy", "mse", "bce"), help="training loss"),
        Option(
            name="loss_on", default="last_step", choices=("last_step", "every_step"), help="steps that have a target"
        ),
        Option(
            name="x",
            default="auto",
            choices=("auto", "ids", "spikes", "values"),
            help="what x holds; auto: values where it holds fractions, else ids in two axes and spikes in three",
        ),
        Option(
            name="classes",
            default=0,
            minimum=0,
            maximum=1_000_000,
            help="classes of a cross entropy; 0: one more than the largest label of y_train",
        ),
        Option(
            name="metric",
            default=_USUAL,
            choices=(_USUAL, "accuracy", "loss", "mse", "mae", "r2"),
            help="the task's metric; usual: accuracy, or mse where the loss is mse",
        ),
    )

    def spec(self, options: Options, place: Place) -> TaskSpec:
        """See `TaskDefinition`."""
        from tasks.own.array_files import noted_facts

        loss: Loss = options["loss"]  # type: ignore[assignment]  # one of the choices
        metric = _metric(loss, str(options["metric"]), place)
        facts = noted_facts(options, place)
        return TaskSpec(
            name="arrays",
            data_name=facts["data_name"],
            n_in=facts["n_in"],
            n_out=facts["n_out"],
            length=facts["length"],
            loss=loss,
            loss_on="last_step" if options["loss_on"] == "last_step" else "every_step",
            metric=metric,
            direction=METRICS[loss][metric],
            chance=facts["chance"][metric],
            baseline=facts["baseline"][metric],
            input_kind=facts["input_kind"],
            carry_state=False,
        )

    def load(self, spec: TaskSpec, options: Options, place: Place) -> Any:
        """See `TaskDefinition`."""
        return loaded_by("tasks.own.arrays:load_arrays", spec, options, place)

    def packages(self, options: Options, place: Place) -> tuple[str, ...]:
        """Return h5py for HDF5 files."""
        return ("h5py",) if str(options["data"]).endswith((".h5", ".hdf5")) else ()

    def reads_files(self, options: Options) -> bool:
        """Return that it does."""
        return True

    def data_sha256(self, options: Options, place: Place) -> str | None:
        """Return that of the file, or of all files of the folder."""
        from tasks.data.cache import data_directory
        from tasks.own.array_files import quick_sha256_of_arrays

        return quick_sha256_of_arrays(str(options["data"]), data_directory(place.cache_dir), place.where)


def _metric(loss: Loss, asked: str, place: Place) -> str:
    valid = [metric for metric in METRICS[loss] if metric != "bpc"]  # that is of text, whose bytes are counted
    if asked == _USUAL:
        return valid[0]
    if asked not in valid:
        raise TaskError(f"{place.where}.metric: {asked!r} does not go with loss: {loss}{choices_hint(asked, valid)}")
    return asked


class Table(TaskDefinition):
    """Forecast columns of a table of time series."""

    options = (
        Option(
            name="data", default="", required=True, help="a .csv or .parquet file, one row a time step, oldest first"
        ),
        Option(name="target", default="", required=True, many=True, help="columns that are forecast"),
        Option(
            name="inputs",
            default=_ALL,
            many=True,
            help="columns that are read; numbers: all columns of numbers, the targets among them, without `time`",
        ),
        Option(
            name="time", default=_NONE, help="column of times, which must rise from row to row; none: not looked at"
        ),
        Option(name="window", default=32, minimum=1, maximum=100_000, help="rows that are read for a forecast"),
        Option(
            name="horizon", default=1, minimum=1, maximum=100_000, help="rows between the last one read and the target"
        ),
        Option(name="valid_share", default=0.15, minimum=0.001, maximum=0.9, help="share of the rows that validate"),
        Option(
            name="test_share", default=0.15, minimum=0.001, maximum=0.9, help="share of the rows, the last, that test"
        ),
        Option(name="metric", default="mse", choices=tuple(METRICS["mse"]), help="the task's metric"),
    )

    def spec(self, options: Options, place: Place) -> TaskSpec:
        """See `TaskDefinition`."""
        from tasks.own.table_files import noted_facts

        metric = str(options["metric"])
        facts = noted_facts(options, place)
        better = min if METRICS["mse"][metric] == "min" else max
        baselines = {name: measured[metric] for name, measured in facts["baselines"].items()}
        return TaskSpec(
            name="table",
            data_name=facts["data_name"],
            n_in=facts["n_in"],
            n_out=facts["n_out"],
            length=int(options["window"]),
            loss="mse",
            loss_on="last_step",
            metric=metric,
            direction=METRICS["mse"][metric],
            chance=0.0 if metric == "r2" else None,
            baseline=better(baselines.values()),
            baselines=baselines,
            input_kind="real",
            carry_state=False,
        )

    def load(self, spec: TaskSpec, options: Options, place: Place) -> Any:
        """See `TaskDefinition`."""
        return loaded_by("tasks.own.table:load_table", spec, options, place)

    def reads_files(self, options: Options) -> bool:
        """Return that it does."""
        return True

    def data_sha256(self, options: Options, place: Place) -> str | None:
        """Return that of the file."""
        from tasks.data.cache import data_directory, quick_sha256

        return quick_sha256(Path(str(options["data"])), data_directory(place.cache_dir))


ROOM = Room(tasks={"arrays": Arrays(), "table": Table()}, data_sets=())
