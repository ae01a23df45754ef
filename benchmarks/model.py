"""Compare the back ends: `python -m benchmarks.model [CASE ...]`; `--precision` compares their numbers instead.

`--levels` compares the kernels of a wheel, compiled for levels of processors, with one compiled for this very one.
`--jax` adds the authors' stack as a column (`benchmarks/jax_network.py`, which needs `pip install jax`).
`--threads N` compares one thread of the native kernel with N, by the clock on the wall.

Every ratio is the median of ratios of processor times that were taken in turn, one thread, in one run: other work on
the machine then slows both sides. A step is forward pass, loss, backward pass, clipping and a fused Adam step.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.roofline import roofline, traffic
from model.backends.native.abi import Kernel
from model.backends.native.backend import NativeBackend
from model.backends.native.compiler import compile_library, find_compiler
from model.backends.native.prebuilt import runnable
from model.cell.flat import FlatParameters
from model.config import ElmConfig
from model.flops import flops
from model.network import build_network
from model.networks.elm_network import ElmNetwork

_FAST = ("torch", "native")
_BACKENDS = ("reference", *_FAST)
"""what is compared; on a GPU `python -m model.gpu_check` compares others"""
_TURN_SECONDS = 0.1
"""processor time that every turn takes at least"""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network and the batch it is trained on."""

    config: ElmConfig
    """the network"""
    batch: int
    """rows"""
    steps: int
    """time steps"""
    spikes: bool
    """sparse spikes as input, and a loss of the last step; else text, and a loss of every step"""


def _text(n_rec: int, d_m: int, batch: int, steps: int, symbols: int, d_tree: int, d_branch: int) -> Case:
    config = ElmConfig(n_in=symbols, n_out=symbols, n_rec=n_rec, d_m=d_m, d_tree=d_tree, d_branch=d_branch)
    return Case(config=config, batch=batch, steps=steps, spikes=False)


def _spikes(n_rec: int, d_m: int, batch: int, steps: int) -> Case:
    # The published settings of SHD-Adding, at other sizes.
    config = ElmConfig(
        n_in=700,
        n_out=19,
        n_rec=n_rec,
        d_m=d_m,
        d_tree=30,
        d_branch=10,
        rho_rec=0.25,
        tau_m_min=1.0,
        tau_m_max=500.0,
        tau_r=5.0,
    )
    return Case(config=config, batch=batch, steps=steps, spikes=True)


# From networks that a laptop's sweep trains to those of the published tables, so that no back end is judged by one
# size.
CASES = {
    "laptop text N=16 d_m=3": _text(16, 3, 16, 64, 27, 4, 4),
    "laptop text N=64 d_m=5": _text(64, 5, 32, 64, 27, 8, 8),
    "laptop text N=150 d_m=8": _text(150, 8, 32, 64, 27, 8, 8),
    "laptop spikes N=16 d_m=2": _spikes(16, 2, 16, 64),
    "laptop spikes N=64 d_m=5": _spikes(64, 5, 16, 100),
    "laptop spikes N=128 d_m=10": _spikes(128, 10, 32, 128),
    "SHD-Adding N=96 d_m=5": _spikes(96, 5, 8, 1000),
    "Enwik8 N=1024 d_m=15": _text(1024, 15, 8, 100, 204, 50, 15),
    "Enwik8 N=2398 d_m=5": _text(2398, 5, 8, 20, 204, 50, 15),
    "Enwik8 N=290 d_m=40": _text(290, 40, 8, 20, 204, 50, 15),
    "Enwik8 N=64 d_m=100": _text(64, 100, 8, 20, 204, 50, 15),
}
"""what is compared, by name"""


