"""What `sweeper plan --simulate nodes=64,gpus=8,preempt=0.02/h` asks for, read and checked."""

import re
from collections.abc import Callable
from dataclasses import dataclass, fields

from cluster.errors import ScenarioError, unknown_name
from cluster.limits import check_limit
from cluster.values import raised_as

_LIMITS = {
    "nodes": "nodes",
    "gpus": "per_node",
    "cpus": "per_node",
    "pack": "packed",
    "lanes": "lanes",
    "preempt": "preemptions",
    "recover": "seconds",
    "start": "seconds",
    "lane_start": "seconds",
    "overhead": "seconds",
    "requeue": "seconds",
    "price": "number",
    "error": "spread",
    "bias": "spread",
}
"""Limit of each number, by its key in `cluster.limits.LIMITS`."""
_SPANS = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A cluster, and what running on it costs in time and money."""

    nodes: int = 1
    """Nodes."""
    gpus: int = 0
    """GPUs of each node; 0 means lanes on CPUs."""
    cpus: int = 1
    """CPUs of each node; lanes are counted by them where there are no GPUs."""
    pack: int = 1
    """Lanes that share one GPU (or CPU)."""
    preempt: float = 0.0
    """Preemptions or failures per node and hour; the time between them is exponential."""
    recover: float = 300.0
    """Seconds until a lost node is replaced."""
    start: float = 60.0
    """Seconds until the first node is there: the cluster's own start-up, queueing not included."""
    lane_start: float = 6.0
    """Seconds that a lane takes to start, the import of torch included; measured with Ray on 2 cores."""
    overhead: float = 0.005
    """Seconds per trial beside the trial itself; the target of the orchestration, measured 5 to 9 ms."""
    checkpoint: float = 300.0
    """Seconds between two checkpoints of a trial; what is lost with a node is what came after the last."""
    limit: float = float("inf")
    """Seconds until the job's time limit ends all lanes at once."""
    requeue: float = 600.0
    """Seconds until a job that met its time limit runs again (assumption; queues differ)."""
    price: float = 0.0
    """Price of one node for one hour."""
    error: float = 0.0
    """Standard deviation of the logarithm of a trial's duration around what is expected of it."""
    bias: float = 0.0
    """Standard deviation of the logarithm of one factor common to all durations: how wrong the cost model may be."""
    scale_down: bool = False
    """Whether nodes without work are given back at the end, instead of staying until the last trial."""

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("nodes", "cpus", "pack"):
            if getattr(self, name) < 1:
                raise ScenarioError(f"simulate: {name}: expected at least 1, got {getattr(self, name)}")
        at_least_zero = "gpus preempt recover start lane_start overhead requeue price error bias"
        for name in at_least_zero.split():
            # Written so that NaN, with which every comparison is false, is refused as well.
            if not 0 <= getattr(self, name) < float("inf"):
                raise ScenarioError(f"simulate: {name}: expected zero or more, got {getattr(self, name)}")
        for name in ("checkpoint", "limit"):
            if not getattr(self, name) > 0:
                raise ScenarioError(f"simulate: {name}: expected more than zero, got {getattr(self, name)}")
        with raised_as(ScenarioError):
            for name, limit in _LIMITS.items():
                check_limit(limit, getattr(self, name), f"simulate: {name}")
        # Every start would end before it did anything, so the simulation would never end.
        if self.limit <= self.start + self.lane_start:
            raise ScenarioError(f"simulate: limit: {self.limit} s end before the first lane has started")

    @property
    def lanes_per_node(self) -> int:
        """Trials at a time on one node."""
        return (self.gpus or self.cpus) * self.pack

    @property
    def lanes(self) -> int:
        """Trials at a time."""
        return self.nodes * self.lanes_per_node


def parse_scenario(text: str) -> Scenario:
    """Read ``nodes=64,gpus=8,preempt=0.02/h,price=12.5,limit=24h``.

    Raises:
        ScenarioError: a key or value is not understood; lists the keys.
    """
    values: dict[str, object] = {}
    known = {f.name: f.type for f in fields(Scenario)}
    for part in filter(None, (p.strip() for p in text.split(","))):
        key, equals, value = part.partition("=")
        # Options of the command line are written with dashes, so that people write them here too.
        key = key.strip().replace("-", "_")
        if key not in known:
            raise ScenarioError(unknown_name("simulate", key, known))
        if key in values:
            raise ScenarioError(f"simulate: {key} is given twice")
        # A switch may stand alone, as on a command line.
        if not equals and key != "scale_down":
            raise ScenarioError(f"simulate: {key}: expected {key}=VALUE")
        values[key] = _reader(key)(key, value.strip())
    return Scenario(**values)  # type: ignore[arg-type]


def _reader(key: str) -> Callable[[str, str], object]:
    if key == "scale_down":
        return _flag
    if key == "preempt":
        return _rate
    if key in ("nodes", "gpus", "cpus", "pack"):
        return _whole
    return _number if key in ("price", "error", "bias") else _span


def _whole(key: str, value: str) -> int:
    # Not by `int`, which also takes `1_000`, blanks and digits of other scripts; 15 digits are exact in every format.
    if not re.fullmatch(r"[0-9]{1,15}", value):
        raise ScenarioError(f"simulate: {key}: expected a whole number, got {value!r}")
    return int(value)


def _number(key: str, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise ScenarioError(f"simulate: {key}: expected a number, got {value!r}") from None


def _span(key: str, value: str) -> float:
    match = re.fullmatch(r"([\d.eE+-]+) *([a-z]*)", value)
    if not match or match[2] not in _SPANS:
        raise ScenarioError(f"simulate: {key}: expected a time span such as 90s, 5m or 24h, got {value!r}")
    return _number(key, match[1]) * _SPANS[match[2]]


def _rate(key: str, value: str) -> float:
    """Per hour; without its unit nobody knows whether 5 were meant per hour or per day."""
    amount, _, unit = value.partition("/")
    if unit not in _SPANS or not unit:
        raise ScenarioError(f"simulate: {key}: expected a rate with its unit, such as 0.02/h or 1/d, got {value!r}")
    return _number(key, amount) * (3600.0 / _SPANS[unit])


def _flag(key: str, value: str) -> bool:
    if value not in ("", "yes", "no", "true", "false"):
        raise ScenarioError(f"simulate: {key}: expected yes or no, got {value!r}")
    return value in ("", "yes", "true")
