"""Made-up sweeps with a known law, for the tests and the benchmark: real ELM sizes, noise, curves, failures.

The law is summed channel by channel instead of taken from `theory`, so that a fit of these rows is an independent
check.
"""

import json
import os
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from sweeper.store.schema import DIVERGED, FAILED, FINISHED, SCHEMAS
from sweeper.store.store import ResultsStore

FloatArray = npt.NDArray[np.float64]
Columns = dict[str, Any]

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class Truth:
    """metric = ceiling - slope * I_rep with an additive noise floor (design of the law: see `theory`)."""

    alpha: float = 0.95
    """Decay of the noise with k_e."""
    beta: float = 1.75
    """Decay of the signal spectrum."""
    snr: float = 600.0
    """Signal-to-noise ratio of the first channel at k_ref, without floor."""
    floor: float = 0.05
    """Noise that no complexity removes, in units of the noise at k_ref."""
    k_ref: float = 1000.0
    """Complexity at which the noise is 1, parameters per neuron."""
    ceiling: float = 2.2
    """Metric without information."""
    slope: float = 0.002
    """Metric lost per bit."""

    def bits(self, n_rec: int, k_e: float) -> float:
        """I_rep of n_rec channels, in bits: the first 4096 one by one, the rest by the trapezoidal rule in log i."""
        snr = self.snr / ((k_e / self.k_ref) ** -self.alpha + self.floor)
        # The first channels carry most of the information and change fastest, so they are summed one by one.
        head = np.arange(1, min(n_rec, 4096) + 1, dtype=float)
        total = float(np.log2(1 + snr * head**-self.beta).sum()) / 2
        if n_rec > 4096:
            grid = np.linspace(np.log(4096.5), np.log(n_rec + 0.5), 2001)
            total += float(np.trapezoid(np.log2(1 + snr * np.exp(-self.beta * grid)) * np.exp(grid), grid)) / 2
        return total

    def metric(self, n_rec: int, k_e: float) -> float:
        """Expected metric of one configuration."""
        return self.ceiling - self.slope * self.bits(n_rec, k_e)


@dataclass(frozen=True, kw_only=True)
class Design:
    """Which trials a made-up sweep holds."""

    budgets: tuple[int, ...] = (30_000, 100_000, 300_000)
    """Parameter budgets P."""
    d_m: tuple[int, ...] = (2, 3, 5, 8, 12, 18, 27, 40)
    """Memory units per neuron."""
    seeds: int = 2
    """Replicates of every configuration."""
    trees: tuple[tuple[int, int], ...] = ((20, 5),)
    """(d_tree, d_branch) pairs."""
    tasks: tuple[str, ...] = ("text",)
    """Task names; each gets its own offset."""
    n_out: int = 30
    """Output classes."""
    noise: float = 0.003
    """Standard deviation between seeds, metric units."""
    failed: float = 0.0
    """Share of trials that failed."""
    diverged: float = 0.0
    """Share of trials whose loss became non-finite."""
    evaluations: int = 20
    """Points of every training curve; 0 writes no curves."""
    learning_rates: tuple[float, ...] = (0.0005,)
    """Peak learning rates; the middle one is best."""
    ablations: tuple[tuple[float, float | None], ...] = ((100.0, None),)
    """(tau_m_max, alpha of the law there; None: the truth's own) pairs, each a whole sweep."""


def write_sweep(
    uri: str | os.PathLike[str], design: Design | None = None, *, truth: Truth | None = None, seed: int = 0
) -> None:
    """Write a made-up sweep as a results directory.

    Args:
        uri: results directory, made where it is missing.
        design: trials to write.
        truth: the law behind them.
        seed: seed of noise and failures.
    """
    design, truth = design or Design(), truth or Truth()
    # Through the product's own store and schema, so that readers cannot tell a made-up sweep from a real one.
    store = ResultsStore.create(uri)
    columns, means = _sizes(design, truth)
    rng = np.random.default_rng(seed)
    trials = _trial_columns(design, columns, means, rng)
    root = store.local_path()
    _write(f"{root}/trials/made-up.parquet", "trials", trials)
    if design.evaluations:
        _write(f"{root}/curves/made-up.parquet", "curves", _curve_columns(design, trials, rng))
    store.save_grid("made-up", f"# a made-up sweep of {len(means)} trials\n")


