"""Desired state against stored state: edit, retry, merge, limits; on ground-truth trials in this process."""

import hashlib
import io
import os
import re
import shutil
import subprocess
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from rich.console import Console

from benchmarks.ground_truth import GroundTruth
from model.flops import flops
from sweeper.errors import INTERRUPTED, OUTAGE, STOPPED, TRIALS_FAILED, TRY_AGAIN, StoreError, SweeperError
from sweeper.lane.attempt import run_trial
from sweeper.lane.lane import run_lane
from sweeper.lane.options import LaneConfig, LaneOptions
from sweeper.lane.trainer import TrialContext, train_assignment
from sweeper.launch.assignments import assignments_of
from sweeper.launch.launch import launch
from sweeper.launch.maintenance import merge, retry
from sweeper.plan.cost import CostModel
from sweeper.plan.expand import expand
from sweeper.plan.grid import parse_grid
from sweeper.plan.seed_batch import Place
from sweeper.queue.broker import Broker
from sweeper.queue.identity import ProcessIdentity, own_identity
from sweeper.queue.journal import Journal, live_launches
from sweeper.queue.messages import Assignment
from sweeper.status import missing_rows, stored_plans, sweep_status
from sweeper.store.provenance import code_version
from sweeper.store.store import ResultsStore
from sweeper.tables import print_launch, print_plan, print_status
from sweeper.training.checkpoint import Checkpoints
from sweeper.training.progress import TrialProgress
from tasks.spec import task_spec
from tests.sweeper.inline import LanesHere

TEXT = task_spec("text", {"alphabet": "letters"})

GRID = """
name: truth
task: {name: text, alphabet: letters}
budgets: [4000, 8000]
model: {d_m: [1, 2, 4, 8], d_tree: 4, d_branch: 4}
seeds: 2
"""


def here(trainer=None, **options) -> LanesHere:
    """Lanes in this process."""
    return LanesHere(trainer=trainer or GroundTruth(), options=LaneOptions(**{"lanes": 2} | options))


def run(text: str, results, trainer=None, *, max_hours=None, **options):
    executor = here(trainer, **options)
    return launch(parse_grid(text), str(results), executor, Console(quiet=True), max_hours=max_hours)


def test_a_grid_may_be_edited_extended_and_reseeded(tmp_path):
    assert run(GRID, tmp_path / "r").ran == 16
    assert run(GRID.replace("seeds: 2", "seeds: 3"), tmp_path / "r").ran == 8
    shrunk = run(GRID.replace("[1, 2, 4, 8]", "[1, 2, 3]"), tmp_path / "r")
    assert shrunk.ran == 4
    assert shrunk.status.counts == {"finished": 12}
    assert shrunk.status.unplanned == 16


def test_the_plan_tells_missing_from_new(tmp_path, capsys):
    print_launch(run(GRID, tmp_path / "r", max_hours=0.0), "r")
    over = "The time given by --max-hours is over. 16 trials wait. The same command runs what is missing."
    assert over in capsys.readouterr().out
    store = ResultsStore.open(tmp_path / "r")
    extended = expand(parse_grid(GRID.replace("[1, 2, 4, 8]", "[1, 2, 4, 8, 16]")))
    done = len(store.statuses())
    assert done < 16
    counts = sweep_status(extended, store).counts
    assert counts["new"] == 4
    assert counts["missing"] == 16 - done


def test_rows_of_another_version_are_stale_but_kept(tmp_path, capsys):
    older = replace(here(), code_version="0.0.1+abc")
    launch(parse_grid(GRID), str(tmp_path / "r"), older, Console(quiet=True))
    store = ResultsStore.open(tmp_path / "r")
    (plan,) = stored_plans(store)
    status = sweep_status(plan, store)
    assert len(status.stale) == 16
    assert "made by version 0.0.1" in next(iter(status.stale.values()))
    assert missing_rows(plan, status) == []
    print_launch(run(GRID.replace("[1, 2, 4, 8]", "[1, 2, 3, 4, 8]"), tmp_path / "r"), "r")
    assert "4 trials run now. 20 finished\n  16 stale: made by version 0.0.1" in capsys.readouterr().out


