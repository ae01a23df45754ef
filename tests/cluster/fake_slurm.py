"""A Slurm in one file: sbatch, squeue, scancel, scontrol and srun by the name it is called by, on this machine alone.

Behaves like the real one where job scripts depend on it (seen with Slurm 22.05): the script runs from a spool copy;
`--signal=B:` reaches the batch shell only; other signals reach every process of a step; a SIGTERM to srun kills its
tasks; a requeued job starts from the beginning with SLURM_RESTART_COUNT. FAKE_SLURM is its folder, FAKE_SLURM_NODES
its nodes, FAKE_SLURM_FIRST its first job number. Time limits run FAKE_SLURM_SPEED times faster, and with stand_in.py
from the moment its launcher listens to signals: a busy machine must not make the notice come before that.
"""

import contextlib
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

STATE = Path(os.environ["FAKE_SLURM"])
NODES = os.environ["FAKE_SLURM_NODES"].split(",")
FIRST = int(os.environ["FAKE_SLURM_FIRST"])
SPEED = float(os.environ.get("FAKE_SLURM_SPEED", "60"))


def job_file(number) -> Path:
    return STATE / f"job-{number}.json"


def load(number) -> dict:
    return json.loads(job_file(number).read_text())


def change(number, **values) -> None:
    temporary = STATE / f"change-{os.getpid()}"
    temporary.write_text(json.dumps({**load(number), **values}))
    os.replace(temporary, job_file(number))


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


def kill_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, number)


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
                                            "options": options, "groups": [], "requeue": False}))  # fmt: skip
    log = (STATE / f"slurmd-{number}.log").open("w")
    subprocess.Popen([sys.executable, __file__, "slurmd", str(number)], start_new_session=True,
                     stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # fmt: skip
    print(f"{number};toy" if "--parsable" in arguments else f"Submitted batch job {number}")


def slurmd(number: str) -> None:
    while True:
        job = load(number)
        options = job["options"]
        nodes = NODES[: int(options["nodes"])]
        environment = {**os.environ, "SLURM_JOB_ID": number, "SLURM_JOB_NODELIST": ",".join(nodes),
                       "SLURMD_NODENAME": nodes[0], "SLURM_CPUS_PER_TASK": options["cpus-per-task"],
                       "SLURM_RESTART_COUNT": str(job["restarts"])}  # fmt: skip
        if job["restarts"] == 0:
            del environment["SLURM_RESTART_COUNT"]
        with open(options["output"].replace("%j", number), "a") as output:
            script = STATE / f"spool-{number}" / "slurm_script"
            shell = subprocess.Popen(["bash", script], env=environment, stdout=output, stderr=output,
                                     stdin=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
            change(number, state="RUNNING", pid=shell.pid, groups=[], steps=0, requeue=False)
            watch(number, shell, options)
        for group in load(number)["groups"]:
            kill_group(group, signal.SIGKILL)
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
            kill_group(shell.pid, signal.SIGKILL)
        time.sleep(0.05)


def srun(arguments) -> None:
    own = {key: value for key, _, value in (a.partition("=") for a in arguments if a.startswith("--"))}
    command = arguments[next(i for i, a in enumerate(arguments) if not a.startswith("--")) :]
    number = os.environ["SLURM_JOB_ID"]
    job = load(number)
    chosen = [n for n in os.environ["SLURM_JOB_NODELIST"].split(",") if n != own.get("--exclude")]
    chosen = [own["--nodelist"]] if "--nodelist" in own else chosen
    assert len(chosen) == int(own["--nodes"]) == int(own["--ntasks"])
    tasks = []
    for index, node in enumerate(chosen):
        environment = {**os.environ, "SLURMD_NODENAME": node, "SLURM_PROCID": str(index), "SLURM_NODEID": str(index),
                       "SLURM_STEP_ID": str(job["steps"])}  # fmt: skip
        output = own["--output"].replace("%j", number).replace("%N", node)
        with open(output, "a") as log:
            tasks.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True))
    change(number, steps=job["steps"] + 1, groups=job["groups"] + [task.pid for task in tasks])

    def hand_on(received, frame):
        for task in tasks:
            kill_group(task.pid, signal.SIGKILL if received == signal.SIGTERM else received)

    signal.signal(signal.SIGUSR1, hand_on)
    signal.signal(signal.SIGTERM, hand_on)
    sys.exit(max(task.wait() for task in tasks))


def squeue(arguments) -> None:
    own = dict(a.partition("=")[::2] for a in arguments if "=" in a)
    name = arguments[arguments.index("--name") + 1]
    for path in sorted(STATE.glob("job-*.json")):
        job = json.loads(path.read_text())
        if job["name"] == name and job["state"] in ("PENDING", "RUNNING"):
            fields = {"i": path.stem[4:], "T": job["state"], "M": "0:10", "l": job["options"]["time"],
                      "D": job["options"]["nodes"], "R": ",".join(NODES)}  # fmt: skip
            print("".join(fields[p[1]] if p[0] == "%" else p for p in re.findall("%?.", own["--format"])))


def scancel(arguments) -> None:
    number = arguments[-1]
    job = load(number)
    sent = next((a.partition("=")[2] for a in arguments if a.startswith("--signal=")), None)
    if sent:
        os.kill(job["pid"], getattr(signal, f"SIG{sent}"))
        return
    change(number, state="CANCELLED")
    end(job)


def preempt(arguments) -> None:
    """What the scheduler does to a job whose nodes another one takes; there is no such command in Slurm."""
    change(arguments[-1], requeue=True)
    end(load(arguments[-1]))


def end(job: dict) -> None:
    for group in [job["pid"], *job["groups"]]:
        kill_group(group, signal.SIGTERM)
    time.sleep(3)
    for group in [job["pid"], *job["groups"]]:
        kill_group(group, signal.SIGKILL)


def scontrol(arguments) -> None:
    assert arguments[0] == "requeue", arguments
    change(arguments[1], requeue=True)


if __name__ == "__main__":
    name = Path(sys.argv[0]).name
    if sys.argv[1:2] == ["slurmd"]:
        slurmd(sys.argv[2])
    else:
        {"sbatch": sbatch, "squeue": squeue, "scancel": scancel, "srun": srun, "scontrol": scontrol,
         "preempt": preempt}[name](sys.argv[1:])  # fmt: skip
