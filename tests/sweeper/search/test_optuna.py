"""A study that is rebuilt from rows keeps NSGA-II's generations, by public ways of Optuna only."""

import re
from pathlib import Path

import optuna
import pytest
from optuna.samplers import NSGAIISampler

from sweeper.plan.search_section import Range, SearchSettings
from sweeper.search.optuna import OptunaSearcher
from sweeper.search.space import Dimension, Observation, Point, Sizes, Space

BATCH = 4
RATE = Dimension(name="learning_rate", range=Range(low=1e-4, high=0.1, log=True, whole=False))


def measure(point):
    return Sizes(10.0, 100.0, 16.0, 4.0, point.budget, 1.0)


def parents_of(monkeypatch, losses):
    """What NSGA-II asks for while it proposes the next batch: learning rates of the parents by generation."""
    asked = {}
    select = NSGAIISampler.select_parent

    def noted(self, study, generation):
        parents = select(self, study, generation)
        asked[generation] = sorted(trial.params["learning_rate"] for trial in parents)
        return parents

    monkeypatch.setattr(NSGAIISampler, "select_parent", noted)
    space = Space(budgets=(10_000,), dimensions=(RATE,), seeds=(0,), measure=measure)
    settings = SearchSettings(kind="optuna", sampler="nsga2", objective="pareto", batch=BATCH)
    points = [Point(10_000, (("learning_rate", 0.001 * (number + 1)),), 0) for number in range(len(losses))]
    history = [Observation(point, loss) for point, loss in zip(points, losses, strict=True)]
    OptunaSearcher(space=space, settings=settings).propose(history, BATCH)
    return asked


def test_stored_batches_are_generations(monkeypatch):
    """If this fails with another Optuna: it no longer asks get_trial_generation and get_population of a sampler."""
    asked = parents_of(monkeypatch, [12.0 - number for number in range(3 * BATCH)])  # each better than the last
    assert max(asked) == 3, f"optuna {optuna.__version__} asked for {asked}"
    assert asked[3] == pytest.approx([0.009, 0.010, 0.011, 0.012])


def test_a_failed_trial_takes_no_place_in_a_generation(monkeypatch):
    asked = parents_of(monkeypatch, [13.0, None, *(11.0 - number for number in range(3 * BATCH - 1))])
    assert asked[3] == pytest.approx([0.010, 0.011, 0.012, 0.013])


def test_nothing_private_of_optuna_is_used():
    text = (Path(__file__).parents[3] / "sweeper/search/optuna.py").read_text()
    assert re.findall(r"(?:optuna|Sampler|study|trial)\._\w+", text) == []
