"""What `sweeper doctor` says: a check, what it showed, and what to do about it."""

from collections.abc import Iterable
from dataclasses import dataclass

OK, WARNING, ERROR = "ok", "warning", "error"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One check of one place."""

    level: str
    """`ok`, `warning` or `error`."""
    check: str
    """What was looked at, in a word or two."""
    observation: str
    """What it showed, on one line."""
    remedy: str = ""
    """What to do; empty where all is well."""

    @property
    def json(self) -> dict[str, str]:
        """The finding for machines, under the keys that scripts read."""
        return {"level": self.level, "check": self.check, "found": self.observation, "remedy": self.remedy}


def ok(check: str, observation: str) -> Finding:
    """All is well."""
    return Finding(level=OK, check=check, observation=observation)


def warning(check: str, observation: str, remedy: str) -> Finding:
    """It works, but not well."""
    return Finding(level=WARNING, check=check, observation=observation, remedy=remedy)


def error(check: str, observation: str, remedy: str) -> Finding:
    """A sweep would fail."""
    return Finding(level=ERROR, check=check, observation=observation, remedy=remedy)


def as_text(findings: Iterable[Finding]) -> str:
    """One line per finding, with its remedy below."""
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:<8} {finding.check:<14} {finding.observation}")
        if finding.remedy:
            lines.append(f"{'':<8} {'':<14} -> {finding.remedy}")
    return "\n".join(lines)


def disk(place: str, free_bytes: int) -> Finding:
    """Judge free disk space; a sweep writes kilobytes per trial, Ray spills and logs gigabytes when disks are slow."""
    gigabytes = free_bytes / 1e9
    observation = f"{gigabytes:.0f} GB free at {place}"
    # 1 and 5 GB are assumptions.
    if gigabytes < 1:
        return error("disk", observation, "free some space; Ray stops working below 5% and rows cannot be written")
    return (
        warning("disk", observation, "free some space before a long sweep")
        if gigabytes < 5
        else ok("disk", observation)
    )


def clock(host: str, skew_s: float, uncertainty_s: float) -> Finding:
    """Judge how far a node's clock is from this one's."""
    observation = f"{host} is {abs(skew_s):.1f} s {'ahead' if skew_s > 0 else 'behind'} (+- {uncertainty_s:.1f} s)"
    # 5 s is an assumption
    # Beyond what the question itself may have added: a slow answer must not look like a wrong clock.
    if abs(skew_s) > 5 + uncertainty_s:
        return warning(
            "clock", observation, "start an NTP client there; times in the results of its trials will be off"
        )
    return ok("clock", observation)
