import numpy as np
from click.testing import CliRunner

from benchmarks.tasks import main, reference_binning


def test_the_reference_way_counts_spikes() -> None:
    times = np.array([[0.001, 0.001, 0.999], [0.5, 0.25, 0.25]], dtype=np.float16)
    units = np.array([[3, 3, 0], [699, 5, 5]], dtype=np.uint16)
    counts = reference_binning(times, units)
    assert counts.shape == (1, 1000, 700)
    assert counts.sum() == 6
    assert counts[0, 0, 3] == counts[0, 625, 5] == 2
    assert counts[0, 499, 0] == counts[0, 750, 699] == 1


def test_a_task_is_timed_with_options() -> None:
    arguments = ["pathfinder", "--seconds", "0.01", "--batch-size", "2", "--options"]
    output = CliRunner().invoke(main, [*arguments, "{side: 16, dashes: 3}"], catch_exceptions=False).output
    assert output.splitlines()[-1].split()[1:7] == ["pathfinder-gen/16/3", "2", "x", "256", "x", "1"]
    assert CliRunner().invoke(main, ["--options", "{side: 16}"]).exit_code == 2


def test_every_task_is_timed() -> None:
    output = CliRunner().invoke(main, ["text", "shd_adding", "--seconds", "0.01"], catch_exceptions=False).output
    rows = [line.split() for line in output.splitlines()]
    assert [row[0] for row in rows] == ["task", "text", "shd_adding", "shd_adding"]
    assert float(rows[2][-1]) > 5 * float(rows[3][-1])
