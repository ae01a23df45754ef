"""Made-up sweeps that the tests share: written once, never changed."""

import shutil
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from analysis.laws.theory_fit import FitSettings, fit_dataset
from analysis.laws.view import make_view
from analysis.rows.load import datasets, read_sweep
from analysis.rows.sweep import Selection
from benchmarks.synthetic import Design, write_sweep
from sweeper.store.schema import TrialRecord

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(scope="session")
def sweep_dir(tmp_path_factory):
    """3 budgets x 8 d_m x 2 seeds with a few failures: 48 trials."""
    path = tmp_path_factory.mktemp("sweep") / "made-up"
    write_sweep(path, Design(failed=0.02, diverged=0.02))
    return path


@pytest.fixture(scope="session")
def sweep(sweep_dir):
    return read_sweep(sweep_dir)


@pytest.fixture(scope="session")
def data(sweep):
    (only,) = datasets(sweep, Selection())
    return only


@pytest.fixture(scope="session")
def law(data):
    return fit_dataset(data, FitSettings(law="effective_information:floor=additive"))


@pytest.fixture(scope="session")
def view(sweep, law):
    return make_view(sweep, law)


@pytest.fixture
def own_dir(sweep_dir, tmp_path):
    """A copy of the made-up sweep that a test may change."""
    shutil.copytree(sweep_dir, tmp_path / "own")
    return tmp_path / "own"


@pytest.fixture(scope="session")
def trial():
    """A builder of stored rows: finished ELM trials with the sizes and metric of the test's choice."""

    def build(trial_id: str, **changes) -> TrialRecord:
        d_m, n_rec, seed = changes.get("d_m", 5), changes.get("n_rec", 50), changes.get("seed", 0)
        k_e = 4.0 * d_m**2 + 44 * d_m + 1
        nothing = dict.fromkeys(TrialRecord.__dataclass_fields__)
        values = nothing | {
            "trial_id": trial_id, "hash_scheme": 1, "attempt": 1, "sweep": "s", "status": "finished", "task": "text",
            "metric": "bpc", "direction": "min", "architecture": "elm", "budget": 30_000, "n_in": 30, "n_out": 30,
            "n_rec": n_rec, "d_m": d_m, "d_mlp": 2 * d_m, "l_mlp": 1, "d_tree": 20, "d_branch": 5, "seed": seed,
            "learning_rate": 5e-4, "batch_size": 8, "length": 100, "steps": 100, "spec": "{}", "k_e": k_e, "k_c": 100.0,
            "trainable_params": int(n_rec * (k_e + 100)) + 6210, "recurrent_params": int(n_rec * (k_e + 100)),
            "readout_params": 6210, "total_params": 99_999, "steps_done": 100, "tokens": 80_000, "wall_s": 1.5,
            "started_at": NOW, "ended_at": NOW, "host": "h", "lane": "l", "code_version": "v",
            "final_valid_metric": 2.0, "final_test_metric": 2.0,
        }  # fmt: skip
        return replace(TrialRecord(**values), **changes)

    return build
