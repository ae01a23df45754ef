"""Files that are Debian packages: fetched by the machine's own `apt-get`, which knows its mirror, and unpacked.

`apt-get download` installs nothing and needs no rights of an administrator. The package's version and hash are pinned,
so that the same bytes arrive from every mirror that has them.
"""

import contextlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tasks.errors import DataError
from tasks.packages import package

_DATA = b"data.tar"
"""How the member of a package that holds its files begins (deb(5)); the ending names the compression."""


def download(wanted: str, target: Path) -> None:
    """Download a package.

    Args:
        wanted: "name=version", as apt-get takes it.
        target: file that it becomes.

    Raises:
        DataError: no apt-get, no network, or a mirror that lacks this version.
    """
    if shutil.which("apt-get") is None:
        raise DataError(f"apt-get download {wanted}: this machine has no apt-get")
    # A folder of its own, because apt-get names the file itself.
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        command = ("apt-get", "--quiet", "download", wanted)
        # In the language of its source, in which errors begin with "E:".
        environment = {**os.environ, "LC_ALL": "C"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        files = list(Path(folder).glob("*.deb"))
        if done.returncode or len(files) != 1:
            errors = [line.removeprefix("E: ") for line in done.stderr.splitlines() if line.startswith("E:")]
            reason = "; ".join(errors) or done.stderr.strip() or f"code {done.returncode}"
            raise DataError(f"apt-get download {wanted}: {reason}; 'apt-get update' renews what it knows of its mirror")
        files[0].replace(target)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[tarfile.TarFile]:
    """Open the files of a package.

    Raises:
        DataError: no Debian package, or damaged.
    """
    arpy = package("arpy", str(path))
    try:
        # Opened here, since arpy leaves a file open that it cannot read.
        with path.open("rb") as file, arpy.Archive(fileobj=file) as archive:
            archive.read_all_headers()
            names = [name for name in archive.archived_files if name.startswith(_DATA)]
            if len(names) != 1:
                raise DataError(f"{path}: not a Debian package (no member {_DATA.decode()})")
            # Python before 3.14 reads no Zstandard, in which Ubuntu packs; Debian packs in xz.
            with tarfile.open(fileobj=archive.archived_files[names[0]], mode="r:*") as files:
                yield files
    except (arpy.ArchiveFormatError, arpy.ArchiveAccessError, tarfile.TarError, EOFError) as error:
        raise DataError(f"{path}: not a Debian package, or damaged ({error})") from error
