"""Whether a machine is one on which lanes of a launch can work: it may have joined a cluster after all were asked."""

import time

from cluster.attach.probe import versions
from cluster.attach.versions import differing_versions
from cluster.errors import joined
from sweeper.errors import OutageError, StoreError
from sweeper.lane.options import LaneConfig
from sweeper.queue.journal import holds_state_of
from sweeper.store.store import ResultsStore

PATIENCE_S = 15.0
"""Network file systems may show a new file this late (as in `cluster.attach.shared`)."""
_POLL_S = 0.5


def misfit_of_node(config: LaneConfig) -> str | None:
    """Why no lane can work on this machine, or None.

    Args:
        config: of the lanes; the launcher's versions are compared with those here, and the state that it keeps in its
            results directory is looked for in the directory of that name here.
    """
    if differing := differing_versions(versions(), config.versions):
        return f"it has {differing}"
    deadline = time.monotonic() + PATIENCE_S
    while True:
        problem = _other_directory(config)
        if problem is None or time.monotonic() > deadline:
            return problem
        time.sleep(_POLL_S)


def _other_directory(config: LaneConfig) -> str | None:
    try:
        if holds_state_of(ResultsStore.open(config.store_uri), config.launcher):
            return None
    except OutageError:  # of object storage, which is no fault of this machine; lanes wait for it
        return None
    except StoreError as error:
        return joined(error)
    return f"{config.store_uri} is another directory there than the launcher's, and its rows would be lost"
