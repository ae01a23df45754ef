import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.architecture import BudgetError
from model.architectures.mlp import mlp_params
from model.budget import counts, solve_d_m, solve_n_rec
from model.config import ElmConfig

DATA = Path(__file__).parent / "data"
ENWIK8 = ElmConfig(n_in=204, n_out=204, n_rec=1, d_m=1, d_tree=50, d_branch=15)
SHD_ADDING = ElmConfig(n_in=700, n_out=19, n_rec=1, d_m=1, d_tree=30, d_branch=10, rho_rec=0.25)
PUBLISHED = [("enwik8", ENWIK8, 3_516_748), ("shd_adding", SHD_ADDING, 77_310)]
PUBLISHED_ROWS = [
    pytest.param(config, budget, {k: float(v) for k, v in row.items()}, id=f"{name}-d_m{row['d_m']}")
    for name, config, budget in PUBLISHED
    for row in csv.DictReader((DATA / f"{name}_number_vs_complexity.csv").read_text().splitlines())
]
SIZES = st.integers(1, 40)


@pytest.mark.parametrize(("config", "budget", "row"), PUBLISHED_ROWS)
def test_published_networks_are_reproduced_to_the_unit(config: ElmConfig, budget: int, row: dict[str, float]) -> None:
    config = replace(config, d_m=int(row["d_m"]))
    config = replace(config, n_rec=solve_n_rec(config, budget))
    found = counts(config)
    assert config.n_rec == row["n_rec"]
    assert found.trainable_params == row["trainable_params"]
    assert found.total_params == row["total_params"]
    assert found.recurrent_params == config.n_rec * (found.k_e + found.k_c)


def test_all_published_networks_are_there() -> None:
    assert len(PUBLISHED_ROWS) == 24


def test_published_single_neurons_are_reproduced_to_the_unit() -> None:
    rows = list(csv.DictReader((DATA / "neuronio_neuron_complexity.csv").read_text().splitlines()))
    for row in rows:
        d_m = int(row["d_m"])
        found = 45 * 100 + mlp_params(45 + d_m, 2 * d_m, d_m, 1) + 2 * d_m + 2
        assert found == int(row["trainable_params"])
    assert len(rows) == 12


@given(sizes=st.fixed_dictionaries(dict.fromkeys(("n_in", "n_out", "d_m", "d_tree", "d_branch"), SIZES)),
       budget=st.integers(1, 200_000), l_mlp=st.integers(0, 3))  # fmt: skip
def test_n_rec_is_the_largest_that_fits(sizes: dict[str, int], budget: int, l_mlp: int) -> None:
    config = ElmConfig(**sizes, n_rec=1, l_mlp=l_mlp)
    smallest = counts(config).trainable_params
    if budget < smallest:
        with pytest.raises(BudgetError, match=rf"^budget: {budget} is too small .* {smallest}$"):
            solve_n_rec(config, budget)
        return
    n_rec = solve_n_rec(config, budget)
    assert counts(replace(config, n_rec=n_rec)).trainable_params <= budget
    assert counts(replace(config, n_rec=n_rec + 1)).trainable_params > budget


@given(budget=st.integers(5_000, 10**7), n_rec=st.integers(1, 50))
def test_d_m_is_the_largest_that_fits(budget: int, n_rec: int) -> None:
    config = ElmConfig(n_in=20, n_out=5, n_rec=n_rec, d_m=1, d_tree=4, d_branch=1)
    d_m = solve_d_m(config, budget)
    assert counts(replace(config, d_m=d_m)).trainable_params <= budget
    assert counts(replace(config, d_m=d_m + 1)).trainable_params > budget


@pytest.mark.parametrize("budget", [-5, 0, 2.5, True, "8k"])
def test_budgets_that_are_none(budget: Any) -> None:
    with pytest.raises(BudgetError, match=r"^budget: "):
        solve_n_rec(ENWIK8, budget)
