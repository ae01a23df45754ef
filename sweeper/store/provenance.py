"""Which version of the code made a row."""

import importlib.metadata
import subprocess
from functools import cache
from pathlib import Path


# Cached, because every lost attempt is recorded with it, and each answer takes two runs of git.
@cache
def code_version() -> str:
    """Version of this package, with the git commit (and `+changed`) when it runs from a checkout."""
    try:
        version = importlib.metadata.version("elm-sweeper")
    except importlib.metadata.PackageNotFoundError:  # the six folders shipped without their metadata
        version = "unpackaged"
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return version
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        # Files that git does not know are left out: results and notes beside the code change no number.
        changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):  # no git program, or a repository without a commit
        return version
    return f"{version}+{commit}{'.changed' if changed else ''}"


def _git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.strip()
