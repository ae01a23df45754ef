"""A place for caches where the home directory is missing or cannot be written, as in many containers.

Lanes inherit the environment, so that what is set here holds in them and in a Ray that is started for them.
"""

import os
import secrets
import tempfile
from pathlib import Path

_RAY_TOKEN = "RAY_AUTH_TOKEN"


def use_writable_home() -> Path | None:
    """Let caches go to a private folder below the temporary directory where the home will not do.

    Returns:
        That folder; None where nothing had to be changed.
    """
    home = Path(os.path.expanduser("~"))
    # A HOME that is relative would be another folder in every working directory, such as those of Ray's lanes.
    if home.is_absolute() and _may_write(home / ".cache"):
        return None
    folder = _private_folder()
    if not home.is_dir() or not home.is_absolute():
        os.environ["HOME"] = str(folder)  # an unknown user without HOME: then there is nothing in a home to lose
    for variable in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        # Places that somebody has chosen are kept; an empty value counts as none, as in the XDG specification.
        os.environ[variable] = os.environ.get(variable) or str(folder)
    if _RAY_TOKEN not in os.environ and not (home / ".ray" / "auth_token").is_file():
        os.environ[_RAY_TOKEN] = secrets.token_hex(32)  # which Ray would otherwise write into the home
    return folder


def _may_write(path: Path) -> bool:
    """Whether a path can be written or made; False on a read-only file system."""
    existing = next(place for place in (path, *path.parents) if place.exists())
    # /proc grants the right to write to root and yet makes no folder, and so do some network file systems.
    try:
        with tempfile.TemporaryDirectory(dir=existing, prefix=".elm-sweeper-"):
            return True
    except OSError:
        return False


def _private_folder() -> Path:
    """A folder that stays from launch to launch, unless somebody else has put it there."""
    folder = Path(tempfile.gettempdir()) / f"elm-sweeper-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    # `lstat`, because /tmp belongs to everybody: somebody may have put a link or a folder of theirs under this name,
    # and what is in the caches is loaded as code.
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o022:
        return Path(tempfile.mkdtemp(prefix="elm-sweeper-"))
    return folder
