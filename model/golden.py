"""Compare networks with files of golden numbers: `python -m model.golden FILE.npz ...`."""

import argparse
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.backends import BACKENDS
from model.config import ElmConfig
from model.elm_network import ElmNetwork
from model.network import build_network

TOLERANCE = 1e-10
"""largest absolute difference allowed in float64"""
_NOT_CONFIG = ("task", "batch", "time", "reg_mlp", "reg_activity")
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
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError) as error:
        raise GoldenError(f"{path}: cannot be read as an npz file ({error})") from error
    missing = [key for key in ("config.n_in", "config.n_out", "config.d_m", "x", "loss") if key not in arrays]
    if missing:
        raise GoldenError(f"{path}: not a golden file, lacks {', '.join(missing)}")
    return arrays


def golden_network(arrays: dict[str, np.ndarray], backend: str) -> ElmNetwork:
    """Build the network of a golden file, in float64, with the file's wiring, timescales and weights."""
    values = {name[7:]: value.item() for name, value in arrays.items() if name.startswith("config.")}
    values = {name: value for name, value in values.items() if name not in _NOT_CONFIG}
    unknown = sorted(set(values) - {field.name for field in fields(ElmConfig)})
    if unknown:
        raise GoldenError(f"config.{unknown[0]} is no field of ElmConfig")
    switches: dict[str, Any] = {
        name: bool(values[name]) for name in ("lambda_as_ratio", "learn_tau_m") if name in values
    }
    config = ElmConfig(**{**values, **switches})
    network = build_network(config, seed=0, dtype=torch.float64, backend=backend)
    weights = {name: torch.from_numpy(_array(arrays, name)) for name in network.state_dict()}
    network.load_state_dict(weights)
    return network


def network_differences(arrays: dict[str, np.ndarray], network: ElmNetwork) -> dict[str, float]:
    """Run and differentiate the network and compare every array of the file.

    Returns:
        Largest absolute difference by name of the array.
    """
    output = network(torch.from_numpy(arrays["x"]), keep_activity=True)
    y = torch.from_numpy(arrays["y"])
    logits = output.logits[:, -1] if y.dim() == 1 else output.logits.flatten(0, 1)
    cross_entropy = nn.functional.cross_entropy(logits, y.flatten())
    loss = (
        cross_entropy
        + float(arrays["config.reg_mlp"]) * output.mlp_out_magnitude
        + float(arrays["config.reg_activity"]) * output.population_activity
    )
    network.zero_grad(set_to_none=True)
    loss.backward()
    found: dict[str, Any] = {
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
    return {name: _difference(value, _array(arrays, name)) for name, value in found.items()}


def _array(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    if name not in arrays:
        raise GoldenError(f"the file lacks the array {name}")
    return arrays[name]


def _difference(found: Tensor, golden: np.ndarray) -> float:
    return float((found.detach() - torch.from_numpy(golden)).abs().max())


def check_file(path: Path, backend: str) -> dict[str, float]:
    """Compare one golden file with one back end; see `network_differences`."""
    arrays = load_golden(path)
    try:
        return network_differences(arrays, golden_network(arrays, backend))
    except GoldenError as error:
        raise GoldenError(f"{path}: {error}") from error


def main(arguments: list[str] | None = None) -> int:
    """Compare the files named on the command line; 0 when all agree, 1 when one does not or cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m model.golden", description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.npz")
    status = 0
    for path in parser.parse_args(arguments).files:
        for backend in BACKENDS[1:]:
            try:
                differences = check_file(path, backend)
            except GoldenError as error:
                print(f"error: {error}", file=sys.stderr)
                status = 1
                break
            agrees = _print_differences(f"{path.name} {backend}", differences)
            status = status if agrees else 1
    return status


def _print_differences(title: str, differences: dict[str, float]) -> bool:
    for name, value in differences.items():
        print(f"{title:38s} {name:32s} {value:.2e}")
    agrees = all(value <= TOLERANCE for value in differences.values())
    worst = max(differences, key=lambda name: differences[name])
    verdict = "agrees" if agrees else f"DIFFERS (above {TOLERANCE:.0e})"
    print(f"{title:38s} {verdict}: largest difference {differences[worst]:.2e} in {worst}")
    return agrees


if __name__ == "__main__":
    sys.exit(main())
