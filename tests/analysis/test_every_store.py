"""Every command on every kind of store: it succeeds or says in one line why not, and prints nothing that is missing."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from analysis.cli import cli
from analysis.imports.mapping import ImportSettings, mapped
from analysis.rows.imported import Origin, write_import
from sweeper.lane.record import Outcome, trial_record
from sweeper.plan.expand import expand
from sweeper.plan.grid import parse_grid
from sweeper.queue.messages import Assignment
from sweeper.store.store import ResultsStore
from sweeper.training.progress import Evaluation, TrialProgress
from tests.analysis.conftest import NOW

GRID = """
name: s
task: {name: text, alphabet: letters}
budgets: [10_000, 30_000, 100_000]
model: {d_m: [2, 4, 8, 16], d_tree: 4, d_branch: 4}
seeds: 2
training: {steps: 40}
"""
GATED = """
name: s
task: {name: text, alphabet: letters}
budgets: [10_000, 30_000, 100_000]
seeds: 2
training: {steps: 40}
blocks:
- {architecture: gru}
- {architecture: lstm}
"""
ONE = GRID.replace("[10_000, 30_000, 100_000]", "[10_000]").replace("seeds: 2", "seeds: 1")


class Kind(NamedTuple):
    """One kind of store: the grids launched into it one after the other, and how their trials ended."""

    grids: tuple[str, ...]
    status: str = "finished"


KINDS = {
    "edited": Kind((GRID, GRID.replace("steps: 40", "steps: 80"), GATED)),
    "gated": Kind((GATED,)),
    "connectivities": Kind((GRID.replace("d_branch: 4", "d_branch: [4, 8]"),)),
    "one budget": Kind((ONE,)),
    "one trial": Kind((ONE.replace("[2, 4, 8, 16]", "[4]"),)),
    "all failed": Kind((ONE,), "diverged"),
    "empty": Kind(()),
}


def write(path: Path, kind: Kind) -> str:
    store, rng = ResultsStore.create(path), np.random.default_rng(0)
    for text in kind.grids:
        records = []
        for row in expand(parse_grid(text)).trials.values():
            d_m = getattr(row.spec.model, "d_m", None) or 4
            loss = 1.5 + 9 * row.counts.trainable_params**-0.3 + 0.05 * abs(np.log(d_m / 5)) + 0.01 * rng.normal()
            progress = TrialProgress(steps_done=40, train_s=30.0, data_name="enwiki-mini/letters")
            if kind.status == "finished":
                progress.final = {
                    split: Evaluation(step=40, split=split, loss=loss, metric=loss, learning_rate=None, wall_s=1.0)
                    for split in ("train", "valid", "test")
                }
                progress.best = progress.final
            assignment = Assignment(
                trial_id=row.trial_id, spec=row.spec, sweep="s", budget=row.budget, attempt=1,
                configuration=row.spec.configuration, work=1.0,
            )  # fmt: skip
            reason = None if kind.status == "finished" else f"loss nan at step {len(records)}"
            times = {"started_at": NOW, "ended_at": NOW.replace(minute=14)}
            outcome = Outcome(status=kind.status, reason=reason, lane="l", code_version="v", **times)
            records.append(trial_record(assignment, outcome, progress))
        store.write("trials", [replace(record, cpu_s=20.0) for record in records])
        store.save_grid("s", text)  # as an edited grid takes the place of the one before it
    return str(path)


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Directories by kind, and the published tables, whose one row each has other things missing."""
    folder = tmp_path_factory.mktemp("stores")
    return (
        {name: write(folder / name, kind) for name, kind in KINDS.items()}
        | {name: name for name in ("published:enwik8", "published:shd_adding", "published:neuronio")}
        | {"imported": imported(folder / "imported")}
    )


def imported(path: Path) -> str:
    """Rows of another tool with sizes and a metric alone."""
    frame = pd.DataFrame([(n, d, 1.5 + n**-0.4 + d**-0.3) for n in (8, 16, 32, 64) for d in (10, 100, 1000)])
    frame.columns = ["width", "data", "loss"]
    mapping = {"n_rec": "width", "k_e": "data", "metric": "loss"}
    rows, _ = mapped(frame, ImportSettings(mapping=mapping, task="mine", direction="min"), place="t.csv")
    write_import(path, rows, Origin(source="t.csv", source_sha256=None, kind="table", mapping=mapping))
    return str(path)


