"""A small multi-branch neuron with AMPA, NMDA and GABA synapses, stored as NeuronIO stores its simulations.

It is no layer-5 pyramidal cell: branches are single compartments around a spiking soma. What it shares with one are
nonlinear summation within branches (NMDA with magnesium block, Jahr and Stevens 1990), inhibition by shunting, slow
memory of the input, and sparse output spikes. Every other constant is an assumption, tuned for a voltage around -68 mV
and about one output spike per second.
"""

import pickle
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tasks.data.cache import write_atomically

SEGMENTS = 639
DURATION_MS = 6000
_BRANCHES = 40
_STEPS_PER_MS = 2
# mV
_LEAK, _EXCITE, _INHIBIT, _THRESHOLD, _RESET, _PEAK = -78.5, 0.0, -72.0, -57.5, -62.0, 25.0
# ms
_TAU_MEMBRANE, _TAU_AMPA, _TAU_NMDA_RISE, _TAU_NMDA, _TAU_GABA, _TAU_ADAPT = 10.0, 2.0, 3.0, 45.0, 8.0, 120.0
# Peak conductance of a synapse and coupling, as multiples of the leak of a branch or of the soma.
_AMPA, _NMDA, _GABA = 0.75, 0.82, 0.8
_TO_SOMA, _TO_BRANCH, _ADAPT = 0.1, 0.6, 0.5

Bits = npt.NDArray[np.bool_]


class Simulation(NamedTuple):
    """Results of n simulations of DURATION_MS each."""

    excitatory: Bits
    """Input spikes, [n, DURATION_MS, SEGMENTS]."""
    inhibitory: Bits
    """Input spikes, [n, DURATION_MS, SEGMENTS]."""
    output: list[npt.NDArray[np.float64]]
    """Times of the output spikes of every simulation, ms."""
    voltage: npt.NDArray[np.float64]
    """Soma voltage every ms, mV, [n, DURATION_MS]."""


def draw_inputs(random: np.random.Generator, count: int) -> tuple[Bits, Bits]:
    """Draw Poisson spikes whose rates jump at random times, for all synapses together and for every branch.

    Args:
        random: source of randomness.
        count: simulations.

    Returns:
        Excitatory and inhibitory spikes, [count, DURATION_MS, SEGMENTS] each.
    """
    # Neighbouring segments share a branch, in shares as even as they come.
    branch = np.arange(SEGMENTS) * _BRANCHES // SEGMENTS
    excitatory = np.empty((count, DURATION_MS, SEGMENTS), dtype=bool)
    inhibitory = np.empty_like(excitatory)
    drawn = np.empty((DURATION_MS, SEGMENTS), dtype=np.float32)
    for number in range(count):
        # Rates jump as in the published protocol, so that a network meets quiet and busy inputs in one simulation.
        level = _jumps(random, 1, 1.0, 7.0)
        balance = _jumps(random, 1, 0.5, 1.1)
        # squared, so that few branches get most of the input at a time; 4/3 is the mean of the square
        focus = _jumps(random, _BRANCHES, 0.0, 2.0) ** 2 / (4 / 3)
        rate = (level * focus / 1000).astype(np.float32)[:, branch]
        shared = (level * balance / 1000).astype(np.float32)
        np.less(random.random(out=drawn, dtype=np.float32), rate, out=excitatory[number])
        np.less(random.random(out=drawn, dtype=np.float32), shared, out=inhibitory[number])
    return excitatory, inhibitory


