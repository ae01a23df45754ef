from pathlib import Path

import numpy as np
import pytest

from model.golden import check_file, load_golden, main

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


@pytest.mark.parametrize("path", NEURONS, ids=lambda path: path.stem)
def test_single_neurons_agree_with_the_published_formulation(path: Path) -> None:
    differences = check_file(path)["reference"]
    grads = {name for name in load_golden(path) if name.startswith("grad.")}
    assert set(differences) == grads | {"output", "memory", "loss"}
    assert max(differences.values()) <= 1e-10


@pytest.mark.usefixtures("native_kernel")
def test_command_prints_every_array_and_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(path) for path in NETWORKS + NEURONS]) == 0
    printed = capsys.readouterr().out
    assert "grad.hidden.synapse_weight" in printed
    assert printed.count("agrees") == 2 * 3 + 3


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
    np.savez(tmp_path / "step.npz", allow_pickle=False, **{**load_golden(NEURONS[0]), "config.dt": np.float64(0.5)})
    names = ["missing.npz", "text.npz", "other.npz", "part.npz", "size.npz", "more.npz", "step.npz"]
    assert main([str(tmp_path / name) for name in names]) == 1
    errors = capsys.readouterr().err.splitlines()
    assert [name for name, line in zip(names, errors, strict=True) if name in line] == names
    assert "lacks the array logits" in errors[3]
