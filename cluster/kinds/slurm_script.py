"""A Slurm profile and a job as one sbatch script, complete and commented. `cluster.kinds.slurm` submits it."""

import shlex
from dataclasses import replace

from cluster.kinds.job import Job, launch_command
from cluster.kinds.shell import (
    NODE_FUNCTIONS,
    OBJECT_STORE_BYTES,
    PORTS_FOR_RAY,
    array,
    assignment,
    range_size,
    script_head,
    sizes,
)
from cluster.profiles.profile import SlurmProfile

SCRIPT = "job.sbatch"
LAST_WORD = "last-word"
"""Name of the file in a job's folder in which the job says how it stands: its number, then a sentence."""
STOP = "stop"
"""Name of the file in which `sweeper stop` tells a job to end: its number, then `now` or `drain`."""
BEGUN = "started"
"""First word of the sentence with which a job begins: from then on its shell hears signals."""
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
if ((array_tasks)); then
  # Every job of the array takes what no other has, and has files of its own.
  launch+=(--share "$SLURM_ARRAY_TASK_ID/$array_tasks")
  part=-$SLURM_ARRAY_TASK_ID
else
  part=''
fi
job=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}  # as `sweeper jobs` knows it
"""
    + NODE_FUNCTIONS
    + r"""
# Say how the job stands, and leave it for `sweeper jobs`, which asks when Slurm does not know the job any more.
note() {
  say "$1"
  printf '%s %s\n' "$job" "$1" > "$folder/@LAST_WORD@$part.$$"
  mv -- "$folder/@LAST_WORD@$part.$$" "$folder/@LAST_WORD@$part"
}

# Queue this job again if its first node is lost. Where the batch shell lives it ends the other nodes too. Where its
# machine is lost, nobody would: with --no-kill, by which other nodes may be lost, Slurm keeps the job until its limit.
again_without_head() {
  case $(sinfo --noheader --Node --nodes="$head_node" --format=%T | head -n 1) in
    *'*' | down* | fail*)  # a star means that Slurm has no answer from there
      note "queued again: $head_node, the first node of the job, is lost"
      scontrol requeue "$SLURM_JOB_ID" || true ;;  # another node may have been quicker
  esac
}

# Runs on every node under srun: this script again, with `node` and what is to be started.
if [[ ${1:-} == node ]]; then
  trap 'exit 0' USR1 TERM  # the job ends before there is a Ray here
  address=$(undisturbed "${python[@]}" -m cluster.attach.address --name "$SLURMD_NODENAME" "${interface[@]}")
  temp=$temp_dir/elm-$SLURM_JOB_ID-$SLURM_STEP_ID-$SLURM_PROCID
  if [[ $2 == head ]]; then
    ray_node "$temp" "$address" "$head_cpus" --head --port="$port" --include-dashboard=false
    exit
  fi
  looks=0
  until undisturbed timeout 5 bash -c ': < "/dev/tcp/$0/$1"' "${head_address%:*}" "${head_address##*:}" 2> /dev/null; do
    if ((++looks % 8 == 0)); then again_without_head; fi
    nap 2
  done
  status=0
  ray_node "$temp" "$address" "$cpus" --address="$head_address" || status=$?
  [[ $status == "$head_is_gone" ]] || exit "$status"
  trap 'exit 0' USR1
  while [[ $(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T 2> /dev/null) == RUNNING ]]; do
    again_without_head
    sleep 15 &
    wait "$!" || true  # a trap ends it early, by leaving
  done
  exit 0
fi

launcher='' steps=() launched='' stopping='' deadline=''

drain() {  # the running trials end and are stored; what is not done in time is saved and stopped
  stopping=$1
  deadline=$((SECONDS + drain_s))
  say "$1: no new trials"
  [[ -z $launcher ]] || kill -INT "$launcher" 2> /dev/null || true
}
leave() {  # the running trials are saved and stopped
  stopping=$1 deadline=0
  say "$1: the running trials are saved"
}
trap 'drain "the time limit is near"' USR1  # sent by Slurm, see --signal above
trap 'drain "told to stop"' USR2            # sent by `sweeper stop`
trap 'leave "told to stop now"' HUP         # sent by `sweeper stop --now`
trap 'leave "told by Slurm to end"' TERM    # preemption, scancel; Slurm tells every process of the job

