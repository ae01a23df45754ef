"""`python -m benchmarks.tasks`: batches per second of every task, beside the reference way of binning spikes."""

import time
from collections.abc import Callable

import click
import numpy as np
import numpy.typing as npt
import torch

from cluster.yaml_reader import read_yaml
from tasks.loaders import load_task
from tasks.spec import tasks_with_data
from tasks.spikes.events import CHANNELS

# As many spikes per recording as shd-mini has on average.
_REFERENCE_SPIKES = 7_700


def reference_binning(times: npt.NDArray[np.float16], units: npt.NDArray[np.uint16]) -> torch.Tensor:
    """Bin a batch of shd_adding as the published preprocessing does: lists, digitize, sparse to dense, concatenate.

    Args:
        times: seconds, [2 B, spikes].
        units: channels, [2 B, spikes].

    Returns:
        Counts, float32 [B, 1000, CHANNELS].
    """
    # The published bin of 2 ms over recordings of one second.
    edges = np.arange(0, 1.002, 0.002)
    batches: list[int] = []
    bins: list[int] = []
    channels: list[int] = []
    for row in range(len(times)):
        # Python lists, as in the published code: this function is what our own is compared with.
        batches.extend([row] * len(times[row]))
        bins.extend(np.digitize(times[row], edges) - 1)
        channels.extend(units[row])
    size = (len(times), len(edges), CHANNELS)
    places = torch.LongTensor([batches, bins, channels])
    dense = torch.sparse_coo_tensor(places, torch.ones(len(batches)), size, check_invariants=False).to_dense()[:, :-1]
    return torch.cat(dense.chunk(2), dim=1)


def cpu_seconds(make: Callable[[int], object], seconds: float) -> float:
    """Return the median CPU time of one call, over at least three calls and about `seconds`."""
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        # Processor time, because loaders of several lanes share the machine.
        start = time.process_time()
        make(len(times))
        times.append(time.process_time() - start)
    return float(np.median(times))


@click.command()
@click.argument("names", nargs=-1)
@click.option("--batch-size", default=8, show_default=True)
@click.option("--seconds", default=1.0, show_default=True, help="CPU seconds per task.")
@click.option(
    "--options", default="{}", help='Options of the one task that is named, such as "{side: 128, dashes: 14}".'
)
def main(names: tuple[str, ...], batch_size: int, seconds: float, options: str) -> None:
    """Print the CPU time of one training batch of every task (or of NAMES) on its embedded data."""
    given = read_yaml(options)
    if not isinstance(given, dict) or (given and len(names) != 1):
        raise click.UsageError("--options: give a mapping, and name the one task that it is for")
    # One thread, as a loader in a lane has.
    torch.set_num_threads(1)
    click.echo(f"{'task':<12} {'data':<16} {'batch':<18} {'ms/batch':>9} {'batches/s':>10}")
    for name in names or tasks_with_data():
        # Without options these are the embedded data.
        task = load_task(name, given)
        length = task.spec.length
        batch = task.train_batch(0, seed=0, batch_size=batch_size, length=length)

        def make(step: int) -> object:
            return task.train_batch(step, seed=0, batch_size=batch_size, length=length)  # noqa: B023

        _print(name, task.data_name, list(batch.x.shape), cpu_seconds(make, seconds))
    if not names or "shd_adding" in names:
        random = np.random.default_rng(0)
        times = random.uniform(0, 1, (2 * batch_size, _REFERENCE_SPIKES)).astype(np.float16)
        units = random.integers(CHANNELS, size=times.shape).astype(np.uint16)
        shape = list(reference_binning(times, units).shape)
        _print("shd_adding", "reference way", shape, cpu_seconds(lambda step: reference_binning(times, units), seconds))


def _print(name: str, data: str, shape: list[int], seconds: float) -> None:
    size = " x ".join(map(str, shape))
    click.echo(f"{name:<12} {data:<16} {size:<18} {seconds * 1000:>9.2f} {1 / seconds:>10.0f}")


if __name__ == "__main__":
    main()
