"""The recurrent layer's kernels: steps forward, steps back, and the gradients of the synapses.

One program has a block of neurons and of batch rows for some time steps. Where a whole network is its block, the
program takes every step of the sequence and waits for nobody; where a network is spread over many programs, each launch
is one step, and its end is the barrier between them. The body is the same.

Tiles have axes for batch rows, neurons and the rows of a vector, in the order in which Triton spreads threads: the
batch first, so that a warp reads side by side, the vector last. Sums run over a loop or over the vector: a thread that
has a neuron and a batch row keeps in its registers what it sums, and nothing moves between threads. Weights are loaded
at a tile's full shape although they are the same for every batch row (hence "+ b * 0"), for a warp then reads one
address, where a broadcast would go through shared memory. Whatever a neuron makes in a step goes to a trace
[N, rows, T, B], where the weight gradients read it as operands of matrix products, and comes back from the first-level
cache. Sizes are plain arguments, so that networks of different sizes share a compiled kernel; compiled in are switches
and powers of two.

Importing this module needs Triton, and compiles nothing.
"""

import inspect
from collections.abc import Callable
from typing import Any

import triton
import triton.language as tl

from model.cell.layer import TANH_SLOPE

_SLOPE = tl.constexpr(TANH_SLOPE)
# Where memory says nothing, Triton up to 3.6 spreads threads over the first axis first, and later ones over the last.
_BATCH_FIRST = tl.constexpr(tuple(int(part) for part in triton.__version__.split(".")[:2]) <= (3, 6))
_ROWS = tl.constexpr(2 if _BATCH_FIRST.value else 0)
"""axis of a tile along which the rows of a vector lie"""


def kernel(function: Callable[..., None]) -> Any:
    """Make a kernel of which nothing but a tensor's precision and a `tl.constexpr` makes variants.

    Triton would else compile anew for sizes of 1, for multiples of 16 and for addresses at multiples of 16 bytes: a
    sweep has networks of all sizes, and their parameters lie side by side in one tensor.
    """
    names = [p.name for p in inspect.signature(function).parameters.values() if p.annotation is not tl.constexpr]
    return triton.jit(function, do_not_specialize=names, do_not_specialize_on_alignment=names)


@triton.jit
def by_batch(x):
    """Lay batch rows along their axis of a tile."""
    return x[:, None, None] if _BATCH_FIRST else x[None, None, :]


@triton.jit
def rows_of(count: tl.constexpr, one):
    """Rows of a tile. Multiplied by a one of which the compiler knows nothing: where it saw numbers side by side in
    memory it would spread threads over them, and move what they load to where it is used."""
    x = tl.arange(0, count) * one
    return x[None, None, :] if _BATCH_FIRST else x[:, None, None]


@triton.jit
def zeros_of(rows, n, b, like):
    """A tile of zeros, in the precision of what a pointer points to."""
    return ((rows + n + b) * 0).to(like.dtype.element_ty)


@triton.jit
def bounded_tanh(x):
    """Hyperbolic tangent through an exponential that cannot overflow."""
    e = tl.exp(-2.0 * tl.abs(x))
    t = (1.0 - e) / (1.0 + e)
    return tl.where(x < 0, -t, t)


@triton.jit
def rectified(x):
    """Relu that lets through what is no number."""
    return tl.where(x <= 0, tl.zeros_like(x), x)


@triton.jit
def product(acc, weight, w_in, w_out, x, x_row, inputs, out, outs, n, b, live, SQUARED: tl.constexpr):
    """Add weight @ x of every neuron of a tile; x holds the neurons' vectors as rows of a trace."""
    wanted = live & (out < outs)
    for i in tl.range(0, inputs, loop_unroll_factor=4):
        value = tl.load(x + (n * inputs + i) * x_row + b, mask=live, other=0.0)
        if SQUARED:
            value = value * value
        acc += value * tl.load(weight + i * w_in + out * w_out + b * 0, mask=wanted, other=0.0)
    return acc


@triton.jit
def gathered(start, reader, weight, grads, row, n, b, live, one, EB: tl.constexpr):
    """Sum what reaches each neuron back from the branches whose synapses read it."""
    begin = tl.load(start + n + b * 0, mask=live, other=0)
    end = tl.load(start + n + 1 + b * 0, mask=live, other=0)
    at = begin + rows_of(EB, one)
    acc = tl.zeros_like(at).to(grads.dtype.element_ty)
    for _ in tl.range(0, tl.cdiv(tl.max(end - begin), EB)):
        listed = live & (at < end)
        place = tl.load(reader + at, mask=listed, other=0)
        value = tl.load(grads + place * row + b, mask=listed, other=0.0)
        acc += value * tl.load(weight + at, mask=listed, other=0.0)
        at += EB
    return tl.sum(acc, axis=_ROWS, keep_dims=True)


