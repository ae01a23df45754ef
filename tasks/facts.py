"""What is known of the data that a trial read, kept in its row: whoever reads a metric needs it beside the number."""

import json
from collections.abc import Mapping
from typing import Any

from tasks.batch import Task
from tasks.data.leaks import known_leaks


def data_facts(task: Task) -> str | None:
    """Describe the data of a loaded task.

    Args:
        task: the task; one that knows more than its specification has a method `facts`.

    Returns:
        JSON of an object with `leaks` (as `tasks.data.leaks.Leak`, where they were looked for), `yardsticks` (test
        metric of simple models by name) and `train_size` (sequences, or symbols of a stream); None where nothing is
        known.
    """
    spec = task.spec
    named = dict(spec.baselines) or ({} if spec.baseline is None else {"a trivial answer": spec.baseline})
    own: Mapping[str, Any] = getattr(task, "facts", dict)()
    leaks = known_leaks(task.data_name)
    facts: dict[str, Any] = {
        "leaks": None if leaks is None else [leak._asdict() for leak in leaks],
        "yardsticks": named or None,
        "train_size": spec.train_size,
        **own,
    }
    known = {name: value for name, value in facts.items() if value is not None}
    return json.dumps(known, sort_keys=True) if known else None