def main(arguments: list[str] | None = None) -> int:
    """Print the comparison; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.model", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="cases whose name contains this; all by default")
    parser.add_argument("--rounds", type=int, default=5, help="times that every back end is timed (default 5)")
    parser.add_argument("--precision", action="store_true", help="compare single precision with double precision")
    parser.add_argument("--levels", action="store_true", help="compare the kernels that wheels bring along")
    parser.add_argument("--threads", type=int, metavar="N", help="compare one thread with N")
    parser.add_argument(
        "--jax", action="store_true", help="time the network in JAX too; compiling takes a minute a case"
    )
    options = parser.parse_args(arguments)
    if options.jax and find_spec("jax") is None:
        print("error: --jax needs jax, which is not installed: pip install jax", file=sys.stderr)
        return 2
    cases = {name: case for name, case in CASES.items() if not options.cases or any(c in name for c in options.cases)}
    if not cases:
        print(f"error: no case named {options.cases}; give a part of one of: {', '.join(CASES)}", file=sys.stderr)
        return 2
    # One thread, as a lane trains: on a machine that others use, more threads wait for each other.
    torch.set_num_threads(1)
    if options.precision:
        print_precision(options.rounds)
    elif options.levels:
        print_levels(cases, options.rounds)
    elif options.threads:
        print_threads(cases, options.rounds, options.threads)
    else:
        print_speed(cases, options.rounds, with_jax=options.jax)
    return 0


def print_speed(cases: dict[str, Case], rounds: int, *, with_jax: bool) -> None:
    """Print tokens per second and ratios, and how near the native kernel comes to what the machine can do at most."""
    ceiling = product_ceiling()
    print(
        f"torch {torch.__version__}, 1 thread; float32 product of 2048 x 2048 matrices: {ceiling / 1e9:.0f} GFLOP/s\n"
    )
    print("GFLOP and MB of a step and the tokens per second that they allow: `benchmarks/roofline.py`.\n")
    print(
        "| case | reference tok/s | torch | native | torch / ref | native / ref | native GFLOP/s | of ceiling "
        f"| GFLOP | MB | bound | bound tok/s | native of bound |{' jax tok/s | native / jax |' if with_jax else ''}"
    )
    print(f"|---|---|---|---|---|---|---|---|---|---|---|---|---|{'---|---|' if with_jax else ''}")
    for name, case in cases.items():
        # All back ends take turns on one case before the next case begins, so that a slow spell of the machine meets
        # them alike.
        networks = {backend: build_network(case.config, seed=0, backend=backend) for backend in _BACKENDS}
        steps = {name: training_step(case, network) for name, network in networks.items()}
        if with_jax:
            from benchmarks import jax_network  # here: it sets JAX up, and most runs do without

            steps["jax"] = jax_network.training_step(networks["reference"], *example_batch(case))
        seconds = time_in_turn(steps, rounds)
        tokens = case.batch * case.steps
        speeds = {backend: tokens / statistics.median(values) for backend, values in seconds.items()}
        ratios = {backend: median_ratio(seconds["reference"], seconds[backend]) for backend in _FAST}
        further = f" {speeds['jax']:,.0f} | {median_ratio(seconds['jax'], seconds['native']):.1f} |" if with_jax else ""
        rate = speeds["native"] * flops(case.config).training
        work = traffic(case.config, case.batch, case.steps)
        bound = roofline(work, ceiling)
        print(
            f"| {name} B={case.batch} T={case.steps} | {speeds['reference']:,.0f} | {speeds['torch']:,.0f} "
            f"| {speeds['native']:,.0f} | {ratios['torch']:.1f} | {ratios['native']:.1f} "
            f"| {rate / 1e9:.1f} | {rate / ceiling:.0%} | {work.operations / 1e9:.2f} | {work.bytes / 1e6:,.0f} "
            f"| {bound.bound} | {tokens / bound.seconds:,.0f} | {speeds['native'] * bound.seconds / tokens:.0%} |"
            f"{further}",
            flush=True,
        )


def print_threads(cases: dict[str, Case], rounds: int, threads: int) -> None:
    """Print how much faster a step of the native kernel is on several threads, and how far its numbers are from one's.

    Seconds are the least of all rounds: other work on the machine can only add to them, and adds most to threads that
    wait for each other.
    """
    print(f"| case | tok/s of 1 thread | of {threads} | ratio | largest difference of a gradient |")
    print("|---|---|---|---|---|")
    for name, case in cases.items():
        network = build_network(case.config, seed=0, backend="native")
        grads = _loss_and_grads(case, network)
        found, step = {}, training_step(case, build_network(case.config, seed=0, backend="native"))
        seconds: dict[int, list[float]] = {1: [], threads: []}
        try:
            for count in seconds:
                torch.set_num_threads(count)
                found[count] = [tensor.clone() for tensor in grads()]
                step()
            for _ in range(rounds):
                for count, times in seconds.items():
                    torch.set_num_threads(count)
                    begin = time.perf_counter()
                    step()
                    times.append(time.perf_counter() - begin)
        finally:
            torch.set_num_threads(1)
        tokens, least = case.batch * case.steps, {count: min(times) for count, times in seconds.items()}
        apart = max(float((a - b).abs().max()) for a, b in zip(found[1], found[threads], strict=True))
        print(
            f"| {name} B={case.batch} T={case.steps} | {tokens / least[1]:,.0f} | {tokens / least[threads]:,.0f} "
            f"| {least[1] / least[threads]:.2f} | {apart:.1e} |",
            flush=True,
        )


def print_levels(cases: dict[str, Case], rounds: int) -> None:
    """Print how much longer a step takes with the kernel of a level than with one compiled for this processor."""
    levels = [level.march for level in runnable()]
    with tempfile.TemporaryDirectory() as folder:
        kernels = {}
        for march in ("native", *levels):
            path = Path(folder) / f"{march}.so"
            compile_library(find_compiler(), march, "float", path)
            kernels[march] = Kernel(path)
        print(f"| case | {' | '.join(f'{march} / native' for march in levels)} |")
        print(f"|---|{'---|' * len(levels)}")
        for name, case in cases.items():
            networks = {march: build_network(case.config, seed=0, backend="native") for march in kernels}
            for march, network in networks.items():
                network.backend = NativeBackend(kernels[march])
            seconds = time_in_turn({march: training_step(case, network) for march, network in networks.items()}, rounds)
            ratios = [f"{median_ratio(seconds[march], seconds['native']):.2f}" for march in levels]
            print(f"| {name} B={case.batch} T={case.steps} | {' | '.join(ratios)} |", flush=True)


def time_in_turn(actions: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Run every action once to warm up, then `rounds` times in turn; process time of each turn by action.

    In its turn an action is repeated for a tenth of a second, as a training loop does, and the mean counts: a single
    short one would be timed with what the others left in the caches.
    """
    # Once without timing, so that compiling, plans and memory pools are no part of the first turn.
    for action in actions.values():
        action()
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            times, begin = 0, time.process_time()
            while times == 0 or time.process_time() - begin < _TURN_SECONDS:
                action()
                times += 1
            seconds[name].append((time.process_time() - begin) / times)
    return seconds


