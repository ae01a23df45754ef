"""The sweep that launches are disturbed in, run once for all of them."""

import pytest
from rich.console import Console

from sweeper.launch.launch import launch
from sweeper.plan.grid import parse_grid
from tests.sweeper.inline import LanesHere


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory, slow_text):
    """What was measured of each trial."""
    from tests.sweeper.launch.test_launch import measured

    folder = tmp_path_factory.mktemp("undisturbed")
    # With the folder, as a file that is launched: a text alone is read as one that was stored, with older defaults.
    grid = parse_grid(slow_text, folder=folder)
    launch(grid, str(folder / "results"), LanesHere(), Console(quiet=True))
    return measured(folder / "results")
