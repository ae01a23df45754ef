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


@pytest.fixture
def rebuilt(monkeypatch):
    """What NSGA-II asked for while it proposed the fourth batch: (generation, learning rates of its parents)."""
    asked = []
    select = NSGAIISampler.select_parent

    def noted(self, study, generation):
        parents = select(self, study, generation)
        asked.append((generation, sorted(trial.params["learning_rate"] for trial in parents)))
        return parents

    monkeypatch.setattr(NSGAIISampler, "select_parent", noted)
    space = Space(budgets=(10_000,), dimensions=(RATE,), seeds=(0,), measure=measure)
    settings = SearchSettings(kind="optuna", sampler="nsga2", objective="pareto", batch=BATCH)
    rates = [0.001 * (number + 1) for number in range(3 * BATCH)]
    points = [Point(budget=10_000, settings=(("learning_rate", rate),), seed=0) for rate in rates]
    history = [Observation(point, 12.0 - number) for number, point in enumerate(points)]  # each better than the last
    OptunaSearcher(space=space, settings=settings).propose(history, BATCH)
    return asked, rates


def test_stored_batches_are_generations(rebuilt):
    """If this fails with another Optuna: it no longer asks get_trial_generation and get_population of a sampler."""
    asked, rates = rebuilt
    assert max(generation for generation, _ in asked) == 3, f"optuna {optuna.__version__} asked for {asked}"
    assert dict(asked)[3] == pytest.approx(rates[-BATCH:])


def test_nothing_private_of_optuna_is_used():
    text = (Path(__file__).parents[3] / "sweeper/search/optuna.py").read_text()
    assert re.findall(r"(?:optuna|Sampler|study|trial)\._\w+", text) == []
