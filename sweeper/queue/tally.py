"""What has become of a launch's trials so far: counts for the progress line, the pace and the best trial."""

from collections import Counter
from collections.abc import Iterable

from sweeper.queue.messages import Assignment, Report
from sweeper.store.schema import FINISHED


class Tally:
    """Counts trials that ended; of each only its id is kept, and whether it finished.

    Args:
        assignments: all trials of the launch.
        direction: `min` or `max`: which way the metric improves.
    """

    def __init__(self, assignments: Iterable[Assignment], direction: str) -> None:
        works = [a.work for a in assignments]
        self.total, self.work_total = len(works), sum(works)
        self.work_done = self.busy_s = 0.0
        self.best: tuple[str, float] | None = None
        self.statuses: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self._direction = direction
        # Ids alone, because the assignments of trials that have ended are let go: the broker may take 2 KB per trial.
        self._ended: dict[str, bool] = {}

    def has_ended(self, trial_id: str) -> bool:
        """Whether a trial has ended or was given up."""
        return trial_id in self._ended

    def has_finished(self, trial_id: str) -> bool:
        """Whether a trial has ended well."""
        return self._ended.get(trial_id, False)

    @property
    def all_ended(self) -> bool:
        """Whether every trial has ended or was given up."""
        return len(self._ended) == self.total

    @property
    def mean_s(self) -> float | None:
        """Lane-seconds per trial that ended; None before the first."""
        return self.busy_s / len(self._ended) if self._ended else None

    def attempt(self, status: str, reason: str | None) -> None:
        """Count an attempt that gives a reason why it did not finish."""
        if reason:
            self.reasons[f"{status}: {reason}"] += 1

    def take(self, report: Report) -> None:
        """Count what a lane says of an attempt."""
        self.busy_s += report.wall_s
        self.attempt(report.status, report.reason)
        # A finished trial can have no metric, such as the area under a curve over data without events.
        if report.status == FINISHED and report.metric is not None and self._is_best(report.metric):
            self.best = (report.trial_id, report.metric)

    def end(self, assignment: Assignment, status: str) -> None:
        """Count a trial that will not be tried again."""
        self._ended[assignment.trial_id] = status == FINISHED
        self.statuses[status] += 1
        # Work of a trial that was given up counts as done too: it is not left to do.
        self.work_done += assignment.work

    def _is_best(self, metric: float) -> bool:
        if self.best is None:
            return True
        return metric < self.best[1] if self._direction == "min" else metric > self.best[1]
