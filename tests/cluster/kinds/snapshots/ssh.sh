#!/bin/bash
# Sweep demo on 3 machine(s) reached by ssh; this script runs on each of them.
# Written by `sweeper launch --cluster` from profile toy. On a machine:
#   bash node.sh status HOST    what it does; HOST is the machine's name in the profile
#   bash node.sh stop HOST      of the first machine: save the running trials and end

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

action=${1:?start, run, stop, drain, end or status} host=${2:?one of the hosts of the profile}
# By host: the folder may be one for all machines, as in a shared home. A process number says nothing on another one.
pid=pid-$host log=job-$host.log
is_running() {  # whether the process whose number is kept here is still this script
  [[ -f $pid ]] && tr '\0' ' ' < "/proc/$(cat "$pid")/cmdline" 2> /dev/null | grep -qF "$script run $host "
}

case $action in
start)  # start HOST head|worker NUMBER: go on in the background, no connection need stay open; the token comes by stdin
  is_running && fail "the job runs on $host already, as process $(cat "$pid"); stop it first"
  IFS= read -r RAY_AUTH_TOKEN
  export RAY_AUTH_TOKEN
  setsid nohup bash "$script" run "$host" "$3" "$4" >> "$log" 2>&1 < /dev/null &
  echo "$!" > "$pid"
  exit ;;
stop | drain | end)  # of the head: stop at once, or drain: running trials end first; of the others: end
  is_running || { say "not running"; exit 0; }
  case $action in stop) signal=TERM ;; drain) signal=USR2 ;; end) signal=USR1 ;; esac
  process=$(cat "$pid")
  kill -"$signal" "$process"
  # Waited for: the other machines are needed until the trials on them are saved.
  if [[ $action == stop ]]; then
    patience=90
    while kill -0 "$process" 2> /dev/null && ((patience-- > 0)); do sleep 1; done
  fi
  exit ;;
status)
  if is_running; then say "running as process $(cat "$pid")"; else say "not running"; fi
  if [[ -f $log ]]; then tail -n 3 "$log"; fi
  exit ;;
esac

# From here on: run HOST head|worker NUMBER, in the background.
unset RAY_ADDRESS RAY_AUTH_TOKEN_PATH
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0 PYTHONUNBUFFERED=1
launcher='' ray='' deadline='' stopping=''
temp=$temp_dir/elm-$tag-$4
if [[ $3 == worker ]]; then
  # Joins the head as soon as that answers, and ends by itself when the head has gone.
  head_address=$("${python[@]}" -m cluster.attach.address --of "$head_host")
  address=$("${python[@]}" -m cluster.attach.address --towards "$head_host" "${interface[@]}")
  trap 'stopping=yes' USR1 USR2 TERM INT
  patiently "${python[@]}" -m cluster.attach.ready --address "$head_address:$port" --nodes 1 --at-least 1 \
    --timeout "$start_timeout" || exit 1
  status=0
  ray_node "$temp" "$address" "$cpus" --address="$head_address:$port" || status=$?
  if [[ $status == "$head_is_gone" ]]; then exit 0; fi
  exit "$status"
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
ray_node "$temp" "$address" "$head_cpus" --head --port="$port" --include-dashboard=false &
ray=$!
patiently "${python[@]}" -m cluster.attach.ready --address "$address:$port" --nodes "$nodes" --at-least "$min_nodes" \
  --timeout "$start_timeout" --while-pid "$ray" \
  || [[ -n $stopping ]] || fail "the Ray cluster did not come up; see job-*.log on each machine"
[[ -z $stopping ]] || exit 0

# The sweep itself. Launching again runs only what has no row yet, so starting the job again resumes it.
status=0
start_launcher "${python[@]}" "${launch[@]}" --cluster "$address:$port"
await_launcher || status=$?
launcher=''
say "the launcher ended with status $status"
exit "$status"
