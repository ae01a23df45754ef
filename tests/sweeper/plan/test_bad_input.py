"""Grids that would hang, fill the memory or fail late: each is refused in one line, before anything is expanded."""

from contextlib import suppress
from dataclasses import fields
from pathlib import Path

import pytest

from cluster.limits import LIMITS
from model.config import ElmConfig
from sweeper.errors import FOR_PEOPLE, GridError
from sweeper.plan.expand import expand
from sweeper.plan.grid import load_grid, parse_grid
from sweeper.plan.trial import TrainingConfig
from tasks.errors import DataError
from tasks.spec import task_names, task_options

GRID = """
task: {name: text, alphabet: letters}
budgets: [8000]
model: {d_m: [2, 4], d_tree: 4, d_branch: 4}
"""
SEARCH = GRID.replace("[2, 4]", "{from: 1, to: 8}")
_PAIRS = zip("abcdefgh", "bcdefghi", strict=True)
BOMB = "a: &a [1]\n" + "".join(f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in _PAIRS)

REFUSED = {
    # How a file is built
    "an alias that stands for a billion values": (BOMB, "f: values: 211111 is not allowed"),
    "an alias of itself": (GRID + "zip: &z [*z, *z]", "levels: 21 is not allowed; levels of nesting of a YAML file"),
    "deep nesting": (GRID + "zip: " + "[" * 30 + "]" * 30, "levels: 21 is not allowed"),
    "very deep nesting": (GRID + "zip: " + "[" * 50_000 + "]" * 50_000, "levels"),
    "a long comment": (GRID + "# " + "x" * 20_000_000, "the file's length: 20000102 is not allowed; bytes of a YAML"),
    "a long value": (GRID + "name: " + "x" * 5_000, "name: the length: 5000 is not allowed; characters of one value"),
    "a key that is null": (GRID + "null: 3", "the key 'null' (line 5) is no text to YAML; put it into quotes"),
    "a key that is a number": (GRID.replace("d_m", "4"), "model: the key '4' (line 4) is no text to YAML"),
    "a merge key": ("a: &a {seeds: 2}\nblocks: [{<<: *a}]", "blocks[0]: merge keys (`<<`, line 2) are not read"),
    "a tag that does not fit": (GRID + "seeds: !!int many", "seeds: the tag 'tag:yaml.org,2002:int' (line 5)"),
    "a set": (GRID + "seeds: !!set {1, 2}", "seeds: the tag 'tag:yaml.org,2002:set' (line 5) is not allowed here"),
    "a truth value for a name": (GRID + "name: true", "name: expected a text, got True; put it into quotes"),
    "a number for a name": (GRID + "name: 1e3", "name: expected a text, got 1000.0; put it into quotes"),
    "half a character": (GRID + "name: \ud800", "not valid YAML"),
    # Numbers
    "5,000 digits": (GRID + "seeds: " + "9" * 5_000, "seeds: the length: 5000 is not allowed"),
    "400 digits": (GRID + "seeds: " + "9" * 400, "seeds: 99999999999999999999... has 400 digits"),
    "400 digits as a text": (GRID + f"seeds: '{'9' * 400}'", "seeds: a whole number of about 400 digits is not"),
    "3,000 hexadecimal digits": (GRID + "seeds: 0x" + "f" * 3_000, "seeds: 0xffffffffffffffffff... has 3002 digits"),
    "an infinite rate": (GRID + "training: {learning_rate: .inf}", "training.learning_rate: expected float, got inf"),
    "a rate of 10^400": (GRID + "training: {learning_rate: 1e400}", "training.learning_rate: expected float, got "),
    "a huge timescale": (
        SEARCH.replace("d_tree", "tau_m_max: 1e200, d_tree"),
        "model.tau_m_max: 1e+200 is not allowed",
    ),
    "a rate far too large": (GRID + "training: {learning_rate: 1e9}", "training.learning_rate: 1000000000.0 is not"),
    # How many
    "too many replicates": (GRID + "seeds: 1000000000", "seeds: 1000000000 is not allowed; replicates: 1 to 10,000 ("),
    "too many seeds": (GRID + f"seeds: [{', '.join(map(str, range(10_001)))}]", "seeds: their number: 10001 is not"),
    "too many values": (
        GRID.replace("[2, 4]", "{from: 1, to: 2, count: 2000000000}"),
        "model.d_m.count: 2000000000 is not allowed; values of a range: 2 to 1,000",
    ),
    "a range of one value": (GRID.replace("[2, 4]", "{from: 1, to: 2, count: 1}"), "model.d_m.count: 1 is not allowed"),
    "half a value": (GRID.replace("[2, 4]", "{from: 1, to: 2, count: 2.5}"), "model.d_m.count: expected a whole"),
    "too many points": (
        GRID.replace("[2, 4]", "{from: 1, to: 2000, count: 900, spacing: linear}") + "seeds: 1000",
        "the grid: points: 900000 is not allowed; points of a grid, replicates included: 1 to 200,000",
    ),
    "too many points of all blocks": (
        GRID.replace("[2, 4]", "{from: 1, to: 2000, count: 600, spacing: linear}") + "seeds: 200\nblocks: [{}, {}]",
        "the points of all blocks: 240000 is not allowed",
    ),
    "too many trials of a search": (SEARCH + "search: {kind: random, trials: 1e9}", "search.trials: 1000000000 is not"),
    "too large a batch of a search": (SEARCH + "search: {kind: random, batch: 1e6}", "search.batch: 1000000 is not"),
    # How large
    "25 digits of a seed": (GRID + f"seeds: [{'1234567890' * 2}12345]", "seeds[0]: 1234567890123456789012345 is not"),
    "a seed beyond 2^53": (GRID + "seeds: [9007199254740993]", "seeds[0]: 9007199254740993 is not allowed"),
    "a seed beyond 2^53 as a text": (GRID + "seeds: ['9007199254740993']", "seeds[0]: 9007199254740993 is not allowed"),
    "a huge budget": (GRID.replace("8000", "1e30"), "budgets[0]: 1000000000000000019884624838656 is not allowed"),
    "a huge batch": (GRID + "training: {batch_size: 1e9}", "training.batch_size: 1000000000 is not allowed"),
    "a huge evaluation batch": (GRID + "training: {eval_batch_size: 1e9}", "training.eval_batch_size: 1000000000 is"),
    "a batch that is huge with its length": (
        GRID + "training: {batch_size: 1e5, length: 1e5}",
        "training: batch_size x length: 10000000000 is not allowed; batch_size x length: 1 to 100,000,000",
    ),
    "no steps": (
        GRID + "training: {steps: 0}",
        "training.steps: 0 is not allowed; optimiser steps: 1 to 1,000,000,000",
    ),
    "too many steps": (GRID + "training: {steps: 1e12}", "training.steps: 1000000000000 is not allowed"),
    "too long a fall of the resets": (GRID + "training: {reset_steps: 1e12}", "training.reset_steps: 1000000000000 is"),
    "a huge branch": (GRID.replace("d_branch: 4", "d_branch: 1e9"), "model.d_branch: 1000000000 is not allowed"),
    "too many layers": (GRID.replace("d_tree", "l_mlp: 1000000000, d_tree"), "model.l_mlp: 1000000000 is not allowed"),
    "a huge connectivity": (GRID.replace("d_branch: 4", "k_c: 1e15"), "model.k_c: 1000000000000000 is not allowed"),
    "a steep rule": (
        GRID + "training: {learning_rate: {rule: {scale: 1, n_rec: 1e29}}}",
        "training.learning_rate.rule.n_rec: 1e+29 is not allowed; an exponent of a learning-rate rule: -10 to 10",
    ),
    "a rule that gives a huge rate": (
        GRID + "training: {learning_rate: {rule: {scale: 1000, n_rec: 2}}}",
        "training.learning_rate: ",
    ),
    "a huge option of the task": (
        GRID.replace("name: text, alphabet: letters", "name: listops, test_examples: 1000000000000"),
        "task.test_examples: 1000000000000 is not valid; give a whole number from 1 to 10000000",
    ),
    # What contradicts itself
    "limits upside down": (GRID + "limits: {n_rec: [10, 1]}", "limits.n_rec: [10, 1] leaves nothing to run"),
    "limits that are no numbers": (GRID + "limits: {n_rec: [.nan, true]}", "limits.n_rec[0]: expected a number, got"),
    "no budget": (GRID.replace("[8000]", "[]"), "budgets: an empty list leaves nothing to run; give null, or leave"),
    "a warm-up longer than training": (
        GRID + "training: {steps: 120, warmup_steps: 200}",
        "training.warmup_steps: 200 is longer than training, which has 120 steps",
    ),
    # What only a launch noticed
    "a target that nobody knows": (
        SEARCH + "search: {kind: theory, target: optimun at P=1e6}",
        "search.target: 'optimun' is not known; did you mean 'optimum'?",
    ),
    "a target at no budget": (
        SEARCH + "search: {kind: theory, target: optimum at P=0}",
        "search.target: 'optimum at P=0': 0.0 is not allowed; a parameter budget P: 1 to 10,000,000,000",
    ),
    "a target at an endless budget": (SEARCH + "search: {kind: theory, target: optimum at P=1e999}", ": inf is not"),
    "no target": (SEARCH + "search: {kind: theory, target: []}", "search.target: an empty list leaves nothing"),
    "a target that is a number": (SEARCH + "search: {kind: theory, target: [{a: 1}]}", "search.target: expected one"),
    "a rule that nobody knows": (SEARCH + "search: {kind: random, until: tomorrow}", "search.until: 'tomorrow' is not"),
    "a rule of endless hours": (SEARCH + "search: {kind: random, until: hours >= 1e999}", "'hours >= 1e999': inf is"),
    "no number of trials": (SEARCH + "search: {kind: random, trials: null}", "search.trials: expected a whole number"),
    "a long name": (GRID + f"name: {'n' * 300}", "its length: 300 is not allowed; characters of a sweep's name: 1 to"),
    "a long name of few characters": (GRID + f"name: {'ä' * 90}", "its length: 180 is not allowed"),
    "a name with an escape sequence": (GRID + 'name: "a\\e[31m"', "name: expected one line of printable text, got"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_grid_that_cannot_be_meant_is_refused_with_place_value_and_limit(case):
    text, message = REFUSED[case]
    with pytest.raises(GridError) as caught:
        # With a folder, as a grid's file is read: without one it is a stored grid, whose training has no recipe.
        expand(parse_grid(text, folder="."))
    assert message in str(caught.value)
    assert len(str(caught.value)) < 1_000


ODD = ["0", "-1", "0.5", "1e-30", "1e30", "1" + 21 * "0", ".inf", ".nan", "x", "null", "true", "[]", "{}", "[0]"]
"""Values that a slip of the keyboard makes."""
SETTINGS = [("training", field.name) for field in fields(TrainingConfig)]
SETTINGS += [("model", field.name) for field in fields(ElmConfig)]


@pytest.mark.parametrize(("section", "name"), SETTINGS)
def test_no_value_of_a_setting_is_a_fault_of_the_program(section, name):
    for value in ODD:
        added = f"{name}: {value}, d_tree" if section == "model" else "d_tree"
        text = GRID.replace("d_tree", added) + (f"training: {{{name}: {value}}}" if section == "training" else "")
        with suppress(*FOR_PEOPLE):
            expand(parse_grid(text, folder="."))


def test_a_file_is_read_no_further_than_a_grid_can_be_long():
    with pytest.raises(GridError, match="/dev/zero: the file is too long; bytes of a YAML file: 0 to 1,048,576"):
        load_grid("/dev/zero")


def test_a_corpus_of_three_bytes_is_refused_before_it_is_trained_on(tmp_path):
    (tmp_path / "short.txt").write_text("abc")
    text = GRID.replace("alphabet: letters", f"data: {tmp_path / 'short.txt'}, alphabet: letters")
    with pytest.raises(DataError, match=r"task.data: .*short.txt is too short"):
        expand(parse_grid(text))


@pytest.mark.parametrize("task", task_names())
def test_every_number_that_a_task_takes_has_a_largest_value(task):
    numbers = [option for option in task_options(task) if type(option.default) in (int, float) and not option.choices]
    assert [option.name for option in numbers if option.minimum is None or option.maximum is None] == []


def test_limits_are_wide_enough_for_what_people_run():
    """The largest ordinary numbers of the shipped grids and of published sweeps."""
    text = GRID.replace("8000", "1e8") + "seeds: 100\ntraining: {steps: 1e7, batch_size: 4096, length: 4096}"
    assert expand(parse_grid(text)).trials
    assert not expand(parse_grid(GRID.replace("[8000]", "null").replace("d_m:", "n_rec: 3, d_m:"))).rows[0].budget


def test_the_readme_shows_the_table_of_limits():
    readme = Path(__file__).resolve().parents[3] / "sweeper" / "README.md"
    lines = readme.read_text(encoding="utf-8").splitlines()
    assert [line for line in table() if line not in lines] == []


def table() -> list[str]:
    """The limits as lines of Markdown; to print them: `python -c "import ...; print(*table(), sep='\\n')"`."""

    def number(value: float) -> str:
        return f"{value:,}" if isinstance(value, int) else f"{value:g}"

    return [
        f"| {limit.quantity} | {number(limit.least)} to {number(limit.most)} | {limit.reason} |"
        for limit in LIMITS.values()
    ]
