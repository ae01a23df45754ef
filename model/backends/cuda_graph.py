"""A back end on a GPU, its passes recorded as CUDA graphs: a training step is two launches, not thousands.

A recording belongs to one combination of shapes. It is made when the combination comes a second time, checked against
the same passes run operation by operation, and replayed from then on. Written without a GPU at hand: unmeasured.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.cell.interface import DropoutMasks, RunResult
from model.cell.parts import NetworkParts
from model.cell.state import ElmState

_log = logging.getLogger(__name__)
_MOST_RECORDINGS = 6
"""combinations of shapes whose recordings are kept, each with its own memory: an assumption"""
_WARM_UP_RUNS = 3
"""runs before a recording, as torch.cuda.make_graphed_callables does them: libraries set themselves up in the first"""
_TOLERANCE = 1e-3
"""largest difference of a replay from its original, relative to the largest number: an assumption, for float32 sums
whose order may differ; a mistake in a recording is off by more"""

Action = Callable[[], tuple[Tensor, ...]]


class RecordingFailed(RuntimeError):
    """A recording does not give what its original gave."""


# A Protocol, so that tests can record on the processor.
class Recorder(Protocol):
    """Something that records what a device is told to do; recordings of one recorder are replayed in their order."""

    def warm_up(self, action: Action) -> tuple[Tensor, ...]:
        """Run an action as it will be recorded, and return what it made."""

    def record(self, action: Action) -> tuple[tuple[Tensor, ...], Callable[[], None]]:
        """Record an action; return the tensors that hold its results and what computes them again in place."""


class CudaRecorder:
    """Records CUDA graphs that share their memory."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._pool = device, torch.cuda.graph_pool_handle()

    def warm_up(self, action: Action) -> tuple[Tensor, ...]:
        """Run an action on a stream of its own, where a recording will run it."""
        with torch.cuda.device(self._device):
            # CUDA records on a stream other than the default one, so what prepares a recording runs on one as well.
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # untyped in torch
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                results = action()
            torch.cuda.current_stream().wait_stream(stream)
        return results

    def record(self, action: Action) -> tuple[tuple[Tensor, ...], Callable[[], None]]:
        """Record an action as a CUDA graph."""
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.device(self._device), torch.cuda.graph(graph, pool=self._pool):
            results = action()
        return results, graph.replay


