"""Pieces of bash shared by the job scripts.

A job script is a head of quoted assignments, the only part that differs between jobs, and a constant body. No value of
a profile is ever written into the body, so none can become a command.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence

PORTS_FOR_RAY = 10
"""Ports at the start of a job's range that are not for worker processes."""
OBJECT_STORE_BYTES = 200 * 1024**2
"""Shared memory that each node gives to Ray; specs and reports are all that travels through it."""
LAUNCHER = "'^[^ ]*python[^ ]* -m sweeper.cli launch'"
"""Pattern of the launcher's command line for pgrep and pkill, quoted. Anchored, because the shell that runs them holds
the pattern in its own command line and would be found as well."""

NODE_FUNCTIONS = r"""
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
"""


def script_head(
    about: Sequence[str], settings: Sequence[str], environment: Mapping[str, str], *, modules: Sequence[str] = ()
) -> list[str]:
    """The part of a job script that differs between jobs.

    Args:
        about: comments and directives below the first line.
        settings: assignments that the body reads.
        environment: variables of the job; values are quoted here.
        modules: commands that prepare the machine, before the variables, which may overrule what those set.

    Returns:
        The lines up to the body.
    """
    return [
        "#!/bin/bash",
        *about,
        "",
        # Without the first a failing command would go unnoticed; by the second what a job writes is its user's alone.
        "set -euo pipefail",
        "umask 077",
        "",
        "# ---- what this job is -------------------------------------------------------------------------------------",
        *settings,
        *modules,
        *exports(environment),
        'cd "$folder"',
        "",
        "# ---- how it runs: the same in every job -------------------------------------------------------------------",
    ]


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
