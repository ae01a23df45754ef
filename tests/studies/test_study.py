"""The replication study's questions on rows whose answer is known."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from analysis.errors import AnalysisError
from analysis.laws.theory_fit import FitSettings, fit_dataset
from analysis.rows.load import datasets, read_sweep
from analysis.rows.sweep import Dataset, Selection
from benchmarks.synthetic import Design, Truth, elm_sizes, write_sweep
from studies.answers import Answer
from studies.paper_in_miniature.figures import study_pictures
from studies.paper_in_miniature.laws import held_out, moved_exponent, noise_law
from studies.paper_in_miniature.questions import (
    NOT_DECIDED,
    NOT_REPRODUCED,
    REPRODUCED,
    Base,
    ablation,
    architectures,
    axis_alone,
    interior_optimum,
    movement,
)
from studies.paper_in_miniature.study import cli
from studies.prediction import predict, refuse_late
from sweeper.plan.expand import expand
from sweeper.plan.grid import parse_grid

BASE = Base(d_tree=4, d_branch=4, n_rec=64, d_m=4)
BUDGETS, VALUES = (10_000, 30_000, 100_000, 300_000), (1, 2, 3, 4, 6, 9, 14, 22)


def dataset(rows: pd.DataFrame, architecture: str = "elm", direction: str = "min") -> Dataset:
    """Rows with what every question needs filled in."""
    given = {
        "d_tree": 4,
        "d_branch": 4,
        "k_c": 16,
        "budget": np.nan,
        "learning_rate": 0.01,
        "mlp_ratio": 2.0,
        "l_mlp": 1,
        "tokens": 80_000,
    }
    rows = rows.assign(**{name: value for name, value in given.items() if name not in rows})
    rows["k_e"], rows["readout_params"] = 4 * rows["d_m"] ** 2 + 12 * rows["d_m"] + 1, 1944
    rows["trainable_params"] = rows["n_rec"] * (rows["k_e"] + rows["k_c"]) + 1944
    rows["trial_id"] = [f"{architecture}-{i}" for i in range(len(rows))]
    rows["final_valid_metric"] = rows["value"]
    rows["configuration"] = rows.groupby(["budget", "n_rec", "d_m", "k_c", "learning_rate"], dropna=False).ngroup()
    keys = {"task": "t", "data_name": "t", "metric": "bpc", "direction": direction, "architecture": architecture}
    return Dataset(
        label="t",
        keys=keys,
        selection=Selection(),
        metric="bpc",
        direction=direction,
        chance=None,
        rows=rows,
        excluded=(),
    )


def seeds(values: list[dict[str, float]], noise: float = 0.003, n: int = 3, draw: int = 0) -> pd.DataFrame:
    random = np.random.default_rng(draw)
    rows = [
        row | {"seed": s, "value": row["value"] + noise * random.standard_normal()} for row in values for s in range(n)
    ]
    return pd.DataFrame(rows)


def along_n(values: list[float], draw: int = 0) -> Dataset:
    sizes = (8, 16, 32, 64, 128)
    return dataset(seeds([{"n_rec": n, "d_m": 4, "value": v} for n, v in zip(sizes, values, strict=True)], draw=draw))


def test_an_axis_that_helps_is_told_from_one_that_turns_and_from_noise():
    assert axis_alone(along_n([3.0, 2.9, 2.8, 2.7, 2.6]), "n_rec", BASE).verdict == REPRODUCED
    turned = axis_alone(along_n([3.0, 2.8, 2.6, 2.5, 2.6]), "n_rec", BASE)
    assert (turned.verdict, turned.numbers["worse_at"]) == (NOT_REPRODUCED, [128.0])
    flat = [axis_alone(along_n([3.0] * 5, draw), "n_rec", BASE).verdict for draw in range(60)]
    assert flat.count(NOT_DECIDED) > 45  # the rules err in about a tenth of the cases
    assert axis_alone(along_n([3.0, 2.9, 2.8, 2.7, 2.6]), "k_c", BASE).verdict == NOT_DECIDED  # one level only


def isobudget(power: float, curvature: float = 0.1) -> Dataset:
    """Metric with its optimum at d_m = 3 (P / 10,000)^power."""
    rows = []
    for budget in BUDGETS:
        for d_m in VALUES:
            k_e, k_c, readout = elm_sizes(d_m, 4, 4, 27)
            n_rec = (budget - readout) // (k_e + k_c)
            best = 3 * (budget / 10_000) ** power
            if n_rec >= 2:
                value = 3 - 0.1 * np.log(budget) + curvature * np.log(d_m / best) ** 2
                rows.append({"budget": budget, "d_m": d_m, "n_rec": n_rec, "value": value})
    return dataset(seeds(rows))


def test_an_interior_optimum_needs_worse_ends_on_both_sides():
    assert interior_optimum(isobudget(0.25)).verdict == REPRODUCED
    assert interior_optimum(isobudget(0.25, curvature=0.0)).verdict != REPRODUCED
    rising = isobudget(0.25)
    rising.rows["value"] = 3 - 0.1 * np.log(rising.rows["d_m"])
    assert interior_optimum(rising).verdict == NOT_REPRODUCED


def test_the_exponents_of_the_optimum_are_found_without_a_law():
    moved, ratio = movement(isobudget(0.25))
    estimate, low, high = moved.numbers["exponents"]["d_m"]
    assert moved.verdict == REPRODUCED
    assert estimate == pytest.approx(0.25, abs=0.02)
    assert low < 0.25 < high
    best = 3 * (np.array(BUDGETS) / 10_000) ** 0.25
    n_rec = (np.array(BUDGETS) - 1944) / (4 * best**2 + 12 * best + 17)
    expected = 0.25 / np.polyfit(np.log(BUDGETS), np.log(n_rec), 1)[0]
    assert ratio.numbers["ratio"][1] < expected < ratio.numbers["ratio"][2]
    assert ratio.verdict == NOT_REPRODUCED  # synapses and linear terms still count at these sizes
    still, _ = movement(isobudget(0.0))
    assert still.verdict == NOT_DECIDED
    assert movement(isobudget(-0.2))[0].verdict == NOT_REPRODUCED


def test_an_ablation_is_paired():
    base = isobudget(0.25).rows
    other = base.assign(value=base["value"] + 0.05 + 0.2 * (base["d_m"] == 22))
    found = ablation(base, other[other["d_m"] < 22], "min", "rho_rec", "0")
    assert found["gain"][0] == pytest.approx(-0.05)
    assert found["pairs"] == (base["d_m"] < 22).sum()
    assert set(found["best_d_m"]) == {f"{budget:g}" for budget in BUDGETS}
    means = base[base["d_m"] < 22].groupby(["budget", "d_m"])["value"].mean().groupby("budget")
    for budget in BUDGETS:
        assert found["best_d_m"][f"{budget:g}"]["base"] == means.idxmin()[budget][1]
        best = found["best_metric"][f"{budget:g}"]
        assert best["base"] == pytest.approx(means.min()[budget])
        assert best["changed"] == pytest.approx(means.min()[budget] + 0.05)


def test_an_architecture_is_compared_at_the_choice_of_the_validation_split():
    elm = isobudget(0.25)
    own = elm.rows.groupby("budget")["value"].min()
    rows = [{"budget": b, "n_rec": 10, "d_m": 1, "value": own[b] + 0.1} for b in BUDGETS]
    lstm = dataset(seeds(rows), "lstm")
    assert architectures(elm, [lstm]).verdict == REPRODUCED
    assert "learning rate" not in architectures(elm, [lstm]).sentence
    bound = lstm.rows.loc[lstm.rows["budget"] == BUDGETS[0], "trial_id"]
    told = architectures(elm, [lstm], rate_at_end=set(bound)).sentence
    assert told.endswith(f"so perhaps better yet: lstm at P = {BUDGETS[0]:,}.")
    rows[0]["value"] -= 0.3
    told = architectures(elm, [dataset(seeds(rows), "lstm")])
    assert told.verdict == NOT_REPRODUCED
    assert "better in 3 of 4 comparisons" in told.sentence
    assert architectures(elm, []).verdict == NOT_DECIDED


@pytest.fixture(scope="module")
def smooth(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """Rows of a known law over the budgets of the study."""
    path = tmp_path_factory.mktemp("study") / "made-up"
    write_sweep(path, Design(budgets=(10_000, 30_000, 100_000), d_m=VALUES, seeds=3), truth=Truth())
    return datasets(read_sweep(path), Selection())[0]


HOLDOUT = """
name: made_up_holdout
task: {name: text, data: embedded, alphabet: letters}
model: {d_m: [4, 9, 22], d_tree: 4, d_branch: 4}
budgets: [300_000]
seeds: 2
"""


def test_a_prediction_is_made_before_and_judged_after(smooth, tmp_path):
    plan = expand(parse_grid(HOLDOUT))
    law = fit_dataset(smooth, FitSettings(starts=16))
    told = predict(law, plan)
    assert [point["d_m"] for point in told["points"]] == [4, 9, 22]
    assert all(point["low"] < point["mean"] < point["high"] for point in told["points"])
    file = tmp_path / "prediction.json"
    file.write_text(json.dumps(told))
    points = pd.DataFrame(told["points"]).rename(columns={"mean": "value"})
    rows = seeds(points[["budget", "n_rec", "d_m", "value"]].to_dict("records")).assign(direction="min")
    assert held_out(file, rows).verdict == REPRODUCED
    assert held_out(file, rows.assign(value=5 - rows["value"])).verdict == NOT_REPRODUCED
    assert held_out(file, rows[rows["d_m"] > 4]).verdict == NOT_DECIDED
    assert held_out(tmp_path / "none.json", rows).verdict == NOT_DECIDED


def test_a_prediction_that_comes_late_is_refused(smooth, tmp_path):
    """Also where the trial that somebody could have looked at does not enter the fit."""
    plan, path = expand(parse_grid(HOLDOUT)), tmp_path / "made-up"
    write_sweep(path, Design(budgets=(10_000,), d_m=(2, 4), seeds=1))
    sweep = read_sweep(path)
    refuse_late(tmp_path / "prediction.json", plan, sweep)
    failed = sweep.trials[:1].assign(trial_id=list(plan.trials)[:1], status="diverged", sweep="made_up_holdout")
    seen = replace(sweep, trials=pd.concat([sweep.trials, failed], ignore_index=True))
    with pytest.raises(AnalysisError, match="1 of its trials are among the rows; a prediction must come first"):
        refuse_late(tmp_path / "prediction.json", plan, seen)


def test_neighbours_are_neighbours_in_d_m_whatever_the_order_of_the_points(tmp_path):
    given = {"budget": 10, "n_rec": 1, "low": 0.0, "high": 9.0}
    points = [given | {"d_m": d_m, "mean": mean} for d_m, mean in ((4, 3.0), (22, 3.05), (9, 2.99))]
    file = tmp_path / "prediction.json"
    told = {"points": points, "rivals": {"law": [3.0, 3.05, 2.99]}, "made_at": "before", "law": "law"}
    file.write_text(json.dumps(told))
    seen = [
        given | {"d_m": d_m, "value": mean + e}
        for d_m, mean in ((4, 2.985), (22, 3.05), (9, 2.99))
        for e in (-0.02, 0.02)
    ]
    answer = held_out(file, pd.DataFrame(seen).drop(columns=["low", "high"]).assign(direction="min"))
    assert answer.verdict == REPRODUCED
    assert "best d_m predicted 9, measured 4" in answer.sentence


def test_the_noise_law_is_ranked(smooth):
    answer = noise_law(smooth, FitSettings(starts=8))
    assert answer.verdict in (REPRODUCED, NOT_DECIDED)
    assert next(iter(answer.numbers["delta_aicc"].values())) == 0.0
    assert any(name.startswith("exponential") for name in answer.numbers["delta_aicc"])


def joint(**aicc: float) -> dict:
    models = [{"model": name.replace("_", " "), "aicc": value, "usable": True} for name, value in aicc.items()]
    levels = [{"level": "10"}, {"level": "100"}]
    return {"setting": "tau_m_max", "models": models, "levels": levels, "parameters": [], "sentences": ["Why not."]}


def test_an_exponent_counts_as_moved_only_ahead_of_every_other_explanation():
    assert moved_exponent(joint(all_shared=10.0, alpha=0.0, beta=8.0), "alpha").verdict == REPRODUCED
    assert moved_exponent(joint(all_shared=10.0, alpha=8.0, beta=0.0), "alpha").verdict == NOT_REPRODUCED
    assert moved_exponent(joint(all_shared=10.0, alpha=6.0, beta=0.0), "alpha").verdict == NOT_DECIDED
    told = moved_exponent(joint(all_shared=10.0), "alpha")
    assert (told.verdict, told.sentence) == (NOT_DECIDED, "Why not.")


def test_the_commands_write_their_files(tmp_path):
    results = tmp_path / "made-up"
    write_sweep(results, Design(budgets=(10_000, 30_000), d_m=(2, 4, 9, 22), seeds=2))
    (tmp_path / "holdout.yaml").write_text(HOLDOUT)
    file = results / "prediction.json"
    arguments = ["predict", str(results), str(tmp_path / "holdout.yaml"), "-o", str(file)]
    assert CliRunner().invoke(cli, arguments).exit_code == 0
    refused = CliRunner().invoke(cli, arguments)
    assert "there is a prediction already" in str(refused.exception)
    done = CliRunner().invoke(cli, ["verdicts", str(results), "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "| Is there an interior optimum at fixed P? |" in (tmp_path / "out" / "verdicts.md").read_text()
    assert set(json.loads((tmp_path / "out" / "verdicts.json").read_text())) == {"made-up"}


def test_the_figures_show_the_numbers_of_the_answers():
    base = isobudget(0.25)
    effect = ablation(base.rows, base.rows.assign(value=base.rows["value"] + 0.05), "min", "rho_rec", "0")
    rows = [{"budget": b, "n_rec": 10, "d_m": 1, "value": 3.0} for b in BUDGETS]
    told = [
        axis_alone(along_n([3.0, 2.9, 2.8, 2.7, 2.6]), "n_rec", BASE),
        Answer("Does recurrence help?", REPRODUCED, "", {"effects": [effect]}),
        architectures(base, [dataset(seeds(rows), "lstm")]),
    ]
    found = {picture.name: picture.figure for picture in study_pictures(told, "test bpc")}
    assert set(found) == {"axes-alone", "ablations", "architectures"}
    assert found["axes-alone"]["data"][0]["y"] == told[0].numbers["means"]
    assert found["ablations"]["data"][0]["y"] == ["rho_rec = 0"]
    assert found["ablations"]["data"][0]["x"] == [pytest.approx(-0.05)]
    assert [trace["name"] for trace in found["architectures"]["data"]] == ["elm", "lstm"]
    assert "'@" not in str(found)
    assert study_pictures([Answer("What?", NOT_DECIDED, "", {})], "test bpc") == []
