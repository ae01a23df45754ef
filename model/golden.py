"""Compare networks with files of golden numbers: `python -m model.golden FILE.npz ...`."""

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.architectures.elm_neuron import ElmNeuronConfig
from model.backends.choose import choose_backend
from model.config import ConfigError, ElmConfig
from model.network import build_network
from model.networks.elm_network import ElmNetwork
from model.networks.neuron import NEURON_BACKENDS, ElmNeuron

TOLERANCE = 1e-10
"""largest absolute difference allowed in float64; sums in another order differ by about 1e-15"""
# what the files say about their run beside the architecture
_NOT_CONFIG = ("task", "batch", "time", "reg_mlp", "reg_activity")
# the files come from the authors' formulation, whose names differ in places
_NOT_NEURON_CONFIG = ("per_branch_trace",)  # traces of synapses and of their sum are the same
_NEURON_NAMES = {"tau_s": "tau_b"}
_ANY_CONFIG = ElmConfig(n_in=1, n_out=1, n_rec=1, d_m=1, d_tree=1, d_branch=1)
_STATES = {
    "final.hidden.activity": "activity_BN",
    "final.hidden.memory": "memory_BND",
    "final.hidden.readout_average": "readout_average_BN",
    "final.hidden.branch": "branch_BNR",
    "final.readout.memory": "readout_memory_BOD",
    "final.readout.branch": "readout_branch_BOR",
}


class GoldenError(ValueError):
    """A file that is not a golden file; the message names file and key."""


def load_golden(path: Path) -> dict[str, np.ndarray]:
    """Read every array of a golden file.

    Raises:
        GoldenError: the file is missing, no npz, or lacks the configuration.
    """
    try:
        # Without pickles: a file to compare with need not be trusted.
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError) as error:
        raise GoldenError(f"{path}: cannot be read as an npz file ({error})") from error
    missing = [key for key in ("config.n_in", "config.n_out", "config.d_m", "x", "loss") if key not in arrays]
    if missing:
        raise GoldenError(f"{path}: not a golden file, lacks {', '.join(missing)}")
    return arrays


def golden_network(arrays: dict[str, np.ndarray], backend: str, device: str = "cpu") -> ElmNetwork:
    """Build the network of a golden file, in float64, with the file's wiring, timescales and weights."""
    values = {name[7:]: value.item() for name, value in arrays.items() if name.startswith("config.")}
    values = {name: value for name, value in values.items() if name not in _NOT_CONFIG}
    config = ElmConfig(**_checked(values, ElmConfig))
    network = build_network(config, seed=0, dtype=torch.float64, backend=backend)
    # Wiring and timescales come from the file as well as weights, so that nothing of the comparison is drawn here.
    network.load_state_dict({name: torch.from_numpy(_array(arrays, name)) for name in network.state_dict()})
    return network.to(device)


def golden_neuron(arrays: dict[str, np.ndarray], backend: str = "auto") -> ElmNeuron:
    """Build the single neuron of a golden file, in float64, with the file's timescales and weights."""
    values = {name[7:]: value.item() for name, value in arrays.items() if name.startswith("config.")}
    values = {_NEURON_NAMES.get(name, name): value for name, value in values.items() if name not in _NOT_NEURON_CONFIG}
    config = ElmNeuronConfig(**_checked(values, ElmNeuronConfig))
    neuron: ElmNeuron = build_network(config, seed=0, dtype=torch.float64, backend=backend)
    names = {name: _golden_name(name) for name in neuron.state_dict()}
    neuron.load_state_dict({name: torch.from_numpy(_array(arrays, golden)) for name, golden in names.items()})
    return neuron


def _checked(values: dict[str, Any], config: type[Any]) -> dict[str, Any]:
    """Refuse settings that the configuration has no field for; switches are stored as numbers."""
    kinds = {field.name: field.type for field in fields(config)}
    unknown = sorted(set(values) - set(kinds))
    if unknown:
        raise GoldenError(f"config.{unknown[0]} is no field of {config.__name__}")
    return {name: bool(value) if kinds[name] in (bool, "bool") else value for name, value in values.items()}


def _golden_name(name: str) -> str:
    """Name of a neuron's parameter in golden files."""
    return name.replace("readout.", "readout_")


def neuron_differences(arrays: dict[str, np.ndarray], neuron: ElmNeuron) -> dict[str, float]:
    """Run and differentiate the neuron and compare every array of the file; see `network_differences`."""
    output = neuron(torch.from_numpy(arrays["x"]), keep_activity=True)
    loss = nn.functional.mse_loss(output.logits, torch.from_numpy(_array(arrays, "target")))
    neuron.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    results: dict[str, Any] = {"output": output.logits, "memory": output.activity, "loss": loss}
    results |= {f"grad.{_golden_name(name)}": parameter.grad for name, parameter in neuron.named_parameters()}
    return {name: _difference(value, _array(arrays, name)) for name, value in results.items()}


