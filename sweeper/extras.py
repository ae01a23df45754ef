"""Packages that only some commands need, and the words for the case that one of them is not installed.

The core plans, reads results, fits and draws. What trains, talks to clusters or searches by Optuna is installed by the
extras of pyproject.toml, so that a laptop that only looks at results needs neither torch nor Ray.
"""

from importlib.util import find_spec
from typing import NamedTuple


class _Package(NamedTuple):
    """A package outside the core."""

    extra: str
    """the extra of pyproject.toml that installs it"""
    use: str
    """what needs it"""
    otherwise: str = ""
    """a way that does without it"""


_EXTRAS = {
    "torch": _Package("train", "counting cells, training or reading training data"),
    "snntorch": _Package("train", "spiking networks"),
    "ray": _Package("cluster", "running by Ray", "on this machine `--executor processes` does without"),
    "optuna": _Package("search", "searching by Optuna", "`kind: theory` and `kind: random` do without"),
    "gensim": _Package("data", "the embedded Wikipedia text", "`data:` takes any text file"),
    "sklearn": _Package("data", "reading the embedded digits or computing auc"),
    "arpy": _Package("data", "unpacking texts from Debian packages"),
    "h5py": _Package("data", "reading HDF5 files"),
    "numba": _Package("speech", "turning sound into spikes"),
    "soundfile": _Package("speech", "reading sound files other than wav"),
}
"""By import name. tests/packaging/test_extras.py holds it against pyproject.toml."""


def require(*modules: str) -> None:
    """Make sure that packages are installed, before anything is written or started. None of them is imported.

    Args:
        modules: import names.

    Raises:
        ModuleNotFoundError: one of them is not; the command line says it in the words of `missing`.
    """
    for module in modules:
        # Looked for and not imported: torch and Ray take seconds, and some commands only hand work on to other
        # processes.
        if find_spec(module) is None:
            raise ModuleNotFoundError(f"No module named {module!r}", name=module)


def missing(error: Exception) -> str | None:
    """What to tell a person about an import that failed: who needs the package, and how to install it.

    Args:
        error: what went wrong.

    Returns:
        One line; None where it is no failed import, or the module belongs to no extra: then the fault is ours, or the
        installation is broken.
    """
    # The package and not the submodule: `ray.tune` is missing where Ray is.
    module = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if module not in _EXTRAS:
        return None
    package = _EXTRAS[module]
    line = f"{package.use} needs {module}, which is not installed: pip install 'elm-sweeper[{package.extra}]'"
    return f"{line} ({package.otherwise})" if package.otherwise else line