def median_ratio(numerators: list[float], denominators: list[float]) -> float:
    """Median of the ratios of times taken in the same round."""
    # Ratios first and their median afterwards: both times of a round met the same load.
    return statistics.median(above / below for above, below in zip(numerators, denominators, strict=True))


def product_ceiling() -> float:
    """Measure the operations per second of a large matrix product in single precision: the best of several."""
    # Large enough that the product is limited by arithmetic and not by memory.
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    seconds = time_in_turn({"product": lambda: a @ b}, 7)["product"]
    return 2 * 2048**3 / min(seconds)  # a multiplication and an addition for each of the n^3 terms


def example_batch(case: Case) -> tuple[Tensor, Tensor]:
    """Random input and targets: one target for each step of text, one for a whole sequence of spikes."""
    generator, config = torch.Generator().manual_seed(0), case.config
    if case.spikes:
        # Two spikes in a hundred bins, sparse as recordings are.
        x = (torch.rand(case.batch, case.steps, config.n_in, generator=generator) < 0.02).float()
        return x, torch.randint(0, config.n_out, (case.batch,), generator=generator)
    x = torch.randint(0, config.n_in, (case.batch, case.steps), generator=generator)
    return x, x.roll(-1, 1)  # the target is the next symbol, as in the task; what it is at the end does not matter


