"""Runs a saved network over held-out sequences and keeps what its neurons did."""

import io
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

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
    dtype = getattr(torch, spec.training.dtype)
    # Before it is built: other architectures have no such back end, and a person's file must not be run to be read.
    if not isinstance(spec.model, ElmConfig):
        raise SweeperError(
            f"trial {trial_id}: {spec.architecture} has no neurons with a memory of their own; "
            "activity is recorded of ELM Networks"
        )
    # The readable back end: single steps gain nothing from the others, and it needs no compiler.
    network = build_network(spec.model, seed=spec.seed, dtype=dtype, backend="reference")
    network.load_state_dict(weights)
    network.eval()
    task = load_task(spec.task, spec.task_options)
    # Segments of a carried state are joined until there are enough steps; other sequences stand alone.
    batches = math.ceil((burn_in + steps) / spec.training.length) if task.spec.carry_state else 1
    drawn = task.eval_batches(split, batch_size=sequences, length=spec.training.length, max_batches=batches)
    with _one_thread():
        activity, potential = _run(network, (batch.x for batch in drawn))
    if burn_in >= len(activity):
        raise SweeperError(f"--burn-in: {burn_in} of {len(activity)} steps leaves nothing to look at; give less")
    kept = slice(burn_in, burn_in + steps)
    return Recording(
        trial_id=trial_id,
        spec=spec,
        data_name=task.data_name,
        activity_RTN=np.stack(activity[kept], axis=1),
        potential_RTN=np.stack(potential[kept], axis=1),
        timescales_ND=network.hidden.timescales().detach().float().numpy(),
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
