"""Checkpoints of long trials: one file per trial, the last one kept, atomic, loaded without running code."""

import io
import logging
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa
import torch

from sweeper.errors import DamageError
from sweeper.store.store import ResultsStore
from sweeper.training.progress import Evaluation, TrialProgress

_LOG = logging.getLogger(__name__)
FORMAT = 2
"""Raised whenever the content of a checkpoint changes; another format is not resumed from."""


class Checkpoints:
    """Saves the state of one trial at most every `every_s` seconds, and when it is stopped.

    Args:
        store: where the files go, below `checkpoints/`.
        trial_id: the trial.
        every_s: seconds between two checkpoints; the first is due after that long.
    """

    def __init__(self, store: ResultsStore, trial_id: str, every_s: float) -> None:
        self._store, self._trial_id, self._every_s = store, trial_id, every_s
        self._saved = time.monotonic()  # not the clock, which may be set back

    def is_due(self) -> bool:
        """Whether the last checkpoint is old enough."""
        return time.monotonic() - self._saved >= self._every_s

    def save(self, state: dict[str, Any]) -> None:
        """Replace the trial's checkpoint by `state`: tensors, numbers, text and containers of them."""
        # In memory first: the store needs all bytes for their hash.
        buffer = io.BytesIO()
        torch.save({"format": FORMAT, "trial_id": self._trial_id, **_owned(state)}, buffer)
        self._store.write_weights("checkpoints", self._trial_id, buffer.getvalue())
        self._saved = time.monotonic()

    def keep_network(self, spec: str, weights: Mapping[str, torch.Tensor]) -> None:
        """Keep a network beside the rows: its trial's canonical spec, and its weights after the last step."""
        buffer = io.BytesIO()
        torch.save({"spec": spec, "weights": _owned(dict(weights))}, buffer)
        self._store.write_weights("networks", self._trial_id, buffer.getvalue())

    def keep_predictions(self, rows: pa.Table) -> None:
        """Keep a trial's predictions beside the rows."""
        self._store.write_predictions(self._trial_id, rows)

    def load(self) -> dict[str, Any] | None:
        """The trial's last state, or None where there is none of this format.

        A damaged file counts as none, with a warning: the trial begins anew, which costs time and no try.
        """
        try:
            payload = self._store.read_weights("checkpoints", self._trial_id)
        except DamageError as error:
            _LOG.warning("%s: damaged checkpoint, so trial %s begins anew", error.path, self._trial_id)
            return None
        if payload is None:
            return None
        # weights_only, because a pickle could run code and the results directory may be shared; to main memory, because
        # the trial may have been saved on a GPU that this machine lacks.
        state: dict[str, Any] = torch.load(io.BytesIO(payload), weights_only=True, map_location="cpu")
        # The id too: a file that was renamed or copied would go on with another trial's weights unnoticed.
        return state if state["format"] == FORMAT and state["trial_id"] == self._trial_id else None


def _owned(value: Any) -> Any:
    """Copy tensors that are views: torch saves the whole of what they are a part of."""
    if isinstance(value, dict):
        return {key: _owned(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_owned(part) for part in value]
    if isinstance(value, torch.Tensor) and value.untyped_storage().nbytes() > value.nbytes:
        return value.clone()
    return value


def progress_state(progress: TrialProgress) -> dict[str, Any]:
    """A trial's progress as plain containers."""
    return asdict(progress)


def restore_progress(progress: TrialProgress, state: dict[str, Any]) -> None:
    """Fill `progress` with what `progress_state` returned."""
    # Without `final`, which is made after the last step, when nothing is saved any more.
    progress.evaluations = [Evaluation(**e) for e in state["evaluations"]]
    progress.best = {split: Evaluation(**e) for split, e in state["best"].items()}
    progress.steps_done, progress.train_s = state["steps_done"], state["train_s"]
