"""Every architecture by name: ours, those of installed packages, and those in a person's file."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import model.architectures.cells
import model.architectures.elm
import model.architectures.elm_neuron
import model.architectures.gated
import model.architectures.spiking
from cluster import code
from cluster.errors import code_errors_as
from model.architecture import Architecture
from model.architectures.cells import CellArchitecture, CellConfig, read_cell
from model.config import ConfigError, ModelConfig

DEFAULT = "elm"
"""Architecture of a grid that names none."""
# One list of names, in the order in which they are listed; the one place that a new architecture of ours is added to.
_ARCHITECTURES: dict[str, Architecture] = {
    **model.architectures.elm.ARCHITECTURES,
    **model.architectures.elm_neuron.ARCHITECTURES,
    **model.architectures.gated.ARCHITECTURES,
    **model.architectures.spiking.ARCHITECTURES,
    **model.architectures.cells.ARCHITECTURES,
}
_BY_CONFIG = {entry.config: entry for entry in _ARCHITECTURES.values() if entry.light}


def architecture_names() -> tuple[str, ...]:
    """Return the names of all architectures that come with this software."""
    return tuple(_ARCHITECTURES)


def architecture(name: str, *, where: str = "architecture") -> Architecture:
    """Return an architecture.

    Args:
        name: a name of ours or of an installed package, or "file.py:Class@hash" as `full_name` returns it.
        where: path of the architecture in the grid file, for messages.
    """
    return _ARCHITECTURES[name] if name in _ARCHITECTURES else _others_architecture(name, where)


@functools.cache
def _others_architecture(name: str, where: str) -> Architecture:
    return CellArchitecture(name, where=where)


def architecture_of(config: ModelConfig) -> Architecture:
    """Return the architecture that a configuration is of.

    Raises:
        ConfigError: of none.
    """
    if isinstance(config, CellConfig):
        return architecture(config.architecture)
    if type(config) not in _BY_CONFIG:
        raise ConfigError(f"config: {type(config).__name__} is of no known architecture")
    return _BY_CONFIG[type(config)]


def full_name(name: str, folders: Sequence[Path], *, where: str = "architecture") -> str:
    """Return the name under which plans and rows know an architecture: that of a file with the file's hash.

    Args:
        name: as in the grid file.
        folders: where the path of a file may begin.
        where: path of the architecture in the grid file, for messages.

    Raises:
        ConfigError: there is no such architecture or file, or it is another version than was asked for.
    """
    if name in _ARCHITECTURES:
        return name
    with code_errors_as(ConfigError):
        if code.reference(name) is None:
            code.check_offered(name, model.architectures.cells.ENTRY_POINTS, "architecture", _ARCHITECTURES, where)
        return code.full_name(name, folders, where)


def read_config(name: str, values: Mapping[str, Any]) -> ModelConfig:
    """Return the configuration whose `plain` form this is; no code that is not ours is run.

    Args:
        name: full name of its architecture.
        values: what `plain` returned.

    Raises:
        ConfigError: it describes no network.
    """
    return _ARCHITECTURES[name].read(values) if name in _ARCHITECTURES else read_cell(name, values)


def whole_settings(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `plain` form of a configuration with what it leaves out: settings that came later, at their defaults.

    Args:
        name: full name of its architecture.
        values: what `plain` returned.
    """
    return {**(_ARCHITECTURES[name].added() if name in _ARCHITECTURES else {}), **values}


def shared_settings() -> set[str]:
    """Return the names of all settings of the architectures that are known without torch."""
    return {name for entry in _ARCHITECTURES.values() if entry.light for name in entry.settings()}
