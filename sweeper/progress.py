"""What a sweep has got done, as one line: `python -m sweeper.progress RESULTS`.

Job scripts compare two of them: equal lines mean that no trial has ended and no checkpoint was saved in between.
"""

import sys

from sweeper.store.store import ResultsStore


def progress(results: str) -> str:
    """The line for a results directory, which need not be there yet.

    Raises:
        StoreError: it cannot be read.
    """
    if not ResultsStore.exists(results):
        return "nothing yet"
    store = ResultsStore.open(results)
    trials = store.read_every("trials", ["trial_id"]).num_rows
    return f"{trials} trials, last checkpoint {store.last_change('checkpoints', '.pt') or 'none'}"


if __name__ == "__main__":
    print(progress(sys.argv[1]))
