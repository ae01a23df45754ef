"""The test predictions of a trial, one row per sequence, where its grid asked for them."""

import math

import pyarrow as pa
from torch import Tensor

from sweeper.store.schema import PREDICTIONS
from tasks.base import TaskSpec
from tasks.loaders import Batch
from tasks.losses import sequence_results


class Predictions:
    """Collects what a network makes of the sequences of a split, in the order in which it is evaluated."""

    def __init__(self, spec: TaskSpec, trial_id: str) -> None:
        self._spec, self._trial_id = spec, trial_id
        self._lots: list[pa.Table] = []
        self._first = self._size = self._segment = 0

    def add(self, logits: Tensor, batch: Batch) -> None:
        """Add a batch; `logits` are [B, T, n_out]."""
        if self._spec.carry_state and not batch.starts_fresh:
            self._segment += 1  # the same streams go on
        else:
            self._first, self._segment = self._first + self._size, 0
        self._size = len(batch.x)
        results = sequence_results(self._spec, logits, batch)
        loss = results.loss_B.numpy()
        columns = {
            "trial_id": [self._trial_id] * self._size,
            "sequence": range(self._first, self._first + self._size),
            "segment": [self._segment] * self._size,
            "targets": results.targets_B.numpy(),
            "loss": loss,
            "bpc": loss / math.log(2) if self._spec.metric == "bpc" else None,
            "correct": None if results.correct_B is None else results.correct_B.numpy(),
            "target": None if results.target_B is None else results.target_B.numpy(),
            "predicted": None if results.predicted_B is None else results.predicted_B.numpy(),
            # the loss of a single class is the logarithm of its probability, with the other sign
            "log_probability": None if results.target_B is None else -loss,
        }
        nothing = [None] * self._size
        filled = {name: nothing if values is None else values for name, values in columns.items()}
        rows = pa.Table.from_pydict(filled, schema=PREDICTIONS)
        # sequences that do not count fill the last batch up
        self._lots.append(rows.filter(pa.array(results.targets_B.numpy() > 0)))

    def table(self) -> pa.Table:
        """All rows, as `sweeper.store.schema.PREDICTIONS` has them."""
        return pa.concat_tables([PREDICTIONS.empty_table(), *self._lots])