@kernel
def forward_kernel(
    # read
    u, source, synapse, first_weight, first_bias, middle_weight, middle_bias, last_weight, last_bias, keep, gain,
    readout, bias, decay, drop,
    # written; memory, average, branch and magnitude are carried from step to step
    signal, hidden, tanh, memory, average, branch, magnitude, activity, mlp_out,
    # sizes, then the distances between rows and between steps of the traces
    n_all, n_program, batch, sources, signals, branches, memories, width, first_active,
    u_row, row, step, memory_row, memory_step, one, first_step, steps,
    LAYERS: tl.constexpr, R: tl.constexpr, H: tl.constexpr, D: tl.constexpr, NB: tl.constexpr, BB: tl.constexpr,
    FILTERED: tl.constexpr, TRACED: tl.constexpr, DROPPED: tl.constexpr, KEEP_OUT: tl.constexpr,
):  # fmt: skip
    """Take steps forward; the arguments are those of `model.backends.triton.launch.Layer` and `Trace`."""
    b = tl.program_id(1) * BB + by_batch(tl.arange(0, BB))
    r, h, d = rows_of(R, one), rows_of(H, one), rows_of(D, one)
    begin = tl.program_id(0) * n_program
    end = tl.minimum(begin + n_program, n_all)
    for t in tl.range(first_step, first_step + steps):
        u_t, signal_t, hidden_t = u + t * batch, signal + t * step, hidden + t * step
        for first in tl.range(begin, end, NB):
            n = first + tl.arange(0, NB)[None, :, None] * one
            live = (n < end) & (b < batch)
            in_r, in_h, in_d = live & (r < branches), live & (h < width), live & (d < memories)
            at_n, at_h, at_d = n * batch + b, n * width + h + b * 0, n * memories + d + b * 0
            # what the MLPs read: the branches' sums, and what is left of the memory
            sums = zeros_of(r, n, b, u)
            for s in tl.range(0, sources, loop_unroll_factor=4):
                place = (n * branches + r) * sources + s + b * 0
                read = tl.load(u_t + tl.load(source + place, mask=in_r, other=0) * u_row + b, mask=in_r, other=0.0)
                sums += read * tl.load(synapse + place, mask=in_r, other=0.0)
            if TRACED:
                at_r = branch + (n * branches + r) * batch + b
                sums += tl.load(decay + 1) * tl.load(at_r, mask=in_r, other=0.0)
                tl.store(at_r, sums, mask=in_r)
            tl.store(signal_t + (n * signals + r) * row + b, sums, mask=in_r)
            before = tl.load(memory + at_d * memory_row + t * memory_step + b, mask=in_d, other=0.0)
            kept = before * tl.load(keep + at_d, mask=in_d, other=0.0)
            tl.store(signal_t + (n * signals + branches + d) * row + b, kept, mask=in_d)
            tl.debug_barrier()
            out = tl.load(last_bias + at_d, mask=in_d, other=0.0)
            if LAYERS == 0:
                weight = last_weight + n * (memories * signals)
                out = product(out, weight, 1, signals, signal_t, row, signals, d, memories, n, b, live, False)
            else:
                weight = first_weight + n * (width * signals)
                units = tl.load(first_bias + at_h, mask=in_h, other=0.0)
                units = product(units, weight, 1, signals, signal_t, row, signals, h, width, n, b, live, False)
                layer = hidden_t
                tl.store(layer + at_h * row + b, rectified(units), mask=in_h)
                for place in tl.static_range(LAYERS - 1):
                    tl.debug_barrier()
                    weight = middle_weight + (place * n_all + n) * (width * width)
                    units = tl.load(middle_bias + place * n_all * width + at_h, mask=in_h, other=0.0)
                    units = product(units, weight, 1, width, layer, row, width, h, width, n, b, live, True)
                    layer += n_all * width * row
                    tl.store(layer + at_h * row + b, rectified(units), mask=in_h)
                tl.debug_barrier()
                weight = last_weight + n * (memories * width)
                out = product(out, weight, 1, width, layer, row, width, d, memories, n, b, live, True)
            if KEEP_OUT:
                tl.store(mlp_out + at_d * (u_row - batch) + t * batch + b, out, mask=in_d)
            total = tl.load(magnitude + at_n, mask=live, other=0.0)
            tl.store(magnitude + at_n, total + tl.sum(tl.abs(out), axis=_ROWS, keep_dims=True), mask=live)
            bent = bounded_tanh(out * _SLOPE)
            tl.store(tanh + at_d * row + t * step + b, bent, mask=in_d)
            after = kept + tl.load(gain + at_d, mask=in_d, other=0.0) * bent
            tl.store(memory + at_d * memory_row + (t + 1) * memory_step + b, after, mask=in_d)
            z = tl.sum(after * tl.load(readout + at_d, mask=in_d, other=0.0), axis=_ROWS, keep_dims=True)
            if FILTERED:
                kappa = tl.load(decay)
                mean = kappa * tl.load(average + at_n, mask=live, other=0.0) + (1.0 - kappa) * z
                tl.store(average + at_n, mean, mask=live)
                z -= mean
            active = rectified(z + tl.load(bias + n + b * 0, mask=live, other=0.0))
            tl.store(activity + n * (u_row - batch) + t * batch + b, active, mask=live)
            if DROPPED:
                active *= tl.load(drop + at_n, mask=live, other=0.0)
            tl.store(u_t + (first_active + n) * u_row + batch + b, active, mask=live)
        # the next step reads what other threads of this program have written
        tl.debug_barrier()


