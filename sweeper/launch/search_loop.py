"""The closed loop of a launch: propose, run, look, again, until a rule, the trials or the time end it.

Everything is worked out anew from the store at each turn, so a launch that was killed goes on where it was.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from sweeper.errors import StorageError, SweeperError
from sweeper.executors.executor import Executor
from sweeper.launch.early_stop import StoppingTrainer, check_steps, stop_limits
from sweeper.launch.result import LaunchResult, joined
from sweeper.launch.run import Runner, storage_reason
from sweeper.plan.cost import CostModel
from sweeper.plan.expand import Plan, expand
from sweeper.plan.grid import Grid, parse_grid
from sweeper.plan.search_section import SearchSettings
from sweeper.plan.targets import Limit, Target, TargetError, read_rule, read_target
from sweeper.search.choose import make_searcher
from sweeper.search.grid_space import SUFFIX, GridSpace
from sweeper.search.space import Observation, Point, Proposal, Searcher
from sweeper.search.theory import TheorySearcher
from sweeper.status import missing_rows, store_cost_model, sweep_status
from sweeper.store.store import ResultsStore
from tasks.spec import task_spec

_TIMES = ["trial_id", "wall_s"]


def search_launch(grid: Grid, runner: Runner) -> LaunchResult:
    """Run a grid's search to its end.

    Args:
        grid: a grid with a `search:` section of an adaptive kind.
        runner: runs the trials that are chosen; its time is that of the whole search.

    Raises:
        SweeperError: the search cannot be carried out as asked, or the executor fails.
        ClusterError: see `sweeper.launch.launch.launch`.
    """
    store = runner.store
    search = RunningSearch(grid=grid, store=store)
    search.check()
    written = parse_grid(grid.text, default_name=grid.name).search
    if written is not None:  # else a plain grid that --until made a search of: its product is not asked for
        store.save_grid(grid.name, grid.text)
    runs: list[LaunchResult] = []
    ended: str | None = None
    while ended is None:
        plan = search.chosen_plan()
        # What was chosen and not run comes first, so that a launch that was killed finishes its batch before it chooses
        # again.
        rows = missing_rows(plan, sweep_status(plan, store))
        if rows:
            # Limits for early stopping are taken anew for each batch, from all curves that the store holds by then.
            runs.append(replace(runner, executor=search.stopping_early(runner.executor)).run(plan, rows))
            if runs[-1].interrupted or runs[-1].stopped_because:
                break
            continue
        ended = search.why_end()
        if ended is None:
            try:
                lines = search.next_batch()
            except StorageError as error:
                return replace(_as_one_result(runs, search, None), stopped_because=storage_reason(error))
            for line in lines:
                runner.console.print(line, highlight=False, soft_wrap=True)
            ended = None if lines else "nothing is left to try in this space"
    return _as_one_result(runs, search, ended)


def with_until(grid: Grid, rule: str) -> Grid:
    """A grid whose search ends by a rule; one without a search is searched by the theory, within its own points.

    Raises:
        TargetError: the rule cannot be read.
    """
    read_rule(rule)
    if grid.search is not None and grid.search.adaptive:
        return replace(grid, search=replace(grid.search, until=rule))
    # A rule ends a sweep earlier and makes none larger.
    most = len(expand(grid).trials)
    return replace(grid, search=SearchSettings(kind="theory", trials=most, until=rule))


def _as_one_result(runs: Sequence[LaunchResult], search: "RunningSearch", ended: str | None) -> LaunchResult:
    """All batches as one result."""
    plan = search.chosen_plan()
    status = sweep_status(plan, search.store)
    if runs:
        return replace(joined(runs), plan=plan, status=status, ended_because=ended)
    return LaunchResult(
        plan=plan,
        status=status,
        ran=0,
        interrupted=False,
        stopped_because=None,
        forecast=store_cost_model(search.store).forecast([]),
        busy_s=0.0,
        ended_because=ended,
    )


@dataclass(frozen=True, kw_only=True)
class Search:
    """A search as its grid describes it."""

    grid: Grid
    """The searched grid."""

    def costs(self) -> CostModel:
        """What trials are expected to cost."""
        return CostModel()

    @property
    def settings(self) -> SearchSettings:
        """The grid's search."""
        if self.grid.search is None or not self.grid.search.adaptive:
            raise SweeperError(f"{self.grid.name}: no search of kind random, optuna or theory in this grid")
        return self.grid.search

    @cached_property
    def space(self) -> GridSpace:
        """The grid's space."""
        return GridSpace(grid=self.grid, costs=self.costs())

    @cached_property
    def limits(self) -> tuple[Limit, ...]:
        """Conditions that end the search early."""
        return () if self.settings.until is None else read_rule(self.settings.until)

    @cached_property
    def searcher(self) -> Searcher:
        """What proposes trials; the intervals of the stop rule are among the targets of a theory search."""
        settings = self.settings
        if settings.kind == "theory":
            extra = tuple(str(target) for target in self._interval_targets())
            # The default target gives way to what the rule asks for; targets that somebody wrote are kept beside it.
            if settings.target == ("optimum",) and extra:
                settings = replace(settings, target=extra)
            else:
                settings = replace(settings, target=tuple(dict.fromkeys((*settings.target, *extra))))
        return make_searcher(settings, self.space.space)

    @cached_property
    def judge(self) -> TheorySearcher | None:
        """What computes the intervals of the stop rule; None where the rule asks for none."""
        if not self._interval_targets():
            return None
        if isinstance(self.searcher, TheorySearcher):
            return self.searcher
        # A search that knows no law (random, Optuna) may still be ended by an interval: a theory searcher reads its
        # rows.
        texts = tuple(str(target) for target in self._interval_targets())
        judge = make_searcher(SearchSettings(kind="theory", target=texts), self.space.space)
        assert isinstance(judge, TheorySearcher), "kind theory makes a TheorySearcher"
        return judge

    def _interval_targets(self) -> list[Target]:
        return [limit.target for limit in self.limits if limit.target is not None]

    def check(self) -> None:
        """Refuse at the start what would fail at the end.

        Raises:
            SweeperError: space, targets, rule or pruning cannot work.
        """
        settings = self.settings
        for text in settings.target:
            read_target(text)
        too_late = [limit for limit in self.limits if limit.kind == "trials" and limit.bound > settings.trials]
        if too_late:
            raise TargetError(
                f"until: trials >= {too_late[0].bound:g} is never reached: search.trials is {settings.trials}; raise it"
            )
        check_steps(
            settings, self.space.block.training.get("steps", (math.inf,)) if settings.pruning != "none" else (1,)
        )
        searcher = self.searcher
        if self.judge is not None or isinstance(searcher, TheorySearcher):
            # A proposal from no history is quick, and is refused where a later one would be.
            (self.judge or searcher).propose([], 1)
        if not searcher.propose([], 1).points:
            raise SweeperError(f"{self.grid.name}: no point of the search space can be run")


