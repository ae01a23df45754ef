"""What one pass over a person's files finds, noted by the files' identity: later commands and trials need no pass."""

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tasks.base import Options, Place
from tasks.data.cache import data_directory, identity_of, read_note, sealed, write_atomically


def noted(
    version: str,
    files: Sequence[Path],
    options: Options,
    place: Place,
    find: Callable[[], dict[str, Any]],
    names: Sequence[str],
) -> dict[str, Any]:
    """Return what `find` finds, from a note where these files with these options were looked at before.

    Args:
        version: task and version of what it finds, such as `table 1`.
        files: what is read.
        options: the task's options; `metric` chooses among what was found and is no part of the key.
        place: where the data directory is.
        find: looks at the files.
        names: what the note holds; one that lacks any of them is damaged and made anew.

    Raises:
        DataError: the data directory cannot be written, or whatever `find` refuses.
    """
    settings = {name: value for name, value in options.items() if name != "metric"}
    key = json.dumps([version, [identity_of(path) for path in files], settings])
    note = data_directory(place.cache_dir) / "own" / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"

    def build() -> None:
        found = find()
        with write_atomically(note) as file:
            file.write(sealed(found))

    return read_note(note, build, lambda content: {name: content[name] for name in names})
