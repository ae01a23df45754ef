"""What trains where a grid does not say, and that stored grids keep what they were launched with."""

import pytest

from sweeper.errors import GridError
from sweeper.plan.advice import advice
from sweeper.plan.expand import described, expand
from sweeper.plan.grid import load_grid, parse_grid
from sweeper.plan.recipes import RECIPES, TEXT, recipe_of
from sweeper.plan.trial import TrainingConfig
from tasks.base import TaskSpec
from tasks.spec import task_names, task_spec

GRID = "task: {name: text, alphabet: letters}\nbudgets: [10000]\nmodel: {d_m: [2, 6], d_tree: 4, d_branch: 4}\n"


def trained(text, folder="."):
    return [row.spec.training for row in expand(parse_grid(text, folder=folder)).rows]


def test_a_grid_without_training_follows_the_recipe_of_its_task_and_sizes():
    two, six = trained(GRID)
    assert (two.steps, two.batch_size, two.length, two.reset_steps, two.warmup_steps) == (1000, 32, 32, 1000, 250)
    assert (two.reg_activity, two.reg_mlp, two.optimizer) == (0.0, 0.01, "adam")
    assert two.learning_rate == TEXT.rate_of(expand(parse_grid(GRID, folder=".")).rows[0].spec.model, 1000) == 0.009508
    assert six.learning_rate < 0.012


def test_fewer_steps_raise_the_rate_and_shorten_warm_up_and_resets():
    (short, _), (long, _) = trained(GRID + "training: {steps: 250}\n"), trained(GRID + "training: {steps: 1000}\n")
    assert short.learning_rate == pytest.approx(2 * long.learning_rate, rel=1e-3)
    assert (short.warmup_steps, short.reset_steps, short.eval_every) == (62, 250, 63)


def test_what_a_grid_gives_goes_before_the_recipe():
    training = trained(GRID + "training: {batch_size: 8, learning_rate: 0.001, warmup_steps: 3}\n")[0]
    assert (training.batch_size, training.learning_rate, training.warmup_steps) == (8, 0.001, 3)


def test_the_preset_paper_is_the_published_recipe_and_holds_in_blocks_too():
    expected = TrainingConfig(length=100, steps=7)
    assert trained(GRID + "training: {preset: paper, steps: 7}\n") == [expected, expected]
    mixed = trained(GRID + "training: {steps: 7}\nblocks: [{training: {preset: paper}}, {}]\n")
    assert (mixed[0], mixed[2].batch_size) == (expected, 32)
    with pytest.raises(GridError, match=r"training\.preset: 'papers' is not known; did you mean 'paper'"):
        trained(GRID + "training: {preset: papers}\n")


def test_a_stored_grid_means_what_it_meant_when_it_was_launched():
    launched = described(parse_grid(GRID, folder="."))
    stored = parse_grid(launched.text)
    assert launched.text.startswith(GRID)
    assert set(expand(stored).trials) == set(expand(launched).trials)
    assert described(stored).text == launched.text
    # Before there were recipes the published settings were the defaults, and nothing was noted.
    assert expand(parse_grid(GRID)).rows[0].spec.training == TrainingConfig(length=100)


def test_every_embedded_task_has_a_recipe_and_others_that_of_their_kind():
    assert set(task_names()) - {"arrays", "table"} == set(RECIPES)
    shape = {"n_in": 3, "n_out": 3, "length": 50, "loss": "cross_entropy", "loss_on": "every_step", "metric": "bpc"}
    of_mine = TaskSpec(
        name="mine", data_name="mine", direction="min", chance=1.0, baseline=None, input_kind="ids",
        carry_state=True, **shape,
    )  # fmt: skip
    assert recipe_of(of_mine, "elm") is TEXT
    assert recipe_of(task_spec("images", {}), "elm") is RECIPES["images"]


EPOCH = "2 trials end before they have seen all training data once (at least 22% of it)"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("", [EPOCH]),
        ("training: {steps: 1e5}\n", ["2 trials see all training data up to 22 times"]),
        ("training: {warmup_steps: 2}\n", ["2 trials with fewer than 10 steps of warm-up", EPOCH]),
        (
            "training: {preset: paper, steps: 60}\n",
            ["2 trials end before their warm-up does", "(at least 1% of it)", "below 0.003, the smallest"],
        ),
        ("training: {learning_rate: 0.5}\n", [EPOCH, "above 0.036, the largest that was tried"]),
        (
            "task: {name: text, alphabet: bytes}\nbudgets: [60000]\n",
            ["(at least 19% of it)", "up to 83% at P = 60,000; larger budgets"],
        ),
        (
            "model: {d_m: [1, 20], d_tree: 4, d_branch: 4}\nbudgets: [8000]\n",
            [EPOCH, "1 trial with fewer than 4", "d_m = 1"],
        ),
    ],
)
def test_a_plan_tells_of_what_is_rarely_meant(change, told):
    keys = {line.split(":")[0]: line for line in (GRID + change).splitlines()}
    rows = expand(parse_grid("\n".join(keys.values()), folder=".")).trials.values()
    notes = list(advice(rows))
    assert len(notes) == len(told)
    assert all(some in note for some, note in zip(told, notes, strict=True)), notes


def test_shipped_grids_name_their_preset():
    assert {block.preset for block in load_grid("demo").blocks} == {"paper"}