def test_a_launch_goes_on_after_an_upgrade_with_rows_of_both_versions_and_names_them(tmp_path, capsys):
    version = code_version().split("+")[0]
    older = replace(here(), code_version=f"{version}+0123456789ab")
    launch(parse_grid(GRID.replace("seeds: 2", "seeds: 1")), str(tmp_path / "r"), older, Console(quiet=True))
    result = run(GRID, tmp_path / "r")
    print_launch(result, "r")
    assert (result.ran, result.status.counts, dict(result.status.stale)) == (8, {"finished": 16}, {})
    of_each = sorted(f"{made_by} (8 trials)" for made_by in (older.code_version, code_version()))
    both = f"made by several versions of the code: {', '.join(of_each)}"
    assert both in capsys.readouterr().out
    print_status([result.status], ResultsStore.open(tmp_path / "r"))
    assert both in capsys.readouterr().out


def test_rows_of_other_data_are_told_though_nothing_is_left_to_run(tmp_path, tiny_text, capsys):
    data = tmp_path / "mine.txt"
    data.write_text("some words of a text " * 200)
    text = tiny_text.replace("name: text,", f"name: text, data: {data},").replace("[1, 2, 4]", "[1]")
    run(text.replace("steps: 30", "steps: 5"), tmp_path / "r", train_assignment)
    data.write_text("some words of a test " * 200)
    output = io.StringIO()
    again = launch(parse_grid(text.replace("steps: 30", "steps: 5")), str(tmp_path / "r"), here(), Console(file=output))
    assert again.ran == 0
    (reason,) = set(again.status.stale.values())
    now, condition = re.fullmatch(
        r"trained on other data than mine.txt/letters is now \(SHA-256 (\w{12})\); to train them anew: "
        r'sweeper retry --where "(.+)"',
        reason,
    ).groups()
    assert hashlib.sha256(data.read_bytes()).hexdigest().startswith(now)
    assert f"Warning: 2 stored trials: {reason}" in output.getvalue()
    store = ResultsStore.open(tmp_path / "r")
    for show in (
        lambda: print_launch(again, "r"),
        lambda: print_status([again.status], store),
        lambda: print_plan(again.plan, sweep_status(again.plan, store), CostModel(), 1),
    ):
        show()
        assert f"  2 stale: {reason}" in capsys.readouterr().out
    retried = retry(condition, str(tmp_path / "r"), here(train_assignment), Console(quiet=True))
    assert (retried.ran, dict(retried.status.stale)) == (2, {})


def test_retry_runs_what_meets_the_condition_again(tmp_path):
    run(GRID, tmp_path / "r", GroundTruth(crash_rate=0.3))
    store = ResultsStore.open(tmp_path / "r")
    failed = [i for i, status in store.statuses().items() if status == "failed"]
    assert 1 <= len(failed) < 16
    result = retry("status == 'failed'", str(tmp_path / "r"), here(), Console(quiet=True))
    assert result.ran == len(failed)
    rows = {row["trial_id"]: row for row in store.read("trials").to_pylist()}
    assert {rows[i]["status"] for i in failed} == {"finished"}
    assert {rows[i]["attempt"] for i in failed} == {3}  # a bug is tried twice before
    assert {rows[i]["budget"] for i in failed} <= {4000, 8000}


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("statu == 'failed'", "did you mean 'status'? Valid: architecture"),
        ("status ==", "--where 'status ==': cannot be read"),
        ("status == 'lost'", "none of 16 stored trials"),
    ],
)
def test_a_bad_condition_is_explained(tmp_path, condition, message):
    run(GRID, tmp_path / "r")
    with pytest.raises(SweeperError) as caught:
        retry(condition, str(tmp_path / "r"), here(), Console(quiet=True))
    assert message in str(caught.value)


