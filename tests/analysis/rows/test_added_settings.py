"""Rows of trials that were stored before a setting existed stand beside those that have it."""

import pandas as pd

from analysis.rows.load import distinct_specs
from sweeper.plan.expand import expand
from sweeper.plan.grid import parse_grid

GRID = "task: shd\nmodel: {n_rec: 8, d_m: 2, d_tree: 2, d_branch: 2, dt: [1, 2]}\n"


def test_a_setting_that_is_left_out_at_its_default_is_read_as_its_default():
    old, new = (row.spec for row in expand(parse_grid(GRID)).rows)
    assert "dt" not in old.content["model"]
    assert new.content["model"]["dt"] == 2.0
    assert old.trial_id == expand(parse_grid(GRID.replace(", dt: [1, 2]", ""))).rows[0].trial_id
    table, codes = distinct_specs(pd.Series([new.canonical, old.canonical, new.canonical]))
    assert table["model.dt"].tolist() == [2.0, 1.0]
    assert codes.tolist() == [0, 1, 0]
