"""Builds rows of the store for tests."""

from datetime import UTC, datetime

from sweeper.store.schema import TrialRecord

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def trial(trial_id: str, **changes) -> TrialRecord:
    values = dict.fromkeys(TrialRecord.__dataclass_fields__)
    values |= {
        "trial_id": trial_id,
        "hash_scheme": 1,
        "attempt": 1,
        "sweep": "s",
        "status": "finished",
        "task": "text",
        "metric": "bpc",
        "direction": "min",
        "architecture": "elm",
        "n_in": 3,
        "n_out": 3,
        "n_rec": 4,
        "seed": 0,
        "learning_rate": 0.1,
        "batch_size": 2,
        "length": 5,
        "steps": 7,
        "spec": "{}",
        "k_e": 9.0,
        "k_c": 4.0,
        "trainable_params": 99,
        "recurrent_params": 50,
        "readout_params": 49,
        "total_params": 120,
        "steps_done": 7,
        "tokens": 70,
        "wall_s": 1.5,
        "started_at": NOW,
        "ended_at": NOW,
        "host": "h",
        "lane": "l",
        "code_version": "v",
        "trained_with": 0,
    }
    return TrialRecord(**(values | changes))
