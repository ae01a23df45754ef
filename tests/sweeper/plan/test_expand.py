"""Plans: sizes solved from budgets, and every point accounted for."""

import dataclasses
import gc
import json
import pickle
import tracemalloc

import pytest

from model.budget import counts
from model.config import added_settings
from sweeper.errors import GridError
from sweeper.launch.assignments import assignments_of
from sweeper.plan.cost import CostModel
from sweeper.plan.expand import DUPLICATE, EXCLUDED, INFEASIBLE, RUNNABLE, expand, refinement_levels
from sweeper.plan.grid import parse_grid
from sweeper.plan.seed_batch import Place
from sweeper.plan.trial import TrialSpec, spec_from_canonical
from sweeper.store.store import ResultsStore

SIZES = "d_tree: 4, d_branch: 4"


def plan(text: str):
    return expand(parse_grid("task: {name: text, alphabet: letters}\n" + text))


def test_n_rec_fills_the_budget_and_no_more():
    for row in plan(f"budgets: [8000, 20000]\nmodel: {{d_m: [1, 3, 9], {SIZES}}}").rows:
        assert row.counts.trainable_params <= row.budget
        larger = dataclasses.replace(row.spec.model, n_rec=row.spec.model.n_rec + 1)
        assert counts(larger).trainable_params > row.budget


def test_any_one_size_may_be_left_out():
    by_d_m = plan("budgets: [20000]\nmodel: {n_rec: 16, d_tree: 4, d_branch: 4}").rows[0]
    by_branch = plan("budgets: [20000]\nmodel: {n_rec: 16, d_m: 3, d_tree: 4}").rows[0]
    assert by_d_m.spec.model.n_rec == by_branch.spec.model.n_rec == 16
    assert counts(dataclasses.replace(by_d_m.spec.model, d_m=by_d_m.spec.model.d_m + 1)).trainable_params > 20000
    assert by_branch.spec.model.d_branch > 4
    assert by_branch.counts.trainable_params <= 20000


def test_targets_find_the_nearest_size():
    (row,) = plan("model: {n_rec: 8, k_e: 170, d_tree: 4, k_c: 30}").rows
    assert row.spec.model.d_branch == 8  # 30 / 4 = 7.5
    assert row.counts.k_e == 161  # d_m = 5; d_m = 6 would give 217
    assert row.spec.model.d_m == 5


def test_points_that_cannot_run_say_why():
    rows = plan(f"budgets: [1500, 4000]\nmodel: {{d_m: [1, 40], {SIZES}}}\nlimits: {{n_rec: [2, null]}}").rows
    assert [row.state for row in rows] == [INFEASIBLE, INFEASIBLE, RUNNABLE, INFEASIBLE]
    assert "1500 is too small for n_rec = 1; the smallest feasible budget is" in rows[0].reason
    (row,) = plan(f"budgets: [9100]\nmodel: {{d_m: 39, {SIZES}}}\nlimits: {{n_rec: [2, null]}}").rows
    assert (row.state, row.reason) == (EXCLUDED, "n_rec = 1 is outside limits.n_rec = [2, null]")


def test_a_budget_below_the_read_out_says_what_the_read_out_takes():
    grid = "task: {{name: text, alphabet: {}}}\nbudgets: [1500]\nmodel: {{d_m: 2, d_tree: 4, d_branch: 4}}"
    (row,) = expand(parse_grid(grid.format("bytes"))).rows
    assert row.reason.endswith(
        "smallest feasible budget is 49503, of which 49446 are the read-out of 201 outputs; alphabet: letters has fewer"
    )
    (row,) = expand(parse_grid(grid.format("letters"))).rows
    assert row.reason.endswith("are the read-out of 27 outputs")


def test_equal_trials_are_listed_once_as_trials():
    result = plan(f"budgets: [8010, 8020]\nmodel: {{d_m: 4, {SIZES}}}")
    assert [row.state for row in result.rows] == [RUNNABLE, DUPLICATE]
    assert result.rows[1].reason == f"same trial as the one of budget 8,010: {result.rows[0].trial_id[:8]}"
    assert len(result.trials) == 1


def test_zipped_settings_advance_together_across_sections():
    rows = plan(
        f"budgets: [8000]\nmodel: {{d_m: [2, 4], {SIZES}}}\ntraining: {{learning_rate: [0.1, 0.2]}}\n"
        "zip: [[d_m, learning_rate]]"
    ).rows
    assert [(r.spec.model.d_m, r.spec.training.learning_rate) for r in rows] == [(2, 0.1), (4, 0.2)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("budgets: [8000]\nmodel: {d_m: 2, n_rec: 4, d_tree: 4, d_branch: 4}", "left out: none"),
        ("budgets: [8000]\nmodel: {d_m: 2, d_tree: 4}", "left out: n_rec, k_c"),
        ("budgets: [8000]\nmodel: {d_m: 2, k_e: 9, d_tree: 4, d_branch: 4}", "d_m and k_e both fix k_e"),
        ("model: {d_m: 2, d_tree: 4, d_branch: 4}", "n_rec is not given"),
        ("budgets: [8000]\nmodel: {d_m: 2, d_branch: 4}", "model.d_tree"),
        ("budgets: [8000]\nmodel: {d_m: 2, d_tree: 4, d_branch: 4, rho_rec: 2}", "model.rho_rec: 2.0 is not valid"),
        ("budgets: [8000]\nmodel: {d_m: 0, d_tree: 4, d_branch: 4}", "model.d_m: 0 is not valid"),
    ],
)
def test_contradictions_are_refused(text, message):
    with pytest.raises(GridError) as caught:
        plan(text)
    assert message in str(caught.value)


