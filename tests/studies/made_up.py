"""Rows of the second study's design whose optimum is known."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.rows.sweep import Dataset, Selection, Sweep
from benchmarks.synthetic import elm_sizes
from studies.interior_optimum.estimators import Line
from sweeper.plan.expand import Plan, PlanRow
from sweeper.store.schema import FINISHED, SCHEMAS
from tasks.spec import task_spec

LEVELS = (2, 3, 4, 6, 9, 14, 22, 34)
BUDGETS = (10_000, 30_000, 100_000)


def line(levels: tuple[int, ...], values: npt.NDArray[np.float64]) -> Line:
    """A line of given values, [levels, seeds]."""
    return Line(
        budget=10_000.0,
        k_c=16.0,
        d_m=np.array(levels, dtype=float),
        losses=tuple(values),
        noise=float(np.sqrt(values.var(axis=1, ddof=1).mean())),
        cost=None,
    )


def study(
    *,
    budgets: tuple[int, ...] = BUDGETS,
    seeds: int = 4,
    power: float = 0.25,
    curvature: float = 0.1,
    noise: float = 0.004,
    shift: float = 0.3,
    lead: float = 0.1,
    steps: int = 4000,
    draw: int = 0,
    values: Any = None,
) -> Dataset:
    """Networks with their optimum at d_m = 4 (P / 10,000)^power at k_c = 16.

    Args:
        budgets: P.
        seeds: runs of each point.
        power: how fast the optimum moves.
        curvature: of the metric in ln d_m.
        noise: between seeds.
        shift: of ln d_m* at k_c = 64.
        lead: of k_c = 64 in the metric.
        steps: of the training.
        draw: seed of the noise.
        values: another metric, of (budget, d_m, d_branch).
    """
    random, rows = np.random.default_rng(draw), []
    for budget in budgets:
        for d_branch in (4, 16):
            for d_m in LEVELS:
                k_e, k_c, readout = elm_sizes(d_m, 4, d_branch, 27)
                n_rec = (budget - readout) // (k_e + k_c)
                if n_rec < 4:
                    continue
                best = np.log(4) + power * np.log(budget / 10_000) + shift * (d_branch == 16)
                mean = 3 - 0.1 * np.log(budget) + curvature * (np.log(d_m) - best) ** 2 - lead * (d_branch == 16)
                if values is not None:
                    mean = values(budget, d_m, d_branch)
                sizes = {
                    "budget": float(budget), "n_rec": n_rec, "d_m": d_m, "d_tree": 4, "d_branch": d_branch,
                    "k_e": k_e, "k_c": k_c, "readout_params": readout,
                    "trainable_params": n_rec * (k_e + k_c) + readout,
                }  # fmt: skip
                rows += [
                    sizes | {"seed": seed, "value": mean + noise * random.standard_normal()} for seed in range(seeds)
                ]
    table = pd.DataFrame(rows).assign(
        learning_rate=0.01, mlp_ratio=2.0, l_mlp=1, tokens=1024 * steps, steps=steps, sweep="study2_text"
    )
    table["trial_id"] = [f"elm-{steps}-{i}" for i in range(len(table))]
    table["final_valid_metric"] = table["value"]
    table["configuration"] = table.groupby(["budget", "n_rec", "d_m", "k_c"]).ngroup()
    return dataset(table, "elm")


def dataset(table: pd.DataFrame, architecture: str) -> Dataset:
    """Rows as a data set of one architecture."""
    return Dataset(
        label=architecture,
        keys={"task": "text", "metric": "bpc", "direction": "min", "architecture": architecture},
        selection=Selection(),
        metric="bpc",
        direction="min",
        chance=None,
        rows=table,
        excluded=(),
    )


def cells(means: dict[str, dict[float, float]], noise: float = 0.004, seeds: int = 4) -> list[Dataset]:
    """Other architectures with their mean metric at each budget."""
    groups = []
    for draw, (name, by_budget) in enumerate(means.items()):
        random = np.random.default_rng(draw + 100)
        rows = [
            {
                "budget": float(budget),
                "seed": seed,
                "value": mean + noise * random.standard_normal(),
                "configuration": i,
            }
            for i, (budget, mean) in enumerate(by_budget.items())
            for seed in range(seeds)
        ]
        table = pd.DataFrame(rows)
        table["final_valid_metric"] = table["value"]
        groups.append(dataset(table, name))
    return groups


def sweep_of(
    *plans: Plan,
    value: Callable[[PlanRow], float],
    loss: Callable[[PlanRow], float] = lambda row: 1.0,
    noise: float = 0.004,
    draw: int = 0,
) -> Sweep:
    """All trials of some plans as finished rows, with their own ids.

    Args:
        plans: what was planned.
        value: mean metric of a trial.
        loss: its mean loss.
        noise: between seeds, of both.
        draw: seed of the noise.
    """
    random, rows = np.random.default_rng(draw), []
    for plan in plans:
        for trial_id, row in plan.trials.items():
            assert row.spec is not None
            assert row.counts is not None
            model, training = row.spec.model, row.spec.training
            task = task_spec(row.spec.task, row.spec.task_options)
            metric, nats = value(row) + noise * random.standard_normal(), loss(row) + noise * random.standard_normal()
            rows.append(
                dict.fromkeys(SCHEMAS["trials"].names)
                | {"chance": task.chance, "data_name": "made-up", "data_sha256": "0"}
                | {"task": task.name, "metric": task.metric, "direction": task.direction}
                | {f"final_{split}_metric": metric for split in ("train", "valid", "test")}
                | {f"final_{split}_loss": nats for split in ("train", "valid", "test")}
                | {name: getattr(row.counts, name) for name in ("k_e", "k_c", "recurrent_params", "readout_params")}
                | {name: getattr(training, name) for name in ("steps", "batch_size", "length", "learning_rate")}
                | {name: getattr(model, name, np.nan) for name in ("n_rec", "d_m", "d_tree", "d_branch", "l_mlp")}
                | {name: getattr(model, name, np.nan) for name in ("rho_rec", "tau_m_max")}
                | {"trial_id": trial_id, "status": FINISHED, "sweep": plan.name, "seed": row.seed}
                | {"architecture": row.spec.architecture, "budget": row.budget, "spec": row.spec.canonical}
                | {"trainable_params": row.counts.trainable_params, "d_mlp": 2 * getattr(model, "d_m", np.nan)}
                | {"tokens": training.steps * training.batch_size * training.length}
            )
    grids = {plan.name: plan.text for plan in plans}
    return Sweep(label="made-up", uri="made-up", trials=pd.DataFrame(rows), grids=grids)
