"""A task and a cell in a person's own files, run on nodes that have neither them nor anything of ours."""

import subprocess
import sys

from cluster.attach import connect
from sweeper.store.store import ResultsStore
from tests.cluster.ray_nodes import RayNodes
from tests.model.cells.test_interface import MINE
from tests.sweeper.launch.test_own_task import TASK

GRID = """
task: "mine.py:Recall"
budgets: [400]
training: {steps: 20, batch_size: 4, length: 12, warmup_steps: 1, learning_rate: 0.01, eval_every: 10,
           eval_batch_size: 4, reg_activity: 0.0}
blocks:
  - {architecture: "cell.py:Mine", model: {width: 2}}
  - {architecture: lru}
"""


def test_both_give_the_rows_that_they_give_here(tmp_path):
    for name, text in {"mine.py": TASK, "cell.py": MINE, "grid.yaml": GRID}.items():
        (tmp_path / name).write_text(text)
    connect.use_token()
    nodes = RayNodes(head_cpus=1)
    try:
        nodes.add(1)
        ways = {"far": ["--cluster", nodes.address], "near": ["--executor", "processes", "--lanes", "1"]}
        for folder, way in ways.items():
            command = [sys.executable, "-m", "sweeper", "launch", "grid.yaml", "-r", str(tmp_path / folder), *way]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
    finally:
        nodes.close()
    far, near = (
        {
            row["trial_id"]: row["final_test_loss"]
            for row in ResultsStore.open(tmp_path / folder).read("trials").to_pylist()
        }
        for folder in ways
    )
    assert far == near
    assert len(far) == 2
