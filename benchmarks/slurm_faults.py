"""A sweep on a real Slurm under random faults: `python -m benchmarks.slurm_faults FOLDER`, on a login node.

FOLDER is seen by all nodes. A job of two nodes trains small networks while it is cancelled, stopped, queued again and
launched again at random moments; with --kill and --revive, its nodes die and come back too. At the end every trial must
have exactly one row, equal to that of a sweep on the login node alone, and after each end no process of ours and no
folder may be left on any node. Seeds are trained one by one, since sums differ in their last digits by how many are
trained in one go. Where Slurm is reached in another way (a container, namespaces), --login and --node say how a line of
shell gets there.
"""

import random
import shlex
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import click

_GRID = """
name: faults
task: {name: text, alphabet: letters}
budgets: [3000, 4000]
model: {d_m: [1, 2, 4], d_tree: 4, d_branch: 4, rho_rec: 0.5}
seeds: 2
training: {steps: STEPS, batch_size: 8, length: 16, learning_rate: 3e-3, eval_every: 200, eval_batches: 1,
           final_eval_batches: 2, eval_batch_size: 8}
"""
_PROFILE = """
kind: slurm
name: faults
nodes: 2
cpus_per_node: 2
memory_per_node: 3G
time_limit: 01:00:00
stop_notice: 120
start_timeout: 300
python: PYTHON
results: FOLDER
"""
_PATIENCE_S = 900.0
"""Seconds within which a job must have begun, ended or been queued again (assumption: a first node that is lost takes
three minutes, and the scheduler of a small Slurm one)."""
_OURS = "cluster.attach|sweeper.cli|slurm_script|raylet|gcs_server|ray::"
_COMPARE = """
from pathlib import Path
from benchmarks.faults import differences
print(*differences(Path("swept"), Path("alone")), sep="\\n", end="")
"""
_FOLDERS = "/tmp/elm-* /dev/shm/plasma*"
_MOST_LAUNCHES = 10


@dataclass(kw_only=True)
class Lab:
    """A Slurm, and the sweep on it."""

    folder: str
    """Folder that all nodes see."""
    login: str
    """Command that takes a line of shell to the login node; empty where this is it."""
    node: str
    """Command that takes one to the node {node}."""
    kill: str
    """Command by which {node} dies; empty where it cannot."""
    revive: str
    """Command by which it comes back."""
    prepare: str
    """Line of shell that goes before every command on the login node."""
    draw: random.Random
    """Decides everything that is random."""
    complaints: list[str] = field(default_factory=list)
    """What should not have happened."""
    dead: set[str] = field(default_factory=set)
    """Nodes that were killed and not revived."""

    def on_login(self, command: str, *, must: bool = True) -> str:
        """What a line of shell prints on the login node."""
        return _run(self.login, f"cd {shlex.quote(self.folder)}; {self.prepare}; {command}", must=must)

    def job(self) -> tuple[str, str, str] | None:
        """Number, state and first node of the job; None where there is none."""
        listed = self.on_login("squeue --noheader --me --format='%i %T %B'").split()
        return (listed[0], listed[1], listed[2]) if len(listed) >= 3 else None

    def word(self) -> str:
        """How the job said last that it stands."""
        return self.on_login("cat .jobs/*/last-word 2> /dev/null || true").strip()

    def launch(self) -> None:
        """Submit the sweep."""
        self.on_login("sweeper launch faults.yaml -r swept --seed-batch off --checkpoint-s 2 --cluster profile.yaml")

    def wait(self, what: str, holds: Callable[[], bool]) -> None:
        """Wait for something; a complaint where it does not come."""
        deadline = time.monotonic() + _PATIENCE_S
        while not holds():
            if time.monotonic() > deadline:
                self.complaints.append(f"within {_PATIENCE_S:.0f} s not {what}: {self.job()}, {self.word()}")
                return
            time.sleep(2)

    def nodes(self) -> list[str]:
        """All nodes that live."""
        names = self.on_login("sinfo --noheader --Node --format=%N | sort -u").split()
        return [name for name in names if name not in self.dead]

    def look_for_remains(self, after: str) -> None:
        """Complain of processes and folders of ours on the nodes."""
        processes = f'ps -u "$(id -un)" -o stat=,args= | grep -v ^Z | grep -E "{_OURS}" | grep -v grep'
        look = f"{processes}; ls -d {_FOLDERS} || true"
        for name in self.nodes():
            if left := _run(self.node.format(node=name), f"({look}) 2> /dev/null", must=False).split("\n")[:-1]:
                self.complaints.append(f"after {after}, {name} has {len(left)} things of ours: {left}")

    def end(self, command: str) -> None:
        """End the job by a command."""
        self.on_login(command, must=False)  # it may end by itself just now
        self.wait(f"ended by {command}", lambda: self.job() is None)
        self.look_for_remains(command)

    def requeue(self, number: str) -> None:
        """Queue the job again, as an administrator would."""
        self.on_login(f"scontrol requeue {number}", must=False)
        self.wait("queued again", lambda: (job := self.job()) is None or job[1] == "PENDING")
        self.look_for_remains("requeue")

    def lose(self, name: str, *, first: bool) -> None:
        """Let a node die for a while; where it is the job's first one, until the job is queued again."""
        _run("", self.kill.format(node=name))
        self.dead.add(name)
        if first:
            self.wait("queued again by another node", lambda: (job := self.job()) is None or job[2] != name)
        else:
            time.sleep(self.draw.uniform(5, 40))
        _run("", self.revive.format(node=name))
        self.dead.remove(name)

    def strike(self, kind: str) -> bool:
        """Let a fault strike the running job; whether it was there."""
        job = self.job()
        if job is None or job[1] != "RUNNING":
            return False
        number, _, first = job
        match kind:
            case "scancel":
                self.end(f"scancel {number}")
            case "stop" | "stop --now":
                self.end(f"sweeper {kind.replace('stop', 'stop faults')}")
            case "requeue":
                self.requeue(number)
            case "first node killed":
                self.lose(first, first=True)
            case "other node killed":
                allocated = self.on_login(f"scontrol show hostnames $(squeue -h -j {number} -o %N)").split()
                self.lose(next(name for name in allocated if name != first), first=False)
        return True


