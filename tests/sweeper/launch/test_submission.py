"""What is refused of a grid before it is submitted as a job."""

import pytest

from sweeper.errors import GridError
from sweeper.launch.submission import check_data_paths
from sweeper.plan.grid import parse_grid

GRID = """
blocks:
  - task: {name: text, alphabet: letters, data: gcide}
  - task: {name: shd, data: %s}
budgets: [4000]
model: {d_m: [1], d_tree: 4, d_branch: 4}
"""


def test_data_that_a_job_would_look_for_in_its_own_folder_are_refused():
    with pytest.raises(GridError, match=r"blocks\[1\]\.task\.data: 'mine/' is a relative path, .* absolute path"):
        check_data_paths(parse_grid(GRID % "mine/"))
    for found in ("/data/mine", "real", "embedded", "generated"):
        check_data_paths(parse_grid(GRID % found))
