"""A Slurm profile and a job as one sbatch script, complete and commented."""

import shlex
import shutil
from pathlib import Path
from typing import Any

from cluster.errors import SubmitError
from cluster.kinds.base import ENDED, QUEUED, RUNNING, JobState, write_files
from cluster.kinds.job import Job, launch_command
from cluster.kinds.record import JobRecord
from cluster.kinds.run import Runner
from cluster.kinds.shell import (
    NODE_FUNCTIONS,
    OBJECT_STORE_BYTES,
    PORTS_FOR_RAY,
    array,
    assignment,
    range_size,
    script_head,
)
from cluster.profiles.profile import SlurmProfile, SshProfile

SCRIPT = "job.sbatch"
_FIRST_PORT, _LAST_PORT = 12000, 32000
"""Below the ports that the kernel hands out (32768 and up), above the usual services."""
_SAVE_S = 90
"""Of the notice before the time limit, what remains for saving and stopping after trials were asked to end
(assumption)."""

_BODY = (
    r"""
ray_ports=@RAY_PORTS@
script=$folder/job.sbatch
log=$folder/ray-%j-%N.log  # one log per node
"""
    + NODE_FUNCTIONS
    + r"""
# Runs on every node under srun: this script again, with `node` and what is to be started.
if [[ ${1:-} == node ]]; then
  address=$("${python[@]}" -m cluster.attach.address --name "$SLURMD_NODENAME" "${interface[@]}")
  temp=$temp_dir/elm-$SLURM_JOB_ID-$SLURM_STEP_ID-$SLURM_PROCID
  if [[ $2 == head ]]; then
    ray_node "$temp" "$address" "$head_cpus" --head --port="$port" --include-dashboard=false
  else
    ray_node "$temp" "$address" "$cpus" --address="$head_address"
  fi
  exit
fi

# A token of this job's own: only processes that hold it can talk to its Ray cluster. It lives in the environment of the
# job, in no file. RAY_ADDRESS of the submitting shell would lead elsewhere.
unset RAY_ADDRESS RAY_AUTH_TOKEN_PATH
RAY_AUTH_TOKEN=$("${python[@]}" -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0 PYTHONUNBUFFERED=1

# A range of ports that follows from the job's number, so that two jobs on one node do not meet.
port=$((first_port + SLURM_JOB_ID % ((last_port - first_port) / ports) * ports))
export port

launcher='' steps=() launched='' stopping='' deadline=''

drain() {  # the running trials end and are stored; what is not done in time is saved and stopped
  stopping=$1
  deadline=$((SECONDS + drain_s))
  say "$1: no new trials"
  [[ -z $launcher ]] || kill -INT "$launcher" 2> /dev/null || true
}
trap 'drain "the time limit is near"' USR1  # sent by Slurm, see --signal above
trap 'drain "told to stop"' USR2            # sent by `sweeper stop`
trap 'stopping=cancelled; deadline=0' TERM  # preemption, scancel: save and stop at once

stop_cluster() {
  trap '' USR1 USR2 TERM
  end_processes TERM 60 ${launcher:+"$launcher"}
  end_processes USR1 45 "${steps[@]}"  # srun passes it on; each node stops its own Ray and nobody else's
}
trap stop_cluster EXIT

start_nodes() {  # start_nodes COUNT head|worker SRUN_OPTION...
  local count=$1 role=$2
  shift 2
  srun --nodes="$count" --ntasks="$count" --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" "${gres[@]}" \
    --cpu-bind=none --kill-on-bad-exit=0 --no-kill --wait=0 --output="$log" "$@" bash "$script" node "$role" &
  steps+=("$!")
}
wait_for() {  # wait_for NODES AT_LEAST: readiness is asked for, not slept for
  patiently "${python[@]}" -m cluster.attach.ready --address "$head_address" --nodes "$1" --at-least "$2" \
    --timeout "$start_timeout" --while-pid "${steps[0]}" \
    || [[ -n $stopping ]] || fail "the Ray cluster did not come up; see $folder/ray-$SLURM_JOB_ID-*.log"
}

say "job $SLURM_JOB_ID, start ${SLURM_RESTART_COUNT:-0}, on $SLURM_JOB_NODELIST"
head_address=$("${python[@]}" -m cluster.attach.address --name "$SLURMD_NODENAME" "${interface[@]}"):$port
export head_address
start_nodes 1 head --nodelist="$SLURMD_NODENAME"
wait_for 1 1
if ((nodes > 1)) && [[ -z $stopping ]]; then
  start_nodes "$((nodes - 1))" worker --exclude="$SLURMD_NODENAME"
  wait_for "$nodes" "$min_nodes"
fi

# The sweep itself. Launching again runs only what has no row yet, so every start of this job is a resume.
status=0
if [[ -z $stopping ]]; then
  "${python[@]}" "${launch[@]}" --cluster "$head_address" &
  launcher=$! launched=yes
  await_launcher || status=$?
  launcher=''
fi
say "the launcher ended with status $status${stopping:+ ($stopping)}"

if [[ $stopping == "the time limit is near" && ($status != 0 || -z $launched) ]]; then
  ((${SLURM_RESTART_COUNT:-0} < max_requeues)) || fail "started $max_requeues times already; submit again to go on"
  stop_cluster
  say "queued again, to go on where this start ended"
  scontrol requeue "$SLURM_JOB_ID" || fail "Slurm refuses to requeue; go on with: sbatch $script"
  exit 0
fi
[[ $stopping != "told to stop" ]] || exit 0
exit "$status"
"""
)


