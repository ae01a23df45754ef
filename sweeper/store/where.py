"""Row conditions such as ``budget >= 1e5 and task in ('text', 'adding')``: a small, safe part of Python's expressions.

Nothing is evaluated by Python itself: the syntax tree is walked, and every node outside the list below is refused.
"""

import ast
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from cluster.errors import unknown_name
from sweeper.errors import SweeperError

Mask = npt.NDArray[np.bool_]

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_GRAMMAR = (
    "Use column names, numbers, 'text', == != < <= > >= in, and, or, not, for example \"d_m >= 3 and seed == 0\"."
)


class ConditionError(SweeperError):
    """The text is no condition on these columns."""


def matching_rows(frame: pd.DataFrame, condition: str) -> Mask:
    """Evaluate a condition on every row.

    Args:
        frame: rows; each column name may occur in the condition.
        condition: the condition's text.

    Returns:
        One truth value per row; a missing value fulfils no comparison except ``!=`` and ``not in``.

    Raises:
        ConditionError: the text is not a condition, names an unknown column or compares text with numbers.
    """
    try:
        tree = ast.parse(condition.strip(), mode="eval").body
    # Python 3.11 raises a ValueError at a null byte.
    except (SyntaxError, ValueError) as error:
        raise ConditionError(f"--where {condition!r}: cannot be read ({error}). {_GRAMMAR}") from error
    try:
        return _mask(tree, frame, condition)
    # pandas says so when text is compared with numbers.
    except TypeError as error:
        raise ConditionError(f"--where {condition!r}: {error}.") from error


def _mask(node: ast.expr, frame: pd.DataFrame, text: str) -> Mask:
    if isinstance(node, ast.BoolOp):
        # Not Python's `and`, which asks for one truth value of a whole column.
        combine = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
        return np.asarray(combine.reduce([_mask(value, frame, text) for value in node.values]), dtype=bool)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return ~_mask(node.operand, frame, text)
    if isinstance(node, ast.Compare):
        sides = [node.left, *node.comparators]
        masks = [_compare(a, op, b, frame, text) for a, op, b in zip(sides, node.ops, sides[1:], strict=False)]
        return np.asarray(np.logical_and.reduce(masks), dtype=bool)
    raise _refused(node, text)


def _compare(left: ast.expr, op: ast.cmpop, right: ast.expr, frame: pd.DataFrame, text: str) -> Mask:
    if isinstance(op, (ast.In, ast.NotIn)):
        listed = _is_in(_value(left, frame, text), _value(right, frame, text), text)
        return ~listed if isinstance(op, ast.NotIn) else listed
    if type(op) not in _COMPARISONS:
        raise ConditionError(f"--where {text!r}: `{ast.unparse(left)} ...` uses an unknown comparison. {_GRAMMAR}")
    outcome = _COMPARISONS[type(op)](_value(left, frame, text), _value(right, frame, text))
    # Two constants compare to one truth value, which would choose all rows or none.
    if not isinstance(outcome, pd.Series):
        raise ConditionError(f"--where {text!r}: each comparison must name a column.")
    # A missing value makes pandas' comparisons missing too, and a mask has to be true or false.
    return outcome.to_numpy(dtype=bool, na_value=False)


def _is_in(left: Any, right: Any, text: str) -> Mask:
    """Which rows have a column's value among those listed, or a piece of text in a column."""
    if isinstance(left, pd.Series) and isinstance(right, list):
        return left.isin(right).to_numpy(dtype=bool)
    if isinstance(left, str) and isinstance(right, pd.Series) and not pd.api.types.is_numeric_dtype(right):
        return right.astype("string").str.contains(left, regex=False).to_numpy(dtype=bool, na_value=False)
    raise ConditionError(f"--where {text!r}: `in` needs a column and (a, b, ...), or 'text' and a column of text.")


def _value(node: ast.expr, frame: pd.DataFrame, text: str) -> Any:
    if isinstance(node, ast.Name):
        if node.id not in frame.columns:
            raise ConditionError(unknown_name(f"--where {text!r}, column", node.id, frame.columns))
        return frame[node.id]
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float, str)):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_value(node.operand, frame, text)
    if isinstance(node, (ast.Tuple, ast.List)):
        return [_value(element, frame, text) for element in node.elts]
    raise _refused(node, text)


def _refused(node: ast.expr, text: str) -> ConditionError:
    return ConditionError(f"--where {text!r}: `{ast.unparse(node)}` is not allowed here. {_GRAMMAR}")
