"""Pieces of bash shared by the job scripts.

A job script is a head of quoted assignments, the only part that differs between jobs, and a constant body. No value of
a profile is ever written into the body, so none can become a command.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence

from cluster.profiles.profile import SlurmProfile, SshProfile

PORTS_FOR_RAY = 10
"""Ports at the start of a job's range that are not for worker processes."""
OBJECT_STORE_BYTES = 200 * 1024**2
"""Shared memory that each node gives to Ray; specs and reports are all that travels through it."""

NODE_FUNCTIONS = r"""
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
"""


def script_head(
    about: Sequence[str],
    settings: Sequence[str],
    environment: Mapping[str, str],
    *,
    group_readable: bool,
    modules: Sequence[str] = (),
    setup: Sequence[str] = (),
) -> list[str]:
    """The part of a job script that differs between jobs.

    Args:
        about: comments and directives below the first line.
        settings: assignments that the body reads.
        environment: variables of the job; values are quoted here.
        group_readable: whether the user's group may read what the job writes; else it is the user's alone.
        setup: lines of bash of the user's own, run as they are; after the modules.
        modules: commands that prepare the machine, before the variables, which may overrule what those set.

    Returns:
        The lines up to the body.
    """
    return [
        "#!/bin/bash",
        *about,
        "",
        "set -euo pipefail",  # else a failing command would go unnoticed
        f"umask {umask(group_readable)}",
        "",
        "# ---- what this job is -------------------------------------------------------------------------------------",
        *settings,
        *modules,
        *_setup(setup),
        *exports(environment),
        'cd "$folder"',
        "",
        "# ---- how it runs: the same in every job -------------------------------------------------------------------",
    ]


def _setup(lines: Sequence[str]) -> list[str]:
    if not lines:
        return []
    begin = "# ---- `setup` of the profile, run as it is written"
    return ["", begin, "set +u  # it is not written for it", *lines, "set -u", "# ---- end of `setup`", ""]


def umask(group_readable: bool) -> str:
    """What is taken from the rights of new files, as the shell writes it."""
    return "027" if group_readable else "077"


def assignment(name: str, value: object) -> str:
    """``name=value`` with the value quoted."""
    return f"{name}={shlex.quote(str(value))}"


def array(name: str, values: Iterable[object]) -> str:
    """``name=(a b c)`` with each value quoted."""
    return f"{name}=({' '.join(shlex.quote(str(value)) for value in values)})"


def exports(environment: Mapping[str, str]) -> list[str]:
    """One export line per variable, values quoted."""
    return [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]


def range_size(cpus: int) -> int:
    """Ports that a job needs on each node: two per worker process, since a new one may start before the old is gone."""
    # 30 to spare, and a whole number of hundreds, as people choose port ranges (assumption).
    return -(-(2 * cpus + PORTS_FOR_RAY + 30) // 100) * 100


def sizes(profile: SlurmProfile | SshProfile) -> list[str]:
    """Assignments of the numbers of nodes and of what each has."""
    # From 8 cores on, one core less costs little (assumption).
    cpus, head = profile.cpus_per_node, profile.cpus_per_node - (profile.cpus_per_node >= 8)
    return [
        f"nodes={profile.nodes} min_nodes={profile.min_nodes} cpus={cpus} gpus={profile.gpus_per_node}",
        f"head_cpus={head}  # where there are many cores, the launcher and the queue of trials get one",
    ]