def render(profile: SlurmProfile, job: Job) -> dict[str, str]:
    """Write the files of a job.

    Args:
        profile: the cluster.
        job: what to run on it.

    Returns:
        Text by file name, all for the job's folder; `job.sbatch` is what is submitted.
    """
    return {
        # By `replace` and not as an f-string, in which every brace of bash would have to be doubled.
        SCRIPT: "\n".join(_head(profile, job)) + _BODY.replace("@RAY_PORTS@", str(PORTS_FOR_RAY)),
        **job.texts,
    }


def submit_command(job: Job) -> list[str]:
    """What queues the job; prints its number."""
    # `--parsable` prints the job's number alone instead of a sentence.
    return ["sbatch", "--parsable", f"{job.folder}/{SCRIPT}"]


def _head(profile: SlurmProfile, job: Job) -> list[str]:
    return script_head(
        [
            f"# Sweep {job.sweep} on {profile.nodes} node(s): starts a Ray cluster of its own, sweeps, stops it.",
            f"# Written by `sweeper launch --cluster` from profile {profile.name}. Submit again with: sbatch {SCRIPT}",
            "#",
            *_directives(profile, job),
        ],
        [
            assignment("folder", job.folder),
            array("launch", launch_command(job)),
            array("python", _interpreter(profile, job)),
            *sizes(profile),
            f"object_store={OBJECT_STORE_BYTES}",
            f"first_port={_FIRST_PORT} last_port={_LAST_PORT} ports={range_size(profile.cpus_per_node)}",
            f"start_timeout={profile.start_timeout} drain_s={max(1, profile.stop_notice - _SAVE_S)} "
            f"max_requeues={profile.max_requeues}",
            assignment("temp_dir", profile.temp_dir),
            array("interface", ["--interface", profile.interface] if profile.interface else []),
            array("gres", [f"--gres={gres}"] if (gres := _gres(profile)) else []),
        ],
        profile.env,
        modules=_modules(profile),
    )


def _directives(profile: SlurmProfile, job: Job) -> list[str]:
    options: dict[str, str | bool | int | None] = {
        "job-name": job.name,
        "dependency": "singleton",  # one job of this name at a time: two launchers would run trials twice
        "nodes": profile.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": profile.cpus_per_node,
        "gres": _gres(profile),
        "mem": f"{profile.memory_per_node}M",
        "time": slurm_time(profile.time_limit),
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "output": f"{job.folder}/slurm-%j.out",
        "open-mode": "append",  # a job that queues itself again goes on in its log
        # Without it `scontrol requeue`, by which a job goes on after its time limit, is refused.
        "requeue": True,
        "no-kill": True,  # the loss of one node does not end the job
        "signal": f"B:USR1@{profile.stop_notice}",  # B: to the batch shell alone, which tells the launcher
        **profile.directives,  # last, so that a profile may overrule any of these
    }
    return [
        f"#SBATCH --{key}" if value is True else f"#SBATCH --{key}={shlex.quote(str(value))}"
        for key, value in options.items()
        if value is not None
    ]


