"""A sweep that `benchmarks.faults` disturbs: its launches, what a person does after them, and what was seen."""

import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fault_site import Kind, Launch, Site, Start
from sweeper.errors import INTERRUPTED, STOPPED, StoreError
from sweeper.store.store import ResultsStore

_ROOT = Path(__file__).resolve().parent.parent
_PATIENCE_S = 240.0
"""Seconds without a new row, or without an end that was asked for, after which a launch is taken to hang."""
_DOCUMENTED = {0, 1, STOPPED, INTERRUPTED}
"""Exit codes that a launch may have here: no trial may fail for a fault, and none of them is a fault of the program."""
_MOST_REMEDIES = 5
"""Looks of `sweeper verify` after one launch, each of which may find one more thing in the way."""


@dataclass(kw_only=True)
class Mix:
    """A sweep that is being disturbed, and what was seen of it."""

    site: Site
    """Where it takes place."""
    draw: random.Random
    """Decides everything that is random."""
    seconds: float
    """Time of a trial."""
    environment: dict[str, str]
    """Variables of every command."""
    injected: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Faults that came, by letter and name."""
    endings: Counter[str] = field(default_factory=Counter)
    """Launches by how they ended."""
    complaints: list[str] = field(default_factory=list)
    """What should not have happened."""
    running: list[Launch] = field(default_factory=list)
    """Launches that were started and have not been seen to end."""
    trials: int = 0
    """Trials of the sweep."""

    def start(self, start: Start) -> Launch:
        """Start a launch."""
        words = ["launch", self.site.grid, "--results", self.site.results, "--executor", start.executor,
                 "--lanes", 2, "--checkpoint-s", 0.2]  # fmt: skip
        log = self.site.folder / f"launch-{self.endings.total() + len(self.running):03d}.log"
        log.touch()
        with open("/dev/full" if start.output == "full" else log, "wb") as file:
            process = subprocess.Popen(
                self._with_truth(*words),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if start.output == "gone" else file,
                stderr=subprocess.STDOUT,
                env=self.environment | start.environment,
                cwd=_ROOT,
                start_new_session=True,
                preexec_fn=start.limit,
            )
        if process.stdout is not None:
            process.stdout.readline()
            process.stdout.close()
        launch = Launch(process=process, executor=start.executor, again=self.start, log=log)
        self.running.append(launch)
        return launch

    def end(self) -> bool:
        """Wait until the launches that were started have ended; whether one of them named a mistake to be mended."""
        codes = [self._ended(launch) for launch in self.running]
        self.running.clear()
        return 1 in codes

    def _ended(self, launch: Launch) -> int:
        """The exit code of a launch."""
        try:
            code = launch.process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.complaints.append(f"{launch.log.name}: did not end within {_PATIENCE_S:.0f} s")
            launch.signal(signal.SIGKILL)
            code = launch.process.wait()
        text = launch.log.read_text(errors="replace")
        not_listening = launch.early or "trials run now" in text  # not yet, or not any more: its summary is the last
        killed = code < 0 and -code in launch.sent and (-code == signal.SIGKILL or not_listening)
        if not (killed or code in _DOCUMENTED) or "Traceback" in text:
            self.complaints.append(f"{launch.log.name}: exit code {code}: {text[-1500:]}")
        ending = "killed" if killed else f"exit code {code}"
        self.endings[ending] += 1
        print(f"{launch.log.name}: {ending}, {self.rows()} rows", file=sys.stderr, flush=True)
        return code

    def rows(self) -> int:
        """Trials that have a row, as far as they can be read."""
        try:
            return len(ResultsStore.open(self.site.results, on_damage=lambda error: None).statuses())
        except (StoreError, OSError):
            return 0

    def gets_on(self, launch: Launch, before: int) -> bool:
        """Wait until a launch has got something done; False where it ended before that."""
        deadline = time.monotonic() + _PATIENCE_S
        while launch.process.poll() is None:
            if self.rows() > before:
                time.sleep(self.draw.uniform(0.0, 0.5))
                return launch.process.poll() is None
            if time.monotonic() > deadline:
                self.complaints.append(f"{launch.log.name}: got nothing done within {_PATIENCE_S:.0f} s")
                launch.signal(signal.SIGKILL)
            time.sleep(0.2)
        return False

    def strike(self, faults: list[Kind], when: str, *target: Start | Launch, most: int = 1) -> list[Kind]:
        """Let the next faults of a time strike; they are taken off the list."""
        struck: list[Kind] = []
        for kind in [kind for kind in faults if kind.when == when]:
            if len(struck) == most:
                break
            fits = not target or kind.executor in (None, target[0].executor)
            if fits and kind.act(self.site, self.draw, *target):
                faults.remove(kind)
                self.injected[kind.letter, kind.name] += 1
                print(f"{kind.when}: {kind.name}", file=sys.stderr, flush=True)
                struck.append(kind)
        return struck

    def remedy(self) -> bool:
        """Do what `sweeper verify` asks for, but for running trials again; whether nothing is wrong any more."""
        self.site.mend()
        for _ in range(_MOST_REMEDIES):
            looked = self._sweeper("verify", "-r", self.site.results, "--set-aside")
            if looked.returncode == 0:
                return True
            in_the_way = re.findall(r"(\S+): not a regular file", looked.stderr + looked.stdout)
            for path in in_the_way:
                Path(path).unlink()
            if looked.returncode != 1 or "Traceback" in looked.stderr:
                self.complaints.append(f"verify: exit code {looked.returncode}: {looked.stderr[-1500:]}")
            if not in_the_way and "damaged: " not in looked.stdout:
                break
        return False

    def run_again(self) -> None:
        """Run what `sweeper verify` says is to be run by `sweeper retry`."""
        looked = self._sweeper("verify", "-r", self.site.results)
        for line in re.findall(r"^Run again: sweeper (retry .*)$", looked.stdout, re.MULTILINE):
            words = [*shlex.split(line), "--executor", "processes", "--lanes", "2"]
            done = subprocess.run(
                self._with_truth(*words), env=self.environment, cwd=_ROOT, capture_output=True, text=True
            )
            if done.returncode:
                self.complaints.append(f"retry: exit code {done.returncode}: {done.stderr[-1500:]}")

    def sweep_into(self, results: Path) -> None:
        """The same sweep, undisturbed and as fast as it goes, into another directory."""
        words = ["launch", self.site.grid, "--results", results, "--executor", "processes", "--lanes", 2]
        command = [sys.executable, "-m", "benchmarks.faulty_launch", "0", *map(str, words)]
        subprocess.run(command, env=self.environment, cwd=_ROOT, capture_output=True, check=True)

    def _with_truth(self, *words: object) -> list[str]:
        """A `sweeper` command with trials of the known law."""
        return [sys.executable, "-m", "benchmarks.faulty_launch", str(self.seconds), *map(str, words)]

    def _sweeper(self, *words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "sweeper", *map(str, words)]
        return subprocess.run(command, env=self.environment, cwd=_ROOT, capture_output=True, text=True, check=False)
