"""Task options with several values: what they expand to, what advances with them, and how a plan shows them."""

import re

import pytest

from sweeper.errors import GridError
from sweeper.plan.cost import CostModel
from sweeper.plan.expand import INFEASIBLE, described, expand
from sweeper.plan.grid import load_grid, parse_grid
from sweeper.search.grid_space import GridSpace
from sweeper.tables import plan_json, print_plan

SHD = """
task: {name: shd, bin_ms: BINS, validation: random}
model: {n_rec: 8, d_m: 2, d_tree: 2, d_branch: 2}
seeds: 2
"""
MY_TASK = '''
from tasks.base import TaskDefinition, TaskSpec
from tasks.options import Option


class Echo(TaskDefinition):
    """Counts to a length."""

    options = (
        Option(name="length", default=3, help="steps"),
        Option(name="channels", default="a", many=True, help="one value, of several texts"),
    )

    def spec(self, options, place):
        return TaskSpec(
            name="echo", data_name="echo", n_in=2, n_out=2, length=options["length"], loss="cross_entropy",
            loss_on="last_step", metric="accuracy", direction="max", chance=0.5, baseline=0.5, input_kind="real",
        )

    def load(self, spec, options, place):
        raise NotImplementedError
'''


def ids(text):
    return [row.trial_id for row in expand(parse_grid(text)).rows]


def test_a_list_of_widths_asks_for_the_trials_of_each_width_alone():
    together = ids(SHD.replace("BINS", "[10, 6, 10]"))
    assert together == ids(SHD.replace("BINS", "10")) + ids(SHD.replace("BINS", "6"))
    blocks = "blocks:\n- task: {bin_ms: 10}\n- task: {bin_ms: [6]}\n"
    assert together == ids(SHD.replace("bin_ms: BINS, ", "") + blocks)


def test_lists_of_several_options_form_a_product():
    text = SHD.replace("BINS", "[10, 20]").replace("random", "[random, speakers]")
    options = [row.spec.task_options for row in expand(parse_grid(text)).rows if row.seed == 0]
    pairs = [(given["bin_ms"], given["validation"]) for given in options]
    assert pairs == [(10, "random"), (10, "speakers"), (20, "random"), (20, "speakers")]


def test_options_advance_together_with_settings_of_the_model_and_of_training():
    text = SHD.replace("BINS", "[10, 20, 50]").replace("d_m: 2", "d_m: [2, 3], tau_m_max: [100, 50, 20]")
    text += "training: {batch_size: [4, 8, 16], steps: [10, 20]}\nzip: [[tau_m_max, bin_ms, batch_size]]\n"
    specs = [row.spec for row in expand(parse_grid(text)).rows if row.seed == 0]
    together = {(s.task_options["bin_ms"], s.model.tau_m_max, s.training.batch_size) for s in specs}
    assert together == {(10, 100, 4), (20, 50, 8), (50, 20, 16)}
    # All else still forms a product.
    assert len(specs) == 3 * 2 * 2 == len({(s.task_options["bin_ms"], s.model.d_m, s.training.steps) for s in specs})


def test_groups_without_options_advance_within_each_task():
    text = SHD.replace("BINS", "[10, 20]").replace("d_m: 2, d_tree: 2", "d_m: [2, 3], d_tree: [2, 4]")
    rows = expand(parse_grid(text + "zip: [[d_m, d_tree]]\n")).rows
    found = [(r.spec.task_options["bin_ms"], r.spec.model.d_m, r.spec.model.d_tree) for r in rows if r.seed == 0]
    assert found == [(10, 2, 2), (10, 3, 4), (20, 2, 2), (20, 3, 4)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SHD.replace("BINS", "[]"), "task.bin_ms: an empty list leaves nothing to run"),
        (SHD.replace("BINS", "[10, 2.5]"), "task.bin_ms: 2.5 is not valid; give a whole number"),
        (SHD.replace("BINS", "[10, [20]]"), "task.bin_ms: [20] is not valid"),
        (SHD.replace("bin_ms: BINS", "bin_mss: [1, 2]"), "task.bin_mss: task 'shd' has no such option"),
        (
            SHD.replace("BINS", "[10, 20]") + "zip: [[bin_ms, n_rec]]\n",
            "equally many values, got {'bin_ms': 2, 'n_rec'",
        ),
        (SHD.replace("BINS", "10") + "zip: [[bin_ms, n_rec]]\n", "zip[0]: 'bin_ms' is not known"),
        (SHD.replace("BINS", str([10] * 600)).replace("random", str(["random"] * 600)), None),
        (SHD.replace("BINS", str([*range(1, 601)])).replace("random", "[random, speakers]") + "seeds: 200\n", "points"),
        ("task: {name: nothing, bin_ms: [1, 2]}\n", "task.name: 'nothing' is no task"),
        (
            SHD.replace("bin_ms: BINS, ", "") + "blocks: [{}, {task: {bin_ms: [10, 0]}}]\n",
            "blocks[1].task.bin_ms: 0 is",
        ),
    ],
)
def test_lists_that_make_no_tasks_are_refused(text, message):
    text = text.replace("seeds: 2\n", "") if "seeds: 200" in text else text
    if message is None:  # equal values are one value
        assert len(expand(parse_grid(text)).rows) == 2
        return
    with pytest.raises(GridError, match=re.escape(message)):
        expand(parse_grid(text))


