"""How fast a training step could be: its operations against the machine's arithmetic, its bytes against its memory."""

import time
from dataclasses import dataclass

import torch

from model.budget import counts
from model.config import ElmConfig
from model.flops import flops
from model.memory import saved_bytes

_ITEM = 4
"""bytes of a number, float32, and of an index of the wiring"""
_ADAM = 7
"""numbers that Adam reads and writes for each parameter: weight, gradient, both moments; all but the gradient again"""
_LARGEST = 1 << 28
"""bytes that no cache holds: reading more of them is no slower"""
_GRADIENT_STEPS = 16
"""time steps whose weight gradients the kernel adds in one go (`model/backends/native/kernel/weight_grads.h`)"""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What one training step has to do at least."""

    operations: int
    """of weighted sums, `model.flops`"""
    weights: int
    """bytes of weights and wiring of the recurrent layer, which every time step reads"""
    reads: int
    """times they are read in a training step: once forward and once back for every time step"""
    others: int
    """bytes that are written once and read once: activations, sums of gradients, what the optimiser keeps"""

    @property
    def bytes(self) -> int:
        """All bytes."""
        return self.weights * self.reads + self.others


@dataclass(frozen=True, kw_only=True)
class Roofline:
    """Least seconds of a training step."""

    arithmetic: float
    """if memory were infinitely fast"""
    memory: float
    """if arithmetic were"""

    @property
    def seconds(self) -> float:
        """Least seconds, with both at the same time."""
        return max(self.arithmetic, self.memory)

    @property
    def bound(self) -> str:
        """Which of the two it is."""
        return "arithmetic" if self.arithmetic >= self.memory else "memory"


def traffic(config: ElmConfig, batch: int, steps: int) -> Traffic:
    """Count the operations and bytes of a training step of the native kernel in float32."""
    count, synapses = counts(config), config.n_rec * config.k_c
    # weights once, and an index for each synapse
    weights = _ITEM * (count.recurrent_params + synapses)
    sums = 2 * _ITEM * count.trainable_params * -(-steps // _GRADIENT_STEPS)
    kept = 2 * saved_bytes(config, backend="native", batch=batch, steps=steps, itemsize=_ITEM)
    return Traffic(
        operations=flops(config).training * batch * steps,
        weights=weights,
        reads=2 * steps,
        others=kept + sums + _ADAM * _ITEM * count.trainable_params,
    )


def roofline(work: Traffic, operations_per_second: float) -> Roofline:
    """Measure how fast memory of the sizes in question is read, and put the bounds together."""
    # Weights are read again and again, from whichever cache holds them; the rest comes by once.
    weights = work.weights * work.reads / read_rate(work.weights)
    return Roofline(
        arithmetic=work.operations / operations_per_second,
        memory=weights + work.others / read_rate(min(work.others, _LARGEST)),
    )


def read_rate(size: int, seconds: float = 0.05) -> float:
    """Measure the bytes per second at which one thread adds up memory of a size over and over: the best of several."""
    numbers = torch.ones(max(1, size // _ITEM))
    numbers.sum()
    best, end = 0.0, time.process_time() + seconds
    # as often as it takes for a turn that the clock can tell
    repeats = max(1, (1 << 22) // max(1, numbers.nbytes))
    while best == 0.0 or time.process_time() < end:
        begin = time.process_time()
        for _ in range(repeats):
            numbers.sum()
        best = max(best, numbers.nbytes * repeats / max(time.process_time() - begin, 1e-9))
    return best
