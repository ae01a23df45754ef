"""Submit a job by its profile, look at it from outside, stop it. The launcher runs on the cluster, not here."""

from datetime import UTC, datetime

from cluster.jobs.backends import BACKENDS
from cluster.kinds.base import ENDED, JobState
from cluster.kinds.job import Job
from cluster.kinds.record import JobRecord, forget, save
from cluster.kinds.run import Runner, run_command
from cluster.profiles.profile import AnyProfile, kind_of


def dry_run(profile: AnyProfile, job: Job) -> str:
    """The very file that `submit` would submit.

    Args:
        profile: the cluster.
        job: what to run on it; see `cluster.kinds.job.make_job`.
    """
    # The first file is the one that is submitted; the others go with it.
    return next(iter(BACKENDS[kind_of(profile)].files(profile, job).values()))


def submit(profile: AnyProfile, job: Job, *, run: Runner = run_command) -> JobRecord:
    """Submit a job and remember it.

    Args:
        profile: the cluster.
        job: what to run on it; see `cluster.kinds.job.make_job`.
        run: runs the cluster's programs.

    Returns:
        What was kept of it.

    Raises:
        SubmitError: the same job is there already, a program is missing or refuses; nothing half-started is left.
    """
    kind = kind_of(profile)
    handle = BACKENDS[kind].submit(profile, job, run)  # before the record: what failed to start is not remembered
    record = JobRecord(
        kind=kind,
        name=job.name,
        sweep=job.sweep,
        results=job.results,
        folder=job.folder,
        # In UTC, so that sorting the texts sorts the times, also across a change of daylight saving.
        submitted_at=datetime.now(UTC).isoformat(timespec="seconds"),
        handle=handle,
    )
    save(record)
    return record


def status(record: JobRecord, *, run: Runner = run_command) -> JobState:
    """How a job does, in the cluster's own words. What its trials do is in the results: `sweeper status`.

    Raises:
        SubmitError: the cluster's program is missing or fails.
    """
    return BACKENDS[record.kind].state(record, run)


def stop(record: JobRecord, *, now: bool = False, run: Runner = run_command) -> str:
    """End a job. What is stored stays, and submitting again goes on from there.

    Args:
        record: the job.
        now: end at once; otherwise running trials end first, as after one Ctrl-C.
        run: runs the cluster's programs.

    Returns:
        What was done, as a sentence.

    Raises:
        SubmitError: the cluster's program is missing or fails.
    """
    state = BACKENDS[record.kind].state(record, run)
    # A ray-up job that has ended may leave its machines running, which cost money until they are stopped.
    if state.state == ENDED and record.kind != "ray-up":
        forget(record.name)
        return f"{record.name} had ended already: {state.detail}"
    BACKENDS[record.kind].stop(record, run, now=now)
    # A job that drains is still there, and can be looked at and stopped again.
    if now:
        forget(record.name)
    return f"{record.name} {'is stopped' if now else 'ends after its running trials'}"