# A token of this job's own: only processes that hold it can talk to its Ray cluster. It lives in the environment of the
# job, in no file. RAY_ADDRESS of the submitting shell would lead elsewhere.
unset RAY_ADDRESS RAY_AUTH_TOKEN_PATH
RAY_AUTH_TOKEN=$("${python[@]}" -c 'import secrets; print(secrets.token_hex(32))')
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN RAY_USAGE_STATS_ENABLED=0 PYTHONUNBUFFERED=1

# A range of ports that follows from the job's number, so that two jobs on one node do not meet.
port=$((first_port + SLURM_JOB_ID % ((last_port - first_port) / ports) * ports))
head_node=$SLURMD_NODENAME
export port head_node

fail() { note "Error: $*" >&2; exit 1; }

stop_cluster() {
  trap '' USR1 USR2 TERM HUP
  end_processes TERM 60 ${launcher:+"$launcher"}
  end_processes USR1 45 "${steps[@]}"  # srun passes it on; each node stops its own Ray and nobody else's
  steps=()
}
trap stop_cluster EXIT

again() {  # again WHY: queue this job again
  ((${SLURM_RESTART_COUNT:-0} < max_requeues)) || fail "$1; started $max_requeues times already; submit again to go on"
  stop_cluster
  note "queued again: $1"
  scontrol requeue "$SLURM_JOB_ID" || fail "Slurm refuses to requeue; go on with: sbatch $script"
  exit 0
}

start_nodes() {  # start_nodes COUNT head|worker SRUN_OPTION...
  local count=$1 role=$2
  shift 2
  srun --nodes="$count" --ntasks="$count" --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" --cpu-bind=none \
    "${gpu_option[@]}" --kill-on-bad-exit=0 --no-kill --wait=0 --output="$log" "$@" bash "$script" node "$role" &
  steps+=("$!")
}
wait_for() {  # wait_for NODES AT_LEAST: readiness is asked for, not slept for
  patiently "${python[@]}" -m cluster.attach.ready --address "$head_address" --nodes "$1" --at-least "$2" \
    --timeout "$start_timeout" --while-pid "${steps[0]}" \
    || [[ -n $stopping ]] || again "the Ray cluster did not come up; see $folder/ray-$SLURM_JOB_ID-*.log"
}

note "@BEGUN@ ${SLURM_RESTART_COUNT:-0} times before, on $SLURM_JOB_NODELIST"
# `sweeper stop` leaves a file, and then sends its signal to shells that have said so: it would kill one that has no
# traps yet, and be lost while Slurm prepares a node or has queued the job again.
case $(cat @STOP@ 2> /dev/null || true) in
  "$job now") leave "told to stop now" ;;
  "$job drain") drain "told to stop" ;;
esac

# A job that comes back again and again and gets nothing done would do so for ever.
progress=$("${python[@]}" -m sweeper.progress "$results" || echo unknown)
fruitless=0
if ((${SLURM_RESTART_COUNT:-0})) && [[ -f progress$part && $progress == "$(tail -n 1 "progress$part")" ]]; then
  fruitless=$(($(head -n 1 "progress$part") + 1))
fi
printf '%s\n' "$fruitless" "$progress" > "progress$part"
((fruitless < 3)) || fail "queued again 3 times without a finished trial or checkpoint, see slurm-$SLURM_JOB_ID.out"

head_address=$("${python[@]}" -m cluster.attach.address --name "$SLURMD_NODENAME" "${interface[@]}"):$port
export head_address
if [[ -z $stopping ]]; then
  start_nodes 1 head --nodelist="$SLURMD_NODENAME"
  # At once, and not when the head is up: from now on somebody queues the job again if this machine is lost.
  ((nodes == 1)) || start_nodes "$((nodes - 1))" worker --exclude="$SLURMD_NODENAME"
  wait_for "$nodes" "$min_nodes"
fi

# The sweep itself. Launching again runs only what has no row yet, so every start of this job is a resume.
status=0
if [[ -z $stopping ]]; then
  start_launcher "${python[@]}" "${launch[@]}" --cluster "$head_address"
  launched=yes
  await_launcher || status=$?
  launcher=''
fi
[[ -z $launched ]] || say "the launcher ended with status $status${stopping:+ ($stopping)}"

