"""Ways in which a training ends before its last step."""

from sweeper.errors import SweeperError


class Diverged(SweeperError):
    """The loss or a gradient is no longer finite."""


class Stopped(SweeperError):
    """The caller asked the trial to stop before its end."""


class TimedOut(SweeperError):
    """The trial took longer than it was allowed."""


class Pruned(SweeperError):
    """The trial is ended because others did better after as many steps."""
