"""Numbers on the command line that cannot be meant are usage errors, before anything is read or run."""

import shlex

import pytest
from click.testing import CliRunner

from analysis.cli import cli as analysis
from sweeper.cli import cli as sweeper

REFUSED = {
    "launch g.yaml --max-hours nan": "expected a number, got 'nan'",
    "launch g.yaml --max-hours inf": "expected a number, got 'inf'",
    "launch g.yaml --max-hours -1": "-1.0 is not allowed; hours of a launch, or to spend: 0 to 8,760 (a year)",
    "launch g.yaml --trial-limit-s 0": "'0' is not above zero",
    "launch g.yaml --trial-limit-s nan": "expected a number, got 'nan'",
    "launch g.yaml --checkpoint-s -5": "-5.0 is not allowed; seconds of a trial",
    "launch g.yaml --lanes 1000000000": "1000000000 is not allowed; lanes: 1 to 100,000",
    "launch g.yaml --threads 0": "0 is not allowed; threads of a trial: 1 to 1,000",
    "launch g.yaml --trials-per-gpu 99999999": "99999999 is not allowed; trials that share a GPU",
    "launch g.yaml --trials-per-gpu ²": "'²' is neither a whole number above zero nor auto",
    "launch g.yaml --seed-batch 99999999": "99999999 is not allowed; trials that share a GPU",
    "launch g.yaml --seed-batch ²": "'²' is not valid; give auto, off or a number",
    "launch g.yaml --device gpu": "'gpu' is not known. Valid: cpu, cuda, mps, xpu, or cuda:1",
    "launch g.yaml --device cuda:x": "'cuda:x' is not known",
    "plan g.yaml --lanes 0": "0 is not allowed; lanes: 1 to 100,000",
    "retry r --max-hours 1e300": "1e+300 is not allowed; any number",
    "analysis suggest r --hours inf": "expected a number, got 'inf'",
    "analysis suggest r --hours 0": "'0' is not above zero",
    "analysis fit-theory r --starts 1000000000": "1000000000 is not allowed; searches per fit: 8 to 10,000",
    "analysis fit-theory r --draws 10000000000": "10000000000 is not allowed; bootstrap draws: 0 to 100,000",
    "analysis dashboard r --seed -1": "-1 is not allowed; a seed: 0 to 9,007,199,254,740,991",
    "analysis serve r --seed 1e300": "expected a whole number",
}


@pytest.mark.parametrize("line", REFUSED)
def test_numbers_that_cannot_be_meant_are_usage_errors(line):
    words = shlex.split(line)
    command, words = (analysis, words[1:]) if words[0] == "analysis" else (sweeper, words)
    result = CliRunner().invoke(command, words)
    assert (result.exit_code, REFUSED[line] in result.output) == (2, True), result.output