def elm_sizes(d_m: int, d_tree: int, d_branch: int, n_out: int) -> tuple[int, int, int]:
    """Exact (k_e, k_c, read-out parameters) of an ELM network with d_mlp = 2 d_m and one hidden layer."""
    # written out rather than taken from model.budget, so that rows and analysis are not wrong together
    k_e, k_c = 4 * d_m**2 + (2 * d_tree + 4) * d_m + 1, d_tree * d_branch
    return k_e, k_c, n_out * (3 * (d_tree + 3) + 7 + k_c) + n_out**2 + n_out


def _sizes(design: Design, truth: Truth) -> tuple[dict[str, npt.NDArray[Any]], FloatArray]:
    rows, means = [], []
    for number, task in enumerate(design.tasks):
        grid = product(design.ablations, design.budgets, design.trees, design.d_m)
        for (tau, alpha), budget, (d_tree, d_branch), d_m in grid:
            k_e, k_c, readout = elm_sizes(d_m, d_tree, d_branch, design.n_out)
            n_rec = (budget - readout) // (k_e + k_c)
            if n_rec < 2:  # the budget does not reach for this d_m
                continue
            # An ablation moves one parameter of the law, as a setting of the network is said to do.
            law = truth if alpha is None else replace(truth, alpha=alpha)
            # Tasks differ in level, so that a fit must give each its own coefficients.
            mean = law.metric(n_rec, k_e) + 0.1 * number
            recurrent = n_rec * (k_e + k_c)
            for rate, replicate in product(design.learning_rates, range(design.seeds)):
                centre = design.learning_rates[len(design.learning_rates) // 2]
                sizes = (task, budget, d_tree, d_branch, d_m, n_rec, k_e, k_c, recurrent, readout)
                rows.append((*sizes, rate, replicate, tau))
                means.append(mean + 0.02 * np.log(rate / centre) ** 2)  # a parabola in ln rate, best in the middle
    names = (
        "task",
        "budget",
        "d_tree",
        "d_branch",
        "d_m",
        "n_rec",
        "k_e",
        "k_c",
        "recurrent_params",
        "readout_params",
        "learning_rate",
        "seed",
        "tau_m_max",
    )
    return {name: np.array(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}, np.array(
        means
    )


def _trial_columns(
    design: Design, sizes: dict[str, npt.NDArray[Any]], means: FloatArray, rng: np.random.Generator
) -> Columns:
    count = len(means)
    # One draw decides between failed and diverged, so that a trial is never both.
    draw = rng.random(count)
    status = np.where(
        draw < design.failed, FAILED, np.where(draw < design.failed + design.diverged, DIVERGED, FINISHED)
    )
    finished = status == FINISHED
    # Shared by all splits of a trial: a lucky seed is lucky on every split.
    seed_effect = rng.normal(0, design.noise, count)
    columns: Columns = dict(sizes) | {"d_mlp": 2 * sizes["d_m"]}
    columns["trainable_params"] = sizes["recurrent_params"] + sizes["readout_params"]
    columns["total_params"] = columns["trainable_params"] + sizes["n_rec"] * (sizes["k_c"] + sizes["d_m"])
    columns["trial_id"] = np.array([f"t{index:07d}" for index in range(count)])
    columns["status"] = status
    reason = {FAILED: "ValueError: made-up failure", DIVERGED: "loss is nan at step 17"}
    columns["reason"] = [reason.get(s) for s in status]
    for split, offset in (("train", -0.02), ("valid", -0.005), ("test", 0.0)):
        metric = means + seed_effect + offset + rng.normal(0, design.noise / 4, count)
        for kind in ("final", "best"):
            columns[f"{kind}_{split}_metric"] = _where(finished, metric)
        columns[f"final_{split}_loss"] = _where(finished, metric * np.log(2))
    # Time grows with the parameters, less than in proportion, and scatters by a fifth.
    columns["wall_s"] = 2e-5 * columns["trainable_params"] ** 0.7 * rng.uniform(0.8, 1.2, count) * 60
    begin = np.cumsum(columns["wall_s"]) / 4  # as if four lanes had shared the work
    columns["started_at"] = [START + timedelta(seconds=float(s)) for s in begin]
    columns["ended_at"] = [START + timedelta(seconds=float(s)) for s in begin + columns["wall_s"]]
    columns["spec"] = [_spec(columns, index) for index in range(count)]
    return columns | _constants(design, count, finished)


def _constants(design: Design, count: int, finished: npt.NDArray[np.bool_]) -> Columns:
    values = {
        "hash_scheme": 1, "attempt": 1, "sweep": "made-up", "data_name": "made-up/text", "data_sha256": "0" * 64,
        "metric": "bpc", "direction": "min", "chance": float(np.log2(design.n_out)), "architecture": "elm",
        "n_in": design.n_out, "n_out": design.n_out, "l_mlp": 1, "rho_rec": 0.8, "batch_size": 8,
        "length": 100, "steps": 2000, "steps_done": 2000, "tokens": 1_600_000, "tokens_per_s": 8000.0,
        "backend": "made-up", "device": "cpu", "host": "here", "lane": "lane-0", "code_version": "0.1.0",
    }  # fmt: skip
    columns: Columns = {name: [value] * count for name, value in values.items()}
    steps = [2000 if done else None for done in finished]
    return columns | {"final_step": steps, "best_step": steps}


def _where(keep: npt.NDArray[np.bool_], values: FloatArray) -> list[float | None]:
    return [float(value) if kept else None for kept, value in zip(keep, values, strict=True)]


def _spec(columns: Columns, index: int) -> str:
    keys = ("task", "n_rec", "d_m", "d_tree", "d_branch", "learning_rate", "seed")
    return json.dumps({key: columns[key][index].item() for key in keys}, sort_keys=True)


def _curve_columns(design: Design, trials: Columns, rng: np.random.Generator) -> Columns:
    """Valid and train curves that fall as a power of the step, flatten, and end at the final metric."""
    ids = trials["trial_id"]
    final = np.array([np.nan if v is None else v for v in trials["final_valid_metric"]], dtype=float)
    steps = np.linspace(2000 / design.evaluations, 2000, design.evaluations).round().astype(int)
    excess = 2.2 * (steps / 20.0) ** -1.2 * (1 + np.cos(np.pi * steps / 2000)) / 2  # the cosine schedule's flat end
    # no noise at the last step, where the curve is the final metric
    values = final[:, None] + excess + rng.normal(0, 0.002, (len(ids), len(steps))) * (steps < 2000)
    shape = (len(ids), len(steps))
    flat = {
        "trial_id": np.repeat(ids, len(steps)),
        "step": np.broadcast_to(steps, shape).ravel(),
        "wall_s": (trials["wall_s"][:, None] * steps / 2000).ravel(),
        "valid": values.ravel(),
        "train": (values - 0.015).ravel(),
    }
    # A trial that did not finish has no metric and so no curve.
    flat = {name: array[np.isfinite(values.ravel())] for name, array in flat.items()}
    both = {name: np.concatenate([flat[name]] * 2) for name in ("trial_id", "step", "wall_s")}
    metric = np.concatenate([flat["valid"], flat["train"]])
    split = np.repeat(["valid", "train"], len(flat["valid"]))
    count = len(metric)
    rate = 5e-4 * (1 + np.cos(np.pi * both["step"] / 2000)) / 2
    return both | {
        "attempt": np.ones(count, dtype=int), "tokens": both["step"] * 800, "split": split, "metric": metric,
        "loss": metric * np.log(2), "learning_rate": rate,
    }  # fmt: skip


def _write(path: str, table: str, columns: Columns) -> None:
    schema, count = SCHEMAS[table], len(columns["trial_id"])
    # Columns that the sweep does not fill are null, as in rows of an older schema.
    arrays = [pa.array(columns.get(field.name, [None] * count), field.type, from_pandas=True) for field in schema]
    pq.write_table(pa.Table.from_arrays(arrays, schema=schema), path, compression="zstd")
