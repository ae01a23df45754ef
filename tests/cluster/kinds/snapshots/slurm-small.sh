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
#SBATCH --no-kill
#SBATCH --signal=B:USR1@300

set -euo pipefail
umask 077

# ---- what this job is -------------------------------------------------------------------------------------
folder=/shared/results/.jobs/elm-demo-c95e78
launch=(-m sweeper.cli launch /shared/results/.jobs/elm-demo-c95e78/demo.yaml --results /shared/results/demo)
python=(/opt/elm/bin/python)
nodes=1 min_nodes=1 cpus=2 gpus=0
head_cpus=2  # where there are many cores, the launcher and the queue of trials get one
object_store=209715200
first_port=12000 last_port=32000 ports=100
start_timeout=600 drain_s=210 max_requeues=100
temp_dir=/tmp
interface=()
gres=()
cd "$folder"

# ---- how it runs: the same in every job -------------------------------------------------------------------
ray_ports=10
script=$folder/job.sbatch
log=$folder/ray-%j-%N.log  # one log per node

say() { printf '%s %s\n' "$(date '+%F %T')" "$*"; }
fail() { say "Error: $*" >&2; exit 1; }

# One Ray node in the foreground, until it ends or this shell is told to: ray_node TEMP_DIR ADDRESS CPUS ARGUMENT...
ray_node() {
  local temp=$1 address=$2 cpus=$3 ray ending='' status=0
  shift 3
  rm -rf -- "$temp" || true  # left by an earlier run of this job that was killed
  mkdir -m 700 -- "$temp" || fail "cannot make $temp"  # also when somebody else has made it
  trap '' USR1  # srun hands a signal to every process of a step; Ray's inherit that this one is ignored
  "${python[@]}" -m ray.scripts.scripts start "$@" \
    --node-ip-address="$address" --temp-dir="$temp" --num-cpus="$cpus" --num-gpus="$gpus" \
    --object-store-memory="$object_store" --dashboard-agent-listen-port="$((port + 1))" \
    --min-worker-port="$((port + ray_ports))" --max-worker-port="$((port + ports - 1))" \
    --disable-usage-stats --block &
  ray=$!
  trap 'ending=yes; kill -TERM "$ray" 2> /dev/null || true' USR1 TERM INT
  wait "$ray" || status=$?
  while kill -0 "$ray" 2> /dev/null; do wait "$ray" || status=$?; done  # a trap ends a wait early
  [[ -z $ending ]] || status=0
  if [[ $status != 0 ]]; then
    say "Ray ended with status $status; last lines of its logs:"
    tail -n 20 "$temp"/session_latest/logs/{gcs_server.err,raylet.err,ray_process_exit.log} 2> /dev/null || true
  fi
  rm -rf -- "$temp"
  return "$status"
}

# Run a command that ends early once a trap has set `stopping`: patiently COMMAND...
patiently() {
  local pid
  "$@" &
  pid=$!
  while kill -0 "$pid" 2> /dev/null; do
    wait "$pid" || true
    [[ -z $stopping ]] || kill -TERM "$pid" 2> /dev/null || true
  done
  wait "$pid"
}

# Wait for the launcher's end, through signals; once `deadline` (in $SECONDS) is set and over, tell it to stop at once.
await_launcher() {
  while kill -0 "$launcher" 2> /dev/null; do
    if [[ -z $deadline ]]; then
      wait "$launcher" || true  # a trap ends it early
    elif ((SECONDS < deadline)); then
      sleep 1
    else
      end_processes TERM 60 "$launcher"
    fi
  done
  wait "$launcher"
}

# Tell processes to end, give them time, then end them: end_processes SIGNAL SECONDS PID...
end_processes() {
  local signal=$1 patience=$2 pid
  shift 2
  for pid in "$@"; do kill -"$signal" "$pid" 2> /dev/null || true; done
  for pid in "$@"; do
    while kill -0 "$pid" 2> /dev/null && ((patience-- > 0)); do sleep 1; done
    kill -KILL "$pid" 2> /dev/null || true
  done
}

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