COMMANDS = {
    "summary": ("summary", "{store}"),
    "summary --json": ("summary", "{store}", "--json"),
    "fit-theory": ("fit-theory", "{store}", "--quick", "--law", "quadratic", "--starts", "8", "-o", "{out}.json"),
    "dashboard": ("dashboard", "{store}", "--law", "quadratic", "-o", "{out}.html"),
    "compare": ("compare", "{store}", "published:enwik8", "--law", "quadratic", "-o", "{out}.compare.html"),
    "suggest": ("suggest", "{store}", "--hours", "1", "-o", "{out}.yaml"),
    "export": ("export", "{store}", "-o", "{out}.csv"),
}
REFUSED = {
    ("suggest", "all failed"): "no finished trial to go on from: 4 diverged, loss nan at step 0 (all of them); "
    "launch the grid with a learning rate ten times smaller",
    ("suggest", "empty"): "no trial has ended yet. Launch a grid first",
    ("suggest", "gated"): "suggestions need finished trials of ELM Networks with `budgets`, found none",
    **{
        ("suggest", f"published:{name}"): "nothing can be launched on from here; suggestions need a results directory"
        for name in ("enwik8", "shd_adding", "neuronio")
    },
    ("suggest", "imported"): "nothing can be launched on from here; suggestions need a results directory",
}
TOLD = {
    ("compare", "all failed"): "all failed: no finished trial to go on from: 4 diverged",
    ("compare", "empty"): "empty: no trial has ended yet",
    ("suggest", "edited"): "--group NAME chooses another",
    ("suggest", "one trial"): "only d_m = 4 was run",
}
MISSING = re.compile(r"\b(nan|NaN|None|inf)\b|\b1 (trials|runs|rows|budgets|sizes|configurations|points)\b|…")


@pytest.mark.parametrize(
    "store", [*KINDS, "published:enwik8", "published:shd_adding", "published:neuronio", "imported"]
)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_on_every_store(stores, tmp_path, monkeypatch, command, store):
    monkeypatch.setenv("COLUMNS", "80")
    arguments = [part.format(store=stores[store], out=tmp_path / "out") for part in COMMANDS[command]]
    found = CliRunner().invoke(cli, arguments)
    if (command, store) in REFUSED:
        assert found.exit_code == 1
        assert REFUSED[command, store] in str(found.exception)
        return
    assert found.exit_code == 0, (found.output, found.exception)
    shown = found.output.replace("loss nan at", "")  # a reason of the trials themselves
    assert not MISSING.search(shown), MISSING.findall(shown)
    assert TOLD.get((command, store), "") in " ".join(shown.split())
    if command == "summary --json":
        json.loads(found.stdout)
    elif command != "summary":
        assert any(path.stat().st_size for path in tmp_path.iterdir())


@pytest.mark.parametrize("command", ["summary", "fit-theory", "dashboard", "compare"])
def test_networks_without_d_m_have_no_column_for_it(stores, tmp_path, monkeypatch, command):
    arguments = [part.format(store=stores["gated"], out=tmp_path / "out") for part in COMMANDS[command]]
    if command == "compare":
        arguments.remove("published:enwik8")  # which has d_m
    found = CliRunner().invoke(cli, arguments)
    assert found.exit_code == 0, found.output
    pages = "".join(path.read_text() for path in tmp_path.glob("*.html"))
    heads = [line for line in found.output.splitlines() if re.match(r" +P  +k_c", line)]
    heads += [head for head in re.findall(r"<thead>.*?</thead>", pages) if "<th scope='col'>P<" in head]
    heads += re.findall(r'"columns":\["P","k_c".*?\]', pages)
    assert heads
    assert not [head for head in heads if "d_m" in head or "bracketed" in head or "as good" in head]
    assert "nothing to split" not in found.output
