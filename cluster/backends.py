"""What each kind of cluster needs to start a job, to say how it does, and to end it."""

import json
import os
import secrets
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cluster import kuberay, ray_up, slurm, ssh
from cluster.errors import ClusterError, SubmitError
from cluster.job import Job
from cluster.profile import KubeRayProfile, RayUpProfile, SlurmProfile, SshProfile
from cluster.record import JobRecord, state_folder
from cluster.run import Runner

QUEUED, RUNNING, ENDED = "queued", "running", "ended"
_CONFIG_MAP_LIMIT = 1_000_000
_RAY = [sys.executable, "-m", "ray.scripts.scripts"]
_MACHINES_S = 1800.0
"""Seconds that a cloud may take to start the head machine."""


@dataclass(frozen=True, kw_only=True)
class JobState:
    """How a job does, seen from outside."""

    state: str
    """`queued`, `running` or `ended`."""
    detail: str
    """One line in the cluster's own words."""


class Backend(Protocol):
    """One kind of cluster."""

    def files(self, profile: Any, job: Job) -> dict[str, str]:
        """Files of the job; the first is the one to show."""

    def submit(self, profile: Any, job: Job, run: Runner) -> dict[str, Any]:
        """Start the job and return what finds it again; leave nothing behind on failure."""

    def state(self, record: JobRecord, run: Runner) -> JobState:
        """Look at the job."""

    def stop(self, record: JobRecord, run: Runner, *, now: bool) -> None:
        """End the job: at once, or after its running trials."""


class SlurmBackend:
    """sbatch, squeue, scancel; on a machine that has them and sees the job folder."""

    def files(self, profile: SlurmProfile, job: Job) -> dict[str, str]:
        """See `Backend.files`."""
        return slurm.render(profile, job)

    def submit(self, profile: SlurmProfile, job: Job, run: Runner) -> dict[str, Any]:
        """See `Backend.submit`."""
        queue = ["squeue", "--noheader", "--me", "--name", job.name, "--format=%i %T"]
        if waiting := run(queue).split():
            raise SubmitError(f"job {job.name} is in the queue already, as {waiting[0]} ({waiting[1].lower()})")
        folder, fresh = Path(job.folder), not Path(job.folder).exists()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write(folder, self.files(profile, job))
            number = run(slurm.submit_command(job)).strip().split(";")[0]
        except (OSError, SubmitError) as error:
            if fresh:
                shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError):
                raise SubmitError(f"{job.folder}: cannot be written: {error.strerror or error}") from error
            raise
        return {"id": number}

    def state(self, record: JobRecord, run: Runner) -> JobState:
        """See `Backend.state`."""
        number = record.handle["id"]
        listed = run(
            ["squeue", "--noheader", "--me", "--name", record.name, "--format=%i|%T|%M of %l|%D nodes|%R"]
        ).strip()
        if not listed:
            return JobState(state=ENDED, detail=f"Slurm job {number} has left the queue; see {record.folder}")
        job, state, *rest = listed.splitlines()[0].split("|")
        detail = f"Slurm job {job} {state.lower()}, {', '.join(rest)}"
        return JobState(state=QUEUED if state in ("PENDING", "REQUEUED") else RUNNING, detail=detail)

    def stop(self, record: JobRecord, run: Runner, *, now: bool) -> None:
        """See `Backend.stop`."""
        number = record.handle["id"]
        waiting = self.state(record, run).state == QUEUED
        run(["scancel", number] if now or waiting else ["scancel", "--batch", "--signal=USR2", number])


