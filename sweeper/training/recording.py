"""Runs a saved network over held-out sequences and keeps what its neurons did, or what it answered."""

import io
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.architectures.elm_neuron import ElmNeuronConfig
from model.config import ElmConfig
from model.network import build_network
from model.networks.elm_network import ElmNetwork
from sweeper.errors import SweeperError
from sweeper.plan.trial import TrialSpec, spec_from_canonical
from sweeper.store.store import ResultsStore
from tasks.loaders import Split, load_task
from tasks.losses import MV_PER_UNIT

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """What the recurrent layer of one network did; R sequences, T time steps after the burn-in, N neurons."""

    trial_id: str
    """The trial that trained the network."""
    spec: TrialSpec
    """Its settings."""
    data_name: str
    """Data that the sequences are from."""
    activity_RTN: FloatArray
    """Activity a_t = relu(z_t + bias), which the other neurons see."""
    potential_RTN: FloatArray
    """y_t = w_y . m_t, the neuron's own answer before the high-pass filter, the bias and the rectification."""
    timescales_ND: FloatArray
    """Memory timescales, in the unit of `dt`."""


def record(store: ResultsStore, trial_id: str, *, split: Split, sequences: int, steps: int, burn_in: int) -> Recording:
    """Run the saved network of a trial over held-out sequences.

    Args:
        store: where the network is.
        trial_id: the trial.
        split: whose sequences.
        sequences: how many sequences, or parallel streams where the task carries its state.
        steps: steps to keep of each, at most; sequences of tasks without a carried state end where they end.
        burn_in: first steps of each sequence that are run and not kept.

    Raises:
        SweeperError: there is no such network, it is no ELM Network, or nothing is left behind the burn-in.
        DamageError: the file is not what was written.
    """
    spec, weights = _saved(store, trial_id)
    # Before it is built: other architectures have no such back end, and a person's file must not be run to be read.
    if not isinstance(spec.model, ElmConfig):
        raise SweeperError(
            f"trial {trial_id}: {spec.architecture} has no neurons with a memory of their own; "
            "activity is recorded of ELM Networks"
        )
    network = _rebuilt(spec, weights)
    task = load_task(spec.task, spec.task_options)
    # Segments of a carried state are joined until there are enough steps; other sequences stand alone.
    batches = math.ceil((burn_in + steps) / spec.training.length) if task.spec.carry_state else 1
    drawn = task.eval_batches(split, batch_size=sequences, length=spec.training.length, max_batches=batches)
    segments = [batch.x for batch in drawn]
    length = sum(x.shape[1] for x in segments)
    if burn_in >= length:  # before they are run: a hundred thousand steps take half a minute
        raise SweeperError(f"--burn-in: {burn_in} of {length} steps leaves nothing to look at; give less")
    with _one_thread():
        activity, potential = _run(network, segments)
    kept = slice(burn_in, burn_in + steps)
    return Recording(
        trial_id=trial_id,
        spec=spec,
        data_name=task.data_name,
        activity_RTN=np.stack(activity[kept], axis=1),
        potential_RTN=np.stack(potential[kept], axis=1),
        timescales_ND=network.hidden.timescales().detach().float().numpy(),
    )


@dataclass(frozen=True, kw_only=True)
class VoltageAnswers:
    """What one network says of the soma voltage of a neuron; R windows, T milliseconds after their burn-in."""

    trial_id: str
    """The trial that trained the network."""
    data_name: str
    """Data that the windows are from."""
    predicted_RT: FloatArray
    """The network's voltage, in mV against the task's reference."""
    target_RT: FloatArray
    """The neuron's own voltage, likewise."""
    spikes_RT: npt.NDArray[np.bool_]
    """Whether the neuron spiked."""


