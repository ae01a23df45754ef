import math
from pathlib import Path

import numpy as np
import pytest
import torch

from model.golden import check_file, golden_network, load_golden, main, network_differences

GOLDEN = Path(__file__).parents[1] / "golden"
NETWORKS = sorted(GOLDEN.glob("elm_network_*.npz"))
NEURONS = sorted(GOLDEN.glob("elm_neuron_*.npz"))


@pytest.mark.usefixtures("native_kernel")
@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_networks_agree_with_the_published_formulation(path: Path) -> None:
    found = check_file(path)
    arrays = load_golden(path)
    unchecked = {name for name in arrays if not name.startswith(("config.", "hidden.", "readout.", "output."))}
    assert list(found) == ["reference", "torch", "native"]
    for differences in found.values():
        assert unchecked - set(differences) == {"x", "y"}
        assert max(differences.values()) <= 1e-10


@pytest.mark.usefixtures("native_kernel")
@pytest.mark.parametrize("dt", [2.0, 0.5])
@pytest.mark.parametrize("path", NETWORKS, ids=lambda path: path.stem)
def test_another_unit_of_time_changes_no_number(path: Path, dt: float) -> None:
    """Time steps of 2 ms and timescales in ms are the published numbers of timescales half as large in steps."""
    arrays = load_golden(path)
    scaled = {n: v * dt for n, v in arrays.items() if n.startswith("config.tau") or n.endswith(".tau_m")}
    assert {"config.tau_m_min", "config.tau_m_max", "config.tau_r", "hidden.tau_m", "readout.tau_m"} <= set(scaled)
    arrays |= scaled | {"config.dt": np.float64(dt)}
    for backend in ("reference", "torch", "native"):
        differences = network_differences(arrays, golden_network(arrays, backend))
        assert max(differences.values()) <= 1e-10
    still = golden_network(arrays | {"config.dt": np.float64(1.0)}, "native")
    assert max(network_differences(arrays, still).values()) > 1e-4


@pytest.mark.parametrize("path", NEURONS, ids=lambda path: path.stem)
def test_single_neurons_agree_with_the_published_formulation(path: Path) -> None:
    found = check_file(path)
    grads = {name for name in load_golden(path) if name.startswith("grad.")}
    assert list(found) == ["torch", "reference"]
    for differences in found.values():
        assert set(differences) == grads | {"output", "memory", "loss"}
        assert max(differences.values()) <= 1e-10


