"""Classes in a person's own file, tasks and architectures: their source by its hash, run once per process.

A reference such as ``my_tasks.py:MyTask`` becomes ``my_tasks.py:MyTask@3f2a9c14d0be``, the name under which plans, rows
and lanes know the class: the digits are the beginning of the SHA-256 of the file, so that an edited file is another
task or architecture. The source is kept as text: it travels to lanes on other machines and lies beside the rows that it
made. A class that an installed package offers by an entry point is known by the entry point's name.
"""

import ast
import hashlib
import importlib.metadata
import re
import sys
import traceback
import types
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cluster.errors import CodeError, choices_hint, path_hint

_DIGITS = 12
"""Hexadecimal digits of the SHA-256 in a name: 48 bits tell the versions of one file apart."""
_REFERENCE = re.compile(rf"(?P<path>[^:]+\.py):(?P<name>[A-Za-z_]\w*)(?:@(?P<digest>[0-9a-f]{{{_DIGITS}}}))?")
_LARGEST = 1 << 20
"""Bytes of a source file; it is sent to every lane, and a Kubernetes ConfigMap holds no more."""
_OURS = ("analysis", "cluster", "model", "sweeper", "tasks", "theory")
"""Packages of this software, which lie beside a file in the root of its repository."""
_sources: dict[str, str] = {}
_modules: dict[str, types.ModuleType] = {}


class Reference(NamedTuple):
    """A class in a file, as a grid names it."""

    path: str
    """Path of the file as written."""
    name: str
    """Name of the class."""
    digest: str | None
    """Beginning of the file's SHA-256; None where any version will do."""

    @property
    def full_name(self) -> str:
        """Name in plans and rows: the file without its folder, the class, the file's hash."""
        return f"{Path(self.path).name}:{self.name}@{self.digest}"


def reference(text: str) -> Reference | None:
    """Read ``file.py:Class``; None for any other name."""
    match = _REFERENCE.fullmatch(text)
    return None if match is None else Reference(match["path"], match["name"], match["digest"])


def located(wanted: Reference, folders: Sequence[Path], where: str) -> Reference:
    """Read the file of a reference and return the reference with its hash.

    Args:
        wanted: the class.
        folders: where a relative path may begin, in this order; the file may also lie in them without its own folder.
        where: path of the reference in the grid file, for messages.

    Raises:
        CodeError: no such file, or another version of it than the reference asks for.
    """
    if wanted.digest in _sources:
        return wanted
    places = [folder / wanted.path for folder in folders] + [folder / Path(wanted.path).name for folder in folders]
    places = list(dict.fromkeys(places))
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        hint = next(filter(None, map(path_hint, places)), f" (looked for {', '.join(map(str, places))})")
        raise CodeError(f"{where}: no such file: {wanted.path}{hint}")
    digest = register(_read(file, where))
    if wanted.digest not in (None, digest):
        raise CodeError(
            f"{where}: {file} is another version ({digest}) than the one asked for ({wanted.digest}); write "
            f"{wanted.path}:{wanted.name} to use the file as it is now"
        )
    return wanted._replace(digest=digest)


def _read(file: Path, where: str) -> str:
    try:
        content = file.read_bytes()
        source = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CodeError(f"{where}: cannot read {file} ({error})") from error
    if len(content) > _LARGEST:
        raise CodeError(f"{where}: {file} has {len(content):,} bytes; a file of classes may have {_LARGEST:,}")
    _refuse_siblings(file, source, where)
    return source


