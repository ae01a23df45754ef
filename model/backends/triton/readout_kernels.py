"""The read-out neurons' kernels: a whole sequence in one launch, with memory, traces and weight gradients in registers.

Tiles are [batch, neurons, memory unit] and [batch, neurons, memory unit, summed]. Importing this module needs Triton,
and compiles nothing.
"""

import triton.language as tl

from model.backends.triton.kernels import bounded_tanh, kernel
from model.cell.layer import TANH_SLOPE

_SLOPE = tl.constexpr(TANH_SLOPE)


@kernel
def scan_kernel(
    drive, weight, mlp_bias, keep, gain, readout, bias, decay, start, branch,
    memory, tanh, last, y,
    neurons, batch, memories, steps,
    D: tl.constexpr, NB: tl.constexpr, BB: tl.constexpr, TRACED: tl.constexpr, TRAINS: tl.constexpr,
):  # fmt: skip
    """Run the read-out neurons; see `model.backends.triton.readout.ReadoutScan` for the arguments."""
    b = tl.program_id(1) * BB + tl.arange(0, BB)[:, None, None]
    n = tl.program_id(0) * NB + tl.arange(0, NB)[None, :, None]
    d = tl.arange(0, D)[None, None, :]
    live = (n < neurons) & (b < batch)
    in_d, at = live & (d < memories), n * memories + d + b * 0
    # weight [O, out, in] as [B, O, out, in], so that sums run over the last axis
    into, outof = tl.arange(0, D)[None, None, None, :], tl.arange(0, D)[None, None, :, None]
    place = (n[:, :, :, None] * memories + outof) * memories + into + b[:, :, :, None] * 0
    wanted = live[:, :, :, None] & (outof < memories) & (into < memories)
    matrix = tl.load(weight + place, mask=wanted, other=0.0)
    add, rate = tl.load(mlp_bias + at, mask=in_d, other=0.0), tl.load(keep + at, mask=in_d, other=0.0)
    share, weigh = tl.load(gain + at, mask=in_d, other=0.0), tl.load(readout + at, mask=in_d, other=0.0)
    offset = tl.load(bias + n + b * 0, mask=live, other=0.0)
    state = tl.load(start + at * batch + b, mask=in_d, other=0.0)
    trace = tl.zeros_like(state)
    if TRACED:
        trace = tl.load(branch + at * batch + b, mask=in_d, other=0.0)
    if TRAINS:
        tl.store(memory + at * ((steps + 1) * batch) + b, state, mask=in_d)
    for t in tl.range(0, steps):
        now = (at * steps + t) * batch + b
        driven = tl.load(drive + now, mask=in_d, other=0.0)
        if TRACED:
            driven += tl.load(decay + 1) * trace
            trace = driven
        kept = rate * state
        out = driven + add + tl.sum(matrix * kept[:, :, None, :], axis=3)
        bent = bounded_tanh(out * _SLOPE)
        state = kept + share * bent
        if TRAINS:
            tl.store(tanh + now, bent, mask=in_d)
            tl.store(memory + (at * (steps + 1) + t + 1) * batch + b, state, mask=in_d)
        total = tl.sum(weigh * state, axis=2, keep_dims=True) + offset
        tl.store(y + (n * steps + t) * batch + b, total, mask=live)
    tl.store(last + at * batch + b, state, mask=in_d)


@kernel
def scan_back_kernel(
    memory, tanh, weight, keep, gain, readout, decay, grad_y, grad_last,
    # sums over the sequence for every batch row
    g_weight, g_mlp_bias, g_keep, g_gain, g_readout,
    # of every step, and of what was before the first
    g_drive, g_start, g_trace,
    neurons, batch, memories, steps,
    D: tl.constexpr, NB: tl.constexpr, BB: tl.constexpr, TRACED: tl.constexpr,
):  # fmt: skip
    """Differentiate the scan."""
    b = tl.program_id(1) * BB + tl.arange(0, BB)[:, None, None]
    n = tl.program_id(0) * NB + tl.arange(0, NB)[None, :, None]
    d = tl.arange(0, D)[None, None, :]
    live = (n < neurons) & (b < batch)
    in_d, at = live & (d < memories), n * memories + d + b * 0
    # weight [O, out, in] as [B, O, in, out]: sums run over the last axis
    outof, into = tl.arange(0, D)[None, None, None, :], tl.arange(0, D)[None, None, :, None]
    place = (n[:, :, :, None] * memories + outof) * memories + into + b[:, :, :, None] * 0
    wanted = live[:, :, :, None] & (outof < memories) & (into < memories)
    matrix = tl.load(weight + place, mask=wanted, other=0.0)
    rate, share = tl.load(keep + at, mask=in_d, other=0.0), tl.load(gain + at, mask=in_d, other=0.0)
    weigh = tl.load(readout + at, mask=in_d, other=0.0)
    carried = tl.load(grad_last + at * batch + b, mask=in_d, other=0.0)
    trace = tl.zeros_like(carried)
    sum_weight = tl.zeros_like(matrix)
    sum_bias, sum_keep = tl.zeros_like(carried), tl.zeros_like(carried)
    sum_gain, sum_readout = tl.zeros_like(carried), tl.zeros_like(carried)
    for back in tl.range(0, steps):
        t = steps - 1 - back
        now = (at * steps + t) * batch + b
        before = (at * (steps + 1) + t) * batch + b
        arriving = tl.load(grad_y + (n * steps + t) * batch + b, mask=live, other=0.0)
        sum_readout += arriving * tl.load(memory + before + batch, mask=in_d, other=0.0)
        after = carried + weigh * arriving
        bent = tl.load(tanh + now, mask=in_d, other=0.0)
        sum_gain += after * bent
        out = after * share * (1.0 - bent * bent) * _SLOPE
        sum_bias += out
        state = tl.load(memory + before, mask=in_d, other=0.0)
        sum_weight += out[:, :, None, :] * (rate * state)[:, :, :, None]
        kept = after + tl.sum(matrix * out[:, :, None, :], axis=3)
        sum_keep += kept * state
        carried = rate * kept
        driven = out
        if TRACED:
            driven += trace
            trace = tl.load(decay + 1) * driven
        tl.store(g_drive + now, driven, mask=in_d)
    tl.store(g_weight + place * batch + b[:, :, :, None], sum_weight, mask=wanted)
    tl.store(g_mlp_bias + at * batch + b, sum_bias, mask=in_d)
    tl.store(g_keep + at * batch + b, sum_keep, mask=in_d)
    tl.store(g_gain + at * batch + b, sum_gain, mask=in_d)
    tl.store(g_readout + at * batch + b, sum_readout, mask=in_d)
    tl.store(g_start + at * batch + b, carried, mask=in_d)
    if TRACED:
        tl.store(g_trace + at * batch + b, trace, mask=in_d)
