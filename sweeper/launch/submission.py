"""What is checked of a grid before it is submitted as a job."""

import os

from cluster.code import reference, sources_of
from cluster.limits import shown
from sweeper.errors import GridError, SweeperError
from sweeper.plan.cost import CostModel
from sweeper.plan.expand import expand
from sweeper.plan.grid import Grid
from tasks.spec import task_options


def longest_trial_s(grid: Grid) -> float:
    """Expected seconds of a grid's longest trial on a CPU; the cost model has no constants for GPUs.

    Args:
        grid: the grid.

    Raises:
        SweeperError: none of the grid's points can be run.
    """
    specs = [row.spec for row in expand(grid).trials.values() if row.spec is not None]
    if not specs:
        raise SweeperError(f"{grid.name}: none of its points can be run; see `sweeper plan`")
    # Not calibrated: the rows here, if any, come from another machine than the job's.
    costs = CostModel()
    return max(costs.seconds(spec) for spec in specs)


def files_of(grid: Grid) -> dict[str, str]:
    """Files that a grid's tasks and architectures are defined in, by name: they are put beside the grid of the job.

    Args:
        grid: the grid.

    Raises:
        SweeperError: two of them have one name.
    """
    files: dict[str, str] = {}
    for name in (name for block in grid.blocks for name in (block.task, block.architecture)):
        wanted = reference(name)
        if wanted is None:
            continue
        (source,) = sources_of([name]).values()
        if files.setdefault(wanted.path, source) != source:
            raise SweeperError(f"{grid.name}: two files are called {wanted.path}; rename one of them")
    return files


def check_data_paths(grid: Grid) -> None:
    """Refuse data that a job would look for in a folder of its own, on other machines.

    Raises:
        GridError: a block's `data` is a relative path.
    """
    for block in grid.blocks:
        data = block.task_options.get("data")
        named = [name for option in task_options(block.task) if option.name == "data" for name in option.names]
        if isinstance(data, str) and data not in named and not os.path.isabs(data):
            raise GridError(
                f"{block.place}task.data: {shown(data)} is a relative path, and a job runs in another folder; give the "
                "absolute path at which the cluster's nodes see it"
            )