def _interpreter(profile: SlurmProfile, job: Job) -> list[str]:
    if profile.container is None:
        return [profile.python]
    # What a job reads and writes must be seen inside; a URI of results is no path.
    visible = [job.folder, *([job.results] if job.results.startswith("/") else []), *profile.container_binds]
    binds = [part for path in dict.fromkeys([*visible, profile.temp_dir]) for part in ("--bind", path)]
    gpu = ["--nv"] if profile.gpus_per_node else []  # brings the host's driver into the container
    return [profile.container_command, "exec", *gpu, *binds, profile.container, profile.python]


def _modules(profile: SlurmProfile) -> list[str]:
    if not profile.modules:
        return []
    loads = [f"module load {shlex.quote(module)}" for module in profile.modules]
    return ["set +u  # what modules run is not written for it", *loads, "set -u"]


def _gres(profile: SlurmProfile) -> str | None:
    if profile.gpus_per_node == 0:
        return None
    return ":".join(["gpu", *([profile.gpu_type] if profile.gpu_type else []), str(profile.gpus_per_node)])


def sizes(profile: SlurmProfile | SshProfile) -> list[str]:
    """Assignments of the numbers of nodes and of what each has."""
    # From 8 cores on, one core less costs little (assumption).
    cpus, head = profile.cpus_per_node, profile.cpus_per_node - (profile.cpus_per_node >= 8)
    return [
        f"nodes={profile.nodes} min_nodes={profile.min_nodes} cpus={cpus} gpus={profile.gpus_per_node}",
        f"head_cpus={head}  # where there are many cores, the launcher and the queue of trials get one",
    ]


def slurm_time(seconds: int) -> str:
    """A time span as Slurm writes it, ``days-hours:minutes:seconds``."""
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days}-{clock}" if days else clock


class SlurmBackend:
    """Starts, looks at and ends jobs by sbatch, squeue and scancel, on a machine that sees the job folder."""

    def files(self, profile: SlurmProfile, job: Job) -> dict[str, str]:
        """See `Backend.files`."""
        return render(profile, job)

    def submit(self, profile: SlurmProfile, job: Job, run: Runner) -> dict[str, Any]:
        """See `Backend.submit`."""
        # Two jobs of one sweep would run its trials twice; Slurm itself would only let the second one wait.
        queue = ["squeue", "--noheader", "--me", "--name", job.name, "--format=%i %T"]
        if waiting := run(queue).split():
            raise SubmitError(f"job {job.name} is in the queue already, as {waiting[0]} ({waiting[1].lower()})")
        # An earlier submission's folder holds its logs: on failure only a folder made here is removed.
        folder, fresh = Path(job.folder), not Path(job.folder).exists()
        try:
            # For the user alone: the script is run by every start of the job, so nobody else may change it.
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_files(folder, self.files(profile, job))
            number = run(submit_command(job)).strip().split(";")[0]  # on federations sbatch prints number;cluster
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
        # squeue lists a job no more once it has ended; sacct, which would know how, needs a database that not every
        # cluster has.
        if not listed:
            return JobState(state=ENDED, detail=f"Slurm job {number} has left the queue; see {record.folder}")
        job, state, *rest = listed.splitlines()[0].split("|")
        detail = f"Slurm job {job} {state.lower()}, {', '.join(rest)}"
        # States such as COMPLETING or CONFIGURING count as running: the job holds its nodes.
        return JobState(state=QUEUED if state in ("PENDING", "REQUEUED") else RUNNING, detail=detail)

    def stop(self, record: JobRecord, run: Runner, *, now: bool) -> None:
        """See `Backend.stop`."""
        number = record.handle["id"]
        waiting = self.state(record, run).state == QUEUED
        # A waiting job has no shell that could take the signal.
        run(["scancel", number] if now or waiting else ["scancel", "--batch", "--signal=USR2", number])
