"""The `sweeper` command with trials of a known law: `python -m benchmarks.faulty_launch SECONDS launch grid.yaml ...`.

Everything but the training is the real thing: signals, streams, exit codes, lanes, rows. SECONDS is what a trial takes.
"""

import sys
from typing import Any

from sweeper import cli
from sweeper.commands import runs
from sweeper.executors.executor import Executor


def main() -> None:
    """Run the command."""
    seconds, real = float(sys.argv.pop(1)), runs._executor

    def with_truth(executor: str, address: str | None, lanes: dict[str, Any]) -> Executor:
        # Loads torch, which the command does not load before either: what comes early must meet a command that is young
        from benchmarks.ground_truth import SavedTruth

        return real(executor, address, lanes).with_trainer(SavedTruth(seconds=seconds))

    runs._executor = with_truth
    cli.main()


if __name__ == "__main__":
    main()
