"""What is measured: networks, the ways to run them, and the time of a training step."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from model.architectures.gated import LstmConfig
from model.backends.choose import Backend
from model.backends.cuda_graph import CudaGraphBackend
from model.backends.reference import ReferenceBackend
from model.backends.torch.backend import TorchBackend
from model.backends.triton.backend import TritonBackend
from model.budget import counts, solve_n_rec
from model.cell.flat import FlatParameters
from model.config import ElmConfig
from model.network import build_network
from model.networks.elm_network import ElmNetwork
from model.networks.stacking import stack_networks

_ROUNDS = 5
"""timed runs of a step, of which the median counts"""
_WARM_UP = 4
"""runs before, in which kernels are compiled and graphs recorded"""
_MOST_SECONDS = 10.0
"""after which no further run is begun: an eager step of 1,000 time steps takes seconds"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network and the batch it is trained on."""

    name: str
    config: ElmConfig
    batch: int
    steps: int
    stacked: int = 1
    """networks that are run as one"""

    @property
    def tokens(self) -> int:
        """Time steps of all rows of all networks."""
        return self.stacked * self.batch * self.steps


def _text(n_rec: int, d_m: int, d_tree: int, d_branch: int, symbols: int) -> ElmConfig:
    return ElmConfig(n_in=symbols, n_out=symbols, n_rec=n_rec, d_m=d_m, d_tree=d_tree, d_branch=d_branch)


# The sizes of `benchmarks.model`, so that the page can be held against the table of processors in model/README.md.
_SPEECH = replace(_text(96, 5, 30, 10, 700), n_out=19, rho_rec=0.25, tau_m_min=1.0, tau_m_max=500.0, tau_r=5.0)
_SMALL = (("laptop text N=16", _text(16, 3, 4, 4, 27), 16), ("laptop text N=64", _text(64, 5, 8, 8, 27), 32))
CASES = (
    Case(name="Enwik8 N=1024", config=_text(1024, 15, 50, 15, 204), batch=8, steps=100),
    Case(name="laptop text N=150", config=_text(150, 8, 8, 8, 27), batch=32, steps=64),
    *(Case(name=name, config=config, batch=batch, steps=64) for name, config, batch in _SMALL),
    Case(name="SHD-Adding N=96", config=_SPEECH, batch=8, steps=1000),
)
"""what every way is timed on, the most telling first"""
STACKS = tuple(
    Case(name=name, config=config, batch=batch, steps=64, stacked=k)
    for name, config, batch in _SMALL
    for k in (16, 128, 512)
)
"""small networks, many at a time"""


def simulated(case: Case) -> Case:
    """Shrink a case to what Triton's interpreter gets through in a second."""
    small = replace(case.config, n_in=5, n_out=2, n_rec=2, d_m=1, d_tree=2, d_branch=1)
    return replace(case, config=small, batch=2, steps=2, stacked=min(2, case.stacked))


def ways(*, recorded: bool) -> dict[str, Callable[[], Backend]]:
    """The ways to run an ELM Network, by name; without recording, those with CUDA graphs run operation by operation."""

    def graph(plain: Any, name: str) -> Backend:
        return CudaGraphBackend(plain, name) if recorded else plain

    return {
        "eager": ReferenceBackend,
        "compiled step": ReferenceBackend,
        "torch": TorchBackend,
        "cuda_graph": lambda: graph(TorchBackend(), "cuda_graph"),
        "triton": TritonBackend,
        "triton, one launch a step, graph": lambda: graph(TritonBackend(persistent=False), "triton_graph"),
        "triton, one program a network, graph": lambda: graph(TritonBackend(persistent=True), "triton_graph"),
    }


def network_of(case: Case, way: str, device: str, dtype: torch.dtype, *, recorded: bool) -> ElmNetwork:
    """Build a case's network, or stack of networks, to be run in one of the ways."""
    networks = [build_network(case.config, seed=seed, dtype=dtype, backend="reference") for seed in range(case.stacked)]
    network = stack_networks(networks) if case.stacked > 1 else networks[0]
    network = network.to(device)
    network.backend = ways(recorded=recorded)[way]()
    if way == "compiled step" and recorded:
        # the step as a function of tensors is what a compiler can see whole; the loop over time stays Python's
        for layer in (network.hidden, network.readout):
            layer.step = torch.compile(layer.step, dynamic=False)  # type: ignore[method-assign]  # on purpose
    return network


def batch_of(case: Case, device: str) -> tuple[Tensor, Tensor]:
    """Random symbols and targets."""
    generator = torch.Generator().manual_seed(0)
    lead = (case.stacked,) if case.stacked > 1 else ()
    x = torch.randint(0, case.config.n_in, (*lead, case.batch, case.steps), generator=generator).to(device)
    return x, x.roll(-1, -1) % case.config.n_out


def loss_of(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Cross entropy and both regularisers, weighted as published."""
    output = network(x)
    cross_entropy = nn.functional.cross_entropy(output.logits.flatten(0, -2), y.flatten())
    loss: Tensor = cross_entropy + 0.01 * output.mlp_out_magnitude.sum() + 0.2 * output.population_activity.sum()
    return loss


def training_step(network: nn.Module, x: Tensor, y: Tensor) -> Callable[[], None]:
    """The action of one training step: forward, backward, clipping, Adam."""
    flat = FlatParameters(network)
    optimizer = torch.optim.Adam([flat.values], lr=5e-4, fused=True)

    def step() -> None:
        torch.autograd.backward(loss_of(network, x, y))
        flat.clip_grad(1.0)
        optimizer.step()

    return step


def lstm_step(case: Case, device: str) -> Callable[[], None]:
    """The training step of an LSTM with as many parameters, which cuDNN runs on a GPU."""
    sizes = LstmConfig(n_in=case.config.n_in, n_out=case.config.n_out, n_rec=1)
    budget = max(counts(case.config).trainable_params, counts(sizes).trainable_params)
    config = replace(sizes, n_rec=solve_n_rec(sizes, budget))
    return training_step(build_network(config, seed=0).to(device), *batch_of(case, device))


def seconds_of(step: Callable[[], None], device: str) -> float:
    """Median wall time of a step after its warm-up, or the last time where a step takes seconds."""
    on_gpu = device != "cpu"
    times: list[float] = []
    for _ in range(_WARM_UP + _ROUNDS if on_gpu else 1):
        begin = time.perf_counter()
        step()
        if on_gpu:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
        if len(times) > 1 and sum(times[1:]) > _MOST_SECONDS:
            break
    return statistics.median(times[_WARM_UP:] or times[-1:])


def peak_bytes(action: Callable[[], float], device: str) -> tuple[float, int]:
    """What an action returns, and the most device memory that was allocated in it; 0 without a GPU."""
    if device == "cpu":
        return action(), 0
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    result = action()
    return result, torch.cuda.max_memory_allocated()
