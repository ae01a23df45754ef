"""What `sweeper doctor` says of the back end that would train here."""

import pytest
from click.testing import CliRunner

from model.backends.native.build import NativeUnavailable
from sweeper.cli import cli


@pytest.mark.parametrize(
    ("why_not", "said"),
    [
        (None, "ok       back end       native\n"),
        ("no C++ compiler found (looked for c++)", "warning  back end       torch: no C++ compiler found (looked for"),
    ],
)
def test_doctor_names_the_back_end_and_why_it_is_not_the_fast_one(why_not, said, monkeypatch):
    def kernel(dtype):
        if why_not:
            raise NativeUnavailable(why_not)

    monkeypatch.setattr("sweeper.backend.kernel", kernel)
    done = CliRunner().invoke(cli, ["doctor"])
    assert (done.exit_code, said in done.output) == (0, True), done.output
