"""Runs the programs of a cluster (sbatch, kubectl, ray, ssh) and turns their failures into one sentence."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import Protocol

from cluster.errors import SubmitError

_TIMEOUT_S = 120.0
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
    timeout_s: float = _TIMEOUT_S,
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
            input=text if text is not None else "",
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError:
        raise SubmitError(f"{program}: not found; {_HINTS.get(program, 'is it installed?')}") from None
    except subprocess.TimeoutExpired:
        raise SubmitError(f"{' '.join(command[:3])} ...: no end after {timeout_s:.0f} s") from None
    if done.returncode != 0:
        said = " ".join((done.stderr.strip() or done.stdout.strip()).split()) or "nothing"
        raise SubmitError(f"{program} failed with exit code {done.returncode}: {said[-500:]}")
    return done.stdout
