"""Specification of the simulated cortical neuron, known without loading its files."""

from pathlib import Path
from typing import Any

from tasks.base import Options, Place, Room, TaskDefinition, TaskSpec, loaded_by
from tasks.neuron.data_sets import NEURONIO, NEURONIO_MINI
from tasks.options import Option

_NEURONIO_OPTIONS = (
    Option(
        name="data",
        default="embedded",
        names=("embedded", "real"),
        help="'embedded' (neuronio-mini) or a folder made from the downloads by "
        "'python -m tasks.neuron.neuronio_files'",
    ),
    Option(
        name="burn_in",
        default=150,
        minimum=0,
        maximum=500,
        help="ms at the start of a window without loss, as published",
    ),
)


class Neuronio(TaskDefinition):
    """Predict the output of a simulated cortical neuron."""

    options = _NEURONIO_OPTIONS

    def spec(self, options: Options, place: Place) -> TaskSpec:
        """See `TaskDefinition`."""
        data = str(options["data"])
        return TaskSpec(
            name="neuronio",
            data_name="neuronio-mini" if data == "embedded" else Path(data).name,
            # Twice the 639 segments of the neuron: an excitatory and an inhibitory synapse on each.
            n_in=1278,
            n_out=2,
            # As published: half a second, of which the first 150 ms are burn-in.
            length=500,
            loss="spikes_and_voltage",
            loss_on="every_step",
            metric="auc",
            direction="max",
            # The area under the curve of a guess.
            chance=0.5,
            baseline=0.5,  # whatever does not depend on the input
            input_kind="real",
            carry_state=False,
        )

    def load(self, spec: TaskSpec, options: Options, place: Place) -> Any:
        """See `TaskDefinition`."""
        return loaded_by("tasks.neuron.neuronio:NeuronioTask", spec, options, place)

    def data_sha256(self, options: Options, place: Place) -> str | None:
        """Return that of a converted folder, which was noted when it was converted."""
        if options["data"] in ("embedded", "real"):
            return None
        from tasks.neuron.manifest import read_manifest

        return read_manifest(Path(str(options["data"])), place.where).sha256

    def packages(self, options: Options, place: Place) -> tuple[str, ...]:
        """Return scikit-learn, which counts the area under the curve."""
        return ("sklearn",)


ROOM = Room(tasks={"neuronio": Neuronio()}, data_sets=(NEURONIO_MINI, NEURONIO))