@dataclass(frozen=True, kw_only=True)
class RunningSearch(Search):
    """A search as the store knows it."""

    store: ResultsStore
    """Where the rows are."""

    def costs(self) -> CostModel:
        """What trials are expected to cost, as the store knew it at the start."""
        return store_cost_model(self.store)

    def history(self) -> list[Observation]:
        """Everything in the store that is a point of the space, in the order in which it was chosen."""
        # NSGA-II cuts its generations from this order, and TPE lets the weight of old trials fade; both take it for the
        # order of time, which ids, being hashes, do not have. What another sweep has left comes first.
        chosen = (point for batch in self.space.batches(self._text()) for point in batch)
        order = {point: place for place, point in enumerate(chosen)}
        return sorted(self.space.history(self.store), key=lambda observation: order.get(observation.point, -1))

    def chosen_plan(self) -> Plan:
        """All trials chosen so far as a plan."""
        text = self.store.grids().get(self.grid.name + SUFFIX)
        if text is None:
            return Plan(name=self.grid.name + SUFFIX, rows=(), trials={})
        return expand(parse_grid(text, default_name=self.grid.name + SUFFIX))

    def next_batch(self) -> tuple[str, ...]:
        """Choose the next batch and write it down; what to tell people, or nothing where nothing is left."""
        plan = self.chosen_plan()
        # Counted in the file and not kept, so that a launch that goes on counts on.
        number = 1 + (self._text().count("\n# batch "))
        n = min(self.settings.batch, self.settings.trials - len(plan.trials))
        proposal: Proposal = self.searcher.propose(self.history(), n)
        if not proposal.points:
            return ()
        reasons = proposal.reasons or (f"{len(proposal.points)} trials by {self.settings.kind}",)
        # Written before it is run: a launch that dies in between finds the batch in the store.
        self._write(number, proposal.points, reasons)
        return tuple(f"batch {number}: {line}" for line in reasons)

    def _text(self) -> str:
        return self.store.grids().get(self.grid.name + SUFFIX, "")

    def _write(self, number: int, points: Sequence[Point], reasons: Sequence[str]) -> None:
        """Append a batch; every earlier line stays as it is."""
        before = self._text() or self.space.header()
        notes = "".join(f"# batch {number}: {line}\n" if i == 0 else f"#   {line}\n" for i, line in enumerate(reasons))
        self.store.save_grid(self.grid.name + SUFFIX, before + notes + self.space.blocks_text(points))

    def stopping_early(self, executor: Executor) -> Executor:
        """The executor with early stopping where the search asks for it; limits are those of the store as it is now."""
        if self.settings.pruning == "none":
            return executor
        # Here and not above: the training loads torch (1.7 s), and a launcher needs it for such searches only.
        from sweeper.lane.trainer import train_assignment

        direction = task_spec(self.space.block.task, self.space.block.task_options).direction
        limits = stop_limits(self.store, self.settings, direction)
        return executor.with_trainer(StoppingTrainer(trainer=executor.trainer or train_assignment, limits=limits))

    def why_end(self) -> str | None:
        """The condition that ends the search now; None while it goes on."""
        plan = self.chosen_plan()
        for limit in self.limits:
            reason = self._met(limit, plan)
            if reason is not None:
                return reason
        if len(plan.trials) >= self.settings.trials:
            # What the rule still lacked is said, so that it can be told whether more trials would have helped.
            missed = "; ".join(self._state(limit) for limit in self.limits if limit.kind == "ci")
            return f"its {self.settings.trials} trials are done" + (f" ({missed})" if missed else "")
        return None

    def _met(self, limit: Limit, plan: Plan) -> str | None:
        if limit.kind == "trials":
            return f"trials >= {limit.bound:g}" if len(plan.trials) >= limit.bound else None
        if limit.kind == "hours":
            spent = self._hours(plan)
            return f"hours >= {limit.bound:g}: {spent:.3g} h of trial time are spent" if spent >= limit.bound else None
        if limit.kind == "plateau":
            idle = self._idle_batches()
            return f"plateau: no budget's best metric improved in {idle} batches" if idle >= limit.bound else None
        return self._state(limit) if self._width(limit) < limit.bound else None

    def _width(self, limit: Limit) -> float:
        assert self.judge is not None, "a rule on an interval has a judge"
        assert limit.target is not None, "an interval is of something"
        history = self.history()
        # Before a law can be fitted nothing is known, which no bound is wide enough for.
        if sum(o.loss is not None for o in history) < self.judge.least:
            return math.inf
        return self.judge.interval(history, limit.target).half_width

    def _state(self, limit: Limit) -> str:
        assert self.judge is not None, "a rule on an interval has a judge"
        assert limit.target is not None, "an interval is of something"
        interval = self.judge.interval(self.history(), limit.target)
        if interval.reason is not None:
            return f"ci({limit.target}) is not known: {interval.reason}"
        return (
            f"ci({limit.target}) is {100 * interval.half_width:.2g} %, asked for {100 * limit.bound:g} %: "
            f"{interval.estimate:.4g}, 95 % from {interval.low:.4g} to {interval.high:.4g}"
        )

    def _hours(self, plan: Plan) -> float:
        """Lane time of the chosen trials."""
        rows = self.store.read("trials", _TIMES).to_pylist()
        # `wall_s` of a trial that was trained with others is its share, so that the sum is time of lanes.
        return float(sum(row["wall_s"] for row in rows if row["trial_id"] in plan.trials)) / 3600

    def _idle_batches(self) -> int:
        """Batches at the end of the list in which no budget's best metric improved."""
        text = self._text()
        losses = {o.point: o.loss for o in self.history()}
        best: dict[int | None, float] = {}
        idle = 0
        for batch in self.space.batches(text):
            better = False
            for point in batch:
                # Batches in the order of choice, from the grid that was written: rows alone do not say when they were
                # chosen.
                loss = losses.get(point)
                if loss is not None and loss < best.get(point.budget, math.inf):
                    best[point.budget], better = loss, True
            idle = 0 if better else idle + 1
        return idle
