"""Run rows of a plan to their end: rounds of an executor until nothing is left."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from rich.console import Console

from cluster.errors import joined
from sweeper.errors import ExecutorFailedError, StorageError, SweeperError
from sweeper.executors.executor import Executor, ExecutorError
from sweeper.launch.assignments import assignments_of, record_event, task_key
from sweeper.launch.data_check import warnings_of_data
from sweeper.launch.preflight import check_cells, check_packages, check_tasks, preflight
from sweeper.launch.result import LaunchResult
from sweeper.plan.busy import slowdown
from sweeper.plan.cost import CostModel
from sweeper.plan.expand import Plan, PlanRow
from sweeper.plan.seed_batch import SHORT_S, arrange
from sweeper.plan.trial import TrialSpec
from sweeper.queue.journal import Journal
from sweeper.queue.monitor import Monitor
from sweeper.queue.start import Start
from sweeper.queue.stop_requests import StopRequests
from sweeper.status import MISSING, store_cost_model, sweep_status
from sweeper.store.store import ResultsStore
from tasks.spec import task_spec

MAX_ROUNDS = 5
"""Times the executor is started anew when it fails as a whole while it still gets trials done."""


def end_of(max_hours: float | None) -> float:
    """When time is up that begins now, in monotonic seconds; never where no limit is given."""
    return math.inf if max_hours is None else time.monotonic() + 3600 * max_hours


def storage_reason(error: StorageError) -> str:
    """Why a launch stops whose launcher cannot write, in the words in which a lane's failure is told."""
    return f"{joined(error)} The same command goes on once that is mended."


