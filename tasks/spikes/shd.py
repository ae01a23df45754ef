"""The tasks `shd` (which of 20 spoken digits) and `shd_adding` (the sum of two of them) on spikes of 700 channels."""

import functools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tasks.base import TaskSpec
from tasks.batch import SPLITS, Split
from tasks.options import OptionValue
from tasks.sequences.sequences import Numbers, SequenceTask, SplitData, with_replacement
from tasks.spikes.events import CHANNELS
from tasks.spikes.generated import GENERATED_SHA256, GeneratedDigits, check_generated
from tasks.spikes.recordings import Prepared, prepare
from tasks.spikes.spec import GENERATED_TEST, GENERATED_VALID, bins_of_recording

_GENERATED_TRAIN = 1 << 40
"""Training examples of generated digits: of a million steps of 32 about 500 examples would be repeats."""
# The evaluation sets of shd_adding are drawn once, the same for every trial.
_EVALUATION_SEEDS: dict[Split, int] = {"train": 0, "valid": 1, "test": 2}


class Digits:
    """Single recordings, numbered as in the source."""

    def __init__(self, recordings: Prepared, bins: int) -> None:
        self._recordings, self._bins = recordings, bins

    def inputs(self, numbers: Numbers) -> Tensor:
        """Return spike counts, uint8 [B, T, CHANNELS]."""
        return spike_counts(self._recordings, numbers[:, None], self._bins)

    def targets(self, numbers: Numbers) -> Numbers:
        """Return the classes 0..19, [B]."""
        classes: Numbers = self._recordings.label[numbers]
        return classes


class DigitPairs:
    """Ordered pairs of recordings: pair i * n + j is recording `members[i]`, then `members[j]`."""

    def __init__(self, recordings: Prepared, members: Numbers, bins: int) -> None:
        self._recordings, self._members, self._bins = recordings, members, bins

    def _pairs(self, numbers: Numbers) -> Numbers:
        pairs: Numbers = self._members[np.stack(np.divmod(numbers, len(self._members)), axis=1)]
        return pairs

    def inputs(self, numbers: Numbers) -> Tensor:
        """Return spike counts, uint8 [B, 2 T, CHANNELS]."""
        return spike_counts(self._recordings, self._pairs(numbers), self._bins)

    def targets(self, numbers: Numbers) -> Numbers:
        """Return the sums 0..18 of the digits, whatever their language, [B]."""
        # Digits of both languages count alike: class i is the digit i modulo 10.
        sums: Numbers = (self._recordings.label[self._pairs(numbers)] % 10).sum(axis=1)
        return sums


def spike_counts(recordings: Prepared, numbers: Numbers, bins: int) -> Tensor:
    """Scatter the spikes of recordings into a dense batch.

    Args:
        recordings: binned spikes.
        numbers: recording numbers, [B, K]; the K recordings of a row follow each other in time.
        bins: time bins of one recording.

    Returns:
        Counts, uint8 [B, K * bins, CHANNELS].
    """
    flat = numbers.ravel()
    # Events become a dense tensor only here, for one batch: that of all recordings would be gigabytes of zeros.
    parts = [recordings.cells[recordings.offsets[n] : recordings.offsets[n + 1]] for n in flat]
    starts = np.arange(len(flat), dtype=np.int64) * (bins * CHANNELS)
    positions = np.concatenate(parts) + np.repeat(starts, [len(part) for part in parts])
    counts = np.zeros(len(flat) * bins * CHANNELS, dtype=np.uint8)
    # add.at, because a channel may spike more than once in a bin
    np.add.at(counts, positions, np.uint8(1))
    return torch.from_numpy(counts).view(len(numbers), numbers.shape[1] * bins, CHANNELS)


def load_shd(
    spec: TaskSpec, options: Mapping[str, OptionValue], *, cache_dir: str | Path | None, where: str
) -> SequenceTask:
    """Load the task `shd`."""
    if options["data"] == "generated":
        # The same number of training recordings as of validation ones, where a train split is evaluated.
        single: dict[Split, int] = {"train": GENERATED_VALID, "valid": GENERATED_VALID, "test": GENERATED_TEST}
        return _load_generated(spec, options, words=1, sizes=single, where=where)
    recordings = _prepared(options, cache_dir, where)
    digits = Digits(recordings, bins_of_recording(int(options["bin_ms"])))
    splits = {split: SplitData(digits, members) for split, members in recordings.members.items()}
    return SequenceTask(spec, recordings.sha256, splits, where=where)


def load_shd_adding(
    spec: TaskSpec, options: Mapping[str, OptionValue], *, cache_dir: str | Path | None, where: str
) -> SequenceTask:
    """Load the task `shd_adding`: pairs are drawn with replacement; evaluation sets are fixed."""
    sizes: dict[Split, int] = {"valid": int(options["valid_pairs"]), "test": int(options["test_pairs"])}
    # Training pairs are drawn without end; evaluating the training split reads as many as validation does.
    sizes["train"] = sizes["valid"]
    if options["data"] == "generated":
        return _load_generated(spec, options, words=2, sizes=sizes, where=where)
    recordings = _prepared(options, cache_dir, where)
    splits: dict[Split, SplitData] = {}
    for split, members in recordings.members.items():
        pairs = DigitPairs(recordings, members, bins_of_recording(int(options["bin_ms"])))
        # n^2 pairs are too many to evaluate, so each split has a fixed sample of them; an empty split, which integers
        # could not draw from, keeps no pairs and is refused by `SequenceTask`
        order = np.random.default_rng(_EVALUATION_SEEDS[split]).integers(max(len(members), 1) ** 2, size=sizes[split])
        splits[split] = SplitData(pairs, order if len(members) else members)
    # Pairs by number, so that n^2 of them need not be listed.
    sampler = functools.partial(with_replacement, len(recordings.members["train"]) ** 2)
    return SequenceTask(spec, recordings.sha256, splits, where=where, sampler=sampler)


def _load_generated(
    spec: TaskSpec, options: Mapping[str, OptionValue], *, words: int, sizes: Mapping[Split, int], where: str
) -> SequenceTask:
    check_generated()
    splits = {
        split: SplitData(GeneratedDigits(split, int(options["bin_ms"]), words), np.arange(sizes[split]))
        for split in SPLITS
    }
    sampler = functools.partial(with_replacement, _GENERATED_TRAIN)
    return SequenceTask(spec, GENERATED_SHA256, splits, where=where, sampler=sampler)


def _prepared(options: Mapping[str, OptionValue], cache_dir: str | Path | None, where: str) -> Prepared:
    return prepare(
        str(options["data"]),
        bin_ms=int(options["bin_ms"]),
        validation=str(options["validation"]),
        cache_dir=cache_dir,
        where=where,
    )