def _refuse_siblings(file: Path, source: str, where: str) -> None:
    """Refuse imports of what lies beside the file and is not installed: lanes elsewhere would not have it, and as no
    hash covers it, an edit of it would leave the names of trials as they are.
    """
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError, RecursionError):  # told where the file is run
        return
    imports = [(node.lineno, alias.name) for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    imports += [(n.lineno, n.module or "") for n in nodes if isinstance(n, ast.ImportFrom) and n.level == 0]
    for line, module in sorted(imports):
        name = module.partition(".")[0]
        if name in sys.stdlib_module_names or name in _OURS:
            continue
        sibling = next((path for path in (file.with_name(f"{name}.py"), file.with_name(name)) if path.exists()), None)
        # What is installed counts, not what happens to lie here as well; asked last, as it reads all metadata.
        if sibling is not None and name not in importlib.metadata.packages_distributions():
            raise CodeError(
                f"{where}: {file}, line {line}: imports {name}, which lies beside it ({sibling.name}): it would be "
                f"neither hashed nor sent to lanes; put it into {file.name}, or install it as a package wherever lanes "
                "run"
            )


def full_name(name: str, folders: Sequence[Path], where: str) -> str:
    """Return the name under which plans and rows know a class: that of a file with the file's hash.

    Args:
        name: as in the grid file.
        folders: where the path of a file may begin.
        where: path of the reference in the grid file, for messages.

    Raises:
        CodeError: there is no such file, or it is another version than was asked for.
    """
    wanted = reference(name)
    return name if wanted is None else located(wanted, folders, where).full_name


def register(source: str) -> str:
    """Keep a source for `load_class` and return the beginning of its SHA-256."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:_DIGITS]
    _sources[digest] = source
    return digest


def sources() -> Mapping[str, str]:
    """Return every source that this process knows, by the beginning of its SHA-256: what lanes are to be given."""
    return dict(_sources)


def sources_of(names: Iterable[str]) -> dict[str, str]:
    """Return the sources of those classes, among full names, that are defined in files, by hash."""
    digests = {wanted.digest for name in names if (wanted := reference(name)) is not None}
    return {digest: _sources[digest] for digest in digests if digest is not None}


def load_named(name: str, group: str, kind: str, known: Iterable[str], where: str) -> Any:
    """Return what a name stands for that is none of ours: a class in a file, or what an installed package offers.

    Args:
        name: "file.py:Class@hash", or the name of an entry point.
        group: group of entry points.
        kind: what is asked for, for messages, such as "task".
        known: our own names, for messages.
        where: path of the name in the grid file, for messages.

    Raises:
        CodeError: there is no such class, or its file or package cannot be imported.
    """
    wanted = reference(name)
    if wanted is not None:
        return load_class(wanted, where)
    point = check_offered(name, group, kind, known, where)
    try:
        return point.load()
    except Exception as error:  # whatever an installed package raises is not ours to mend
        raise CodeError(f"{where}: {point.value}: {type(error).__name__}: {error}") from error


def check_offered(name: str, group: str, kind: str, known: Iterable[str], where: str) -> importlib.metadata.EntryPoint:
    """Return the entry point of a name; arguments as for `load_named`.

    Raises:
        CodeError: no installed package offers it.
    """
    offered = {point.name: point for point in importlib.metadata.entry_points(group=group)}
    if name not in offered:
        raise CodeError(f"{where}: {name!r} is no {kind}{choices_hint(name, [*known, *offered])}")
    return offered[name]


def load_class(wanted: Reference, where: str) -> Any:
    """Return what a reference names in its file, which is run once per process.

    Args:
        wanted: the class, with its hash.
        where: path of the reference in the grid file, for messages.

    Raises:
        CodeError: this process does not know the file, it cannot be run, or has no such name.
    """
    if wanted.digest not in _sources:
        raise CodeError(
            f"{where}: the file of {wanted.full_name} is not here; launch from the grid that names it, or retry"
        )
    module = _module(wanted, where)
    if not hasattr(module, wanted.name):
        classes = [name for name, value in vars(module).items() if getattr(value, "__module__", "") == module.__name__]
        raise CodeError(f"{where}: {wanted.path} has no {wanted.name}{choices_hint(wanted.name, classes)}")
    return getattr(module, wanted.name)


def _module(wanted: Reference, where: str) -> types.ModuleType:
    assert wanted.digest is not None
    if wanted.digest not in _modules:
        name = f"elm_file_{wanted.digest}"
        module = types.ModuleType(name)
        module.__file__ = wanted.path
        sys.modules[name] = module  # dataclasses and pickles look their module up by its name
        try:
            exec(compile(_sources[wanted.digest], wanted.path, "exec"), module.__dict__)
        except Exception as error:  # whatever a person's file raises is theirs to mend
            del sys.modules[name]
            raise CodeError(f"{where}: {described(error, wanted.path)}") from error
        _modules[wanted.digest] = module
    return _modules[wanted.digest]


def described(error: Exception, path: str) -> str:
    """Say in one line what went wrong in a person's file, and where."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    line = error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else None
    place = path if line is None else f"{path}, line {line}"
    text = " ".join(str(error.msg if isinstance(error, SyntaxError) else error).split())
    return f"{place}: {type(error).__name__}: {text}"
