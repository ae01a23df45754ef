"""Runs the programs of a cluster (sbatch, kubectl, ray, ssh) and turns their failures into one sentence."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from typing import Protocol

from cluster.errors import SubmitError

TIMEOUT_S = 120.0
"""Seconds that a program may take where nothing else is said (assumption)."""
_HINTS = {
    "sbatch": "run this on a login node of the Slurm cluster",
    "squeue": "run this on a login node of the Slurm cluster",
    "scancel": "run this on a login node of the Slurm cluster",
    "kubectl": "install it and point it at the cluster",
    "ssh": "install an ssh client",
}


class Runner(Protocol):
    """Runs a command; replaced in tests."""

    def __call__(
        self,
        command: Sequence[str],
        *,
        text: str | None = None,
        env: Mapping[str, str] | None = None,
        timeout_s: float = ...,
    ) -> str:
        """Standard output of the command; raises `SubmitError`."""


def run_command(
    command: Sequence[str],
    *,
    text: str | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float = TIMEOUT_S,
) -> str:
    """Run a command without a shell.

    Args:
        command: program and arguments.
        text: what it gets on standard input; nothing when None.
        env: further environment variables.
        timeout_s: seconds after which it is ended.

    Returns:
        Its standard output.

    Raises:
        SubmitError: it is not there, takes too long, or fails; says what it printed.
    """
    program = command[0]
    try:
        done = subprocess.run(
            list(command),
            input=text if text is not None else "",  # never the terminal: nothing may wait for an answer
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            # The message of `check` would be the command alone, and what the program printed says more.
            check=False,
        )
    except FileNotFoundError:
        raise SubmitError(f"{program}: not found; {_HINTS.get(program, 'is it installed?')}") from None
    except subprocess.TimeoutExpired:
        raise SubmitError(f"{' '.join(command[:3])} ...: no end after {timeout_s:.0f} s") from None
    if done.returncode != 0:
        raise SubmitError(f"{program} failed with exit code {done.returncode}: {_last_words(done.stderr, done.stdout)}")
    return done.stdout


def remote(host: str, command: str) -> list[str]:
    """The ssh command that runs something on a machine, without ever asking for a password."""
    # A password prompt would wait where nobody looks, and a host that is down would hold up the command for minutes.
    # After `--` a name that begins with a dash is no option.
    return ["ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15", "--", host, command]


def _last_words(*outputs: str) -> str:
    """The end of what a program printed, on one line, without the log lines that kubectl's library adds."""
    # Stderr first: what a program says of its failure stands there, if anywhere.
    printed = next((output for output in outputs if output.strip()), "nothing")
    # Such a line begins with its level and the date, as in E1122 for an error of the 22nd of November.
    lines = [line for line in printed.splitlines() if not re.match(r"[EWI]\d{4} ", line)]
    return " ".join(" ".join(lines).split())[-500:] or "nothing"  # the cause stands at the end