def test_two_directories_merge_without_running_or_counting_twice(tmp_path):
    run(GRID, tmp_path / "a")
    run(GRID.replace("[4000, 8000]", "[8000, 16000]").replace("truth", "other"), tmp_path / "b")
    assert merge(str(tmp_path / "a"), str(tmp_path / "b")).trials == 8
    store = ResultsStore.open(tmp_path / "a")
    assert len(store.statuses()) == 24
    assert sorted(store.grids()) == ["other", "truth"]
    assert merge(str(tmp_path / "a"), str(tmp_path / "b")).trials == 0
    assert run(GRID.replace("[4000, 8000]", "[4000, 8000, 16000]"), tmp_path / "a").ran == 0


def test_two_people_may_extend_one_directory_at_once(tmp_path):
    texts = [
        GRID.replace("truth", name).replace("[1, 2, 4, 8]", d_m) for name, d_m in (("a", "[1, 2]"), ("b", "[4, 8]"))
    ]
    threads = [threading.Thread(target=run, args=(text, tmp_path / "r")) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store = ResultsStore.open(tmp_path / "r")
    assert len(store.statuses()) == 16
    assert run(GRID, tmp_path / "r").ran == 0


@dataclass(frozen=True, kw_only=True)
class Meeting(LanesHere):
    """Begins its run when another launch is about to begin as well."""

    at: threading.Barrier

    def check(self, results) -> None:
        self.at.wait(60)

    def run(self, assignments, **options) -> None:
        self.at.wait(60)
        super().run(assignments, **options)


def test_of_two_launches_that_begin_at_the_same_moment_the_later_one_says_so(tmp_path):
    """Neither has a trial in work when the other one makes its plan."""
    at, outputs = threading.Barrier(2), [io.StringIO(), io.StringIO()]
    executors = [Meeting(trainer=GroundTruth(), options=LaneOptions(lanes=1), at=at) for _ in outputs]
    threads = [
        threading.Thread(target=launch, args=(parse_grid(GRID), str(tmp_path / "r"), executor, Console(file=output)))
        for executor, output in zip(executors, outputs, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    warned = [output.getvalue().count("truth is being launched into") for output in outputs]
    assert max(warned) == 1
    rows = ResultsStore.open(tmp_path / "r").read("trials").to_pylist()
    assert len({row["trial_id"] for row in rows}) == len(rows) == 16


def test_a_trial_over_its_time_limit_ends_as_timed_out(tmp_path):
    result = run(GRID.replace("seeds: 2", "seeds: 1"), tmp_path / "r", GroundTruth(seconds=5.0), trial_limit_s=0.05)
    assert result.status.counts == {"timed_out": 8}
    (reason,) = {reason.split(" after ")[0] for reason in result.status.reasons}
    assert reason == "timed_out: over its time limit of 0.05 s"


def test_a_poisoned_sweep_stops_itself_and_can_be_retried(tmp_path):
    text = GRID.replace("[1, 2, 4, 8]", "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10]")
    result = run(text, tmp_path / "r", GroundTruth(crash_rate=1.0))
    assert "failed alike" in result.stopped_because
    assert result.ran < 40
    assert run(text, tmp_path / "r").status.counts["finished"] >= 40 - result.ran


def test_out_of_memory_stops_only_its_trial_and_gets_the_whole_host(tmp_path):
    config = LaneConfig(store_uri=str(tmp_path), lane_prefix="x", code_version="v")
    row = next(iter(expand(parse_grid(GRID)).trials.values()))
    [assignment] = assignments_of([Place(row, None, 1)], "s", ResultsStore.create(str(tmp_path / "r")), CostModel())
    context = TrialContext(on_step=lambda step: True, device="cpu", checkpoints=None)  # type: ignore[arg-type]
    record, _, attempt = run_trial(assignment, "l", config.code_version, context, GroundTruth(memory_rate=1.0))
    assert (record.status, attempt.status) == ("out_of_memory", "out_of_memory")
    assert record.final_valid_metric is None
    assert record.flops_per_token == flops(row.spec.model).training > 0
    result = run(GRID, tmp_path / "r", GroundTruth(memory_rate=0.4))
    assert result.status.counts == {"finished": 16}
    attempts = ResultsStore.open(tmp_path / "r").read("attempts").to_pylist()
    assert {a["attempt"] for a in attempts if a["status"] == "out_of_memory"} == {1}


def test_a_stopped_lane_saves_its_trial_and_the_next_goes_on_from_there(tmp_path, tiny_text):
    plan = expand(parse_grid(tiny_text))
    row = next(iter(plan.trials.values()))
    broker = Broker(assignments_of([Place(row, None, 1)], "s", ResultsStore.create(tmp_path / "r"), CostModel()))
    config = LaneConfig(store_uri=str(tmp_path / "r"), lane_prefix="x", code_version="v")
    store = ResultsStore.open(tmp_path / "r")

    def slow(assignment, progress, context):
        def on_step(step):
            time.sleep(0.1)
            return context.on_step(step)

        from sweeper.training.training import train_trial

        train_trial(assignment.spec, progress=progress, on_step=on_step, checkpoints=context.checkpoints)

    pulled = broker.pull
    broker.pull = lambda *a: (pulled(*a), broker.stop())[0]
    run_lane(broker, "l", config, slow)
    assert store.statuses() == {}
    saved = Checkpoints(store, row.trial_id, 1.0).load()
    assert 0 < saved["progress"]["steps_done"] < row.spec.training.steps
    run(tiny_text, tmp_path / "r", train_assignment)
    assert store.statuses()[row.trial_id] == "finished"
    assert store.read_weights("checkpoints", row.trial_id) is None


def test_a_running_launch_is_seen_from_outside(tmp_path):
    store = ResultsStore.create(tmp_path / "r")
    plan = expand(parse_grid(GRID))
    running = next(iter(plan.trials))
    broker = Broker(assignments_of([Place(row, None, 1) for row in plan.trials.values()], "s", store, CostModel()))
    broker.pull("a", "1", "h")
    broker.heartbeat("a", "1", "h", running, 0.5)
    with Journal(store, "truth", total=16) as journal:
        journal.update(broker.snapshot())
        (live,) = live_launches(store)
        assert (live.sweep, live.running, live.total) == ("truth", (running,), 16)
        assert 0 <= (datetime.now(UTC) - live.started).total_seconds() < 60
        assert sweep_status(plan, store).states[running] == "running"
    assert live_launches(store) == []
    (log,) = store.texts("launches", ".log").values()
    assert "launch of truth: 16 trials" in log


def leave_state(store: ResultsStore, running: str, process: ProcessIdentity) -> None:
    """Leave what a launcher leaves that was killed while it ran a trial."""
    made = Assignment(trial_id=running, spec=None, task=TEXT, sweep="truth", budget=1, attempt=1, configuration="c")  # type: ignore[arg-type]
    broker = Broker([made])
    broker.pull("a", "1", "h")
    broker.heartbeat("a", "1", "h", running, 0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sweeper.queue.journal.own_identity", lambda: process)
        Journal(store, "truth", total=16).update(broker.snapshot())


HERE = own_identity()
ELSEWHERE = replace(HERE, boot="another machine's")


@pytest.mark.parametrize("reused", [False, True])
def test_what_a_killed_launcher_ran_is_run_by_the_next_at_once(tmp_path, reused):
    running = next(iter(expand(parse_grid(GRID)).trials))
    gone = subprocess.Popen(["true"])
    gone.wait()
    killed = replace(HERE, start=HERE.start - 1) if reused else replace(HERE, pid=gone.pid)
    leave_state(ResultsStore.create(tmp_path / "r"), running, killed)
    result = run(GRID, tmp_path / "r")
    assert (result.ran, result.status.counts) == (16, {"finished": 16})
    assert list((tmp_path / "r" / "launches").glob("*.json")) == [], "the next launch clears it away"


def test_what_a_launcher_elsewhere_ran_is_run_once_that_one_has_fallen_silent(tmp_path):
    running = next(iter(expand(parse_grid(GRID)).trials))
    leave_state(ResultsStore.create(tmp_path / "r"), running, ELSEWHERE)
    (state,) = (tmp_path / "r" / "launches").glob("*.json")
    output = io.StringIO()
    first = launch(parse_grid(GRID), str(tmp_path / "r"), here(), Console(file=output))
    assert first.status.counts == {"finished": 15, "running": 1}, "it may still be at work"
    assert "truth is being launched into" in output.getvalue()

    def in_the_end(assignment, progress, context):
        os.utime(state, (0, 0))  # long ago
        GroundTruth()(assignment, progress, context)

    more = run(GRID.replace("seeds: 2", "seeds: 3"), tmp_path / "r", in_the_end)
    assert (more.ran, more.status.counts) == (9, {"finished": 24})


def test_the_time_given_is_that_of_the_whole_launch(tmp_path):
    """Also when it takes over what another launch left: the clock does not begin anew."""
    text = GRID.replace("[4000, 8000]", "[4000]").replace("[1, 2, 4, 8]", "[1, 2]").replace("seeds: 2", "seeds: 1")
    running = next(iter(expand(parse_grid(text)).trials))
    leave_state(ResultsStore.create(tmp_path / "r"), running, ELSEWHERE)
    (state,) = (tmp_path / "r" / "launches").glob("*.json")

    def in_the_end(assignment, progress, context):
        os.utime(state, (0, 0))
        GroundTruth(seconds=1.2)(assignment, progress, context)

    result = run(text, tmp_path / "r", in_the_end, max_hours=1 / 3600)
    assert (result.ran, result.out_of_time, result.interrupted) == (1, True, True)
    assert result.status.counts == {"finished": 1, "missing": 1}


@pytest.mark.parametrize(
    ("outcomes", "ended", "code", "as_job"),
    [
        (["finished", "diverged"], {}, 0, 0),
        (["finished", "finished"], {"ended_because": "its rule holds"}, 0, 0),
        (["finished", "failed"], {}, TRIALS_FAILED, 0),
        (["finished", "timed_out"], {}, TRIALS_FAILED, 0),
        (["diverged", "diverged"], {}, TRIALS_FAILED, 0),
        (["finished", "missing"], {"interrupted": True, "out_of_time": True}, STOPPED, 0),
        (["failed", "missing"], {"stopped_because": "the disk is full"}, STOPPED, 0),
        (["failed", "missing"], {"stopped_because": f"s3://b/r: cannot write, {OUTAGE}: x"}, TRY_AGAIN, TRY_AGAIN),
        (["failed", "missing"], {"interrupted": True}, INTERRUPTED, 0),
        (["failed", "missing"], {"interrupted": True, "preempted": True}, INTERRUPTED, INTERRUPTED),
    ],
)
def test_a_script_learns_from_the_exit_code_how_a_launch_ended(outcomes, ended, code, as_job, tmp_path):
    result = run(GRID, tmp_path / "r", GroundTruth())
    status = replace(result.status, states=dict(zip("ab", outcomes, strict=True)))
    ending = replace(result, status=status, **ended)
    assert (ending.exit_code, ending.job_exit_code) == (code, as_job)


def test_who_leaves_early_is_told_what_goes_on_from_a_checkpoint(tmp_path, capsys):
    store = ResultsStore.create(tmp_path / "r")
    for trial_id in (*list(expand(parse_grid(GRID)).trials)[:2], "0" * 16):  # one belongs to no trial of this grid
        store.write_weights("checkpoints", trial_id, b"saved")
    result = run(GRID, tmp_path / "r", max_hours=0.0)
    print_launch(result, "r")
    assert "16 trials wait, 2 with a checkpoint to go on from. The same command" in capsys.readouterr().out
    print_launch(replace(result, stopped_because="the disk is full."), "r")
    assert "Stopped: the disk is full.\n16 trials wait, 2 with a checkpoint to go on from.\n" in capsys.readouterr().out


def test_a_results_directory_deleted_in_the_middle_is_no_success_and_is_not_made_anew(tmp_path):
    ran = []

    def delete(assignment, progress, context):
        ran.append(assignment.trial_id)
        GroundTruth()(assignment, progress, context)
        if len(ran) == 2:
            shutil.rmtree(tmp_path / "r")

    try:  # whoever writes first notices: a lane, which stops the sweep, or the launcher
        result = run(GRID, tmp_path / "r", delete)
        assert result.exit_code == STOPPED
        reason = result.stopped_because
    except StoreError as error:
        reason = str(error)
    assert "No such file or directory" in reason
    assert not (tmp_path / "r").exists()


def test_preflight_refuses_a_full_disk(tmp_path, monkeypatch):
    import os

    numbers = os.statvfs(tmp_path)

    class Full:
        f_bavail, f_frsize, f_files, f_favail = 10, 4096, numbers.f_files, numbers.f_favail

    monkeypatch.setattr(os, "statvfs", lambda path: Full)
    with pytest.raises(SweeperError, match="MB free, .* MB needed for the rows of 16 trials"):
        run(GRID, tmp_path / "r")
    assert not (tmp_path / "r").exists(), "a launch that cannot work leaves nothing behind"


def test_progress_of_a_ground_truth_trial_is_the_same_every_time(tmp_path):
    row = next(iter(expand(parse_grid(GRID)).trials.values()))
    [assignment] = assignments_of([Place(row, None, 1)], "s", ResultsStore.create(str(tmp_path / "r")), CostModel())
    context = TrialContext(on_step=lambda step: True, device="cpu", checkpoints=None)  # type: ignore[arg-type]
    values = []
    for _ in range(2):
        progress = TrialProgress()
        GroundTruth()(assignment, progress, context)
        values.append(progress.final["valid"].metric)
    assert values[0] == values[1] == pytest.approx(GroundTruth().metric(row.spec), abs=0.02)


def test_failures_are_grouped_by_cause_with_one_example(tmp_path, capsys):
    run(GRID, tmp_path / "r", GroundTruth(crash_rate=0.4))
    store = ResultsStore.open(tmp_path / "r")
    (plan,) = stored_plans(store)
    status = sweep_status(plan, store)
    failed = [trial_id for trial_id, state in status.states.items() if state == "failed"]
    assert len(failed) >= 2
    ((reason, count),) = [item for item in status.reasons.items() if item[0].startswith("failed")]
    assert count == len(failed)  # their texts differ in a number
    assert "RuntimeError: made to fail (draw 0." in reason
    assert status.examples[reason] in failed
    print_status([status], store)
    assert f"{count} x {reason} (trial {status.examples[reason][:8]} and others like it)" in capsys.readouterr().out


def test_an_unchanged_file_that_asks_for_other_trials_by_new_defaults_is_warned_of(tmp_path, capsys):
    console = Console()
    for folder, warns in ((None, False), (tmp_path, True), (tmp_path, False)):  # as stored before recipes, and after
        launch(parse_grid(GRID, folder=folder), str(tmp_path / "r"), here(), console)
        assert ("now asks for other trials; `training: {preset: paper}`" in capsys.readouterr().out) is warns
    assert len(ResultsStore.open(tmp_path / "r").read("trials")) == 2 * len(expand(parse_grid(GRID)).trials)
