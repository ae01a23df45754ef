"""How much longer trials take on a machine that others use too, or whose cores are fewer than its lanes."""

import os

from cluster.attach.machine import machine_share
from sweeper.words import counted

QUIET = 0.5
"""Load below which a machine counts as quiet: commands that have just ended leave as much (assumption)."""


def slowdown(lanes: int) -> float:
    """By how much a trial takes longer here than on a core of its own: what computes, per core there is.

    Args:
        lanes: trials at a time.
    """
    others = os.getloadavg()[0]
    # The load is that of the machine, and so are its cores; a control group's share of them limits the lanes alone.
    of_machine = (lanes + (others if others > QUIET else 0.0)) / (os.cpu_count() or 1)
    return max(1.0, of_machine, lanes / machine_share().cpus)


def busy_sentence(factor: float, lanes: int) -> str:
    """Say that a forecast takes the load into account; empty where it makes little difference.

    Args:
        factor: what `slowdown` returned.
        lanes: trials at a time.
    """
    if factor < 1.1:
        return ""
    return (
        f"{counted(lanes, 'lane')} and a load of {os.getloadavg()[0]:.1f} share {machine_share().cpus:g} cores here: "
        f"the forecast takes trials to run {factor:.1f} times as long as on a core of their own."
    )
