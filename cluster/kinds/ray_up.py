"""A ray-up profile and a job as a cluster file of Ray's cluster launcher, for AWS and Google Cloud."""

import os
import posixpath
import shlex
import shutil
import sys
from pathlib import Path
from typing import Any

from cluster.errors import ClusterError, SubmitError
from cluster.kinds.base import ENDED, RUNNING, JobState, write_files
from cluster.kinds.job import Job, launch_command
from cluster.kinds.record import JobRecord, state_folder
from cluster.kinds.run import Runner
from cluster.kinds.shell import OBJECT_STORE_BYTES, range_size
from cluster.kinds.yaml_text import commented_yaml
from cluster.profiles.profile import RayUpProfile

CLUSTER = "ray-up.yml"  # no grid file is called so
TOKEN = "~/.ray/auth_token"
"""Where Ray keeps the token of its user; `ray get-auth-token --generate` makes it. Its text is in no file of ours."""
_PORT = 6379
"""Ray's usual port; the machines are this job's alone."""
CLOUD_PACKAGES = {"aws": "boto3", "gcp": "google-api-python-client google-cloud-compute"}
"""What Ray's autoscaler needs on the head to start and stop machines."""


def render(profile: RayUpProfile, job: Job, *, local_folder: str = ".") -> dict[str, str]:
    """Write the files of a job.

    Args:
        profile: the machines.
        job: what to run on them.
        local_folder: where these files will lie on this machine.

    Returns:
        Text by file name; `ray-up.yml` is what `ray up` reads.
    """
    value = {
        "cluster_name": job.name,
        "max_workers": profile.nodes,
        "idle_timeout_minutes": round(profile.idle_timeout / 60, 2),
        "provider": _provider(profile),
        "auth": {"ssh_user": profile.ssh_user},
        "docker": {
            "image": profile.image,
            "container_name": "elm_sweeper",
            "pull_before_run": True,
            # Docker gives 64 MiB of shared memory, less than Ray's object store.
            "run_options": ["--ulimit nofile=65536:65536", "--shm-size=1g"],
        },
        "available_node_types": {"head": _head(profile), "worker": _worker(profile)},
        "head_node_type": "head",
        "file_mounts": {
            **{f"{job.folder}/{name}": posixpath.join(local_folder, name) for name in job.texts},
            # Absolute, because people may use the file by hand later, from another folder.
            f"{job.folder}/{os.path.basename(profile.wheel)}": os.path.abspath(profile.wheel),
            TOKEN: TOKEN,
        },
        "setup_commands": [f"pip install {shlex.quote(f'{job.folder}/{os.path.basename(profile.wheel)}[all]')}"],
        "head_setup_commands": [f"pip install {CLOUD_PACKAGES[profile.provider]}"],
        "head_start_ray_commands": _start(profile, head=True),
        "worker_start_ray_commands": _start(profile, head=False),
    }
    header = (
        f"# Sweep {job.sweep} on up to {profile.nodes} machine(s) of {profile.provider}.\n"
        f"# Written by `sweeper launch --cluster` from profile {profile.name}. By hand:\n"
        f"#   ray up -y {CLUSTER}      start or update\n"
        f"#   ray down -y {CLUSTER}    stop everything and stop paying\n"
    )
    return {CLUSTER: header + commented_yaml(value, _comments(profile)), **job.texts}


def launch_line(profile: RayUpProfile, job: Job) -> str:
    """The command that runs the sweep on the head, with what it prints kept in launch.log."""
    # Loop-back, because the head's own address is known to the cloud only once it runs.
    command = shlex.join(["python", *launch_command(job), "--cluster", f"127.0.0.1:{_PORT}"])
    # Appended, so that a second launch on the same machines keeps what the first one said.
    return f"{_exports(profile)}{command} 2>&1 | tee -a {shlex.quote(f'{job.folder}/launch.log')}"


def check_local_files(profile: RayUpProfile) -> None:
    """Make sure that what `ray up` copies to the machines is there.

    Raises:
        ClusterError: the wheel or the token is missing.
    """
    if not os.path.isfile(profile.wheel):
        raise ClusterError(f"wheel: {profile.wheel} does not exist; make it with `python -m build --wheel`")
    if not os.path.isfile(os.path.expanduser(TOKEN)):
        raise ClusterError(f"{TOKEN} does not exist; make it with `ray get-auth-token --generate`")


