"""What a launch records of architectures that are counted from their module says the same when it is read."""

import pytest

from sweeper.plan.expand import described, expand
from sweeper.plan.grid import parse_grid


@pytest.mark.parametrize("sizes", ["budgets: [900, 2000]\nmodel: {", "model: {n_rec: [4, 5], "])
def test_a_setting_that_came_later_is_recorded_at_its_default_and_beside_it(tmp_path, sizes):
    text = f"task: {{name: text, alphabet: letters}}\narchitecture: min_gru\n{sizes}dropout_in: [0.0, 0.1]}}\n"
    grid = described(parse_grid(text, folder=tmp_path))
    stored = expand(parse_grid(grid.text))
    assert "recorded" in grid.text
    assert [row.spec for row in stored.rows] == [row.spec for row in expand(grid).rows]
    assert len(stored.trials) == 4
