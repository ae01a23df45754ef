"""Grid files: what is understood, and that everything else is refused with the key's path and the valid names."""

import re

import pytest

from sweeper.errors import GridError
from sweeper.plan.expand import expand
from sweeper.plan.grid import load_grid, parse_grid

BASE = """
task: {name: text, alphabet: letters}
budgets: [8000]
model: {d_m: [2, 4], d_tree: 4, d_branch: 4}
"""


def test_a_grid_is_read_with_its_types():
    grid = parse_grid(BASE + "seeds: 3\ntraining: {learning_rate: 1e-3, steps: 1e3}\nname: first\n")
    (block,) = grid.blocks
    assert grid.name == "first"
    assert (block.task, block.task_options) == ("text", {"alphabet": "letters"})
    assert block.budgets == (8000,)
    assert block.model["d_m"] == (2, 4)
    assert block.seeds == (0, 1, 2)
    assert block.training == {"learning_rate": (0.001,), "steps": (1000,)}  # YAML reads 1e-3 and 1e3 as text


def test_ranges_are_log_spaced_whole_numbers_where_the_setting_is():
    grid = parse_grid("task: text\nmodel: {n_rec: 8, d_m: {from: 2, to: 32, count: 5}, d_tree: 2, d_branch: 2}\n")
    assert grid.blocks[0].model["d_m"] == (2, 4, 8, 16, 32)


def test_values_are_listed_once_but_settings_that_advance_together_keep_every_place():
    alone = parse_grid("task: text\nmodel: {n_rec: 8, d_m: [2, 2, 4], d_tree: 2, d_branch: 2}\n")
    assert alone.blocks[0].model["d_m"] == (2, 4)
    text = "task: text\nmodel: {n_rec: 8, d_m: [2, 2, 4], d_tree: [2, 3, 3], d_branch: 2}\nzip: [[d_m, d_tree]]\n"
    rows = expand(parse_grid(text)).rows
    assert [(row.spec.model.d_m, row.spec.model.d_tree) for row in rows] == [(2, 2), (2, 3), (4, 3)]


def test_blocks_extend_the_shared_settings():
    grid = parse_grid(BASE + "blocks:\n  - {}\n  - {model: {d_m: 8}, budgets: [100000], seeds: [7]}\n")
    first, second = grid.blocks
    assert first.model["d_m"] == (2, 4)
    assert (second.model["d_m"], second.model["d_tree"], second.budgets, second.seeds) == ((8,), (4,), (100000,), (7,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a mapping of settings with at least `task`, got NoneType"),
        ("task: [", "not valid YAML"),
        ("task: text\ntask: text\n", "key 'task' is given twice"),
        ("taks: text\n", "taks: 'taks' is not known; did you mean 'task'? Valid: architecture, blocks, budgets"),
        ("budgets: [8000]\n", "task: expected a task name"),
        (
            BASE + "training: {learning_rat: 1}\n",
            "training.learning_rat: 'learning_rat' is not known; did you",
        ),
        (BASE.replace("d_m", "hidden_size"), "model.hidden_size: 'hidden_size' is not known"),
        (BASE.replace("[8000]", "[-5]"), "budgets[0]: -5 is not allowed; a parameter budget P: 1 to 10,000,000,000 ("),
        (BASE.replace("[8000]", "many"), "budgets[0]: expected a whole number, got 'many'"),
        (BASE.replace("[8000]", "[.nan]"), "budgets[0]: expected a whole number, got nan"),
        (BASE.replace("[8000]", "[true]"), "budgets[0]: expected a whole number, got True"),
        (BASE.replace("[2, 4]", "[2, two]"), "model.d_m: expected int, got 'two'"),
        (BASE.replace("[2, 4]", "[]"), "model.d_m: an empty list leaves nothing to run"),
        (
            BASE.replace("[2, 4]", "{from: 4, to: 2, count: 3}"),
            "model.d_m: a range needs 0 < from < to, got",
        ),
        (BASE.replace("[2, 4]", "{start: 4}"), "model.d_m.start: 'start' is not known"),
        (BASE + "training: {optimizer: sgd}\n", "training.optimizer: 'sgd' is not known. Valid: adam, adamax"),
        (
            BASE + "training: {learning_rate: -1}\n",
            "training.learning_rate: -1.0 is not allowed; a learning rate: 0 to 100 (",
        ),
        (BASE + "training: {steps: 0}\n", "training.steps: 0 is not allowed"),
        (BASE + "seeds: -1\n", "seeds: -1 is not allowed; replicates: 1 to 10,000 ("),
        (
            BASE + "architecture: transformer\n",
            "architecture: 'transformer' is no architecture. Valid: elm,",
        ),
        (BASE + "limits: {n_rec: 8}\n", "limits.n_rec: expected [lowest, highest]"),
        (BASE + "zip: [[d_m, steps]]\n", "zip[0]: 'steps' is not known"),
        (BASE + "training: {steps: [1, 2, 3]}\nzip: [[d_m, steps]]\n", "equally many values"),
        (BASE + "blocks: []\n", "blocks: expected a list with at least one block"),
        (BASE + "blocks: [{seed: 1}]\n", "blocks[0].seed: 'seed' is not known; did you mean 'seeds'?"),
        (BASE + "name: ../up\n", "name: '../up' cannot be a file name"),
    ],
)
def test_bad_grids_name_the_place(text, message):
    with pytest.raises(GridError) as caught:
        expand(parse_grid(text))
    assert message in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(GridError, match="nowhere.yaml: no such grid file"):
        load_grid(tmp_path / "nowhere.yaml")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(GridError, match="binary.yaml: cannot be read"):
        load_grid(tmp_path / "binary.yaml")


