import hashlib
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.loaders import load_task
from tasks.sequences.listops import CLOSE, FIRST_OPERATOR, RULES, distinct_expressions, evaluate, expression
from tasks.sequences.sequences import SequenceTask

SMALL = {"train_examples": 3000, "valid_examples": 500}
TOKENS = ["", *map(str, range(10)), "[MIN", "[MAX", "[MED", "[SM", "]"]


def parsed(symbols: list[int]) -> tuple[int, int, int]:
    """Evaluates a written expression from its text; returns value, depth and most arguments."""
    stack: list[list[object]] = []
    depth = most = 0
    for token in (TOKENS[symbol] for symbol in symbols):
        if token.startswith("["):
            stack.append([token])
            depth = max(depth, len(stack) + 1)
            continue
        value = int(token) if token != "]" else None
        if value is None:
            name, *values = stack.pop()
            most = max(most, len(values))
            assert len(values) >= 2
            apply = {"[MIN": min, "[MAX": max, "[MED": lambda v: int(np.median(v)), "[SM": lambda v: sum(v) % 10}
            value = apply[str(name)](values)  # type: ignore[operator]
            if not stack:
                return value, depth, most
        stack[-1].append(value)
    raise AssertionError("unbalanced")


def test_values_follow_from_the_text() -> None:
    for symbols, value in distinct_expressions(RULES["small"], 400):
        assert 20 < len(symbols) < 100
        found, depth, most = parsed(list(symbols))
        assert found == value
        assert depth <= 6
        assert most <= 5


def test_the_arenas_rules_give_long_expressions() -> None:
    kept = list(distinct_expressions(RULES["lra"], 40))
    assert all(500 < len(symbols) < 2000 for symbols, _ in kept)
    assert 900 < np.mean([len(symbols) for symbols, _ in kept]) < 1300
    assert all(parsed(list(symbols))[0] == value for symbols, value in kept)


def test_operators() -> None:
    assert [evaluate(name, [9, 2, 4, 7]) for name in ("MIN", "MAX", "MED", "SM")] == [2, 9, 5, 2]
    assert evaluate("MED", [8, 1, 3]) == 3


def test_a_quarter_of_the_nodes_are_operators() -> None:
    source = random.Random(1)
    roots = [expression(source, RULES["small"])[0][0] >= FIRST_OPERATOR for _ in range(4000)]
    assert np.mean(roots) == pytest.approx(0.25, abs=0.03)


def test_the_data_are_the_same_everywhere() -> None:
    content = hashlib.sha256(b"".join(s + bytes([v]) for s, v in distinct_expressions(RULES["small"], 200)))
    assert content.hexdigest()[:16] == "d035ef312bb572c3"


@pytest.fixture(scope="module")
def task() -> SequenceTask:
    loaded = load_task("listops", SMALL)
    assert isinstance(loaded, SequenceTask)
    return loaded


def test_expressions_end_at_the_last_step_and_splits_share_none(task: SequenceTask) -> None:
    seen: dict[str, set[bytes]] = {}
    for split, count in (("train", 3000), ("valid", 500), ("test", 2000)):
        batch = next(task.eval_batches(split, batch_size=count, length=100, max_batches=None))  # type: ignore[arg-type]
        assert batch.x.dtype == torch.int64
        assert (batch.x[:, -1] == CLOSE).all()
        assert (batch.x[:, 0] == 0).all()
        assert not ((batch.x[:, 1:] == 0) & (batch.x[:, :-1] != 0)).any()
        seen[split] = {row.numpy().tobytes() for row in batch.x}
        assert len(seen[split]) == count
        assert parsed([s for s in batch.x[7].tolist() if s])[0] == batch.y[7]
    assert not seen["train"] & seen["valid"]
    assert not seen["test"] & (seen["train"] | seen["valid"])


def test_the_majority_is_pinned_in_the_spec(task: SequenceTask) -> None:
    assert task.spec.baseline == pytest.approx(task.majority("test"))
    assert task.spec.baseline != load_task("listops", SMALL | {"test_examples": 30}).spec.baseline


def test_a_torn_cache_is_noticed_and_made_anew(tmp_path: Path) -> None:
    few = {"train_examples": 5, "valid_examples": 5, "test_examples": 5}
    load_task("listops", few, cache_dir=tmp_path)
    stored = next((tmp_path / "listops").glob("*.npy"))
    whole = stored.read_bytes()
    np.save(stored.with_name("torn.npy"), np.load(stored)[:-1])
    stored.with_name("torn.npy").replace(stored)  # what is mapped must not be cut in place
    load_task("listops", few, cache_dir=tmp_path)
    assert stored.read_bytes() == whole
