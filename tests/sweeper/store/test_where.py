"""Row conditions select what they say and refuse everything that is not a comparison of columns."""

import pandas as pd
import pytest

from sweeper.store.where import ConditionError, matching_rows

FRAME = pd.DataFrame({"budget": [1e4, 1e5, None], "d_m": [3, 5, 8], "task": ["text", "adding", "text"]})


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("d_m >= 5", [False, True, True]),
        ("budget < 5e4", [True, False, False]),  # a missing value fulfils no comparison
        ("3 < d_m <= 8", [False, True, True]),
        ("task == 'text' and not d_m == 3", [False, False, True]),
        ("task in ('adding', 'x') or d_m in [3]", [True, True, False]),
        ("task not in ('adding',)", [True, False, True]),
        ("d_m > -1", [True, True, True]),
        ("'ex' in task", [True, False, True]),
        ("'.' not in task", [True, True, True]),  # plain text, no pattern
    ],
)
def test_a_condition_selects_rows(condition, expected):
    assert matching_rows(FRAME, condition).tolist() == expected


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("d_x > 3", r"column: 'd_x' is not known; did you mean 'd_m'\? Valid: budget, d_m, task"),
        ("d_m >", "cannot be read"),
        ("d_m > 'a'", "Invalid comparison"),
        ("d_m", "is not allowed here"),
        ("3 > 2", "each comparison must name a column"),
        ("d_m is 3", "unknown comparison"),
        ("d_m in 3", "`in` needs a column"),
        ("'3' in d_m", "`in` needs a column"),
        ("__import__('os').system('true') == 0", "is not allowed here"),
        ("task.upper() == 'TEXT'", "is not allowed here"),
        ("[d_m for d_m in (1,)] == 3", "is not allowed here"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_by_name(condition, message):
    with pytest.raises(ConditionError, match=message):
        matching_rows(FRAME, condition)