def test_yaml_cannot_run_code():
    with pytest.raises(GridError, match=r"task: the tag '.*python/object/apply:os.system' \(line 1\) is not allowed"):
        parse_grid("task: !!python/object/apply:os.system ['true']\n")


def test_values_that_advance_together_may_repeat():
    text = BASE + "training: {learning_rate: [0.01, 0.03, 0.01]}\nzip: [[d_m, learning_rate]]\n"
    block = parse_grid(text.replace("[2, 4]", "[2, 2, 4]")).blocks[0]
    assert (block.model["d_m"], block.training["learning_rate"]) == ((2, 2, 4), (0.01, 0.03, 0.01))
    points = [
        (r.spec.model.d_m, r.spec.training.learning_rate)
        for r in expand(parse_grid(text.replace("[2, 4]", "[2, 2, 4]"))).rows
    ]
    assert points == [(2, 0.01), (2, 0.03), (4, 0.01)]


def test_a_learning_rate_rule_follows_the_sizes():
    rule = "{rule: {scale: 0.2, n_rec: -0.5, d_m: -0.25, high: 0.03}}"
    plan = expand(parse_grid(BASE + f"training: {{learning_rate: {rule}}}\n"))
    for row in plan.rows:
        model = row.spec.model
        expected = min(0.03, 0.2 * model.n_rec**-0.5 * model.d_m**-0.25)
        assert row.spec.training.learning_rate == pytest.approx(expected, rel=1e-3)
        assert row.axes["learning_rate"] == row.spec.training.learning_rate
    assert len({row.spec.training.learning_rate for row in plan.rows}) == 2


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("{rule: {n_rec: 1}}", "training.learning_rate.rule.scale: missing; `analysis learning-rate DIR` prints"),
        ("{rule: {scale: 1, nrec: 1}}", "learning_rate.rule.nrec: 'nrec' is not known; did you mean 'n_rec'"),
        ("{rule: {scale: much}}", "training.learning_rate.rule.scale: expected a number, got 'much'"),
        ("{rule: {scale: 1, low: 2, high: 1}}", "needs scale > 0 and 0 <= low <= high"),
        ("{rule: 3}", "expected one mapping {rule: {scale:"),
    ],
)
def test_bad_rules_are_refused(rule, message):
    with pytest.raises(GridError, match=re.escape(message)):
        parse_grid(BASE + f"training: {{learning_rate: {rule}}}\n")


def test_a_range_may_be_written_as_people_write_small_numbers():
    text = BASE + "training: {learning_rate: {from: 1e-4, to: 1e-2, count: 3}}\n"
    assert parse_grid(text).blocks[0].training["learning_rate"] == pytest.approx((1e-4, 1e-3, 1e-2))
    for bad in ("true", ".inf", "few", "null"):
        with pytest.raises(GridError, match="training.learning_rate.from: (a range needs|expected) "):
            parse_grid(text.replace("1e-4", bad))


def test_whether_weights_are_kept_is_one_value_since_trials_do_not_differ_by_it():
    text = "task: text\nmodel: {n_rec: 4, d_m: 2, d_tree: 2, d_branch: 2}\ntraining: {save: [none, final]}"
    with pytest.raises(GridError, match="training.save: give one value"):
        parse_grid(text)
    with pytest.raises(GridError, match="training.save.*finl.*final"):
        expand(parse_grid(text.replace("[none, final]", "finl")))


def test_a_grid_file_that_is_nearly_named_is_offered(tmp_path):
    (tmp_path / "first.yaml").write_text("task: text\n")
    with pytest.raises(GridError, match=r"first\.yml: no such grid file; did you mean '.*first\.yaml'\?"):
        load_grid(tmp_path / "first.yml")