def record_voltage(store: ResultsStore, trial_id: str, *, split: Split, windows: int) -> VoltageAnswers:
    """Run the saved network of a trial of the task `neuronio` over held-out windows.

    Args:
        store: where the network is.
        trial_id: the trial.
        split: whose windows.
        windows: how many of them, at most; those that the end of a simulation cuts short are left out.

    Raises:
        SweeperError: there is no such network, its task has no voltage, or no whole window is left.
        DamageError: the file is not what was written.
    """
    spec, weights = _saved(store, trial_id)
    task = load_task(spec.task, spec.task_options)
    # Before it is built: a person's file must not be run to be read, and only the task says what the answers are.
    if task.spec.loss != "spikes_and_voltage" or not isinstance(spec.model, ElmConfig | ElmNeuronConfig):
        raise SweeperError(
            f"trial {trial_id}: {spec.architecture} on {spec.task} answers no voltage; residuals are those of ELM "
            "neurons and ELM Networks on the task neuronio"
        )
    network = _rebuilt(spec, weights)
    rows: list[tuple[FloatArray, FloatArray, npt.NDArray[np.bool_]]] = []
    with _one_thread(), torch.no_grad():
        for batch in task.eval_batches(split, batch_size=16, length=spec.training.length, max_batches=None):
            assert batch.weight is not None  # the burn-in has weight 0
            voltage = network(batch.x).logits[..., 1].float() * MV_PER_UNIT
            target = batch.y[..., 1].float() * MV_PER_UNIT
            for row, counted in enumerate(batch.weight > 0):
                kept = (voltage[row, counted], target[row, counted], batch.y[row, counted, 0] > 0)
                rows.append((kept[0].numpy(), kept[1].numpy(), kept[2].numpy()))
            if len(rows) >= windows:
                break
    # Windows of equal length, so that a lag means the same in each; the end of a simulation leaves shorter ones.
    longest = max((len(target) for _, target, _ in rows), default=0)
    if longest == 0:
        raise SweeperError(f"trial {trial_id}: the {split} split of {task.data_name} has no window to run")
    whole = [row for row in rows if len(row[1]) == longest][:windows]
    predicted_RT, target_RT, spikes_RT = (np.stack(part) for part in zip(*whole, strict=True))
    return VoltageAnswers(
        trial_id=trial_id,
        data_name=task.data_name,
        predicted_RT=predicted_RT,
        target_RT=target_RT,
        spikes_RT=spikes_RT,
    )


class Timescales(NamedTuple):
    """Memory timescales that a trial learnt, in the unit of `dt`; every unit of every neuron of the recurrent layer."""

    dt: float
    """Time of one step."""
    before: npt.NDArray[np.float64]
    """Before training, [N * D]."""
    after: npt.NDArray[np.float64]
    """After the last step, [N * D]."""


def learnt_timescales(store: ResultsStore, trial_id: str) -> Timescales | None:
    """Return what became of the memory timescales of a saved network; None where they were not trained.

    Raises:
        SweeperError: there is no such network.
        DamageError: the file is not what was written.
    """
    spec, weights = _saved(store, trial_id)
    model = spec.model
    if not isinstance(model, ElmConfig | ElmNeuronConfig) or not model.learn_tau_m:
        return None
    # In double precision, in which the timescales before training are what the range says.
    network = build_network(model, seed=spec.seed, dtype=torch.float64, backend="reference")
    layer = network.hidden if isinstance(network, ElmNetwork) else network
    found = [layer.timescales().detach()]
    network.load_state_dict(weights)
    found.append(layer.timescales().detach())
    before, after = (part.flatten().numpy() for part in found)
    return Timescales(model.dt, before, after)


def _saved(store: ResultsStore, trial_id: str) -> tuple[TrialSpec, dict[str, Tensor]]:
    """Settings and weights of a saved network."""
    payload = store.read_weights("networks", trial_id)
    if payload is None:
        raise SweeperError(f"{store.uri}: trial {trial_id} has no saved network (its grid needs training.save: final)")
    # weights_only: the file may be a stranger's, and a pickle could run code.
    saved = torch.load(io.BytesIO(payload), weights_only=True, map_location="cpu")
    spec = spec_from_canonical(saved["spec"])
    if spec.trial_id != trial_id:
        raise SweeperError(f"{store.uri}: networks/{trial_id}.pt holds the network of trial {spec.trial_id}")
    return spec, saved["weights"]


def _rebuilt(spec: TrialSpec, weights: dict[str, Tensor]) -> Any:
    # The readable back end: single steps gain nothing from the others, and it needs no compiler.
    dtype = getattr(torch, spec.training.dtype)
    network = build_network(spec.model, seed=spec.seed, dtype=dtype, backend="reference")
    network.load_state_dict(weights)
    return network.eval()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Hold torch to one thread: sharing operations as small as single steps out took 20 times their processor time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@torch.no_grad()
def _run(network: ElmNetwork, segments: Iterable[Tensor]) -> tuple[list[FloatArray], list[FloatArray]]:
    """Activity and potential [R, N] of each step of segments that continue each other."""
    activity, potential, state = [], [], None
    for x in segments:
        for t in range(x.shape[1]):
            # Step by step: the memory after each step is in the state alone, which a whole segment returns only once.
            state = network(x[:, t : t + 1], state).state
            activity.append(state.activity_BN.float().numpy().copy())
            potential.append((network.hidden.readout_weight * state.memory_BND).sum(-1).float().numpy())
    return activity, potential
