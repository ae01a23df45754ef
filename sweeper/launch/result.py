"""What a launch leaves behind."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sweeper.errors import INTERRUPTED, OUTAGE, STOPPED, TRIALS_FAILED, TRY_AGAIN
from sweeper.plan.cost import Forecast
from sweeper.plan.expand import Plan
from sweeper.status import SweepStatus
from sweeper.store.schema import FAILED, FINISHED, OUT_OF_MEMORY, QUARANTINED, TIMED_OUT


@dataclass(frozen=True, kw_only=True)
class LaunchResult:
    """What a launch leaves behind."""

    plan: Plan
    """The grid's plan."""
    status: SweepStatus
    """The plan against the store, afterwards."""
    ran: int
    """Trials that got a final row in this launch."""
    interrupted: bool
    """Whether the user, or the time given, stopped it."""
    stopped_because: str | None
    """Why the launch stopped by itself before its end."""
    forecast: Forecast
    """Lane-seconds expected before it started."""
    busy_s: float
    """Lane-seconds spent on trials that ended."""
    ended_because: str | None = None
    """What ended a search."""
    out_of_time: bool = False
    """Whether it was the time given."""
    saved: int = 0
    """Missing trials that have a checkpoint to go on from."""
    preempted: bool = False
    """Whether it was a signal that a machine sends, not a person's Ctrl-C."""

    @property
    def exit_code(self) -> int:
        """What a script learns of it. A trial that diverged or was pruned has not failed, unless none has finished."""
        counts = self.status.counts
        # Before `interrupted`, which is true as well when time has run out.
        if OUTAGE in (self.stopped_because or ""):
            return TRY_AGAIN
        if self.stopped_because or self.out_of_time:
            return STOPPED
        if self.interrupted:
            return INTERRUPTED
        failed = any(counts.get(status) for status in (FAILED, OUT_OF_MEMORY, TIMED_OUT, QUARANTINED))
        return TRIALS_FAILED if failed or (counts and FINISHED not in counts) else 0

    @property
    def job_exit_code(self) -> int:
        """What a scheduler learns of it that starts a failed job anew: 0 where that would not mend anything."""
        if self.exit_code == TRY_AGAIN:
            return TRY_AGAIN
        return 0 if self.exit_code in (TRIALS_FAILED, STOPPED) or not self.preempted else self.exit_code


def joined(results: Sequence[LaunchResult]) -> LaunchResult:
    """Several runs one after the other as one launch, which ended as the last of them did."""
    last, forecasts = results[-1], [result.forecast for result in results]
    forecast = replace(
        last.forecast,
        seconds=sum(one.seconds for one in forecasts),
        low=sum(one.low for one in forecasts),
        high=sum(one.high for one in forecasts),
        longest=max(one.longest for one in forecasts),
    )
    ran, busy_s = sum(result.ran for result in results), sum(result.busy_s for result in results)
    return replace(last, forecast=forecast, ran=ran, busy_s=busy_s)