def test_unknown_tasks_and_options_list_the_choices():
    with pytest.raises(GridError, match=r"task\.name: 'txt' is no task; did you mean 'text'"):
        expand(parse_grid(f"task: txt\nbudgets: [9000]\nmodel: {{d_m: 2, {SIZES}}}"))
    with pytest.raises(GridError, match=r"task\.alphabet: 'greek'"):
        expand(parse_grid(f"task: {{name: text, alphabet: greek}}\nbudgets: [9000]\nmodel: {{d_m: 2, {SIZES}}}"))


def specs() -> list[TrialSpec]:
    grid = f"budgets: [8000, 9000]\nmodel: {{d_m: [2, 4], {SIZES}}}\nseeds: 2\ntraining: {{learning_rate: [0.1, 0.2]}}"
    return [row.spec for row in plan(grid).rows]


def test_ids_are_pinned_so_that_no_upgrade_renames_a_trial():
    assert specs()[0].trial_id == "0547fb45bafe8b07"


@pytest.mark.parametrize(
    ("architecture", "added", "trial_id"),
    [
        ("lstm", "dropout_rec", "26960f44b8c786cf"),
        ("chrono_lstm", "dropout_rec", "2f77ee9d82135766"),
        ("gru", "dropout_rec", "33bce55b696e09ec"),
        ("snn", "dropout_rec", "27862812605432ff"),
        ("lru", "dropout_in", "c3715abb0e1c8094"),
        ("min_gru", "dropout_in", "bb3582b597097b5e"),
    ],
)
def test_a_setting_that_came_later_renames_no_trial_that_leaves_it_at_its_default(architecture, added, trial_id):
    (row, zero, dropped) = plan(f"architecture: {architecture}\nblocks:\n" + "".join(
        f"  - model: {{n_rec: 5{more}}}\n" for more in ("", f", {added}: 0.0", f", {added}: 0.3")
    )).rows  # fmt: skip
    assert row.spec.trial_id == zero.spec.trial_id == trial_id
    assert dropped.spec.trial_id != trial_id
    assert getattr(spec_from_canonical(dropped.spec.canonical).model, added) == 0.3
    assert [spec_from_canonical(r.spec.canonical) for r in (row, dropped)] == [row.spec, dropped.spec]


def test_every_setting_is_in_the_id_and_the_spec_comes_back():
    every = specs()
    assert len({spec.trial_id for spec in every}) == len(every) == 16
    assert [spec_from_canonical(spec.canonical) for spec in every] == every


def test_defaults_of_the_task_written_out_give_the_same_trial():
    text = f"budgets: [8000]\nmodel: {{d_m: 2, {SIZES}}}"
    short = expand(parse_grid("task: {name: text, alphabet: letters}\n" + text))
    long = expand(parse_grid("task: {name: text, alphabet: letters, data: embedded}\n" + text))
    assert list(short.trials) == list(long.trials)


@pytest.mark.parametrize("architecture", ["elm", "lstm", "snn"])
def test_the_canonical_text_is_that_of_the_whole_spec(architecture):
    model = {"elm": "{n_rec: 5, d_m: 3, d_tree: 4, d_branch: 4}"}.get(architecture, "{n_rec: 5}")
    text = f"task: {{name: text, alphabet: letters}}\narchitecture: {architecture}\nmodel: {model}\nseeds: [7]\n"
    (row,) = expand(parse_grid(text)).rows
    content = {"scheme": 1, **dataclasses.asdict(row.spec), "task_options": dict(row.spec.task_options)}
    del content["training"]["save"], content["training"]["record"]  # change no number of a trial
    for name in added_settings(type(row.spec.model)):
        del content["model"][name]  # came later, and has its default
    assert row.spec.canonical == json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert spec_from_canonical(row.spec.canonical) == row.spec


def test_a_planned_trial_takes_little_of_the_launchers_memory(tmp_path):
    text = f"budgets: [8000, 20000]\nmodel: {{d_m: [1, 3, 9], {SIZES}}}\nseeds: "
    plan(f"{text} 1")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        made = plan(f"{text} 200")
        gc.collect()  # what reading the grid left behind in circles is not the plan's
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(made.trials) == 1200
    assert taken / len(made.trials) < 600  # bytes; the canonical JSON of each alone would be 850
    places = [Place(row, None, 1) for row in made.trials.values()]
    queue = assignments_of(places, "s", ResultsStore.create(tmp_path / "r"), CostModel())
    assert len(pickle.dumps(queue)) / len(queue) < 250


def test_an_interrupted_sweep_is_balanced():
    text = "budgets: [4000, 8000]\nmodel: {d_m: [1, 2, 3, 4, 6, 8, 12], d_tree: 4, d_branch: 4}\nseeds: 3\n"
    specs = [row.spec for row in plan(text).trials.values()]
    assert {spec.seed for spec in specs[:6]} == {0}
    assert {spec.model.d_m for spec in specs[:6]} == {1, 4, 12}  # both ends and the middle, at both budgets
    assert [spec.seed for spec in specs] == [0] * 14 + [1] * 14 + [2] * 14


def test_refinement_levels_halve_the_gaps():
    assert [refinement_levels(n) for n in (1, 2, 3, 5)] == [[0], [0, 0], [0, 0, 0], [0, 1, 0, 1, 0]]
