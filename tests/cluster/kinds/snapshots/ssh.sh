#!/bin/bash
# Sweep demo on 3 machine(s) reached by ssh; this script runs on each of them.
# Written by `sweeper launch --cluster` from profile toy. On a machine:
#   bash node.sh status    what it does
#   bash node.sh stop      end it here at once

set -euo pipefail
umask 077

# ---- what this job is -------------------------------------------------------------------------------------
folder=/data/elm/elm-demo-8f24fc
launch=(-m sweeper.cli launch /data/elm/elm-demo-8f24fc/demo.yaml --results /shared/results/demo --device cuda)
python=(/opt/elm/bin/python)
head_host=gpu1
nodes=3 min_nodes=1 cpus=16 gpus=2
head_cpus=15  # where there are many cores, the launcher and the queue of trials get one
object_store=209715200 start_timeout=300
port=20000 ports=100 tag=8f24fc
temp_dir=/tmp
interface=(--interface eth1)
cd "$folder"

# ---- how it runs: the same in every job -------------------------------------------------------------------
ray_ports=10
script=$folder/node.sh

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

is_running() {  # whether the process whose number is kept here is still this script
  [[ -f pid ]] && tr '\0' ' ' < "/proc/$(cat pid)/cmdline" 2> /dev/null | grep -qF "$script run"
}

case ${1:?start, run, stop, drain or status} in
start)  # start head|worker: go on in the background, so that no connection need stay open; the token comes by stdin
  is_running && fail "the job runs here already, as process $(cat pid); stop it first"
  IFS= read -r RAY_AUTH_TOKEN
  export RAY_AUTH_TOKEN
  setsid nohup bash "$script" run "$2" >> "job.log" 2>&1 < /dev/null &
  echo "$!" > pid
  exit ;;
stop | drain)  # stop: at once; drain: running trials end first
  is_running || { say "not running"; exit 0; }
  if [[ $1 == stop ]]; then kill -TERM "$(cat pid)"; else kill -USR2 "$(cat pid)"; fi
  exit ;;
status)
  if is_running; then say "running as process $(cat pid)"; else say "not running"; fi
  if [[ -f job.log ]]; then tail -n 3 job.log; fi
  exit ;;
esac

# From here on: run head|worker, in the background.
unset RAY_ADDRESS RAY_AUTH_TOKEN_PATH
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 PYTHONUNBUFFERED=1
launcher='' ray='' deadline='' stopping=''
if [[ $2 == worker ]]; then
  # Joins the head as soon as that answers, and ends by itself when the head has gone.
  head_address=$("${python[@]}" -m cluster.attach.address --of "$head_host")
  address=$("${python[@]}" -m cluster.attach.address --towards "$head_host" "${interface[@]}")
  trap 'stopping=yes' USR2 TERM INT
  patiently "${python[@]}" -m cluster.attach.ready --address "$head_address:$port" --nodes 1 --at-least 1 \
    --timeout "$start_timeout" || exit 1
  ray_node "$temp_dir/elm-$tag-w" "$address" "$cpus" --address="$head_address:$port"
  exit
fi

drain() {
  stopping=yes
  deadline=$((SECONDS + 86400))  # no time limit here: running trials may take their time
  say "told to stop: no new trials"
  [[ -z $launcher ]] || kill -INT "$launcher" 2> /dev/null || true
}
trap drain USR2
trap 'stopping=yes; deadline=0' TERM INT
stop_cluster() {
  trap '' USR2 TERM INT
  end_processes TERM 60 ${launcher:+"$launcher"}
  end_processes USR1 45 ${ray:+"$ray"}  # ends this job's Ray on this machine; the workers notice and end theirs
}
trap stop_cluster EXIT

address=$("${python[@]}" -m cluster.attach.address --name "$head_host" "${interface[@]}")
ray_node "$temp_dir/elm-$tag-h" "$address" "$head_cpus" --head --port="$port" --include-dashboard=false &
ray=$!
patiently "${python[@]}" -m cluster.attach.ready --address "$address:$port" --nodes "$nodes" --at-least "$min_nodes" \
  --timeout "$start_timeout" --while-pid "$ray" \
  || [[ -n $stopping ]] || fail "the Ray cluster did not come up; see job.log on each machine"
[[ -z $stopping ]] || exit 0

# The sweep itself. Launching again runs only what has no row yet, so starting the job again resumes it.
status=0
"${python[@]}" "${launch[@]}" --cluster "$address:$port" &
launcher=$!
await_launcher || status=$?
launcher=''
say "the launcher ended with status $status"
exit "$status"
