"""What a launch leaves behind."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sweeper.plan.cost import Forecast
from sweeper.plan.expand import Plan
from sweeper.status import SweepStatus


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