def test_a_search_takes_one_task():
    grid = parse_grid(SHD.replace("BINS", "[10, 20]").replace("d_m: 2", "d_m: [2, 4]") + "search: {kind: random}\n")
    with pytest.raises(GridError, match="takes one block, and one value for each option of its task"):
        GridSpace(grid=grid).block  # noqa: B018


def test_a_list_that_is_one_value_of_its_option_varies_nothing(tmp_path):
    (tmp_path / "mine.py").write_text(MY_TASK)
    text = (
        "task: {name: 'mine.py:Echo', length: [3, 5], channels: [a, b]}\n"
        "model: {n_rec: 8, d_m: 2, d_tree: 2, d_branch: 2}\n"
    )
    (tmp_path / "grid.yaml").write_text(text)
    grid = described(load_grid(tmp_path / "grid.yaml"))
    options = [row.spec.task_options for row in expand(grid).rows]
    assert options == [{"length": 3, "channels": "a, b"}, {"length": 5, "channels": "a, b"}]
    # As rows are read elsewhere: without the file, from what the launch wrote.
    (tmp_path / "mine.py").unlink()
    assert [row.trial_id for row in expand(parse_grid(grid.text)).rows] == [r.trial_id for r in expand(grid).rows]


def printed(grid, capsys):
    print_plan(expand(grid), None, CostModel(), 1)
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "widths",
    [
        "task: {name: shd, bin_ms: [10, 20]}\n",
        "task: {name: shd}\nblocks: [{task: {bin_ms: 10}}, {task: {bin_ms: 20}}]\n",
    ],
)
def test_a_plan_shows_every_setting_that_varies_also_of_points_without_sizes(widths, capsys):
    text = "budgets: [100, 20_000]\nmodel: {d_m: 2, d_tree: 2, d_branch: 2}\nseeds: 2\n"
    lines = printed(parse_grid(text + widths), capsys).splitlines()
    head = next(line for line in lines if "P asked" in line)
    assert "bin_ms" in head
    assert "batch_size" not in head  # unknown of a point without sizes, and the same for all others
    infeasible = [line.split() for line in lines if "infeasible: budget" in line]
    assert [(cells[0], cells[2]) for cells in infeasible] == [("100", "10"), ("100", "20")]
    runnable = [line.split() for line in lines if line.strip().endswith("runnable")]
    assert [cells[4] for cells in runnable] == ["10", "20"]


def test_a_plan_shows_the_default_that_a_block_leaves_a_setting_at(capsys):
    text = "task: shd\nmodel: {n_rec: 8, d_m: 2, d_tree: 2, d_branch: 2}\nblocks: [{}, {model: {rho_rec: 0.5}}]\n"
    runnable = [line.split() for line in printed(parse_grid(text), capsys).splitlines() if "runnable" in line]
    assert [cells[3] for cells in runnable] == ["0.8", "0.5"]


def test_machines_read_the_task_of_points_without_sizes():
    text = "task: {name: shd, bin_ms: [10, 20]}\nbudgets: [100]\nmodel: {d_m: 2, d_tree: 2, d_branch: 2}\n"
    plan = expand(parse_grid(text))
    assert {row.state for row in plan.rows} == {INFEASIBLE}
    assert [row.shared["bin_ms"] for row in plan.rows] == [10, 20]
    assert '"bin_ms": 20' in plan_json(plan, None, CostModel())
