"""The closed loop on trials of a known law: it resumes from the store alone, stops by its rule, and says why."""

import io
import re
from dataclasses import dataclass, field

import pytest
from click.testing import CliRunner
from rich.console import Console

from benchmarks.ground_truth import GroundTruth
from sweeper.cli import cli
from sweeper.errors import STOPPED, GridError, StorageError, SweeperError
from sweeper.launch.launch import launch
from sweeper.launch.search_loop import RunningSearch
from sweeper.plan.expand import expand
from sweeper.plan.grid import parse_grid
from sweeper.search.grid_space import SUFFIX
from sweeper.status import stored_plans
from sweeper.store.store import ResultsStore
from sweeper.training.progress import Evaluation
from tests.sweeper.inline import Inline

GRID = """
name: searched
task: {name: text, alphabet: letters}
budgets: [20_000, 60_000, 200_000]
model: {d_m: {from: 1, to: 40}, d_tree: 4, d_branch: 4}
seeds: 2
training: {steps: 40}
limits: {n_rec: [4, null]}
search: SEARCH
"""


def run(path, search, inline=None, *, trainer=None, text=GRID):
    console = Console(record=True, width=200, file=io.StringIO())
    executor = (inline or Inline()).with_trainer(trainer or GroundTruth(noise=0.002))
    result = launch(parse_grid(text.replace("SEARCH", search)), str(path), executor, console)
    return result, ResultsStore.open(path), console.export_text()


@pytest.fixture
def inline():
    return Inline()


def test_theory_stops_when_the_optimum_is_certain_enough(tmp_path, inline):
    rule = "{kind: theory, trials: 60, batch: 8, until: 'ci(d_m_opt @ 6e4) < 12%'}"
    result, store, said = run(tmp_path, rule, inline, trainer=GroundTruth(noise=0.04))
    assert result.ended_because is not None
    assert re.match(r"ci\(d_m_opt @ 60000\) is [\d.]+ %, asked for 12 %: [\d.]+, 95 % from", result.ended_because)
    assert 9 < result.ran < 60
    assert result.ran == len(inline.ran) == len(store.statuses())
    assert "batch 1: 0 finished trials: the first 9 fill the space, before a law is fitted" in said
    assert "trials chosen by" in said


def test_a_search_that_cannot_work_leaves_nothing_behind(tmp_path):
    with pytest.raises(SweeperError, match="trials >= 50 is never reached"):
        run(tmp_path / "r", "{kind: random, trials: 4, until: trials >= 50}")
    assert not (tmp_path / "r").exists()


def test_a_search_that_cannot_write_its_next_batch_stops_with_the_reason(tmp_path, inline, monkeypatch):
    def refuse(store, name, text):
        raise StorageError("r: cannot write grids: No space left on device.")

    run(tmp_path, "{kind: random, trials: 4, batch: 2}", inline)
    monkeypatch.setattr(
        ResultsStore, "save_grid", lambda store, name, text: SUFFIX in name and refuse(store, name, text)
    )
    stopped, _, _ = run(tmp_path, "{kind: random, trials: 6, batch: 2}", inline)
    assert stopped.exit_code == STOPPED
    assert stopped.stopped_because == (
        "r: cannot write grids: No space left on device. The same command goes on once that is mended."
    )
    assert stopped.status.counts == {"finished": 4}


@pytest.mark.parametrize(
    "search", ["{kind: theory, trials: 22, batch: 6, cost_power: 0}", "{kind: optuna, trials: 14, batch: 5}"]
)
def test_a_killed_search_goes_on_from_the_store_alone(tmp_path, inline, search):
    run(tmp_path / "whole", search)
    with pytest.raises(SweeperError, match="killed"):
        run(tmp_path / "cut", search, Inline(most=9))
    result, store, _ = run(tmp_path / "cut", search, inline)
    whole = ResultsStore.open(tmp_path / "whole")
    assert store.statuses() == whole.statuses()
    assert len(store.statuses()) == 9 + len(inline.ran)
    assert store.grids()["searched" + SUFFIX] == whole.grids()["searched" + SUFFIX]
    assert result.ended_because == f"its {len(whole.statuses())} trials are done"


def test_history_is_in_the_order_of_choice(tmp_path):
    search = "{kind: random, trials: 12, batch: 4}"
    _, store, _ = run(tmp_path, search)
    running = RunningSearch(grid=parse_grid(GRID.replace("SEARCH", search)), store=store)
    batches = list(running.space.batches(store.grids()["searched" + SUFFIX]))
    assert [len(batch) for batch in batches] == [4, 4, 4]
    assert [observation.point for observation in running.history()] == [point for batch in batches for point in batch]