def loss_of(network: ElmNetwork, x: Tensor, y: Tensor) -> Tensor:
    """Cross entropy and both regularisers, weighted as published."""
    output = network(x)
    logits = output.logits[:, -1] if y.dim() == 1 else output.logits.flatten(0, 1)
    cross_entropy = nn.functional.cross_entropy(logits, y.flatten())
    loss: Tensor = cross_entropy + 0.01 * output.mlp_out_magnitude + 0.2 * output.population_activity
    return loss


def training_step(case: Case, network: ElmNetwork) -> Callable[[], object]:
    """Return the action of one training step of a network."""
    flat = FlatParameters(network)
    # Fused, as the training loop's is.
    optimizer = torch.optim.Adam([flat.values], lr=5e-4, fused=True)
    x, y = example_batch(case)

    def step() -> None:
        torch.autograd.backward(loss_of(network, x, y))
        flat.clip_grad(1.0)
        optimizer.step()

    return step


PRECISION_CASES = {
    "SHD-Adding-like, N=48 d_m=5 B=8 T=1000": _spikes(48, 5, 8, 1000),
    "Enwik8-like, N=290 d_m=40 B=8 T=20": CASES["Enwik8 N=290 d_m=40"],
}
"""what precisions are compared on, by name"""


def print_precision(rounds: int) -> None:
    """Print how far single precision drifts from double."""
    for name, case in PRECISION_CASES.items():
        # The reference in double precision: its rounding is far below the differences that are looked for.
        exact = _loss_and_grads(case, build_network(case.config, seed=0, dtype=torch.float64, backend="reference"))()
        print(f"{name}: relative errors against the reference in float64\n")
        print("| back end | error of the loss | error of the gradients | processor time / reference | / torch |")
        print("|---|---|---|---|---|")
        actions = _precisions(case)
        seconds = time_in_turn(actions, rounds)
        for title, action in actions.items():
            loss_error, grad_error = _errors(action(), exact)
            ratios = [median_ratio(seconds[title], seconds[base]) for base in ("reference", "torch")]
            print(f"| {title} | {loss_error:.1e} | {grad_error:.1e} | {ratios[0]:.2f} | {ratios[1]:.2f} |", flush=True)
        print()


def _precisions(case: Case) -> dict[str, Callable[[], list[Tensor]]]:
    """The ways to compute in single precision, by name."""
    networks = {name: build_network(case.config, seed=0, backend=name) for name in _BACKENDS}
    return {name: _loss_and_grads(case, network) for name, network in networks.items()}


def _loss_and_grads(case: Case, network: ElmNetwork) -> Callable[[], list[Tensor]]:
    """The action of computing loss and gradients."""
    x, y = example_batch(case)

    def action() -> list[Tensor]:
        network.zero_grad()
        loss = loss_of(network, x, y)
        torch.autograd.backward(loss)
        return [loss.detach(), *(p.grad for p in network.parameters() if p.grad is not None)]

    return action


def _errors(measured: list[Tensor], exact: list[Tensor]) -> tuple[float, float]:
    """Relative error of the loss, and relative L2 error of all gradients."""
    # All gradients as one vector: small weights with large relative errors do not matter to a step.
    squares = sum(float((new.double() - old).square().sum()) for new, old in zip(measured[1:], exact[1:], strict=True))
    grad_error = (squares / sum(float(old.square().sum()) for old in exact[1:])) ** 0.5
    return abs(float(measured[0] - exact[0])) / abs(float(exact[0])), grad_error


if __name__ == "__main__":
    sys.exit(main())