class KubeRayBackend:
    """kubectl."""

    def files(self, profile: KubeRayProfile, job: Job) -> dict[str, str]:
        """See `Backend.files`."""
        if len(job.grid_text.encode()) > _CONFIG_MAP_LIMIT:
            raise ClusterError("the grid is larger than the 1 MB that a ConfigMap may hold")
        return kuberay.render(profile, job)

    def submit(self, profile: KubeRayProfile, job: Job, run: Runner) -> dict[str, Any]:
        """See `Backend.submit`."""
        kubectl = ["kubectl", *kuberay.scope(profile)]
        handle = {"kubectl": kubectl}
        before = self._status(kubectl, job.name, run)
        if before is not None and before.state != ENDED:
            raise SubmitError(f"job {job.name} is on the cluster already ({before.detail})")
        manifest = self.files(profile, job)[kuberay.MANIFEST]
        if before is not None:  # a RayJob that has ended does not start again when it is applied again
            run([*kubectl, "delete", "rayjob", job.name, "--wait=true"])
        try:
            run([*kubectl, "apply", "-f", "-"], text=manifest)
        except SubmitError:
            self._delete(kubectl, job.name, run)
            raise
        return handle

    def state(self, record: JobRecord, run: Runner) -> JobState:
        """See `Backend.state`."""
        found = self._status(record.handle["kubectl"], record.name, run)
        return found or JobState(state=ENDED, detail=f"there is no RayJob {record.name} any more")

    def stop(self, record: JobRecord, run: Runner, *, now: bool) -> None:
        """See `Backend.stop`. Pods get the grace period of the manifest to save; draining needs a shell in the head."""
        kubectl = list(record.handle["kubectl"])
        if now:
            self._delete(kubectl, record.name, run)
            return
        labels = f"{kuberay.LABEL}={record.name},ray.io/node-type=head"
        pods = run([*kubectl, "get", "pods", "-l", labels, "-o", "name"]).split()
        if not pods:
            raise SubmitError(f"{record.name}: has no head pod yet; stop it with --now")
        drain = "pkill -INT -f '^[^ ]*python[^ ]* -m sweeper.cli launch'"
        run([*kubectl, "exec", pods[0], "-c", "ray-head", "--", "bash", "-c", drain])

    @staticmethod
    def _status(kubectl: list[str], name: str, run: Runner) -> JobState | None:
        text = run([*kubectl, "get", "rayjob", name, "--ignore-not-found", "-o", "json"])
        if not text.strip():
            return None
        status = json.loads(text).get("status", {})
        deployment, job = status.get("jobDeploymentStatus", ""), status.get("jobStatus", "")
        detail = " ".join(filter(None, (f"RayJob {name}:", deployment or "new", job, status.get("message", ""))))
        if deployment in ("Complete", "Failed"):
            return JobState(state=ENDED, detail=detail)
        return JobState(state=RUNNING if job == "RUNNING" else QUEUED, detail=detail)

    @staticmethod
    def _delete(kubectl: list[str], name: str, run: Runner) -> None:
        for what in ("rayjob", "networkpolicy", "configmap"):
            run([*kubectl, "delete", what, name, "--ignore-not-found", "--wait=false"])


class RayUpBackend:
    """Ray's cluster launcher; its file stays on this machine, and stopping needs it."""

    def files(self, profile: RayUpProfile, job: Job) -> dict[str, str]:
        """See `Backend.files`."""
        return ray_up.render(profile, job, local_folder=str(self._folder(job.name)))

    def submit(self, profile: RayUpProfile, job: Job, run: Runner) -> dict[str, Any]:
        """See `Backend.submit`."""
        ray_up.check_local_files(profile)
        folder = self._folder(job.name)
        cluster = str(folder / ray_up.CLUSTER)
        if folder.exists() and self._look(cluster, job.folder, run).state == RUNNING:
            raise SubmitError(f"job {job.name} runs already; `sweeper stop {job.name}` ends it")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(folder, self.files(profile, job))
        end = ["--stop"] if profile.stop_when_done else []
        try:
            run([*_RAY, "up", "-y", "--no-config-cache", cluster], timeout_s=_MACHINES_S)
            run([*_RAY, "exec", cluster, ray_up.launch_line(profile, job), "--tmux", *end], timeout_s=_MACHINES_S)
        except SubmitError:
            run([*_RAY, "down", "-y", cluster], timeout_s=_MACHINES_S)
            shutil.rmtree(folder)
            raise
        return {"cluster": cluster}

    def state(self, record: JobRecord, run: Runner) -> JobState:
        """See `Backend.state`."""
        return self._look(record.handle["cluster"], record.folder, run)

    @staticmethod
    def _look(cluster: str, job_folder: str, run: Runner) -> JobState:
        log = shlex.quote(f"{job_folder}/launch.log")
        if not os.path.exists(cluster):
            return JobState(state=ENDED, detail="its machines were stopped")
        try:
            last = run(
                [*_RAY, "exec", cluster, f"tail -n 1 {log}; pgrep -f 'sweeper.cli launch' > /dev/null && echo @on"]
            )
        except SubmitError as error:
            return JobState(state=ENDED, detail=f"its head machine does not answer ({error})")
        line = next((x for x in reversed(last.splitlines()) if x.strip() and x != "@on"), "no output yet")
        return JobState(state=RUNNING if "@on" in last else ENDED, detail=line)

    def stop(self, record: JobRecord, run: Runner, *, now: bool) -> None:
        """See `Backend.stop`."""
        cluster = record.handle["cluster"]
        if not now:
            run([*_RAY, "exec", cluster, "pkill -INT -f 'sweeper.cli launch'"])
            return
        run([*_RAY, "down", "-y", cluster], timeout_s=_MACHINES_S)
        shutil.rmtree(os.path.dirname(cluster))

    @staticmethod
    def _folder(name: str) -> Path:
        return state_folder() / name


