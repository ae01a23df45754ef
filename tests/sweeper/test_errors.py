"""What reaches the person: their mistakes as one line, our faults as faults."""

import os
import subprocess
import sys

import click
import numpy as np
import pytest

from cluster.errors import ConnectError, ProfileError, unknown_name
from model.config import ConfigError
from sweeper.errors import FAULT, GridError, StoreError, run_command
from tasks.errors import DataError
from theory.errors import TheoryError, unknown


def ended(error: Exception, monkeypatch) -> int:
    @click.command()
    def command() -> None:
        raise error

    monkeypatch.setattr("sys.argv", ["sweeper"])
    with pytest.raises(SystemExit) as stop:
        run_command(command)
    return stop.value.code


@pytest.mark.parametrize(
    "kind", [GridError, StoreError, ProfileError, ConnectError, ConfigError, DataError, TheoryError]
)
def test_a_mistake_is_one_line_and_code_1(kind, monkeypatch, capsys):
    assert ended(kind("seeds: expected\n  more"), monkeypatch) == 1
    assert capsys.readouterr().err == "Error: seeds: expected more\n"


def test_a_refusal_of_the_system_names_the_file(monkeypatch, capsys):
    assert ended(PermissionError(13, "Permission denied", "/data/x"), monkeypatch) == 1
    assert capsys.readouterr().err == "Error: [Errno 13] Permission denied: '/data/x'\n"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_a_terminal_cannot_show_is_replaced(encoding):
    for arguments in (["sweeper", "plan", "→"], ["analysis", "summary", "published:enwik8"]):
        done = subprocess.run(
            [sys.executable, "-m", *arguments],
            env={**os.environ, "PYTHONIOENCODING": encoding},
            capture_output=True,
            check=False,
        )
        assert b"Traceback" not in done.stderr
        assert done.returncode == (1 if "→" in arguments else 0)
    assert b"?" in done.stdout


def test_a_fault_of_ours_is_not_shown_as_the_users_mistake(monkeypatch, capsys):
    with pytest.raises(ValueError, match="broadcast") as fault:
        np.ones(2) + np.ones(3)
    assert ended(fault.value, monkeypatch) == FAULT
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "test_errors.py" in shown
    assert "Error: operands" not in shown.splitlines()[0]
    assert shown.splitlines()[-1].startswith("This is a fault of the program")


@pytest.mark.parametrize("name", ["non", "xyzzy"])
def test_a_name_that_is_not_known_is_told_in_the_same_words_everywhere(name):
    assert str(unknown("floor", name, ["max", "none"])) == unknown_name("floor", name, ["max", "none"])
