#!/bin/bash
# Sweep demo on 1 node(s): starts a Ray cluster of its own, sweeps, stops it.
# Written by `sweeper launch --cluster` from profile toy. Submit again with: sbatch job.sbatch
#
#SBATCH --job-name=elm-demo-c95e78
#SBATCH --dependency=singleton
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=4096M
#SBATCH --time=00:20:00
#SBATCH --output=/shared/results/.jobs/elm-demo-c95e78/slurm-%j.out
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@300

set -euo pipefail
umask 077

# ---- what this job is -------------------------------------------------------------------------------------
folder=/shared/results/.jobs/elm-demo-c95e78
results=/shared/results/demo
launch=(-m sweeper.cli launch /shared/results/.jobs/elm-demo-c95e78/demo.yaml --results /shared/results/demo)
python=(/opt/elm/bin/python)
nodes=1 min_nodes=1 cpus=2 gpus=0
head_cpus=2  # where there are many cores, the launcher and the queue of trials get one
array_tasks=0
object_store=209715200
first_port=12000 last_port=32000 ports=100
start_timeout=600 drain_s=210 max_requeues=100
temp_dir=/tmp
interface=()
gpu_option=()
cd "$folder"

# ---- how it runs: the same in every job -------------------------------------------------------------------
ray_ports=10
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

say() { printf '%s %s\n' "$(date '+%F %T')" "$*"; }
fail() { say "Error: $*" >&2; exit 1; }
# Run a short command through the signals that reach every process of a job: bash would log that they ended it.
undisturbed() { (trap '' USR1 USR2 TERM INT HUP; exec "$@"); }
nap() { undisturbed sleep "$1"; }

# One Ray node in the foreground, until it ends or this shell gets USR1: ray_node TEMP_DIR ADDRESS CPUS ARGUMENT...
# A start that fails is tried again as long as nodes may take to join; Ray itself gives each 30 s, and has no setting.
# On TERM nothing ends: it reaches the launcher too, which has the trials saved, and USR1 follows.
ray_node() {
  local temp=$1 address=$2 cpus=$3 ray ending='' leaving='' status began=$SECONDS
  shift 3
  trap 'ending=yes' USR1
  trap 'leaving=yes' TERM INT HUP
  while :; do
    status=0
    claim "$temp"
    "${python[@]}" -m cluster.attach.node "$@" \
      --node-ip-address="$address" --temp-dir="$temp" --num-cpus="$cpus" --num-gpus="$gpus" \
      --object-store-memory="$object_store" --node-manager-port="$((port + 1))" --object-manager-port="$((port + 2))" \
      --runtime-env-agent-port="$((port + 3))" --dashboard-agent-listen-port="$((port + 4))" \
      --dashboard-agent-grpc-port="$((port + 5))" --metrics-export-port="$((port + 6))" \
      --min-worker-port="$((port + ray_ports))" --max-worker-port="$((port + ports - 1))" \
      --disable-usage-stats --block &
    ray=$!
    while kill -0 "$ray" 2> /dev/null; do
      # Sent again each second: at its very beginning a process does not hear it yet.
      if [[ -n $ending ]]; then kill -USR1 "$ray" 2> /dev/null || true; fi
      nap 1
    done
    wait "$ray" || status=$?
    if [[ -n $ending || -n $leaving || $status == 0 ]]; then status=0; break; fi
    if [[ $status == "$head_is_gone" ]]; then say "the head does not answer any more"; break; fi
    say "Ray ended with status $status; last lines of its logs:"
    tail -n 20 "$temp"/session_latest/logs/{gcs_server.err,raylet.err,ray_process_exit.log} 2> /dev/null || true
    ((SECONDS - began < start_timeout)) || break
    say "Ray is started again"
    nap 2
  done
  rm -rf -- "$temp"
  return "$status"
}
head_is_gone=7  # an exit code of cluster.attach.node

# Make a private folder, unless a process that lives has it: claim FOLDER
claim() {
  local owner
  owner=$(cat "$1/owner" 2> /dev/null) || true
  if [[ -n $owner && $owner != "$$" ]] && tr '\0' ' ' < "/proc/$owner/cmdline" 2> /dev/null | grep -qF "$script"; then
    fail "$1 belongs to process $owner, which still runs; end that first"
  fi
  rm -rf -- "$1" || true  # left by an earlier run of this job that was killed
  mkdir -m 700 -- "$1" || fail "cannot make $1"  # also when somebody else has made it
  echo "$$" > "$1/owner"
}

# What lasts is looked at each second: `wait` would go on after a signal that came just before it.

# Run a command that ends early once a trap has set `stopping`: patiently COMMAND...
patiently() {
  local pid
  "$@" &
  pid=$!
  while kill -0 "$pid" 2> /dev/null; do
    if [[ -n $stopping ]]; then kill -TERM "$pid" 2> /dev/null || true; fi
    nap 0.2
  done
  wait "$pid"
}

# Start the launcher: start_launcher COMMAND... Bash lets what runs in its background ignore INT, by which it is told to
# drain: it would not hear that before it has a handler, seconds after its start.
start_launcher() {
  (trap - INT; exec "$@") &
  launcher=$!
  if [[ -n $stopping ]]; then kill -TERM "$launcher"; fi  # told while there was none yet
}

# Wait for the launcher's end, through signals; once `deadline` (in $SECONDS) is set and over, tell it to stop at once.
await_launcher() {
  while kill -0 "$launcher" 2> /dev/null; do
    if [[ -n $deadline ]] && ((SECONDS >= deadline)); then end_processes TERM 60 "$launcher"; else nap 1; fi
  done
  wait "$launcher"
}

# Tell processes to end, give them time, then end them: end_processes SIGNAL SECONDS PID...
end_processes() {
  local signal=$1 patience=$2 pid
  shift 2
  for pid in "$@"; do kill -"$signal" "$pid" 2> /dev/null || true; done
  for pid in "$@"; do
    while kill -0 "$pid" 2> /dev/null && ((patience-- > 0)); do nap 1; done
    kill -KILL "$pid" 2> /dev/null || true
  done
}

# Say how the job stands, and leave it for `sweeper jobs`, which asks when Slurm does not know the job any more.
note() {
  say "$1"
  printf '%s %s\n' "$job" "$1" > "$folder/last-word$part.$$"
  mv -- "$folder/last-word$part.$$" "$folder/last-word$part"
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

note "started ${SLURM_RESTART_COUNT:-0} times before, on $SLURM_JOB_NODELIST"
# `sweeper stop` leaves a file, and then sends its signal to shells that have said so: it would kill one that has no
# traps yet, and be lost while Slurm prepares a node or has queued the job again.
case $(cat stop 2> /dev/null || true) in
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
