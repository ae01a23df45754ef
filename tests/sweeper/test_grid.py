"""Grid files: what is understood, and that everything else is refused with the key's path and the valid names."""

import pytest

from sweeper.errors import GridError
from sweeper.grid import load_grid, parse_grid
from sweeper.plan import expand

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
        (BASE.replace("[8000]", "[-5]"), "budgets[0]: expected a whole number of at least 1, got -5"),
        (BASE.replace("[8000]", "many"), "budgets[0]: expected a whole number of at least 1, got 'many'"),
        (BASE.replace("[8000]", "[.nan]"), "budgets[0]: expected a whole number of at least 1, got nan"),
        (BASE.replace("[8000]", "[true]"), "budgets[0]: expected a whole number of at least 1, got True"),
        (BASE.replace("[2, 4]", "[2, two]"), "model.d_m: expected int, got 'two'"),
        (BASE.replace("[2, 4]", "[]"), "model.d_m: an empty list leaves nothing to run"),
        (
            BASE.replace("[2, 4]", "{from: 4, to: 2, count: 3}"),
            "model.d_m: a range needs 2 or more values and",
        ),
        (BASE.replace("[2, 4]", "{start: 4}"), "model.d_m.start: 'start' is not known"),
        (BASE + "training: {optimizer: sgd}\n", "training.optimizer: 'sgd' is not known. Valid: adam, adamax"),
        (BASE + "training: {learning_rate: -1}\n", "training.learning_rate: must be above 0, got -1.0"),
        (BASE + "training: {steps: 0}\n", "training.steps: must be at least 1, got 0"),
        (BASE + "seeds: -1\n", "seeds: expected a whole number of at least 1, got -1"),
        (BASE + "architecture: transformer\n", "architecture: 'transformer' is not known"),
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
    with pytest.raises(GridError, match="not valid YAML"):
        parse_grid("task: !!python/object/apply:os.system ['true']\n")
