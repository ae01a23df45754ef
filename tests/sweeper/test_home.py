"""Users without a home that can be written still have caches, in lanes too."""

import os
import subprocess
import sys

import pytest

from cluster.attach import connect
from cluster.errors import ConnectError
from sweeper.home import use_writable_home


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    for name in ("XDG_CACHE_HOME", "XDG_STATE_HOME", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return tmp_path


def test_a_home_that_will_do_is_left_alone(elsewhere, monkeypatch):
    (elsewhere / "home").mkdir()
    monkeypatch.setenv("HOME", str(elsewhere / "home"))
    assert use_writable_home() is None
    assert "XDG_CACHE_HOME" not in os.environ


@pytest.mark.parametrize("home", ["/proc", "/proc/none"])
def test_caches_go_to_a_private_folder_where_the_home_cannot_be_written(home, elsewhere, monkeypatch):
    monkeypatch.setenv("HOME", home)
    folder = use_writable_home()
    assert folder == elsewhere / f"elm-sweeper-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert os.environ["XDG_CACHE_HOME"] == str(folder)
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    assert os.environ["HOME"] == (home if home == "/proc" else str(folder))


def test_a_folder_that_others_may_write_is_not_used(elsewhere, monkeypatch):
    monkeypatch.setenv("HOME", "/proc")
    planted = elsewhere / f"elm-sweeper-{os.getuid()}"
    planted.mkdir()
    planted.chmod(0o777)
    folder = use_writable_home()
    assert folder != planted
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_launch_without_a_home_trains_and_says_where_its_caches_are(tiny_grid, tmp_path):
    kept = {name: value for name, value in os.environ.items() if name not in ("ELM_DATA_DIR", "ELM_SWEEPER_CACHE")}
    done = subprocess.run(
        [sys.executable, "-m", "sweeper", "launch", tiny_grid, "-r", tmp_path / "r", "--executor", "processes"],
        # without a compiler: the kernel would be compiled for this one launch, into the cache it finds
        env={**kept, "HOME": "/proc", "XDG_CACHE_HOME": "", "TMPDIR": str(tmp_path), "CXX": "false"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"caches go to {tmp_path}/elm-sweeper-" in done.stderr


def test_ray_gets_a_temporary_directory_that_its_sockets_fit_into(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/scratch/me")
    assert connect._short_temp() == "/scratch/me/ray"
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/scratch/" + "x" * 60)
    assert connect._short_temp() == "/tmp/ray"
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(ConnectError, match="too long for Ray's sockets"):
        connect._short_temp()
