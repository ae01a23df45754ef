"""What a cell's class takes, and how many parameters it has, without memory for them."""

import inspect
import types
import typing
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from cluster import code
from cluster.errors import CodeError
from model.architecture import DECIDED_BY_TASK, Counts
from model.architectures.cells import RESERVED, Argument
from model.cells.base import COUNTS, Cell

_MUST_HAVE = ("forward", "zero_state")
_KINDS = (int, float, bool, str)
# Columns of every row: what has such a name in a grid must be of the column's type.
_COLUMNS = {
    **dict.fromkeys(("n_rec", "d_m", "d_mlp", "l_mlp", "d_tree", "d_branch"), int),
    **dict.fromkeys(("rho_rec", "tau_m_max"), float),
}
Place = tuple[str, str, str | None]
"""Path of the architecture in the grid file, name of the class, and its file: what messages begin with."""


def check_class(kind: Any, name: str, where: str) -> None:
    """Refuse a class that does not follow the interface of a cell; each missing member is named.

    Raises:
        CodeError: it does not.
    """
    interface = "model.cells.base.Cell"
    if not isinstance(kind, type) or not issubclass(kind, nn.Module):
        raise CodeError(f"{where}: {name} is no torch module; write a class that inherits from {interface}")
    missing = [
        m
        for m in _MUST_HAVE
        if not callable(getattr(kind, m, None)) or getattr(kind, m) in (getattr(Cell, m), getattr(nn.Module, m, None))
    ]
    parameters = inspect.signature(kind.__init__).parameters
    lacking = [f"the constructor's argument {n}" for n in DECIDED_BY_TASK if n not in parameters]
    if missing or lacking:
        raise CodeError(f"{where}: class {name} lacks {', '.join([*missing, *lacking])}; see {interface}")
    half = [m for m in COUNTS if callable(getattr(kind, m, None))]
    if len(half) == 1:
        (other,) = set(COUNTS) - set(half)
        raise CodeError(f"{where}: class {name} has {half[0]} and lacks {other}; give both or neither")


def arguments(kind: Any, name: str, where: str) -> tuple[Argument, ...]:
    """Return what a grid may set: the constructor's arguments but n_in and n_out, in order.

    Raises:
        CodeError: an argument cannot be given in a grid.
    """
    try:
        signature = inspect.signature(kind.__init__, eval_str=True)
    except Exception as error:  # an annotation may be any expression
        raise CodeError(f"{where}: class {name}: its annotations cannot be read ({error})") from error
    listed = []
    for parameter in list(signature.parameters.values())[1:]:
        if parameter.name in DECIDED_BY_TASK:
            continue
        place = f"{where}: class {name}: argument {parameter.name}"
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise CodeError(f"{place}: a grid gives settings by name; list them one by one")
        if parameter.name in RESERVED:
            raise CodeError(f"{place}: the name is taken; give it another one")
        required = parameter.default is parameter.empty
        annotated = _annotation(parameter, required)
        options = typing.get_args(annotated) if isinstance(annotated, types.UnionType) else (annotated,)
        if not all(option in (*_KINDS, type(None)) for option in options):
            raise CodeError(f"{place}: {annotated} cannot be given in a grid; annotate it as int, float, bool or str")
        column = _COLUMNS.get(parameter.name)
        if column is not None and column not in options:
            raise CodeError(f"{place}: {annotated} is not valid; {parameter.name} is {column.__name__} in every row")
        listed.append(Argument(parameter.name, annotated, required, None if required else parameter.default))
    return tuple(listed)


def _annotation(parameter: inspect.Parameter, required: bool) -> Any:
    if parameter.annotation is not parameter.empty:
        return parameter.annotation
    # Without one: the type of the default, and a size where there is none.
    return int if required or parameter.default is None else type(parameter.default)


def count(kind: Any, values: Mapping[str, Any], place: Place) -> tuple[int, Counts]:
    """Count a cell's parameters on torch's `meta` device.

    Args:
        kind: the class.
        values: arguments of its constructor.
        place: what messages begin with.

    Returns:
        The number of recurrent units, and the counts.

    Raises:
        CodeError: the constructor fails, there is nothing to train, or its numbers contradict each other.
    """
    where, name, _ = place
    cell = construct(kind, values, place, device="meta")
    trained = sum(p.numel() for p in cell.parameters() if p.requires_grad)
    if trained == 0:
        raise CodeError(f"{where}: class {name} has no trainable parameter")
    units = getattr(cell, "n_rec", values.get("n_rec"))
    if type(units) is not int or units < 1:
        raise CodeError(
            f"{where}: class {name}: n_rec is {units!r}; its constructor must take n_rec, or set it to the number of "
            "recurrent units"
        )
    total = sum(t.numel() for t in [*cell.parameters(), *cell.buffers()])
    if not callable(getattr(cell, COUNTS[0], None)):
        # All that is known: the mean number of parameters per unit, so that P = n_rec (k_e + k_c) holds.
        return units, Counts(
            k_e=trained / units,
            k_c=0,
            recurrent_params=trained,
            readout_params=0,
            trainable_params=trained,
            total_params=total,
        )
    k_e, k_c = (_whole(cell, method, place) for method in COUNTS)
    recurrent = units * (k_e + k_c)
    if recurrent > trained or k_e < 1:
        raise CodeError(
            f"{where}: class {name}: n_rec (k_e + k_c) = {units} ({k_e} + {k_c}) must not be more than its "
            f"{trained:,} parameters, and k_e at least 1"
        )
    return units, Counts(
        k_e=k_e,
        k_c=k_c,
        recurrent_params=recurrent,
        readout_params=trained - recurrent,
        trainable_params=trained,
        total_params=total,
    )


def _whole(cell: nn.Module, method: str, place: Place) -> int:
    where, name, path = place
    try:
        value = getattr(cell, method)()
    except Exception as error:  # whatever a person's method raises is theirs to mend
        raise CodeError(f"{where}: {name}.{method}: {told(error, path)}") from error
    if type(value) is not int or value < 0:
        raise CodeError(f"{where}: {name}.{method} returned {value!r}, not a whole number of at least 0")
    return value


def construct(kind: Any, values: Mapping[str, Any], place: Place, *, device: str, seed: int = 0) -> nn.Module:
    """Call a cell's constructor with torch's global generator at a seed, which is put back afterwards.

    Raises:
        CodeError: it fails.
    """
    where, name, path = place
    try:
        with torch.random.fork_rng(devices=[]), torch.device(device):
            torch.default_generator.manual_seed(seed)
            cell: nn.Module = kind(**values)
    except Exception as error:  # whatever a person's constructor raises is theirs to mend
        why = " (its parameters are counted on torch's meta device, where tensors have no values)"
        hint = why if device == "meta" and isinstance(error, RuntimeError) else ""
        raise CodeError(f"{where}: {name}: {told(error, path)}{hint}") from error
    return cell


def told(error: Exception, path: str | None) -> str:
    """Say in one line what went wrong, and where in a person's file."""
    if path is not None:
        return code.described(error, path)
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
