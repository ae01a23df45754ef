"""A stand-in for the interpreter of a job: everything is real but Ray and the training.

`ray start` becomes a process that waits for a signal; `sweeper launch` writes one row per trial of a grid that is a
JSON list of durations, skips those that have a row, drains on SIGINT and stops on SIGTERM, as the real one does.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

drain = False


def note(event: dict) -> None:
    with open(os.environ["STAND_IN_LOG"], "a") as log:
        log.write(json.dumps(event) + "\n")


def ray_start(arguments: list[str]) -> None:
    temp = next(a.partition("=")[2] for a in arguments if a.startswith("--temp-dir="))
    address = next(a.partition("=")[2] for a in arguments if a.startswith("--node-ip-address="))
    assert os.environ["RAY_AUTH_MODE"] == "token"
    assert os.stat(temp).st_mode & 0o777 == 0o700
    if address in os.environ.get("STAND_IN_BROKEN", "").split(","):
        sys.exit("no Ray today")

    def end(*_):
        note({"ended": address})
        sys.exit(1)

    signal.signal(signal.SIGTERM, end)
    note({"ray": arguments, "address": address, "token": os.environ["RAY_AUTH_TOKEN"]})
    head = next((a.partition("=")[2].partition(":")[0] for a in arguments if a.startswith("--address=")), None)
    while head is None or head in alive():  # as a raylet notices it
        time.sleep(0.05)
    end()


def alive() -> set[str]:
    """Addresses whose Ray has started and not ended."""
    found: set[str] = set()
    log = Path(os.environ["STAND_IN_LOG"])
    for line in log.read_text().splitlines() if log.exists() else []:
        event = json.loads(line)
        if "ray" in event:
            found.add(event["address"])
        found.discard(event.get("ended", ""))
    return found


def ready(arguments: list[str]) -> None:
    pid = int(arguments[arguments.index("--while-pid") + 1]) if "--while-pid" in arguments else os.getpid()
    nodes = int(arguments[arguments.index("--nodes") + 1])
    while len(alive()) < nodes:
        time.sleep(0.05)
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            sys.exit("Error: the Ray head has ended")


def launch(arguments: list[str]) -> None:
    def on_interrupt(*_):
        global drain
        drain = True

    signal.signal(signal.SIGINT, on_interrupt)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    note({"launch": arguments})
    results = Path(arguments[arguments.index("--results") + 1])
    address = arguments[arguments.index("--cluster") + 1]
    results.mkdir(parents=True, exist_ok=True)
    try:
        durations = json.loads(Path(arguments[0]).read_text())
    except json.JSONDecodeError:  # a real grid: one trial that lasts until the job is stopped
        durations = [600]
    for number, duration in enumerate(durations):
        row = results / f"{number}.row"
        if not row.exists():
            if drain:
                sys.exit(130)
            time.sleep(duration)
            row.write_text(address)
            print(f"trial {number} done", flush=True)
    sys.exit(int(os.environ.get("STAND_IN_EXIT", "0")))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["-m", "ray.scripts.scripts", "start", *rest]:
            ray_start(rest)
        case ["-m", "cluster.attach.ready", *rest]:
            ready(rest)
        case ["-m", "sweeper.cli", "launch", *rest]:
            launch(rest)
        case rest:
            os.execv(sys.executable, [sys.executable, *rest])