def neuron_by_hand(config: dict[str, float | int]) -> dict[str, np.ndarray]:
    """Makes a golden file of a single neuron: a loop over rows, steps, synapses and units, in the formulas' terms."""
    random = np.random.default_rng(3)
    n_in, d_m, d_mlp, n_out, d_tree = (int(config[name]) for name in ("n_in", "d_m", "d_mlp", "n_out", "d_tree"))
    dt, low, high = (float(config[name]) for name in ("dt", "tau_m_min", "tau_m_max"))
    shapes = {
        "synapse_weight": (n_in,),
        "mlp.0.weight": (d_mlp, d_tree + d_m),
        "mlp.0.bias": (d_mlp,),
        "mlp.1.weight": (d_m, d_mlp),
        "mlp.1.bias": (d_m,),
        "readout_weight": (n_out, d_m),
        "readout_bias": (n_out,),
    }
    weights = {name: torch.from_numpy(random.normal(size=shape)).requires_grad_() for name, shape in shapes.items()}
    if config.get("learn_tau_m"):
        weights["tau_logit"] = torch.from_numpy(random.normal(size=d_m)).requires_grad_()
        tau = [low + (high - low) / (1 + torch.exp(-weights["tau_logit"][i])) for i in range(d_m)]
    else:
        tau = [torch.tensor(value, dtype=torch.float64) for value in np.geomspace(low, high, d_m)]
    x = torch.from_numpy(random.normal(size=(2, 7, n_in)))
    target = torch.from_numpy(random.normal(size=(2, 7, n_out)))
    keep = [torch.exp(-dt / value) for value in tau]
    if config["lambda_as_ratio"]:
        taken = [1 - torch.exp(-config["lambda_"] * dt / value) for value in tau]
    else:
        taken = [config["lambda_"] * (1 - kappa) for kappa in keep]
    outputs, memories = [], []
    for row in range(2):
        traces, memory = [torch.zeros((), dtype=torch.float64)] * d_tree, [torch.zeros((), dtype=torch.float64)] * d_m
        for t in range(7):
            for branch in range(d_tree):
                synapses = range(branch * n_in // d_tree, (branch + 1) * n_in // d_tree)
                drive = sum(torch.clamp(weights["synapse_weight"][s], min=0) * x[row, t, s] for s in synapses)
                traces[branch] = traces[branch] * math.exp(-dt / config["tau_s"]) + drive
            kept = [k * m for k, m in zip(keep, memory, strict=True)]
            seen = torch.stack([*traces, *kept])
            hidden = [
                torch.clamp(sum(w * s for w, s in zip(row_of, seen, strict=True)) + bias, min=0)
                for row_of, bias in zip(weights["mlp.0.weight"], weights["mlp.0.bias"], strict=True)
            ]
            sums = [
                sum(w * h for w, h in zip(row_of, hidden, strict=True)) + bias
                for row_of, bias in zip(weights["mlp.1.weight"], weights["mlp.1.bias"], strict=True)
            ]
            memory = [k + share * 1.7159 * torch.tanh(2 / 3 * o) for k, share, o in zip(kept, taken, sums, strict=True)]
            memories.append(torch.stack(memory))
            outputs.append(weights["readout_weight"] @ memories[-1] + weights["readout_bias"])
    output = torch.stack(outputs).view(2, 7, n_out)
    loss = ((output - target) ** 2).mean()
    loss.backward()
    arrays = {f"config.{name}": np.asarray(value) for name, value in config.items()}
    arrays |= {name: weight.detach().numpy() for name, weight in weights.items()}
    arrays |= {f"grad.{name}": weight.grad.numpy() for name, weight in weights.items()}
    arrays |= {} if config.get("learn_tau_m") else {"tau_m": np.array([float(value) for value in tau])}
    memory_BTD = torch.stack(memories).view(2, 7, d_m).detach().numpy()
    numbers = {"x": x, "target": target, "output": output.detach(), "loss": loss.detach()}
    return arrays | {name: value.numpy() for name, value in numbers.items()} | {"memory": memory_BTD}


@pytest.mark.parametrize("learnt", [0, 1])
@pytest.mark.parametrize("as_ratio", [0, 1])
@pytest.mark.parametrize("dt", [1.0, 2.0, 0.25])
def test_neurons_of_any_time_step_agree_with_a_loop_by_hand(
    dt: float, as_ratio: int, learnt: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = {
        "n_in": 6, "n_out": 2, "d_m": 3, "d_mlp": 4, "l_mlp": 1, "d_tree": 3, "lambda_": 5.0, "tau_s": 5.0,
        "tau_m_min": 1.0, "tau_m_max": 40.0, "dt": dt, "lambda_as_ratio": as_ratio, "per_branch_trace": 1,
    }  # fmt: skip
    np.savez(
        tmp_path / "by_hand.npz", allow_pickle=False, **neuron_by_hand(config | ({"learn_tau_m": 1} if learnt else {}))
    )
    assert main([str(tmp_path / "by_hand.npz")]) == 0, capsys.readouterr().out
    assert ("grad.tau_logit" in capsys.readouterr().out) == bool(learnt)


@pytest.mark.usefixtures("native_kernel")
def test_command_prints_every_array_and_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(path) for path in NETWORKS + NEURONS]) == 0
    printed = capsys.readouterr().out
    assert "grad.hidden.synapse_weight" in printed
    assert printed.count("agrees") == 2 * 3 + 3 * 2


@pytest.mark.parametrize("name", ["logits", "grad.hidden.mlp.0.weight", "final.readout.memory", "hidden.bias"])
def test_command_fails_above_the_tolerance(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = load_golden(NETWORKS[0])
    arrays[name] = arrays[name] + 1e-9
    np.savez(tmp_path / "changed.npz", allow_pickle=False, **arrays)
    assert main([str(tmp_path / "changed.npz")]) == 1
    assert "DIFFERS" in capsys.readouterr().out


def test_command_names_files_it_cannot_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.npz").write_text("no archive")
    np.savez(tmp_path / "other.npz", allow_pickle=False, x=np.zeros(2))
    arrays = load_golden(NETWORKS[0])
    del arrays["logits"]
    np.savez(tmp_path / "part.npz", allow_pickle=False, **arrays)
    np.savez(tmp_path / "size.npz", allow_pickle=False, **{**load_golden(NETWORKS[0]), "config.d_m": np.int64(0)})
    np.savez(tmp_path / "more.npz", allow_pickle=False, **{**load_golden(NETWORKS[0]), "config.more": np.int64(0)})
    np.savez(tmp_path / "step.npz", allow_pickle=False, **{**load_golden(NEURONS[0]), "config.dt": np.float64(0.0)})
    names = ["missing.npz", "text.npz", "other.npz", "part.npz", "size.npz", "more.npz", "step.npz"]
    assert main([str(tmp_path / name) for name in names]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert [name for name, line in zip(names, errors, strict=True) if name in line] == names
    assert "lacks the array logits" in errors[3]