@kernel
def backward_kernel(
    # read: what the forward pass left and what arrives from its outputs
    tanh, hidden, activity, grad_activity, grad_magnitude, start, reader, reader_weight, first_weight, middle_weight,
    last_weight, keep, gain, readout, decay, drop,
    # written, in traces of all steps
    g_z, g_y, g_memory, g_out, g_hidden, g_branch, g_kept,
    # carried from step to step: gradients of the state
    carried_memory, carried_average, carried_branch,
    n_all, n_program, batch, signals, branches, memories, width, row, one, first_step, steps,
    LAYERS: tl.constexpr, R: tl.constexpr, H: tl.constexpr, D: tl.constexpr, NB: tl.constexpr, BB: tl.constexpr,
    EB: tl.constexpr, FILTERED: tl.constexpr, TRACED: tl.constexpr, DROPPED: tl.constexpr, RATES: tl.constexpr,
):  # fmt: skip
    """Take steps back, from `first_step` down; a step has everything it needs once the one after it is complete."""
    b = tl.program_id(1) * BB + by_batch(tl.arange(0, BB))
    r, h, d = rows_of(R, one), rows_of(H, one), rows_of(D, one)
    begin = tl.program_id(0) * n_program
    end = tl.minimum(begin + n_program, n_all)
    for back in tl.range(0, steps):
        t = first_step - back
        now = t * batch
        for first in tl.range(begin, end, NB):
            n = first + tl.arange(0, NB)[None, :, None] * one
            live = (n < end) & (b < batch)
            in_r, in_h, in_d = live & (r < branches), live & (h < width), live & (d < memories)
            at_n, at_h, at_d = n * batch + b, n * width + h + b * 0, n * memories + d + b * 0
            trace_n = n * row + now + b
            # no branch reads the activity of the last step
            read = live & (now + batch + b < row)
            grad = gathered(start, reader, reader_weight, g_branch + now + batch, row, n, b, read, one, EB)
            if DROPPED:
                grad *= tl.load(drop + at_n, mask=live, other=0.0)
            grad += tl.load(grad_activity + trace_n, mask=live, other=0.0)
            active = tl.load(activity + trace_n, mask=live, other=0.0)
            grad = tl.where(active <= 0, tl.zeros_like(grad), grad)
            tl.store(g_z + trace_n, grad, mask=live)
            if FILTERED:
                # z = kappa (y - r) and r' = kappa r + (1 - kappa) y, where r' is the average after the step
                kappa = tl.load(decay)
                mean = tl.load(carried_average + at_n, mask=live, other=0.0)
                grad = kappa * grad + (1.0 - kappa) * mean
                tl.store(carried_average + at_n, mean - grad, mask=live)
                tl.store(g_y + trace_n, grad, mask=live)
            at_carried = carried_memory + at_d * batch + b
            after = tl.load(at_carried, mask=in_d, other=0.0)
            after += grad * tl.load(readout + at_d, mask=in_d, other=0.0)
            bent = tl.load(tanh + at_d * row + now + b, mask=in_d, other=0.0)
            # the gradient of abs(o) is the sign of o, which is that of its tanh
            sign = tl.where(bent > 0, 1.0, tl.where(bent < 0, -1.0, 0.0)).to(bent.dtype)
            out = after * tl.load(gain + at_d, mask=in_d, other=0.0) * (1.0 - bent * bent) * _SLOPE
            out += sign * tl.load(grad_magnitude + at_n, mask=live, other=0.0)
            tl.store(g_out + at_d * row + now + b, out, mask=in_d)
            tl.debug_barrier()
            if LAYERS == 0:
                reads, read_by, inputs = g_out + now, last_weight + n * (memories * signals), memories
            else:
                layer, place = hidden + (LAYERS - 1) * n_all * width * row + now, at_h * row + b
                g_layer = g_hidden + (LAYERS - 1) * n_all * width * row + now
                weight, units = last_weight + n * (memories * width), zeros_of(h, n, b, tanh)
                units = product(units, weight, width, 1, g_out + now, row, memories, h, width, n, b, live, False)
                # of relu(x)^2 the derivative is 2 relu(x)
                units *= 2.0 * tl.load(layer + place, mask=in_h, other=0.0)
                tl.store(g_layer + place, units, mask=in_h)
                for below in tl.static_range(LAYERS - 1):
                    tl.debug_barrier()
                    weight = middle_weight + ((LAYERS - 2 - below) * n_all + n) * (width * width)
                    units = zeros_of(h, n, b, tanh)
                    units = product(units, weight, width, 1, g_layer, row, width, h, width, n, b, live, False)
                    layer -= n_all * width * row
                    g_layer -= n_all * width * row
                    units *= 2.0 * tl.load(layer + place, mask=in_h, other=0.0)
                    tl.store(g_layer + place, units, mask=in_h)
                tl.debug_barrier()
                reads, read_by, inputs = g_layer, first_weight + n * (width * signals), width
            sums = zeros_of(r, n, b, tanh)
            sums = product(sums, read_by, signals, 1, reads, row, inputs, r, branches, n, b, live, False)
            if TRACED:
                at_r = carried_branch + (n * branches + r) * batch + b
                sums += tl.load(at_r, mask=in_r, other=0.0)
                tl.store(at_r, tl.load(decay + 1) * sums, mask=in_r)
            tl.store(g_branch + (n * branches + r) * row + now + b, sums, mask=in_r)
            kept = product(
                tl.zeros_like(after), read_by + branches, signals, 1, reads, row, inputs, d, memories, n, b, live, False
            )
            kept += after
            tl.store(at_carried, kept * tl.load(keep + at_d, mask=in_d, other=0.0), mask=in_d)
            if RATES:
                tl.store(g_memory + at_d * row + now + b, after, mask=in_d)
                tl.store(g_kept + at_d * row + now + b, kept, mask=in_d)
        # the step before this one gathers from the branches of all neurons
        tl.debug_barrier()


