"""A stand-in for the interpreter of a job: everything is real but Ray and the training.

`ray start` becomes a process that waits for a signal, a head listens at its port; `sweeper launch` writes one row per
trial of a grid that is a JSON list of durations, skips those that have a row, drains on SIGINT and takes a second to
save on SIGTERM, as the real one does.
"""

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path

from cluster.attach import node

drain = False
open_ports: list[socket.socket] = []


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
    own = dict(a.partition("=")[::2] for a in arguments)
    if "--head" in arguments:
        open_ports.append(socket.create_server((address, int(own["--port"]))))
    note({"ray": arguments, "address": address, "token": os.environ["RAY_AUTH_TOKEN"]})
    while True:  # a raylet whose head is lost without a word does not notice it either
        time.sleep(60)


def ray_node(arguments: list[str]) -> None:
    address = next(a.partition("=")[2] for a in arguments if a.startswith("--node-ip-address="))
    command = (__file__, "-m", "ray.scripts.scripts", "start")
    try:
        sys.exit(node.main(arguments, look_s=0.3, command=command))
    finally:
        if address in alive():
            note({"ended": address})


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


def save() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(1)
    note({"saved on": sorted(alive())})
    sys.exit(130)


def launch(arguments: list[str]) -> None:
    def on_interrupt(*_):
        global drain
        drain = True

    note({"begun": arguments})
    while not Path(os.environ.get("STAND_IN_DEAF_UNTIL", "/")).exists():
        time.sleep(0.05)
    signal.signal(signal.SIGINT, on_interrupt)
    signal.signal(signal.SIGTERM, lambda *_: save())
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
        case ["-m", "cluster.attach.node", *rest]:
            ray_node(rest)
        case ["-m", "cluster.attach.ready", *rest]:
            ready(rest)
        case ["-m", "sweeper.progress", results]:
            print(len(list(Path(results).glob("*.row"))))
        case ["-m", "sweeper.cli", "launch", *rest]:
            launch(rest)
        case rest:
            if "cluster.attach.address" in rest and "SLURM_PROCID" in os.environ:  # a node, not the batch shell
                time.sleep(float(os.environ.get("STAND_IN_ADDRESS_S", "0")))
            os.execv(sys.executable, [sys.executable, *rest])