case $stopping in
  '')
    case $status in
      0) note "all trials have ended${part:+ that no other job of the array has}" ;;
      3) note "all trials have ended, some of them failed" ;;
      75) again "what the launcher was stopped by may pass, see slurm-$SLURM_JOB_ID.out" ;;
      4) note "the sweep stopped itself, see slurm-$SLURM_JOB_ID.out" ;;
      *) note "the launcher failed with exit code $status, see slurm-$SLURM_JOB_ID.out" ;;
    esac ;;
  "told to stop"*) note "stopped by sweeper stop"; exit 0 ;;
  "the time limit is near")
    [[ $status == 0 && -n $launched ]] || again "$stopping"
    note "all trials have ended" ;;
  "told by Slurm to end")
    # A job that is cancelled, or queued again by Slurm, is no longer running for it. One that still is has been
    # preempted with time to end in, after which nobody else would queue it again.
    [[ $(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T 2> /dev/null) != RUNNING ]] || again "preempted"
    note "$stopping"
    exit "$status" ;;
esac
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
        SCRIPT: "\n".join(_head(profile, job))
        + _BODY.replace("@RAY_PORTS@", str(PORTS_FOR_RAY))
        .replace("@LAST_WORD@", LAST_WORD)
        .replace("@STOP@", STOP)
        .replace("@BEGUN@", BEGUN),
        **job.texts,
    }


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
            assignment("results", job.results),
            array("launch", launch_command(job)),
            array("python", _interpreter(profile, job)),
            *sizes(replace(profile, nodes=1, min_nodes=1) if profile.array else profile),
            f"array_tasks={profile.nodes if profile.array else 0}",
            f"object_store={OBJECT_STORE_BYTES}",
            f"first_port={_FIRST_PORT} last_port={_LAST_PORT} ports={range_size(profile.cpus_per_node)}",
            f"start_timeout={profile.start_timeout} drain_s={max(1, profile.stop_notice - _SAVE_S)} "
            f"max_requeues={profile.max_requeues}",
            assignment("temp_dir", profile.temp_dir),
            array("interface", ["--interface", profile.interface] if profile.interface else []),
            array("gpu_option", [f"--{profile.gpu_option}={gpus}"] if (gpus := _gpus(profile)) else []),
        ],
        profile.env,
        group_readable=profile.group_readable,
        modules=_modules(profile),
        setup=profile.setup,
    )


def _directives(profile: SlurmProfile, job: Job) -> list[str]:
    options: dict[str, str | bool | int | None] = {
        "job-name": job.name,
        # One job of this name at a time, since two launchers would run trials twice; those of an array share them.
        "dependency": None if profile.array else "singleton",
        "array": f"0-{profile.nodes - 1}" if profile.array else None,
        "nodes": 1 if profile.array else profile.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": profile.cpus_per_node,
        **({profile.gpu_option: gpus} if (gpus := _gpus(profile)) else {}),
        "mem": f"{profile.memory_per_node}M" if profile.memory_per_node else None,
        "mem-per-cpu": f"{profile.memory_per_cpu}M" if profile.memory_per_cpu else None,
        "time": slurm_time(profile.time_limit),
        "partition": profile.partition,
        "account": profile.account,
        "qos": profile.qos,
        "output": f"{job.folder}/slurm-%j.out",
        "open-mode": "append",  # a job that queues itself again goes on in its log
        # Without it `scontrol requeue`, by which a job goes on after its time limit, is refused.
        "requeue": True,
        # The loss of one node does not end the job; that of the only one does, and Slurm queues it again.
        "no-kill": True if profile.nodes > 1 and not profile.array else None,
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


def _gpus(profile: SlurmProfile) -> str | None:
    """GPUs of each node as the profile's `gpu_option` is written."""
    if profile.gpus_per_node == 0:
        return None
    kind = [profile.gpu_type] if profile.gpu_type else []
    return ":".join([*(["gpu"] if profile.gpu_option == "gres" else []), *kind, str(profile.gpus_per_node)])


def slurm_time(seconds: int) -> str:
    """A time span as Slurm writes it, ``days-hours:minutes:seconds``."""
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600:02d}:{rest % 3600 // 60:02d}:{rest % 60:02d}"
    return f"{days}-{clock}" if days else clock