@kernel
def start_kernel(
    start, reader, reader_weight, g_branch, drop, g_start, n_all, batch, row, one,
    NB: tl.constexpr, BB: tl.constexpr, EB: tl.constexpr, DROPPED: tl.constexpr,
):  # fmt: skip
    """Gradients of the activity before the first step."""
    b = tl.program_id(1) * BB + by_batch(tl.arange(0, BB))
    n = tl.program_id(0) * NB + tl.arange(0, NB)[None, :, None] * one
    live = (n < n_all) & (b < batch)
    grad = gathered(start, reader, reader_weight, g_branch, row, n, b, live, one, EB)
    if DROPPED:
        grad *= tl.load(drop + n * batch + b, mask=live, other=0.0)
    tl.store(g_start + n * batch + b, grad, mask=live)


@kernel
def synapse_kernel(
    u, source, g_branch, g_synapse, synapses, sources, u_row, columns,
    XB: tl.constexpr, LB: tl.constexpr,
):  # fmt: skip
    """Gradients of the synapses: inner products, over steps and batch, of what they read and of their branch's."""
    x = tl.program_id(0) * XB + tl.arange(0, XB)[:, None]
    live = x < synapses
    at_u = tl.load(source + x, mask=live, other=0) * u_row
    at_grad = x // sources * columns
    acc = tl.zeros([XB, LB], u.dtype.element_ty)
    for first in tl.range(0, columns, LB):
        column = first + tl.arange(0, LB)[None, :]
        inside = live & (column < columns)
        value = tl.load(u + at_u + column, mask=inside, other=0.0)
        acc += value * tl.load(g_branch + at_grad + column, mask=inside, other=0.0)
    tl.store(g_synapse + x, tl.sum(acc, axis=1, keep_dims=True), mask=live)
