"""What the design accepts and refuses."""

import numpy as np
import pytest

from theory.data.design import Design, infer_budgets
from theory.errors import TheoryError


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"n_rec": [1.0, 0.0], "k_e": [1.0, 2.0]}, r"n_rec: row 1 is 0.0; sizes must be finite and above 0"),
        ({"n_rec": [1.0, 2.0], "k_e": [1.0, -2.0]}, r"k_e: row 1 is -2.0"),
        ({"n_rec": [np.nan, 2.0], "k_e": [1.0, 2.0]}, r"n_rec: row 0 is nan"),
        ({"n_rec": [1.0, 2.0], "k_e": [1.0, 2.0, 3.0]}, r"n_rec: has shape \(2,\)"),
        ({"n_rec": [1.0, 2.0], "k_e": 1.0, "covariates": {"tau": [1]}}, r"covariates.tau: has shape \(1,\)"),
    ],
)
def test_bad_sizes_are_named(columns, message):
    with pytest.raises(TheoryError, match=message):
        Design(**columns)


def test_single_numbers_are_repeated():
    assert Design(n_rec=[1.0, 2.0], k_e=5.0, k_c=0.0).params.tolist() == [5.0, 10.0]


def test_budgets_of_the_published_spread_are_one():
    spread = np.array([3489143, 3516748, 3500419, 74109, 77310])
    assert np.unique(infer_budgets(spread)).tolist() == [77310.0, 3516748.0]
    factors = np.array([1.0, 2.0, 4.0])
    assert np.unique(infer_budgets(1e6 * factors)).size == 3


def test_dense_counts_do_not_chain_into_one_budget():
    assert np.unique(infer_budgets(np.geomspace(1e5, 1e7, 2000))).size > 60


def test_configurations_ignore_nothing_but_the_seed():
    design = Design(n_rec=[5, 5, 5], k_e=[7, 7, 7], covariates={"tau": np.array(["a", "a", "b"])})
    codes = design.configurations()
    assert codes[0] == codes[1] != codes[2]