class Wanted:
    """Rows that a launch is to run, and which of them are left."""

    def __init__(self, store: ResultsStore, rows: Sequence[PlanRow]) -> None:
        self._store, self.rows = store, rows
        # A trial to be run again has a final row already: only a row of a later attempt says that it has ended in this
        # launch.
        self._before = store.attempts_made()

    def left(self) -> list[PlanRow]:
        """Rows whose trials have not ended since this was made."""
        ended = self._store.attempts_ended()
        return [row for row in self.rows if ended.get(row.trial_id, 0) <= self._before.get(row.trial_id, 0)]


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Runs rows of plans into one store. A launch that takes several runs keeps one, and so one end of its time."""

    store: ResultsStore
    """Where rows go."""
    executor: Executor
    """What runs them."""
    console: Console
    """Where progress goes."""
    requests: StopRequests
    """What signals ask of the launch, from its beginning to its end."""
    start: Start
    """Tells of the launch's start."""
    ends_at: float = math.inf
    """Monotonic seconds after which no further trial is started; see `end_of`."""
    twins: set[tuple[str, int]] = field(default_factory=set)
    """Host and process of the other launches of the sweep that were named."""

    def run(self, plan: Plan, rows: Sequence[PlanRow], *, part: str | None = None) -> LaunchResult:
        """Run some rows of a plan to their end, whatever the store already holds of them.

        Args:
            plan: the plan.
            rows: some of its rows.
            part: what launches that share the plan know these rows by.

        Raises:
            SweeperError: the disk is too full to begin, or the executor fails without getting anything done. Storage
                that fails later is the result's `stopped_because`.
            ClusterError: the cluster is out of reach, of other versions, without GPUs, or does not share the results.
        """
        # Fitted anew for each run: a search's later batches are forecast by its earlier ones.
        costs = store_cost_model(self.store)
        specs, warned = _specs(rows), []
        if self.executor.lanes_here:
            check_packages((spec.task, spec.task_options) for spec in specs)
            check_tasks(specs)
            warned = self._warn_of_data(specs)
        # Also where lanes run elsewhere: it needs no data, and the file is here.
        check_cells(specs)
        preflight(
            self.store,
            [costs.memory_bytes(spec) for spec in specs],
            self.executor.lanes_here,
            self.console,
            threads=self.executor.options.threads,
        )
        slowed = self._slowdown()
        journal = Journal(self.store, plan.name, total=len(rows), part=part)
        monitor = Monitor(
            self.console,
            self.requests,
            partial(record_event, self.store),
            journal.update,
            ends_at=self.ends_at,
            log_spread=costs.log_spread,
            slowdown=slowed,
            metric=_metric(specs),
            start=self.start,
            warned=warned,
        )
        wanted = Wanted(self.store, rows)
        stopped_because = None
        try:
            with journal:
                if part is None:
                    self._warn_of_twins(plan, journal)
                self._rounds(plan.name, wanted, costs, journal, monitor)
                # Inside the journal's block, so that another launch still sees this one at work while files are merged.
                self.store.compact()
        except StorageError as error:  # the launcher has met what stops a sweep as well where a lane meets it
            stopped_because = storage_reason(error)
        left = len(wanted.left())
        # After the journal has removed its state, or the trials of this launch would count as running.
        status = sweep_status(plan, self.store)
        self.store.release_memory()
        # A limit that passes after the last trial has stopped nothing.
        out_of_time = left > 0 and monitor.out_of_time
        return LaunchResult(
            plan=plan,
            status=status,
            ran=len(rows) - left,
            interrupted=(left > 0 and monitor.interrupted) or out_of_time,
            stopped_because=monitor.stopped_because or stopped_because,
            forecast=costs.forecast(specs, slowdown=slowed),
            busy_s=monitor.busy_s,
            out_of_time=out_of_time,
            saved=sum(status.states.get(name) == MISSING for name in self.store.names("checkpoints", ".pt")),
            preempted=self.requests.told_by_machine,
        )

    def _slowdown(self) -> float:
        """By how much trials take longer here than on a core of their own; elsewhere, and on GPUs, nobody knows."""
        here = self.executor.lanes_here and self.executor.options.device == "cpu"
        return slowdown(self.executor.lanes_here * self.executor.options.threads) if here else 1.0

    def _warn_of_data(self, specs: Sequence[TrialSpec]) -> list[str]:
        """Say before the first trial what lanes would warn of when they load the data; what was said."""
        hashes = self.store.read("trials", ["data_sha256"])["data_sha256"].unique().to_pylist()
        texts = warnings_of_data(specs, frozenset(sha256 for sha256 in hashes if sha256 is not None))
        for text in texts:
            self.console.print(f"Warning: {text}", highlight=False, markup=False, soft_wrap=True)
        return texts

    def _warn_of_twins(self, plan: Plan, journal: Journal) -> None:
        """Say once of each other launch of the sweep that it runs too."""
        for live in journal.twins():
            if (live.host, live.pid) not in self.twins:
                self.twins.add((live.host, live.pid))
                self.console.print(
                    f"{plan.name} is being launched into {self.store.uri} already, by process {live.pid} on "
                    f"{live.host}. Trials that both run count once, but the time is spent twice.",
                    highlight=False,
                    markup=False,
                    soft_wrap=True,
                )

    def _rounds(self, sweep: str, wanted: "Wanted", costs: CostModel, journal: Journal, monitor: Monitor) -> None:
        """Start the executor until every row has ended or somebody stops it."""
        left, rounds = list(wanted.rows), 0
        while left and not (monitor.interrupted or monitor.out_of_time or monitor.stopped_because):
            rounds += 1
            # A ClusterError ends the launch: the cluster is not there any more, so another round would not help.
            failure = self._round(sweep, left, costs, monitor)
            # Nobody wrote events down after it, so no further round is built on them.
            if monitor.error is not None:
                raise monitor.error
            # Only the store says what has ended: an executor that fails may have lost what its broker knew.
            previous = len(left)
            left = wanted.left()
            stuck = len(left) == previous and not (monitor.interrupted or monitor.out_of_time)
            if failure is not None:
                said = f"the {self.executor.name} executor failed: {failure}"
                journal.note(said)
                # An executor that fails and yet gets trials done is worth another start: Ray may have lost a node or
                # its memory.
                if stuck or rounds == MAX_ROUNDS:
                    raise ExecutorFailedError(f"{said}. What is done is stored; the same command goes on.") from failure
                if left and not monitor.interrupted:
                    self.console.print(
                        f"Warning: {said}. It is started again for the {len(left)} trials that are left.",
                        highlight=False,
                        markup=False,
                        soft_wrap=True,
                    )
            elif stuck and monitor.stopped_because is None:
                raise SweeperError(f"the {self.executor.name} executor ended without running any of {previous} trials")

    def _round(self, sweep: str, rows: Sequence[PlanRow], costs: CostModel, monitor: Monitor) -> ExecutorError | None:
        """Run the executor once; the error that ended it, or None. The store decides whether to go on after one."""
        options, specs = self.executor.options, _specs(rows)
        expected_s = costs.forecast(specs).wall_seconds(options.lane_count)
        # Then the launch may be cut short, and later replicates must not come before earlier ones (`plan.seed_batch`).
        hurry = self.ends_at < math.inf or expected_s > SHORT_S
        places = arrange(rows, choice=options.seed_batch, device=options.device, hurry=hurry)
        assignments = assignments_of(places, sweep, self.store, costs)
        self.store.release_memory()
        try:
            self.executor.run(
                assignments,
                store_uri=self.store.local_path() or self.store.uri,
                monitor=monitor,
                # For the best trial of the progress line alone; a retry over several tasks takes that of the first.
                direction=task_spec(specs[0].task, specs[0].task_options).direction,
                # The largest, because any lane may get it.
                trial_bytes=max(costs.memory_bytes(spec, options.device) for spec in specs),
            )
        except KeyboardInterrupt:  # the third Ctrl-C; the requests tell of it
            return None
        except ExecutorError as error:
            return error
        return None


def _metric(specs: Sequence[TrialSpec]) -> str:
    """The metric that all trials have; empty where they have several."""
    tasks = {task_key(spec): spec for spec in specs}.values()
    metrics = {task_spec(spec.task, spec.task_options).metric for spec in tasks}
    return metrics.pop() if len(metrics) == 1 else ""


def _specs(rows: Sequence[PlanRow]) -> list[TrialSpec]:
    return [row.spec for row in rows if row.spec is not None]