def _run(prefix: str, command: str, *, must: bool = True) -> str:
    done = subprocess.run(
        [*(shlex.split(prefix) or ["sh", "-c"]), command], capture_output=True, text=True, check=False
    )
    if must and done.returncode:
        raise click.ClickException(f"{command}: exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("folder")
@click.option("--faults", default=8, show_default=True, help="Faults that strike the sweep.")
@click.option("--seed", default=0, show_default=True, help="Of the faults and their moments.")
@click.option("--steps", default=3000, show_default=True, help="Steps of a trial.")
@click.option("--within", default=60.0, show_default=True, help="Seconds of a running job in which a fault comes.")
@click.option("--login", default="", help="Command that takes a line of shell to the login node.")
@click.option("--node", default="ssh {node}", show_default=True, help="Command that takes one to a node.")
@click.option("--kill", default="", help="Command by which {node} dies; without it no node does.")
@click.option("--revive", default="", help="Command by which it comes back.")
@click.option("--prepare", default="true", help="Line of shell before every command, such as an export.")
def main(folder: str, faults: int, seed: int, steps: int, within: float, **lab_options: str) -> None:
    """Disturb a sweep on the Slurm of this login node, and hold what comes of it against a sweep without Slurm."""
    began, struck = time.monotonic(), Counter[str]()
    lab = Lab(folder=folder, draw=random.Random(seed), **lab_options)  # type: ignore[arg-type]
    python = lab.on_login("command -v python").strip()
    texts = {
        "faults.yaml": _GRID.replace("STEPS", str(steps)),
        "profile.yaml": _PROFILE.replace("PYTHON", python).replace("FOLDER", folder),
    }
    for name, text in texts.items():
        lab.on_login(f"printf %s {shlex.quote(text)} > {name}")
    kinds = ["scancel", "stop", "stop --now", "requeue", *(["first node killed", "other node killed"] * bool(lab.kill))]
    drawn = [kind for _ in range(faults) for kind in lab.draw.sample(kinds, len(kinds))][:faults]
    for kind in drawn:
        if lab.job() is None:
            if "all trials have ended" in lab.word():
                break
            lab.launch()
        lab.wait("running", lambda: (job := lab.job()) is None or job[1] == "RUNNING")
        time.sleep(lab.draw.uniform(0, within))
        struck[kind] += lab.strike(kind)
        click.echo(f"{time.monotonic() - began:5.0f} s: {kind}; {lab.word()}")
    for _ in range(_MOST_LAUNCHES):
        lab.wait("ended", lambda: lab.job() is None)
        if "all trials have ended" in lab.word():
            break
        lab.launch()
    lab.look_for_remains("the end")
    lab.on_login("sweeper launch faults.yaml -r alone --seed-batch off --executor processes --lanes 2")
    complaints = [*lab.complaints, *lab.on_login(f"python -c {shlex.quote(_COMPARE)}").splitlines()]
    click.echo("\n".join(complaints) or "Every trial is exactly one row, equal to that of a sweep without Slurm.")
    click.echo(f"{struck.total()} faults in {time.monotonic() - began:.0f} s, seed {seed}: {dict(struck)}")
    sys.exit(1 if complaints else 0)


if __name__ == "__main__":
    main()
