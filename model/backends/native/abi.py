"""The C interface of the compiled layer: the structure of kernel/layer.h and the functions that take it."""

import ctypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_MATRICES = 9
"""most linear maps of an MLP, kMaxMatrices in layer.h"""
# The names below stand in the order of the structure in layer.h, because C knows places and no names.
_INTEGERS = ("n", "d_m", "d_tree", "d_branch", "n_in", "matrices", "steps", "batch", "threads")
# Whole numbers and not single bytes, so that the structure has no gaps that compilers could lay out differently.
_SWITCHES = ("recurrent", "rectified", "filtered", "traced", "stored", "input_kind", "batch_first", "input_grad",
             "rate_grads")  # fmt: skip
_CONSTANTS = ("input_scale", "embedding_scale", "kappa_r", "kappa_b", "tanh_slope", "tanh_height")
_WEIGHTS = ("keep", "absorb", "readout", "out_bias")
_STATES = ("activity_0", "memory_0", "average_0", "branch_0")
_RESULTS = ("activity", "activity_T", "memory_T", "average_T", "branch_T", "magnitude", "mlp_out", "trace")
_RESULT_GRADS = ("d_activity", "d_activity_T", "d_memory_T", "d_average_T", "d_branch_T", "d_magnitude")
_WEIGHT_GRADS = ("d_keep", "d_absorb", "d_readout", "d_out_bias")


def _pointers(*names: str) -> list[tuple[str, Any]]:
    return [(name, ctypes.c_void_p) for name in names]


# A structure instead of arguments: some sixty pointers, most of them null, would each have to stand at its place.
class LayerStruct(ctypes.Structure):
    """One layer and one segment of a sequence, field by field as in model/backends/native/kernel/layer.h."""

    _fields_ = [
        *((name, ctypes.c_int64) for name in _INTEGERS),
        ("dims", ctypes.c_int64 * (_MATRICES + 1)),
        *((name, ctypes.c_int64) for name in _SWITCHES),
        *((name, ctypes.c_double) for name in _CONSTANTS),
        *_pointers("source", "readers", "reader_synapse", "first_reader", "synapse"),
        ("weight", ctypes.c_void_p * _MATRICES),
        ("bias", ctypes.c_void_p * _MATRICES),
        *_pointers(*_WEIGHTS, "x", "input_mask", "recurrent_mask", *_STATES, *_RESULTS, *_RESULT_GRADS),
        ("d_any_activity", ctypes.c_double),
        *_pointers("d_synapse"),
        ("d_weight", ctypes.c_void_p * _MATRICES),
        ("d_bias", ctypes.c_void_p * _MATRICES),
        *_pointers(*_WEIGHT_GRADS, *(f"d_{name}" for name in _STATES), "d_x"),
    ]

    def point(self, network: int, networks: int, **tensors: Tensor | None) -> None:
        """Point to one of the networks that are stacked along the first axis of contiguous tensors in main memory.

        The caller keeps the tensors alive; missing and empty ones become null.

        Args:
            network: which network.
            networks: how many there are.
            tensors: by the names of the fields.
        """
        for name, tensor in tensors.items():
            setattr(self, name, None if tensor is None else _address(tensor, network, networks))

    def point_each(self, name: str, network: int, networks: int, tensors: Sequence[Tensor | None]) -> None:
        """Set the pointers of an array field; see `point`."""
        array = getattr(self, name)
        for place, tensor in enumerate(tensors):
            array[place] = None if tensor is None else _address(tensor, network, networks)


def _address(tensor: Tensor, network: int, networks: int) -> int:
    # Networks are stacked along the first axis of contiguous memory, so each begins at its share of the bytes.
    return tensor.data_ptr() + tensor.nbytes // networks * network


class AbiError(RuntimeError):
    """A compiled layer whose structure is not the one described here."""


class Kernel:
    """The compiled layer of one precision."""

    max_matrices = _MATRICES

    def __init__(self, path: Path) -> None:
        """Load the shared library.

        Raises:
            OSError: the file cannot be loaded.
            AbiError: it was compiled from another structure.
        """
        self._library = ctypes.CDLL(str(path))
        functions = ("elm_struct_size", "elm_max_matrices", "elm_trace_size", "elm_forward", "elm_backward")
        for name in functions:
            getattr(self._library, name).restype = ctypes.c_int64  # ctypes takes int, which would cut sizes off
        compiled = self._library.elm_struct_size(), self._library.elm_max_matrices()
        # a mismatch would read pointers at wrong places, which ends the process instead of raising
        if compiled != (ctypes.sizeof(LayerStruct), _MATRICES):
            raise AbiError(
                f"{path}: structure of {compiled[0]} bytes and {compiled[1]} matrices is not the one in layer.h"
            )

    def trace_size(self, layer: LayerStruct) -> int:
        """Count the numbers of the trace that `forward` fills."""
        size: int = self._library.elm_trace_size(ctypes.byref(layer))
        return size

    def forward(self, layer: LayerStruct) -> None:
        """Run the layer.

        Raises:
            MemoryError: the kernel's work space does not fit.
        """
        layer.threads = torch.get_num_threads()  # asked every time: lanes and tests change it while networks live
        if self._library.elm_forward(ctypes.byref(layer)):
            raise MemoryError(
                "the layer's work space does not fit into memory; use a smaller batch or shorter segments"
            )

    def backward(self, layer: LayerStruct) -> None:
        """Differentiate the layer that `forward` ran.

        Raises:
            MemoryError: the kernel's work space does not fit.
        """
        layer.threads = torch.get_num_threads()
        if self._library.elm_backward(ctypes.byref(layer)):
            raise MemoryError(
                "the layer's work space does not fit into memory; use a smaller batch or shorter segments"
            )
