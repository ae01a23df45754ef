"""Writes a lane's rows from a thread of its own, so that the next trial starts at once; very short trials share files.

Rows are written before a trial is reported to the broker, so what the broker counts as done is on disk.
"""

import threading
import time
from collections.abc import Iterable

from sweeper.lane.attempt import TrialRows
from sweeper.queue.messages import Report
from sweeper.store.schema import FINISHED, TrialRecord
from sweeper.store.store import ResultsStore

FLUSH_S = 0.5
"""Pause between two writes, so that very short trials share files."""


class RowWriter:
    """Takes the rows of trials that ended and hands out reports of those that are on disk.

    Args:
        store: where rows go.
        lane: name of the writer.
    """

    def __init__(self, store: ResultsStore, lane: str) -> None:
        self._store, self._lane = store, lane
        self._waiting: list[TrialRows] = []
        self._reports: list[Report] = []
        # Two locks: this one guards the two lists and is held for an instant, so that training never waits for a disk.
        # The other is held while files are written, so that `flush` also waits for a batch that the thread has taken
        # out of the list and not yet written.
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._wake, self._ended = threading.Event(), False
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def __enter__(self) -> "RowWriter":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        # Nothing is written here. Every way in which a lane ends in order has flushed before, and when the storage has
        # failed another try would only hide the first error.
        self._ended = True
        self._wake.set()
        self._thread.join()

    def add(self, rows: TrialRows) -> None:
        """Take the rows of a trial that ended; what went wrong with earlier ones is raised here."""
        with self._lock:
            self._waiting.append(rows)
        self._wake.set()
        if rows.trial.status != FINISHED:  # the broker should know at once, before more of the same are handed out
            self._write()
        self._raise_error()

    @property
    def has_failed(self) -> bool:
        """Whether the next call of `add` or `flush` raises what the thread died of."""
        return self._error is not None

    def report(self, reports: Iterable[Report]) -> None:
        """Take reports of trials that have no rows."""
        with self._lock:
            self._reports += reports

    def flush(self) -> None:
        """Return when everything taken so far is written."""
        self._write()
        self._raise_error()

    def take_reports(self) -> list[Report]:
        """Reports of the trials whose rows are written."""
        with self._lock:
            reports, self._reports = self._reports, []
        return reports

    def _run(self) -> None:
        while not self._ended:
            self._wake.wait()
            self._wake.clear()
            try:
                self._write()
            except Exception as error:  # the border of the thread: raised in the lane's own, which cannot see it here
                self._error = error
                return
            # After writing and not before, so that the first trial of a pause is on disk at once.
            time.sleep(0 if self._ended else FLUSH_S)

    def _write(self) -> None:
        """Write what waits; final rows last, since they are what marks a trial as done."""
        with self._writing:
            with self._lock:
                # Should writing fail, the batch is reported to nobody: the sweep stops, and its trials have no row and
                # are run anew.
                batch, self._waiting = self._waiting, []
            if not batch:
                return
            self._store.write("curves", [curve for rows in batch for curve in rows.curves], writer=self._lane)
            self._store.write("attempts", [rows.attempt for rows in batch], writer=self._lane)
            self._store.write("trials", [rows.trial for rows in batch], writer=self._lane)
            for rows in batch:
                # After the final row: until that is on disk, a trial that is run again goes on from its checkpoint.
                self._store.delete_checkpoint(rows.trial.trial_id)
            with self._lock:
                # Last of all, so that the broker never counts what a crash could still take back.
                self._reports += [_report(rows.trial) for rows in batch]

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error


def _report(trial: TrialRecord) -> Report:
    return Report(
        trial_id=trial.trial_id,
        status=trial.status,
        reason=trial.reason,
        metric=trial.final_valid_metric,
        wall_s=trial.wall_s,
    )