@pytest.mark.parametrize("kind", ["random", "{kind: optuna, sampler: nsga2, objective: pareto, trials: 12, batch: 6}"])
def test_chosen_trials_are_a_grid_that_status_and_launch_understand(tmp_path, kind):
    search = kind if kind.startswith("{") else f"{{kind: {kind}, trials: 12, batch: 6}}"
    _, store, _ = run(tmp_path, search)
    (plan,) = stored_plans(store)
    assert plan.name == "searched-chosen"
    assert set(plan.trials) == set(store.statuses())
    assert len(plan.trials) == 12
    text = store.grids()["searched-chosen"]
    assert text.count("\n# batch ") == 2
    again = launch(parse_grid(text), str(tmp_path), Inline(), Console(quiet=True))
    assert again.ran == 0


def test_rows_of_other_sweeps_are_history(tmp_path):
    plain = (
        GRID.replace("search: SEARCH\n", "").replace("{from: 1, to: 40}", "[1, 3, 9, 27]").replace("searched", "first")
    )
    run(tmp_path, "", text=plain)
    before = len(ResultsStore.open(tmp_path).statuses())
    _, _, said = run(tmp_path, "{kind: theory, trials: 6, batch: 6}")
    assert before >= 9
    assert "fill the space" not in said
    assert "6 trials chosen by" in said


def test_the_forecast_is_that_of_all_batches(tmp_path):
    one, _, _ = run(tmp_path / "one", "{kind: random, trials: 4, batch: 4}")
    two, _, _ = run(tmp_path / "two", "{kind: random, trials: 8, batch: 4}")
    assert two.forecast.seconds > one.forecast.seconds


def test_a_plateau_ends_the_search(tmp_path):
    flat = GroundTruth(noise=0.0, amplitude_n=0.0, amplitude_k=0.0)
    result, _, _ = run(tmp_path, "{kind: random, trials: 60, batch: 4, until: plateau >= 2}", trainer=flat)
    assert result.ended_because == "plateau: no budget's best metric improved in 2 batches"
    assert result.ran < 24


def test_hours_are_those_of_the_trials(tmp_path):
    result, store, _ = run(tmp_path, "{kind: random, trials: 60, batch: 4, until: hours >= 1e-9}")
    assert result.ended_because is not None
    assert result.ended_because.startswith("hours >= 1e-09: ")
    assert len(store.statuses()) == 4


def test_a_small_space_is_exhausted(tmp_path):
    text = (
        GRID.replace("{from: 1, to: 40}", "[1, 2]")
        .replace("[20_000, 60_000, 200_000]", "[20_000]")
        .replace("seeds: 2", "seeds: 1")
    )
    result, store, _ = run(tmp_path, "{kind: random, trials: 60, batch: 4}", text=text)
    assert result.ended_because == "nothing is left to try in this space"
    assert len(store.statuses()) == 2


@dataclass
class Plateau:
    """Curves that show nothing for 20 steps and then fall by what the seed decides."""

    evaluated: list = field(default_factory=list)

    def __call__(self, assignment, progress, context):
        final = 1.0 + (assignment.spec.model.d_m % 7) / 7
        for step in range(1, 41):
            if step % 10 == 0:
                metric = 2.0 + (assignment.spec.model.d_m % 3) / 100 if step <= 20 else final
                progress.evaluations.append(
                    Evaluation(step=step, split="valid", loss=metric, metric=metric, learning_rate=None, wall_s=0.0)
                )
            context.on_step(step)
            progress.steps_done = step
        evaluation = progress.evaluations[-1]
        progress.final = dict.fromkeys(("train", "valid", "test"), evaluation)
        progress.best = progress.final


@pytest.mark.parametrize("rule", ["median", "asha"])
def test_hopeless_trials_end_but_not_before_the_plateau(tmp_path, rule):
    search = f"{{kind: random, trials: 48, batch: 16, pruning: {rule}, min_steps: 30}}"
    _, store, _ = run(tmp_path, search, trainer=Plateau())
    rows = store.read("trials").to_pylist()
    pruned = [row for row in rows if row["status"] == "pruned"]
    assert len(rows) == 48
    assert 0 < len(pruned) < 32
    assert {row["steps_done"] for row in pruned} == {29}  # the step of the validation itself is not counted any more
    assert all(row["final_valid_metric"] is None for row in pruned)
    assert all(re.search(r"at step 30, the (median|best of 3) of earlier trials is", row["reason"]) for row in pruned)
    assert all(row["attempt"] == 1 for row in rows)


