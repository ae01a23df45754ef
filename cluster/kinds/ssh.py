"""An ssh profile and a job as one script that runs on every machine; no scheduler needed."""

import posixpath
import re
import secrets
import shlex
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from cluster.errors import SubmitError
from cluster.kinds.base import ENDED, RUNNING, JobState
from cluster.kinds.job import Job, launch_command
from cluster.kinds.record import JobRecord
from cluster.kinds.run import Runner, remote
from cluster.kinds.shell import (
    NODE_FUNCTIONS,
    OBJECT_STORE_BYTES,
    PORTS_FOR_RAY,
    array,
    assignment,
    range_size,
    script_head,
    sizes,
    umask,
)
from cluster.profiles.profile import SshProfile

SCRIPT = "node.sh"

_BODY = (
    r"""
ray_ports=@RAY_PORTS@
script=$folder/node.sh
"""
    + NODE_FUNCTIONS
    + r"""
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
"""
)


def render(profile: SshProfile, job: Job) -> dict[str, str]:
    """Write the files of a job, the same for every machine.

    Args:
        profile: the machines.
        job: what to run on them.

    Returns:
        Text by file name, all for the job's folder on each machine.
    """
    return {
        SCRIPT: "\n".join(_head(profile, job)) + _BODY.replace("@RAY_PORTS@", str(PORTS_FOR_RAY)),
        **job.texts,
    }


def script_path(job_folder: str) -> str:
    """Where the script lies on each machine."""
    return posixpath.join(job_folder, SCRIPT)


def _head(profile: SshProfile, job: Job) -> list[str]:
    return script_head(
        [
            f"# Sweep {job.sweep} on {profile.nodes} machine(s) reached by ssh; this script runs on each of them.",
            f"# Written by `sweeper launch --cluster` from profile {profile.name}. On a machine:",
            f"#   bash {SCRIPT} status HOST    what it does; HOST is the machine's name in the profile",
            f"#   bash {SCRIPT} stop HOST      of the first machine: save the running trials and end",
        ],
        [
            assignment("folder", job.folder),
            array("launch", launch_command(job)),
            array("python", [profile.python]),
            assignment("head_host", profile.hosts[0].rpartition("@")[2]),
            *sizes(profile),
            f"object_store={OBJECT_STORE_BYTES} start_timeout={profile.start_timeout}",
            f"port={profile.port} ports={range_size(profile.cpus_per_node)} tag={job.name.rpartition('-')[2]}",
            assignment("temp_dir", profile.temp_dir),
            array("interface", ["--interface", profile.interface] if profile.interface else []),
        ],
        profile.env,
        group_readable=profile.group_readable,
        setup=profile.setup,
    )


class SshBackend:
    """Starts, looks at and ends jobs by ssh to each machine."""

    def files(self, profile: SshProfile, job: Job) -> dict[str, str]:
        """See `Backend.files`."""
        return render(profile, job)

    def submit(self, profile: SshProfile, job: Job, run: Runner) -> dict[str, Any]:
        """See `Backend.submit`."""
        files = self.files(profile, job)
        token = secrets.token_hex(32) + "\n"  # by standard input, so that it is in no command line and no file
        script = shlex.quote(script_path(job.folder))
        try:
            for host in profile.hosts:  # every machine is reached before anything runs on one
                private = umask(profile.group_readable)
                run(remote(host, f"umask {private}; mkdir -p {shlex.quote(job.folder)}"))
                for name, content in files.items():
                    # By standard input, where the content needs no quoting and can be of any length. Renamed when
                    # whole: bash reads a script as it runs it, and an earlier launch may be running this one.
                    path = shlex.quote(f"{job.folder}/{name}")
                    run(remote(host, f"umask {private}; cat > {path}.new; mv {path}.new {path}"), text=content)
            for number, host in enumerate(profile.hosts):
                # The head is started first; a worker waits for it in any case (`cluster.attach.ready` in the script).
                role = "worker" if number else "head"
                run(remote(host, f"bash {script} start {_alone(host)} {role} {number}"), text=token)
        except SubmitError as error:
            # A job that runs already is somebody's work; anything else that was started here is ended again.
            if not re.search(r"the job runs on \S+ already", str(error)):
                # Not strict: the first error is the one to be told, and a machine that caused it may not answer now
                # either.
                for host, action in self._ends(profile.hosts):
                    with suppress(SubmitError):
                        run(remote(host, f"test ! -e {script} || bash {script} {action} {_alone(host)}"))
            raise
        return {"hosts": list(profile.hosts)}

    def state(self, record: JobRecord, run: Runner) -> JobState:
        """See `Backend.state`."""
        head = record.handle["hosts"][0]
        # The head alone is asked: the launcher runs there, and workers end when it does.
        answer = run(remote(head, f"bash {shlex.quote(script_path(record.folder))} status {_alone(head)}"))
        lines = [line for line in answer.splitlines() if line.strip()]
        running = bool(lines) and " running as process" in lines[0]
        return JobState(state=RUNNING if running else ENDED, detail=f"{head}: {lines[-1] if lines else 'no answer'}")

    def stop(self, record: JobRecord, run: Runner, *, now: bool) -> None:
        """See `Backend.stop`. Draining is the head's affair; the workers end when it has gone."""
        script = shlex.quote(script_path(record.folder))
        hosts = record.handle["hosts"]
        failed = []  # every machine gets its turn, also after one that does not answer
        for host, action in self._ends(hosts) if now else [(hosts[0], "drain")]:
            try:
                run(remote(host, f"bash {script} {action} {_alone(host)}"))
            except SubmitError as error:
                failed.append(f"{host}: {error}")
        if failed:
            raise SubmitError("; ".join(failed))

    @staticmethod
    def _ends(hosts: Sequence[str]) -> list[tuple[str, str]]:
        """What ends a job at once, machine by machine: the head first, which has the trials of all of them saved."""
        return [(host, "end" if number else "stop") for number, host in enumerate(hosts)]


def _alone(host: str) -> str:
    """A machine's name without the user, as it stands in the names of files."""
    return host.rpartition("@")[2]
