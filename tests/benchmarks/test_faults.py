"""What the mix of faults refuses before it makes anything."""

import pytest
from click.testing import CliRunner

from benchmarks import faults


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "disk ful"], "--only: 'disk ful' is not known; did you mean 'disk full'? Valid: "),
        (["--only", "disk full", "--no-disk"], "none of the faults asked for can strike here"),
        (["--only", "gcs killed", "--no-ray"], "none of the faults asked for can strike here"),
    ],
)
def test_faults_that_are_not_there_are_refused_and_nothing_is_made(options, message, monkeypatch):
    monkeypatch.setattr(faults, "disturb", lambda *arguments: pytest.fail("it went on"))
    result = CliRunner().invoke(faults.main, options, env={"COLUMNS": "400"})
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