def _jumps(random: np.random.Generator, columns: int, low: float, high: float) -> npt.NDArray[np.float64]:
    """Return piecewise constant values, uniform between `low` and `high`, [DURATION_MS, columns]."""
    values = np.empty((DURATION_MS, columns))
    for column in range(columns):
        # as many pieces as there would be if all were of the shortest length, so that they always reach the end
        ends = np.cumsum(random.integers(50, 400, size=DURATION_MS // 50))
        pieces = np.searchsorted(ends, np.arange(DURATION_MS), side="right")
        values[:, column] = random.uniform(low, high, size=len(ends) + 1)[pieces]
    return values


def simulate(excitatory: Bits, inhibitory: Bits) -> Simulation:
    """Integrate all simulations at once with exponential Euler steps of 0.5 ms."""
    count = len(excitatory)
    excited, inhibited = _by_branch(excitatory), _by_branch(inhibitory)
    dt = 1 / _STEPS_PER_MS
    ampa, rise, nmda, gaba = (np.exp(-dt / tau) for tau in (_TAU_AMPA, _TAU_NMDA_RISE, _TAU_NMDA, _TAU_GABA))
    adapt_decay = np.exp(-dt / _TAU_ADAPT)
    g_ampa, g_rise, g_nmda, g_gaba = (np.zeros((count, _BRANCHES)) for _ in range(4))
    branch, soma, adaptation = np.full((count, _BRANCHES), _LEAK), np.full(count, _LEAK), np.zeros(count)
    voltage, output = np.empty((count, DURATION_MS)), [list[float]() for _ in range(count)]
    for ms in range(DURATION_MS):
        g_ampa += _AMPA * excited[ms]
        # Two exponentials that rise together and fall at different speeds: their difference begins at 0 and peaks
        # later.
        g_rise += _NMDA * excited[ms]
        g_nmda += _NMDA * excited[ms]
        g_gaba += _GABA * inhibited[ms]
        for step in range(_STEPS_PER_MS):
            # difference of two exponentials, times the share of channels that magnesium leaves open at this voltage
            open_nmda = (g_nmda - g_rise) / (1 + 0.28 * np.exp(-0.062 * branch))
            excite = g_ampa + open_nmda
            total = 1 + excite + g_gaba + _TO_BRANCH
            # exponential Euler: the conductances held for half a ms, the exact step towards where they would lead
            rest = (_LEAK + excite * _EXCITE + g_gaba * _INHIBIT + _TO_BRANCH * soma[:, None]) / total
            branch = rest + (branch - rest) * np.exp(-dt / _TAU_MEMBRANE * total)
            into = 1 + _TO_SOMA * _BRANCHES + adaptation
            rest_soma = (_LEAK * (1 + adaptation) + _TO_SOMA * branch.sum(axis=1)) / into
            soma = rest_soma + (soma - rest_soma) * np.exp(-dt / _TAU_MEMBRANE * into)
            g_ampa, g_rise, g_nmda, g_gaba = g_ampa * ampa, g_rise * rise, g_nmda * nmda, g_gaba * gaba
            adaptation *= adapt_decay
            fired = np.flatnonzero(soma > _THRESHOLD)
            for number in fired:
                output[number].append(ms + (step + 1) * dt)
            shown = soma.copy()  # the record shows the peak of a spike, the integration goes on from the reset
            shown[fired] = _PEAK
            soma[fired] = _RESET
            adaptation[fired] += _ADAPT
        voltage[:, ms] = shown
    return Simulation(excitatory, inhibitory, [np.array(times) for times in output], voltage)


def _by_branch(spikes: Bits) -> npt.NDArray[np.float32]:
    """Spikes of the segments of every branch, [DURATION_MS, n, branches]."""
    # A matrix of zeros and ones sums them in one product.
    per_branch = np.zeros((SEGMENTS, _BRANCHES), dtype=np.float32)
    per_branch[np.arange(SEGMENTS), np.arange(SEGMENTS) * _BRANCHES // SEGMENTS] = 1
    return np.stack([spikes_of_one.astype(np.float32) @ per_branch for spikes_of_one in spikes], axis=1)


def write_simulations(path: Path, simulation: Simulation) -> None:
    """Write simulations as a pickle in the layout of NeuronIO, as far as its readers look at it."""
    # float16 as in the original, with its coarse times late in a simulation, so that the readers meet them here too
    times = [output.astype(np.float16) for output in simulation.output]
    results = [
        {
            "exInputSpikeTimes": _times_by_segment(simulation.excitatory[number]),
            "inhInputSpikeTimes": _times_by_segment(simulation.inhibitory[number]),
            "outputSpikeTimes": times[number],
            "somaVoltageLowRes": simulation.voltage[number].astype(np.float16),
        }
        for number in range(len(times))
    ]
    params = {
        "allSegmentsType": ["basal"] * SEGMENTS,
        "allSegments_DistFromSoma": [0.0] * SEGMENTS,
        "totalSimDurationInSec": DURATION_MS // 1000,
    }
    # protocol 2, as the original was written by Python 2
    with write_atomically(path) as file:
        pickle.dump({"Params": params, "Results": {"listOfSingleSimulationDicts": results}}, file, protocol=2)


def _times_by_segment(spikes: Bits) -> dict[int, list[int]]:
    # Copied first: to look for the ones across the rows would take ten times as long.
    segments, times = np.divmod(np.flatnonzero(np.ascontiguousarray(spikes.T)), len(spikes))
    found, starts = np.unique(segments, return_index=True)
    return {segment: part.tolist() for segment, part in zip(found.tolist(), np.split(times, starts[1:]), strict=False)}