@pytest.mark.parametrize(
    ("change", "search", "message"),
    [
        (
            {},
            "{kind: theory, target: optimum at P=1e9}",
            "P = 1e+09 is more than a factor of 10 from the nearest budget",
        ),
        ({}, "{kind: theory, until: ci(d_m_opt @ 6e4) < 5% or trials >= 500}", "search.trials is 64; raise it"),
        ({}, "{kind: theory, target: best}", "target: 'best' is not known"),
        ({}, "{kind: random, pruning: median, min_steps: 40}", "40 of training.steps = 40 leaves no step"),
        ({"d_tree: 4": "d_tree: [4, 8]"}, "theory", "this grid varies d_m, d_tree. Give every other setting one value"),
        (
            {"d_m: {from: 1, to: 40}": "k_e: {from: 100, to: 4000}"},
            "random",
            "a search varies the size itself; give d_m",
        ),
        ({"seeds: 2": "seeds: 2\nblocks: [{}, {}]"}, "random", "takes one block"),
        ({"{from: 1, to: 40}": "[900, 950]"}, "random", "no point of the search space can be run"),
        ({"{from: 1, to: 40}": "[1, 2]"}, "theory", "3 or more values of d_m that fit the budgets"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_runs(tmp_path, inline, change, search, message):
    text = GRID
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    with pytest.raises(SweeperError, match=re.escape(message)):
        run(tmp_path, search, inline, text=text)
    assert inline.ran == []


def test_a_grid_without_a_search_is_not_searched(tmp_path):
    with pytest.raises(SweeperError, match="no search of kind"):
        RunningSearch(
            grid=parse_grid(GRID.replace("search: SEARCH\n", "").replace("to: 40", "to: 40, count: 3")),
            store=ResultsStore.create(tmp_path),
        ).check()


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ("bayes", "search.kind: 'bayes' is not known"),
        ("{trials: 3}", "search.kind: missing. Valid: grid, random, optuna, theory"),
        ("{kind: optuna, sampler: cma}", "search.sampler: 'cma' is not known"),
        ("{kind: theory, sampler: tpe}", "search.sampler: belongs to search kind optuna, not to 'theory'"),
        ("{kind: optuna, pruning: asha}", "search.min_steps: pruning 'asha' needs the number of steps"),
        ("{kind: random, trials: 0}", "search.trials: 0 is not allowed; trials of a search"),
        ("{kind: random, trails: 3}", "search.trails: 'trails' is not known; did you mean 'trials'"),
        ("grid", "model.d_m.count: a range needs the number `count`"),
    ],
)
def test_bad_sections_are_refused(search, message):
    with pytest.raises(GridError, match=re.escape(message)):
        parse_grid(GRID.replace("SEARCH", search))


def test_until_closes_the_loop_around_a_plain_grid(tmp_path, monkeypatch):
    monkeypatch.setattr("sweeper.commands.runs._executor", lambda *options: Inline(trainer=GroundTruth(noise=0.002)))
    grid = tmp_path / "plain.yaml"
    plain = GRID.replace("search: SEARCH\n", "").replace("{from: 1, to: 40}", "{from: 1, to: 40, count: 9}")
    grid.write_text(plain)
    command = ["launch", str(grid), "-r", str(tmp_path / "r"), "--executor", "processes", "--until"]
    found = CliRunner().invoke(cli, [*command, "ci(d_m_opt @ 6e4) < 30%"])
    assert found.exit_code == 0, found.output
    assert re.search(r"The search ended: ci\(d_m_opt @ 60000\) is [\d.]+ %, asked for 30 %", found.output)
    store = ResultsStore.open(tmp_path / "r")
    assert list(store.grids()) == ["searched-chosen"]
    assert 9 <= len(store.statuses()) < len(expand(parse_grid(plain)).trials)
    bad = CliRunner().invoke(cli, [*command, "ci(d_m_opt @ 6e4) < 5% and hours >= 1"])
    assert "conditions are joined by `or`" in str(bad.exception)


def test_the_plan_of_a_searched_grid_shows_its_corners(tmp_path):
    grid = tmp_path / "searched.yaml"
    grid.write_text(GRID.replace("SEARCH", "{kind: random, trials: 20}"))
    found = CliRunner().invoke(cli, ["plan", str(grid)])
    assert "Search random runs up to 20 trials, 9 at a time" in found.output
    assert "18 points" in found.output