class Recording:
    """The passes of one function of tensors, for one combination of shapes."""

    def __init__(
        self,
        recorder: Recorder,
        function: Callable[..., tuple[Tensor, ...]],
        arguments: Sequence[Tensor],
        parameters: Sequence[Tensor],
    ) -> None:
        """Record the passes and check them.

        Args:
            recorder: records what the tensors' device is told to do.
            function: what to record; reads nothing but tensors that stay where they are.
            arguments: those of this call; later ones have their shapes and precisions.
            parameters: other tensors to differentiate with respect to, read where they lie.

        Raises:
            RecordingFailed: a replay gives other numbers.
        """
        self._function, self._passes = function, 0
        # a graph replays addresses: arguments are copied to these tensors, parameters are read where they lie
        self._arguments = [tensor.detach().clone().requires_grad_(tensor.requires_grad) for tensor in arguments]
        self._differentiated = [tensor for tensor in (*self._arguments, *parameters) if tensor.requires_grad]
        self._places = [place for place, t in enumerate((*arguments, *parameters)) if t.requires_grad]
        self._count = len(arguments) + len(parameters)
        self._grads: list[Tensor] = []
        self.trains = torch.is_grad_enabled() and bool(self._differentiated)
        # lazily made workspaces (cuBLAS and its like) must exist before anything is recorded
        for _ in range(_WARM_UP_RUNS):
            expected = recorder.warm_up(self._both)
        self._made, self._replay_forward = recorder.record(lambda: function(*self._arguments))
        if self.trains:
            self._flat, self._replay_backward = recorder.record(lambda: self._backward(self._made))
        # replays need the memory of these tensors, and not the autograd graph that once led to them
        self._made = tuple(tensor.detach() for tensor in self._made)
        self._check(expected)

    def forward(self, arguments: Sequence[Tensor]) -> tuple[int, tuple[Tensor, ...]]:
        """Run the function on other arguments; return the number of this pass, and what the function made."""
        for room, tensor in zip(self._arguments, arguments, strict=True):
            room.detach().copy_(tensor.detach())
        self._replay_forward()
        self._passes += 1
        # clones, for the next replay writes over what this one made
        return self._passes, tuple(tensor.clone() for tensor in self._made)

    def backward(self, number: int, grads: Sequence[Tensor | None]) -> list[Tensor | None]:
        """Differentiate the pass with this number; gradients of the arguments, then of the parameters.

        Raises:
            RuntimeError: another pass has overwritten what this one left.
        """
        # what the backward graph reads is what the last forward replay left behind
        if number != self._passes:
            raise RuntimeError(
                "a recorded pass was differentiated after the next one had begun; differentiate each pass "
                "before the next, or build the network with backend='torch'"
            )
        arriving = [grad for grad, place in zip(grads, self.differentiable, strict=True) if place]
        for room, grad in zip(self._grads, arriving, strict=True):
            room.zero_() if grad is None else room.copy_(grad)
        self._replay_backward()
        input_grads: list[Tensor | None] = [None] * self._count
        parts = torch.split(self._flat[0].clone(), [tensor.numel() for tensor in self._differentiated])
        for place, tensor, part in zip(self._places, self._differentiated, parts, strict=True):
            input_grads[place] = part.view_as(tensor)
        return input_grads

    def _both(self) -> tuple[Tensor, ...]:
        """Run forward and backward pass; what the function made, then all gradients in one tensor."""
        results = self._function(*self._arguments)
        self.differentiable = [tensor.requires_grad for tensor in results]
        if not self.trains:
            return results
        if not self._grads:
            self._grads = [torch.ones_like(tensor) for tensor in results if tensor.requires_grad]
        return *(tensor.detach() for tensor in results), *self._backward(results)

    def _backward(self, results: Sequence[Tensor]) -> tuple[Tensor, ...]:
        outputs = [tensor for tensor in results if tensor.requires_grad]
        grads = torch.autograd.grad(outputs, self._differentiated, self._grads, allow_unused=True)
        filled = [
            torch.zeros_like(t) if grad is None else grad for grad, t in zip(grads, self._differentiated, strict=True)
        ]
        # one tensor, so that a replay is followed by one copy and not by one for each parameter
        return (torch.cat([grad.flatten() for grad in filled]),)

    def _check(self, expected: Sequence[Tensor]) -> None:
        """Replay everything once and compare it with the last run of the warm-up."""
        self._replay_forward()
        if self.trains:
            self._replay_backward()
        replayed = (*self._made, *self._flat) if self.trains else self._made
        for place, (new, old) in enumerate(zip(replayed, expected, strict=True)):
            bound = _TOLERANCE * float(old.abs().max()) if old.numel() else 0.0
            if old.numel() and not bool(torch.isclose(new, old, rtol=0.0, atol=bound, equal_nan=True).all()):
                raise RecordingFailed(f"a replay differs from its original at result {place}")


