"""A Slurm in one file: sbatch, squeue, scancel, scontrol and srun by the name it is called by, on this machine alone.

Behaves like the real one where job scripts depend on it (seen with Slurm 22.05): the script runs from a spool copy;
`--signal=B:` and `scancel --batch` reach the batch shell only; scancel, preemption and requeueing send SIGTERM to every
process of the job and kill what is left after KillWait; srun outlives that, passes SIGUSR1 on to every process of its
step, and says of each task that ends with anything but 0 how; a requeued job starts from the beginning with
SLURM_RESTART_COUNT; a job with --no-kill whose first node is lost stays RUNNING until somebody queues it again; while a
node is prepared a job is RUNNING and hears no signal. FAKE_SLURM is its folder, FAKE_SLURM_NODES its nodes,
FAKE_SLURM_FIRST its first job number, FAKE_SLURM_PROLOG the file that ends the preparation. Time limits run
FAKE_SLURM_SPEED times faster, and with stand_in.py from the moment its launcher listens to signals: a busy machine must
not make the notice come before that.
"""

import contextlib
import fcntl
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

STATE = Path(os.environ["FAKE_SLURM"])
NODES = os.environ["FAKE_SLURM_NODES"].split(",")
FIRST = int(os.environ["FAKE_SLURM_FIRST"])
SPEED = float(os.environ.get("FAKE_SLURM_SPEED", "60"))
KILL_WAIT_S = 30.0


def job_file(number) -> Path:
    return STATE / f"job-{number}.json"


def load(number) -> dict:
    return json.loads(job_file(number).read_text())


def change(number, **values) -> dict:
    """Set fields of a job, each to a value or to what a function makes of the job as it was, which is returned."""
    with open(STATE / "lock", "w") as lock:  # several steps may start at once
        fcntl.flock(lock, fcntl.LOCK_EX)
        job = load(number)
        new = {name: value(job) if callable(value) else value for name, value in values.items()}
        temporary = STATE / f"change-{os.getpid()}"
        temporary.write_text(json.dumps({**job, **new}))
        os.replace(temporary, job_file(number))
    return job


def options_of(script: str) -> dict:
    found = {}
    for line in script.splitlines():
        if line.startswith("#SBATCH "):
            (word,) = shlex.split(line.removeprefix("#SBATCH "), comments=True)
            key, _, value = word.removeprefix("--").partition("=")
            found[key] = value
    return found


def seconds(limit: str) -> float:
    days, _, clock = limit.rpartition("-")
    hours, minutes, rest = map(int, clock.split(":"))
    return int(days or 0) * 86400 + hours * 3600 + minutes * 60 + rest


def family(pids: list[int]) -> list[psutil.Process]:
    """Processes and all that they started, as Slurm's tracking sees them."""
    members = []
    for pid in pids:
        with contextlib.suppress(psutil.NoSuchProcess):
            members += [process := psutil.Process(pid), *process.children(recursive=True)]
    return [member for member in members if lives(member)]


def lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):  # it may go between two looks
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def tell(pids: list[int], number: int) -> None:
    for member in family(pids):
        with contextlib.suppress(psutil.NoSuchProcess):
            member.send_signal(number)


def lost() -> list[str]:
    return [path.name.removeprefix("lost-") for path in STATE.glob("lost-*")]


