from pathlib import Path

import pytest
from click.testing import CliRunner

from tasks.cli import data
from tasks.data_sets import DATA_SETS
from tasks.errors import DataError


def run(*arguments: str) -> str:
    result = CliRunner().invoke(data, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    return result.output


def test_list_names_every_data_set_and_its_state(tmp_path: Path) -> None:
    lines = run("list", "--data-dir", str(tmp_path)).splitlines()
    assert [line.split()[0] for line in lines] == list(DATA_SETS)
    states = {line.split()[0]: line.split()[1] for line in lines}
    assert states["enwiki-mini"] == "embedded"
    assert states["enwik8"] == "absent"
    (text,) = (line for line in lines if line.startswith("gcide"))
    for part in ("absent", "14.8 MB", "Dictionary of English", "licence: GPL, version 2 or later"):
        assert part in text
    assert " unknown " in next(line for line in lines if line.startswith("shd "))


def test_info_tells_licence_mirrors_and_hashes(tmp_path: Path) -> None:
    text = run("info", "enwik8", "--data-dir", str(tmp_path))
    for part in ("CC BY-SA", "36,445,475 bytes", "sha256:547994d9", "https://mattmahoney.net", str(tmp_path)):
        assert part in text


def test_info_tells_which_package_is_fetched(tmp_path: Path) -> None:
    assert "from apt-get download dict-gcide=0.48.5+nmu2" in run("info", "gcide", "--data-dir", str(tmp_path))


def test_unknown_names_are_refused() -> None:
    with pytest.raises(DataError, match=r"'enwik9' is no data set; did you mean 'enwik8'\? Valid: "):
        run("info", "enwik9")


def test_embedded_data_need_no_fetching_and_verify() -> None:
    assert "nothing to fetch" in run("fetch", "enwiki-mini")
    assert run("verify").splitlines() == ["enwiki-mini: ok", "shd-mini: ok", "digits-gen: ok", "sdigits: ok"]


def test_verify_reports_what_is_absent(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"real/enwik8/enwik8: missing"):
        run("verify", "enwik8", "--data-dir", str(tmp_path))
