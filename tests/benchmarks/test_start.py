"""What commands import: the benchmark sees it, and a first launch waits for nothing that it does not need."""

import os
import re
import subprocess
import sys

from benchmarks.start import _GRID, _LAUNCH, COMMANDS, measured
from sweeper.cli import cli


def test_every_command_is_measured():
    # What remains talks to clusters that are not there.
    assert set(cli.commands) - {command[1] for command in COMMANDS} == {"stop"}


def test_a_launch_loads_nothing_that_it_does_not_need(tmp_path):
    """Its lanes load torch, but neither torch's compiler nor what other commands need."""
    (tmp_path / "tiny.yaml").write_text(re.sub("budgets: .*", "budgets: [3000]", _GRID))
    run = measured((*_LAUNCH, "r", "--executor", "processes"), tmp_path)
    assert run.start, "the launch told of its start"
    assert {"numpy", "pyarrow", "torch"} <= set(run.heavy)
    assert {"scipy", "plotly", "torch._dynamo", "ray", "optuna"}.isdisjoint(run.heavy)
    assert run.imports_s > 0


def test_what_a_first_launch_plans_with_does_without_pandas(tmp_path):
    (tmp_path / "tiny.yaml").write_text(_GRID)
    looks = """
import sys
from sweeper.plan.expand import expand
from sweeper.plan.grid import load_grid
from sweeper.status import store_cost_model, sweep_status
from sweeper.store.store import ResultsStore

plan, store = expand(load_grid("tiny.yaml")), ResultsStore.create("r")
assert set(sweep_status(plan, store).states.values()) == {"new"}
store_cost_model(store), store.attempts_made(), store.compact()
print([name for name in ("pandas", "scipy", "torch", "ray") if name in sys.modules])
"""
    path = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", looks],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "[]\n", done.stdout + done.stderr