class SshBackend:
    """ssh to each machine."""

    def files(self, profile: SshProfile, job: Job) -> dict[str, str]:
        """See `Backend.files`."""
        return ssh.render(profile, job)

    def submit(self, profile: SshProfile, job: Job, run: Runner) -> dict[str, Any]:
        """See `Backend.submit`."""
        files = self.files(profile, job)
        token = secrets.token_hex(32) + "\n"
        script = shlex.quote(ssh.script_path(job.folder))
        try:
            for host in profile.hosts:  # every machine is reached before anything runs on one
                run(ssh.remote(host, f"mkdir -p -m 700 {shlex.quote(job.folder)}"))
                for name, content in files.items():
                    run(ssh.remote(host, f"umask 077; cat > {shlex.quote(f'{job.folder}/{name}')}"), text=content)
            for host in profile.hosts:
                role = "head" if host == profile.hosts[0] else "worker"
                run(ssh.remote(host, f"bash {script} start {role}"), text=token)
        except SubmitError as error:
            if "runs here already" not in str(error):
                self._everywhere(profile.hosts, f"test ! -e {script} || bash {script} stop", run, strict=False)
            raise
        return {"hosts": list(profile.hosts)}

    def state(self, record: JobRecord, run: Runner) -> JobState:
        """See `Backend.state`."""
        head = record.handle["hosts"][0]
        said = run(ssh.remote(head, f"bash {shlex.quote(ssh.script_path(record.folder))} status"))
        lines = [line for line in said.splitlines() if line.strip()]
        running = bool(lines) and " running as process" in lines[0]
        return JobState(state=RUNNING if running else ENDED, detail=f"{head}: {lines[-1] if lines else 'no answer'}")

    def stop(self, record: JobRecord, run: Runner, *, now: bool) -> None:
        """See `Backend.stop`. Draining is the head's affair; the workers end when it has gone."""
        script = shlex.quote(ssh.script_path(record.folder))
        hosts = record.handle["hosts"]
        self._everywhere(hosts if now else hosts[:1], f"bash {script} {'stop' if now else 'drain'}", run, strict=True)

    @staticmethod
    def _everywhere(hosts: Any, command: str, run: Runner, *, strict: bool) -> None:
        failed = []
        for host in hosts:
            try:
                run(ssh.remote(host, command))
            except SubmitError as error:
                failed.append(f"{host}: {error}")
        if failed and strict:
            raise SubmitError("; ".join(failed))


BACKENDS: Mapping[str, Backend] = {
    "slurm": SlurmBackend(),
    "kuberay": KubeRayBackend(),
    "ray-up": RayUpBackend(),
    "ssh": SshBackend(),
}


def _write(folder: Path, files: Mapping[str, str]) -> None:
    for name, content in files.items():
        (folder / name).write_text(content, encoding="utf-8")
