"""Runs a cell on a few random sequences before the first trial trains with it."""

from typing import Any

import torch
from torch import Tensor

from cluster import code
from cluster.errors import CodeError
from model.architectures.cells import CellConfig
from model.cell.interface import Output
from model.cell.state import detach_state
from model.cells.counting import told
from model.network import build_network

_BATCH, _STEPS = 2, 3


def probe(config: CellConfig, *, ids: bool, dtype: str = "float32", where: str = "architecture") -> None:
    """Look at what a cell returns for a batch, for its continuation, and at its gradient.

    Args:
        config: a small configuration.
        ids: whether the task gives symbols.
        dtype: precision of the trials.
        where: path of the architecture in the grid file, for messages.

    Raises:
        CodeError: it fails, returns something else than the interface asks for, or does not follow its seed.
    """
    wanted = code.reference(config.architecture)
    name, path = (config.architecture, None) if wanted is None else (wanted.name, wanted.path)
    place = f"{where}: {name}"
    try:
        _probe(config, ids, getattr(torch, dtype), place)
    except CodeError:
        raise
    except Exception as error:  # whatever a person's module raises is theirs to mend
        raise CodeError(f"{place}: {told(error, path)}") from error


def _probe(config: CellConfig, ids: bool, dtype: torch.dtype, place: str) -> None:
    network, twin = (build_network(config, seed=0, dtype=dtype) for _ in range(2))
    numbers, same = (list(n.state_dict().values()) for n in (network, twin))
    if not all(torch.equal(a, b) for a, b in zip(numbers, same, strict=True)):
        raise CodeError(f"{place}: two networks of one seed differ; draw weights by torch's functions alone")
    built = sum(p.numel() for p in network.parameters() if p.requires_grad)
    if built != config.counted.trainable_params:
        raise CodeError(
            f"{place}: it has {built:,} parameters, and {config.counted.trainable_params:,} were counted on the meta "
            "device; their number must follow from the constructor's arguments alone"
        )
    zero = network.zero_state(_BATCH)
    _check_state(zero, zero, f"{place}.zero_state returned")
    if any(bool(t.any()) for t in zero):
        raise CodeError(f"{place}.zero_state returned numbers other than 0, to which a state is reset")
    generator = torch.Generator().manual_seed(0)
    shape = (_BATCH, _STEPS)
    x = torch.randint(config.n_in, shape, generator=generator)
    if not ids:
        x = torch.rand((*shape, config.n_in), generator=generator).to(dtype)
    first = _checked(network(x, None), zero, config, place)
    second = _checked(network(x, detach_state(first.state)), zero, config, f"{place}: after a first segment")
    if not second.logits.requires_grad:
        raise CodeError(f"{place}: its logits do not depend on its parameters")
    second.logits.square().sum().backward()  # type: ignore[no-untyped-call]  # untyped in torch
    grads = [p.grad for p in network.parameters() if p.grad is not None]
    if not grads:
        raise CodeError(f"{place}: no gradient reaches its parameters")
    if not all(bool(g.isfinite().all()) for g in grads):
        raise CodeError(f"{place}: gradients on a batch of random sequences are not finite")


def _checked(output: object, zero: Any, config: CellConfig, place: str) -> Output:
    if not isinstance(output, Output):
        raise CodeError(f"{place}.forward returned {type(output).__name__}, not a model.cell.interface.Output")
    logits, expected = output.logits, (_BATCH, _STEPS, config.n_out)
    if not isinstance(logits, Tensor) or tuple(logits.shape) != expected:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise CodeError(f"{place}.forward returned logits {shape}; for x {(_BATCH, _STEPS)} they must be {expected}")
    if not bool(logits.isfinite().all()):
        raise CodeError(f"{place}.forward returned logits that are not finite on a batch of random sequences")
    _check_state(output.state, zero, f"{place}.forward returned")
    return output


def _check_state(state: object, zero: Any, place: str) -> None:
    if not isinstance(state, tuple) or not all(isinstance(t, Tensor) for t in state):
        raise CodeError(f"{place} a state of {type(state).__name__}; it must be a tuple of tensors")
    shapes, expected = [tuple(t.shape) for t in state], [tuple(t.shape) for t in zero]
    if shapes != expected:
        raise CodeError(f"{place} a state of shapes {shapes}; zero_state gives {expected}")
    if not all(shape[:1] == (_BATCH,) for shape in shapes):
        raise CodeError(f"{place} a state of shapes {shapes}; the first axis of each must be the batch, here {_BATCH}")
