"""A stand-in for `sweeper launch --cluster ADDRESS`: attaches to a real Ray and runs sleeping tasks that leave rows."""

import json
import signal
import sys
import time
from pathlib import Path

import ray

from cluster.attach.connect import connected

drain = False


def on_interrupt(*_) -> None:
    global drain
    drain = True


def trial(row: str, duration: float) -> None:
    time.sleep(duration)
    with open(row, "a") as file:
        file.write(ray.util.get_node_ip_address() + "\n")


def main(grid: str, results: Path, address: str) -> int:
    signal.signal(signal.SIGINT, on_interrupt)
    results.mkdir(parents=True, exist_ok=True)
    with connected(address, namespace="test", results=str(results)) as attached:
        print(f"attached to {len(attached.nodes)} nodes at {attached.address}", flush=True)
        task = ray.remote(num_cpus=1)(trial)
        waiting = [(str(results / f"{i}.row"), d) for i, d in enumerate(json.loads(Path(grid).read_text()))]
        waiting = [(row, duration) for row, duration in waiting if not Path(row).exists()]
        running: list = []
        while running or (waiting and not drain):
            while waiting and not drain and len(running) < attached.cpus:
                running.append(task.remote(*waiting.pop()))
            done, running = ray.wait(running, timeout=0.2)
            ray.get(done)
    return 130 if waiting else 0


if __name__ == "__main__":
    arguments = sys.argv[1:]
    results = Path(arguments[arguments.index("--results") + 1])
    sys.exit(main(arguments[0], results, arguments[arguments.index("--cluster") + 1]))
