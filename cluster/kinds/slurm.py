"""Jobs of Slurm: submitted, looked at and ended by its own commands, here or on a login node reached by ssh."""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from cluster.errors import SubmitError
from cluster.kinds.base import ENDED, QUEUED, RUNNING, JobState
from cluster.kinds.job import Job
from cluster.kinds.record import JobRecord
from cluster.kinds.run import TIMEOUT_S, Runner, remote
from cluster.kinds.shell import umask
from cluster.kinds.slurm_script import BEGUN, LAST_WORD, SCRIPT, STOP, render
from cluster.profiles.profile import SlurmProfile


class SlurmBackend:
    """Starts, looks at and ends jobs by sbatch, squeue and scancel, on a machine that sees the job folder."""

    def files(self, profile: SlurmProfile, job: Job) -> dict[str, str]:
        """See `Backend.files`."""
        return render(profile, job)

    def submit(self, profile: SlurmProfile, job: Job, run: Runner) -> dict[str, Any]:
        """See `Backend.submit`."""
        run = there(profile.login, run)
        # Two jobs of one sweep would run its trials twice; Slurm itself would only let the second one wait.
        queue = ["squeue", "--noheader", "--me", "--name", job.name, "--format=%i %T"]
        if waiting := run(queue).split():
            raise SubmitError(f"job {job.name} is in the queue already, as {waiting[0]} ({waiting[1].lower()})")
        # An earlier submission's folder holds its logs: on failure only a folder made here is removed.
        folder = shlex.quote(job.folder)
        fresh = run(["sh", "-c", f"test -e {folder} || echo new"]).strip() == "new"
        try:
            # The script is run by every start of the job, so nobody else may change it.
            private = f"umask {umask(profile.group_readable)}"
            run(["sh", "-c", f"{private}; mkdir -p {folder}"])
            for name, content in self.files(profile, job).items():
                # By standard input, where it needs no quoting, and the same way here and by ssh.
                run(["sh", "-c", f"{private}; cat > {shlex.quote(f'{job.folder}/{name}')}"], text=content)
            # `--parsable` prints the job's number instead of a sentence; on federations number;cluster.
            number = run(["sbatch", "--parsable", f"{job.folder}/{SCRIPT}"]).strip().split(";")[0]
        except SubmitError:
            if fresh:
                with suppress(SubmitError):
                    run(["rm", "-rf", "--", job.folder])
            raise
        return {"id": number, "login": profile.login, "array": profile.array}

    def state(self, record: JobRecord, run: Runner) -> JobState:
        """See `Backend.state`."""
        run = there(record.handle.get("login"), run)
        number = record.handle["id"]
        if record.handle.get("array"):
            return self._state_of_array(record, run)
        listed = run(
            ["squeue", "--noheader", "--me", "--name", record.name, "--format=%i|%T|%M of %l|%D nodes|%R"]
        ).strip()
        # squeue lists a job no more once it has ended; sacct, which would know how, needs a database that not every
        # cluster has, so the job itself leaves a word.
        if not listed:
            word = _last_word(record, number, run) or "it left no word, so Slurm has ended it"
            return JobState(state=ENDED, detail=f"Slurm job {number}: {word}; see {record.folder}")
        job, state, *rest = listed.splitlines()[0].split("|")
        detail = f"Slurm job {job} {state.lower()}, {', '.join(rest)}"
        waits = state in ("PENDING", "REQUEUED")
        if waits and (word := _last_word(record, job, run)):
            detail += f"; {word}"
        elif state == "RUNNING" and self._is_lost(job, run):
            detail += "; its first node does not answer: it is queued again within minutes, else `sweeper stop` ends it"
        # States such as COMPLETING or CONFIGURING count as running: the job holds its nodes.
        return JobState(state=QUEUED if waits else RUNNING, detail=detail)

    def stop(self, record: JobRecord, run: Runner, *, now: bool) -> None:
        """See `Backend.stop`."""
        number = record.handle["id"]
        waiting = self.state(record, run).state == QUEUED
        run = there(record.handle.get("login"), run)
        if waiting or (not record.handle.get("array") and self._is_lost(number, run)):
            run(["scancel", number])  # there is no shell that could take a signal
            return
        if record.handle.get("array"):
            run(["scancel", "--state=PENDING", number])
        folder = shlex.quote(record.folder)
        run(
            ["sh", "-c", f"cd {folder} && cat > {STOP}.new && mv {STOP}.new {STOP}"],
            text=f"{number} {'now' if now else 'drain'}\n",
        )
        begun = run(["sh", "-c", f"cd {folder} && grep -l '^{number} {BEGUN} ' {LAST_WORD}* || true"]).split()
        # Of an array each job has a word of its own, and the number that ends its name.
        jobs = {number + word.removeprefix(LAST_WORD).replace("-", "_") for word in begun}
        listed = ["squeue", "--noheader", "--me", "--array", "--name", record.name, "--states=RUNNING", "--format=%i"]
        if jobs := jobs & set(run(listed).split()):  # some may have ended, by which scancel would fail
            run(["scancel", "--batch", f"--signal={'HUP' if now else 'USR2'}", *sorted(jobs)])

    @staticmethod
    def _state_of_array(record: JobRecord, run: Runner) -> JobState:
        number = record.handle["id"]
        # --array lists those that wait one by one.
        states = run(["squeue", "--noheader", "--me", "--array", "--name", record.name, "--format=%T"]).split()
        if not states:
            return JobState(state=ENDED, detail=f"the jobs of array {number} have ended; see {record.folder}")
        counted = ", ".join(f"{count} {state.lower()}" for state, count in sorted(Counter(states).items()))
        waiting = set(states) <= {"PENDING", "REQUEUED"}
        return JobState(state=QUEUED if waiting else RUNNING, detail=f"Slurm array {number}: {counted}")

    @staticmethod
    def _is_lost(number: str, run: Runner) -> bool:
        """Whether the node that a job's shell runs on does not answer Slurm, so that no signal reaches the shell."""
        node = run(["squeue", "--noheader", "--jobs", number, "--format=%B"]).strip()
        if not node or node == "n/a":
            return False
        state = run(["sinfo", "--noheader", "--Node", "--nodes", node, "--format=%T"]).split()
        return bool(state) and (state[0].endswith("*") or state[0].startswith(("down", "fail")))


def _last_word(record: JobRecord, number: str, run: Runner) -> str:
    """How a job said last that it stands; empty where it said nothing."""
    path = shlex.quote(f"{record.folder}/{LAST_WORD}")
    said, _, word = run(["sh", "-c", f"cat {path} 2> /dev/null || true"]).strip().partition(" ")
    return word if said == number else ""


def there(login: str | None, run: Runner) -> Runner:
    """What runs programs on the login node of a profile, or here where it names none."""
    if login is None:
        return run

    def by_ssh(
        command: Sequence[str],
        *,
        text: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> str:
        assert env is None, "variables do not pass ssh"
        return run(remote(login, shlex.join(command)), text=text, timeout_s=timeout_s)

    return by_ssh
