"""The formulas of the page about concepts give the sizes that the program counts."""

import re
from pathlib import Path

import pytest

from model.budget import counts, solve_n_rec
from model.config import READOUT_D_M, ElmConfig

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "concepts.md").read_text(encoding="utf-8")
BLOCK = re.search(r"^```text\n(k_c .*?)^```$", PAGE, re.M | re.S)
K_E_READOUT = "(d_tree + d_m) * d_m + d_m + d_m + 1"
"""A read-out neuron's: its MLP is linear."""


@pytest.mark.parametrize("sizes", [{"d_m": 4, "d_tree": 4, "d_branch": 4}, {"d_m": 15, "d_tree": 8, "d_branch": 3}])
def test_formulas_of_the_page(sizes):
    config = ElmConfig(n_in=27, n_out=27, n_rec=62, **sizes)
    names = {**sizes, "d_mlp": config.mlp_width, "n_out": config.n_out, "n_rec": config.n_rec}
    names["k_e_readout"] = eval(K_E_READOUT, {}, {**sizes, "d_m": READOUT_D_M})
    lines = dict(re.split(r" += ", line, maxsplit=1) for line in BLOCK[1].splitlines())
    for name in ("k_c", "k_e", "P_readout", "P"):
        names[name] = eval(lines[name].replace("^", "**"), {}, names)
    counted = counts(config)
    assert (names["k_c"], names["k_e"]) == (counted.k_c, counted.k_e)
    assert (names["P_readout"], names["P"]) == (counted.readout_params, counted.trainable_params)


def test_the_example_of_the_page():
    config = ElmConfig(n_in=27, n_out=27, n_rec=1, d_m=4, d_tree=4, d_branch=4)
    k_c, k_e, readout, budget, n_rec = (
        int(number.replace(",", ""))
        for number in re.search(
            r"k_c = (\d+), k_e = (\d+) and P_readout =\s([\d,]+), so a budget of ([\d,]+) holds (\d+) neurons", PAGE
        ).groups()
    )
    counted = counts(config)
    assert (k_c, k_e, readout) == (counted.k_c, counted.k_e, counted.readout_params)
    assert solve_n_rec(config, budget) == n_rec