def network_differences(arrays: dict[str, np.ndarray], network: ElmNetwork) -> dict[str, float]:
    """Run and differentiate the network and compare every array of the file.

    Returns:
        Largest absolute difference by name of the array.
    """
    device = network.output.weight.device
    output = network(torch.from_numpy(arrays["x"]).to(device), keep_activity=True)
    y = torch.from_numpy(arrays["y"]).to(device)
    # one target for each sequence is a task that is asked at its last step
    logits = output.logits[:, -1] if y.dim() == 1 else output.logits.flatten(0, 1)
    cross_entropy = nn.functional.cross_entropy(logits, y.flatten())
    loss = (
        cross_entropy
        + float(arrays["config.reg_mlp"]) * output.mlp_out_magnitude
        + float(arrays["config.reg_activity"]) * output.population_activity
    )
    # A network may be compared several times, and gradients would add up.
    network.zero_grad(set_to_none=True)
    loss.backward()
    results: dict[str, Any] = {
        "logits": output.logits,
        "activity": output.activity,
        "mlp_out": output.mlp_out,
        "loss": loss,
        "cross_entropy": cross_entropy,
        "mlp_magnitude": output.mlp_out_magnitude,
        "population_activity": output.population_activity,
        **{name: getattr(output.state, field) for name, field in _STATES.items() if name in arrays},
        **{f"grad.{name}": parameter.grad for name, parameter in network.named_parameters()},
    }
    return {name: _difference(value, _array(arrays, name)) for name, value in results.items()}


def _array(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    if name not in arrays:
        raise GoldenError(f"the file lacks the array {name}")
    return arrays[name]


def _difference(result: Tensor, golden: np.ndarray) -> float:
    return float((result.detach().cpu() - torch.from_numpy(golden)).abs().max())


def check_file(path: Path, device: str = "cpu") -> dict[str, dict[str, float]]:
    """Compare one golden file with every back end that can run what it holds on a device.

    Returns:
        Largest absolute difference by name of the back end and name of the array.

    Raises:
        GoldenError: the file cannot be read or lacks something.
    """
    arrays = load_golden(path)
    try:
        # a single neuron has no layer, and files of both kinds are told apart by that alone
        if "config.n_rec" not in arrays:
            return {name: neuron_differences(arrays, golden_neuron(arrays, name)) for name in NEURON_BACKENDS[1:]}
        return {name: network_differences(arrays, golden_network(arrays, name, device)) for name in _available(device)}
    # RuntimeError is what torch raises where shapes of the file and of the network differ.
    except (GoldenError, ConfigError, RuntimeError) as error:
        raise GoldenError(f"{path}: {error}") from error


def _available(device: str) -> list[str]:
    """All back ends that run on a device; the log says why the native kernel is not among them, where it is not."""
    if device != "cpu":
        return ["reference", "torch", "triton"]
    native = choose_backend("auto", _ANY_CONFIG, torch.float64, torch.device("cpu")).name == "native"
    return ["reference", "torch", "native"] if native else ["reference", "torch"]


def main(arguments: list[str] | None = None) -> int:
    """Compare the files named on the command line; 0 when all agree, 1 when one does not or cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m model.golden", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.npz")
    parser.add_argument("--device", default="cpu", help="cpu (default) or cuda")
    options = parser.parse_args(arguments)
    status = 0
    for path in options.files:
        try:
            by_backend = check_file(path, options.device)
        except GoldenError as error:
            print(f"error: {error}", file=sys.stderr)
            status = 1
            continue
        for backend, differences in by_backend.items():
            agrees = _print_differences(f"{path.name} {backend}", differences)
            # All files are compared before the command ends, so that one run shows every difference.
            status = status if agrees else 1
    return status


def _print_differences(title: str, differences: dict[str, float]) -> bool:
    for name, value in differences.items():
        print(f"{title:38s} {name:32s} {value:.2e}")
    # Compared with <= so that NaN, which is below nothing, counts as a difference.
    agrees = all(value <= TOLERANCE for value in differences.values())
    worst = max(differences, key=lambda name: differences[name])
    verdict = "agrees" if agrees else f"DIFFERS (above {TOLERANCE:.0e})"
    print(f"{title:38s} {verdict}: largest difference {differences[worst]:.2e} in {worst}")
    return agrees


if __name__ == "__main__":
    sys.exit(main())