class _Replay(torch.autograd.Function):
    """A recording as a differentiable function."""

    @staticmethod
    def forward(ctx: Any, recording: Recording, count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Replay the forward pass on the first `count` tensors; the others are the parameters."""
        ctx.set_materialize_grads(False)
        ctx.recording = recording
        ctx.number, results = recording.forward(tensors[:count])
        ctx.mark_non_differentiable(
            *(tensor for tensor, place in zip(results, recording.differentiable, strict=True) if not place)
        )
        return results

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Replay the backward pass."""
        return None, None, *ctx.recording.backward(ctx.number, grads)


class Plain(Protocol):
    """A back end whose passes can be recorded: they read nothing back from the device."""

    name: str

    def run(
        self, network: NetworkParts, x: Tensor, state: ElmState, masks: DropoutMasks | None, keep_activity: bool
    ) -> RunResult:
        """Run a segment of a sequence; see `model.backends.choose.Backend.run`."""


class CudaGraphBackend:
    """Runs an ELM Network through recordings of another back end; without them where they cannot be made.

    Attributes:
        name: recorded with a trial's results; that of the other back end once a recording has failed.
    """

    def __init__(
        self, plain: Plain, name: str = "cuda_graph", recorder: Callable[[torch.device], Recorder] = CudaRecorder
    ) -> None:
        self._recorder, self._plain = recorder, plain
        self._recordings: OrderedDict[tuple[Any, ...], Recording | None] = OrderedDict()
        self._weights: tuple[Any, ...] = ()
        self.name = name

    def run(
        self, network: NetworkParts, x: Tensor, state: ElmState, masks: DropoutMasks | None, keep_activity: bool
    ) -> RunResult:
        """Run a segment of a sequence; see `model.backends.choose.Backend.run`.

        Activity that is to be kept, and segments that are to be run again, are run operation by operation.
        """
        # checkpointing runs a segment's forward pass a second time, between another pass and its backward pass
        recomputes = network.segment is not None and torch.is_grad_enabled()
        if self.name == self._plain.name or keep_activity or recomputes:
            return self._plain.run(network, x, state, masks, keep_activity)
        # Everything that changes from call to call is an argument; what a recording reads otherwise must stay where it
        # is.
        arguments, parameters = [x, *state, *(masks or ())], list(network.parameters())
        recording = self._recording(network, arguments, parameters)
        if recording is None:
            return self._plain.run(network, x, state, masks, keep_activity)
        if recording.trains:
            results = _Replay.apply(recording, len(arguments), *arguments, *parameters)  # type: ignore[no-untyped-call]
        else:
            _, results = recording.forward(arguments)
        return RunResult(results[0], ElmState(*results[1:7]), results[7], results[8], None, None)

    def _recording(
        self, network: NetworkParts, arguments: Sequence[Tensor], parameters: Sequence[Tensor]
    ) -> Recording | None:
        """Find or make the recording for these shapes; None the first time they come, and where none can be made."""
        # Replaying with weights that have moved would read memory that is no longer theirs.
        weights = _where_weights_lie(network)
        if weights != self._weights:
            self._weights = weights
            self._recordings.clear()
        shapes = ((tuple(tensor.shape), tensor.dtype, tensor.requires_grad) for tensor in arguments)
        key = (torch.is_grad_enabled(), *shapes)  # evaluation keeps no trace, so it is another recording
        # the first time runs plainly: a last, shorter batch comes once and is not worth a recording
        if key not in self._recordings:
            self._recordings[key] = None
            # the longest unused one goes; each holds the activations of a whole pass
            if len(self._recordings) > _MOST_RECORDINGS:
                self._recordings.popitem(last=False)
            return None
        # Order of use, so that the first entry is the longest unused.
        self._recordings.move_to_end(key)
        recording = self._recordings[key]
        if recording is None:
            recording = self._recordings[key] = self._record(network, arguments, parameters)
        return recording

    def _record(
        self, network: NetworkParts, arguments: Sequence[Tensor], parameters: Sequence[Tensor]
    ) -> Recording | None:
        def function(x: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
            masks = DropoutMasks(*tensors[6:]) if len(tensors) > 6 else None
            result = self._plain.run(network, x, ElmState(*tensors[:6]), masks, False)
            return result.logits, *result.state, result.mlp_out_BN, result.activity

        try:
            return Recording(self._recorder(arguments[0].device), function, arguments, parameters)
        except RuntimeError as error:  # what torch raises for every refusal of CUDA
            # Once and for all: a device that refused one recording would refuse the next, at the price of a warm-up
            # each.
            self.name = self._plain.name
            self._recordings.clear()
            _log.warning("CUDA graphs unavailable, running operation by operation: %s", str(error).split("\n")[0])
            return None


def _where_weights_lie(network: NetworkParts) -> tuple[Any, ...]:
    """Tell apart weights that were moved and buffers that were changed, of which recordings know nothing."""
    parameters = ((parameter.data_ptr(), parameter.requires_grad) for parameter in network.parameters())
    return *parameters, *((buffer.data_ptr(), buffer._version) for buffer in network.buffers())