def _provider(profile: RayUpProfile) -> dict[str, Any]:
    return {
        "type": profile.provider,
        "region": profile.region,
        **({"availability_zone": profile.zone} if profile.zone else {}),
        **({"project_id": profile.project} if profile.project else {}),
        # Else Ray stops AWS machines instead of terminating them, and their disks are paid for.
        **({"cache_stopped_nodes": False} if profile.provider == "aws" else {}),
    }


def _head(profile: RayUpProfile) -> dict[str, Any]:
    # Without CPUs for Ray: a trial on the head could take its memory, and with it the launcher and the queue.
    return {"resources": {"CPU": 0}, "node_config": _machine(profile, profile.head_type, worker=False)}


def _worker(profile: RayUpProfile) -> dict[str, Any]:
    gpus = {"GPU": profile.gpus_per_node} if profile.gpus_per_node else {}
    return {
        "min_workers": profile.min_nodes,
        "max_workers": profile.nodes,
        "resources": {"CPU": profile.cpus_per_node, **gpus},
        "node_config": _machine(profile, profile.worker_type, worker=True),
    }


def _machine(profile: RayUpProfile, machine_type: str, *, worker: bool) -> dict[str, Any]:
    if profile.provider == "aws":
        role = profile.worker_instance_profile if worker else profile.head_instance_profile
        disk = {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": profile.disk_gb, "VolumeType": "gp3"}}
        return {
            "InstanceType": machine_type,
            **({"ImageId": profile.machine_image} if profile.machine_image else {}),
            "BlockDeviceMappings": [disk],
            **({"InstanceMarketOptions": {"MarketType": "spot"}} if worker and profile.spot else {}),
            # Ray makes a role for the head, which may start machines, and none for workers: they could not write.
            **({"IamInstanceProfile": _named(role)} if role else {}),
        }
    gpus = worker and profile.gpus_per_node > 0
    scheduling = [
        *([{"preemptible": True}] if worker and profile.spot else []),
        # Google Cloud moves machines to other hosts for maintenance, which those with GPUs cannot be.
        *([{"onHostMaintenance": "TERMINATE"}] if gpus else []),
    ]
    image = {"diskSizeGb": profile.disk_gb, "sourceImage": profile.machine_image}
    accelerator = {"acceleratorType": profile.gpu_type, "acceleratorCount": profile.gpus_per_node}
    driver = {"items": [{"key": "install-nvidia-driver", "value": "True"}]}
    return {
        "machineType": machine_type,
        "disks": [{"boot": True, "autoDelete": True, "type": "PERSISTENT", "initializeParams": image}],
        **({"guestAccelerators": [accelerator], "metadata": driver} if gpus else {}),
        **({"scheduling": scheduling} if scheduling else {}),
    }


def _named(role: str) -> dict[str, str]:
    return {"Arn" if role.startswith("arn:") else "Name": role}


def _exports(profile: RayUpProfile) -> str:
    variables = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", **profile.env}
    return " ".join(["export", *(f"{name}={shlex.quote(value)}" for name, value in variables.items())]) + "; "


def _start(profile: RayUpProfile, *, head: bool) -> list[str]:
    first = 20000  # one job a machine, so a fixed range will do
    ports = f"--min-worker-port={first} --max-worker-port={first + range_size(profile.cpus_per_node) - 1}"
    where = (
        f"--head --port={_PORT} --num-cpus=0 --num-gpus=0 --include-dashboard=false "
        "--autoscaling-config=~/ray_bootstrap_config.yaml"
        if head
        else f"--address=$RAY_HEAD_IP:{_PORT}"
    )
    # `ray up` runs this again when it updates machines, whose Ray has to go first.
    return ["ray stop", f"{_exports(profile)}ray start {where} {ports} --object-store-memory={OBJECT_STORE_BYTES}"]


def _comments(profile: RayUpProfile) -> dict[str, str]:
    lost = "Spot machines: one that is taken away costs its running trials' time since their last checkpoint."
    return {
        "idle_timeout_minutes": "Workers that no lane needs any more are given back after this time.",
        "docker": "Everything runs in this image; its Ray must be the version of the machine that submits.",
        "available_node_types.head": "The launcher and the queue of trials; never a spot machine, and no trials on it.",
        "available_node_types.worker": lost if profile.spot else "Machines for lanes.",
        "file_mounts": "The grid, this package, and the token that lets only its holder talk to the Ray cluster.",
        "head_start_ray_commands": "These machines are this job's alone, so `ray stop` ends nobody else's Ray.",
    }


# The ray of this very interpreter: another one on the PATH may be of another version.
_RAY = [sys.executable, "-m", "ray.scripts.scripts"]


_MACHINES_S = 1800.0
"""Seconds that a cloud may take to start the head machine."""


class RayUpBackend:
    """Starts, looks at and ends jobs by Ray's cluster launcher, whose file stays here because stopping needs it."""

    def files(self, profile: RayUpProfile, job: Job) -> dict[str, str]:
        """See `Backend.files`."""
        return render(profile, job, local_folder=str(self._folder(job.name)))

    def submit(self, profile: RayUpProfile, job: Job, run: Runner) -> dict[str, Any]:
        """See `Backend.submit`."""
        # Before anything is started: `ray up` would find out when machines are running and paid for.
        check_local_files(profile)
        folder = self._folder(job.name)
        cluster = str(folder / CLUSTER)
        if folder.exists() and self._look(cluster, job.folder, run).state == RUNNING:
            raise SubmitError(f"job {job.name} runs already; `sweeper stop {job.name}` ends it")
        # On this machine and not on the head: `ray down` needs the file when the head may be gone.
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_files(folder, self.files(profile, job))
        end = ["--stop"] if profile.stop_when_done else []
        # `up` must not take the head's configuration from an earlier cluster of this name: hence no cache.
        try:
            run([*_RAY, "up", "-y", "--no-config-cache", cluster], timeout_s=_MACHINES_S)
            # In tmux on the head, so that this terminal may be closed.
            run([*_RAY, "exec", cluster, launch_line(profile, job), "--tmux", *end], timeout_s=_MACHINES_S)
        except (SubmitError, KeyboardInterrupt) as error:  # machines that nobody looks after cost money
            self._take_back(cluster, run, error)
            raise
        return {"cluster": cluster}

    @staticmethod
    def _take_back(cluster: str, run: Runner, error: BaseException) -> None:
        """Stop the machines of a job that could not be started, or say how a person can."""
        try:
            run([*_RAY, "down", "-y", cluster], timeout_s=_MACHINES_S)
        except (SubmitError, KeyboardInterrupt) as left:
            raise SubmitError(
                f"{str(error) or 'interrupted'}; machines may have started, and stopping them did not end well "
                f"({str(left) or 'interrupted'}): run `ray down -y {cluster}`, or they cost money on"
            ) from error
        # Only after `down`, which reads the file: without it nobody could end the machines any more.
        shutil.rmtree(os.path.dirname(cluster))

    def state(self, record: JobRecord, run: Runner) -> JobState:
        """See `Backend.state`."""
        return self._look(record.handle["cluster"], record.folder, run)

    @staticmethod
    def _look(cluster: str, job_folder: str, run: Runner) -> JobState:
        log = shlex.quote(f"{job_folder}/launch.log")
        if not os.path.exists(cluster):
            return JobState(state=ENDED, detail="its machines were stopped")
        try:
            look = f"tail -n 1 {log}; python -m cluster.attach.interrupt --look"
            last = run([*_RAY, "exec", cluster, look])
        except SubmitError as error:
            return JobState(state=ENDED, detail=f"its head machine does not answer ({error})")
        line = next((x for x in reversed(last.splitlines()) if x.strip() and x != "@on"), "no output yet")
        return JobState(state=RUNNING if "@on" in last else ENDED, detail=line)

    def stop(self, record: JobRecord, run: Runner, *, now: bool) -> None:
        """See `Backend.stop`."""
        cluster = record.handle["cluster"]
        if not now:
            # As one Ctrl-C: running trials are finished first.
            run([*_RAY, "exec", cluster, "python -m cluster.attach.interrupt"])
            return
        run([*_RAY, "down", "-y", cluster], timeout_s=_MACHINES_S)
        # Only after `down`, which reads the file: without it nobody could end the machines any more.
        shutil.rmtree(os.path.dirname(cluster))

    @staticmethod
    def _folder(name: str) -> Path:
        return state_folder() / name