def sbatch(arguments) -> None:
    script = Path(arguments[-1])
    text = script.read_text()
    options = options_of(text)
    assert int(options["nodes"]) <= len(NODES), "more nodes than there are"
    number = FIRST + len(list(STATE.glob("job-*.json")))
    spool = STATE / f"spool-{number}"
    spool.mkdir()
    shutil.copy(script, spool / "slurm_script")
    job_file(number).write_text(json.dumps({"name": options["job-name"], "state": "PENDING", "restarts": 0,
                                            "options": options, "tasks": {}, "requeue": False}))  # fmt: skip
    log = (STATE / f"slurmd-{number}.log").open("w")
    subprocess.Popen([sys.executable, __file__, "slurmd", str(number)], start_new_session=True,
                     stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # fmt: skip
    print(f"{number};toy" if "--parsable" in arguments else f"Submitted batch job {number}")


def slurmd(number: str) -> None:
    while True:
        job = load(number)
        options = job["options"]
        while len(nodes := [node for node in NODES if node not in lost()]) < int(options["nodes"]):
            time.sleep(0.05)
        nodes = nodes[: int(options["nodes"])]
        environment = {**os.environ, "SLURM_JOB_ID": number, "SLURM_JOB_NODELIST": ",".join(nodes),
                       "SLURMD_NODENAME": nodes[0], "SLURM_CPUS_PER_TASK": options["cpus-per-task"],
                       "SLURM_RESTART_COUNT": str(job["restarts"])}  # fmt: skip
        if job["restarts"] == 0:
            del environment["SLURM_RESTART_COUNT"]
        begun = {"state": "RUNNING", "host": nodes[0], "tasks": {}, "steps": 0, "requeue": False, "ending": False}
        change(number, **begun, pid=None)
        while "FAKE_SLURM_PROLOG" in os.environ and not Path(os.environ["FAKE_SLURM_PROLOG"]).exists():
            time.sleep(0.05)
        with open(options["output"].replace("%j", number), "a") as output:
            script = STATE / f"spool-{number}" / "slurm_script"
            shell = subprocess.Popen(["bash", script], env=environment, stdout=output, stderr=output,
                                     stdin=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
            change(number, pid=shell.pid)
            watch(number, shell, options)
        job = load(number)
        if nodes[0] in lost() and not job["ending"]:
            while "no-kill" in options and not load(number)["ending"]:
                time.sleep(0.05)
            change(number, requeue=load(number)["state"] != "CANCELLED")
        tell(list(job["tasks"].values()), signal.SIGKILL)
        job = load(number)
        if not job["requeue"]:
            ended = "CANCELLED" if job["state"] == "CANCELLED" else "COMPLETED" if shell.returncode == 0 else "FAILED"
            change(number, state=ended, exit=shell.returncode)
            return
        change(number, state="PENDING", restarts=job["restarts"] + 1)


def launched() -> int | None:
    """Launchers that stand_in.py has started so far."""
    log = os.environ.get("STAND_IN_LOG")
    if log is None:
        return None
    return Path(log).read_text().count('{"launch":') if Path(log).exists() else 0


def watch(number: str, shell: subprocess.Popen, options: dict) -> None:
    limit = seconds(options["time"])
    notice = limit - int(options["signal"].partition("@")[2])
    began, noticed, launches = time.monotonic(), False, launched()
    while shell.poll() is None:
        if launched() is not None and launched() == launches:
            began = time.monotonic()
        used = (time.monotonic() - began) * SPEED
        if used > notice and not noticed:
            noticed = True
            os.kill(shell.pid, signal.SIGUSR1)
        if used > limit + 30 * SPEED:
            tell([shell.pid], signal.SIGKILL)
        time.sleep(0.05)


def srun(arguments) -> None:
    own = {key: value for key, _, value in (a.partition("=") for a in arguments if a.startswith("--"))}
    command = arguments[next(i for i, a in enumerate(arguments) if not a.startswith("--")) :]
    number = os.environ["SLURM_JOB_ID"]
    step = change(number, steps=lambda job: job["steps"] + 1)["steps"]
    chosen = [n for n in os.environ["SLURM_JOB_NODELIST"].split(",") if n != own.get("--exclude")]
    chosen = [own["--nodelist"]] if "--nodelist" in own else chosen
    assert len(chosen) == int(own["--nodes"]) == int(own["--ntasks"])
    tasks = {}
    for index, node in enumerate(chosen):
        environment = {**os.environ, "SLURMD_NODENAME": node, "SLURM_PROCID": str(index), "SLURM_NODEID": str(index),
                       "SLURM_STEP_ID": str(step)}  # fmt: skip
        output = own["--output"].replace("%j", number).replace("%N", node)
        with open(output, "a") as log:
            tasks[node] = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    change(number, tasks=lambda job: {**job["tasks"], **{node: task.pid for node, task in tasks.items()}})

    # To every process of the step, as the real one does, and not to their groups alone.
    signal.signal(signal.SIGUSR1, lambda *_: tell([task.pid for task in tasks.values()], signal.SIGUSR1))
    # "forcing job termination", it says, and waits for its tasks, which Slurm itself ends.
    signal.signal(signal.SIGTERM, lambda *_: None)
    codes = {node: task.wait() for node, task in tasks.items()}
    for index, (node, code) in enumerate(codes.items()):
        said = signal.strsignal(-code) if code < 0 else f"Exited with exit code {code}"
        if code:
            print(f"srun: error: {node}: task {index}: {said}", file=sys.stderr)
    sys.exit(max(abs(code) for code in codes.values()))


def squeue(arguments) -> None:
    own = dict(zip(arguments, [*arguments[1:], ""], strict=True))
    own |= dict(a.partition("=")[::2] for a in arguments if "=" in a)
    for path in sorted(STATE.glob("job-*.json")):
        job, number = json.loads(path.read_text()), path.stem[4:]
        wanted = own.get("--name") == job["name"] or own.get("--jobs") == number
        if wanted and job["state"] in ("PENDING", "RUNNING"):
            state = "COMPLETING" if job.get("ending") and job["state"] == "RUNNING" else job["state"]
            fields = {"i": number, "T": state, "M": "0:10", "l": job["options"]["time"], "B": job.get("host", "n/a"),
                      "D": job["options"]["nodes"], "R": ",".join(NODES)}  # fmt: skip
            print("".join(fields[p[1]] if p[0] == "%" else p for p in re.findall("%?.", own["--format"])))


def sinfo(arguments) -> None:
    node = next((a.partition("=")[2] for a in arguments if a.startswith("--nodes=")), arguments[-2])
    print("mixed*" if node in lost() else "mixed")


def scancel(arguments) -> None:
    number = arguments[-1]
    job = load(number)
    sent = next((a.partition("=")[2] for a in arguments if a.startswith("--signal=")), None)
    if sent:
        # Else nobody is there to take it, and nothing is said of that.
        if job["host"] not in lost() and job["pid"]:
            os.kill(job["pid"], getattr(signal, f"SIG{sent}"))
        return
    end(ending(number, state="CANCELLED"))


def preempt(arguments) -> None:
    """What the scheduler does to a job whose nodes another one takes; there is no such command in Slurm."""
    scontrol(["requeue", arguments[-1]])


def lose(arguments) -> None:
    """A machine dies; there is no such command in Slurm."""
    node = arguments[-1]
    (STATE / f"lost-{node}").touch()
    for path in STATE.glob("job-*.json"):
        job = json.loads(path.read_text())
        others = [member.pid for member in family([pid for name, pid in job["tasks"].items() if name != node])]
        gone = [job["tasks"][node], *([job["pid"]] if job["pid"] and job["host"] == node else [])]
        for member in family(gone):
            if member.pid not in others:  # here all machines are one, and srun is their parent
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()


def ending(number: str, **values) -> list[int]:
    """Note that a job is ending; its processes on machines that are there."""
    change(number, ending=True, **values)
    job = load(number)
    return [*job["tasks"].values(), *([job["pid"]] if job["pid"] and job["host"] not in lost() else [])]


def end(pids: list[int]) -> None:
    tell(pids, signal.SIGTERM)
    deadline = time.monotonic() + KILL_WAIT_S
    while family(pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    tell(pids, signal.SIGKILL)


def scontrol(arguments) -> None:
    assert arguments[0] == "requeue", arguments
    pids = ending(arguments[1], requeue=True)
    # Not waited for: who asks may be a process of the job itself.
    subprocess.Popen([sys.executable, __file__, "end", *map(str, pids)], start_new_session=True)


if __name__ == "__main__":
    name = Path(sys.argv[0]).name
    if sys.argv[1:2] == ["slurmd"]:
        slurmd(sys.argv[2])
    elif sys.argv[1:2] == ["end"]:
        end([int(pid) for pid in sys.argv[2:]])
    else:
        {"sbatch": sbatch, "squeue": squeue, "scancel": scancel, "srun": srun, "scontrol": scontrol,
         "sinfo": sinfo, "preempt": preempt, "lose": lose}[name](sys.argv[1:])  # fmt: skip
