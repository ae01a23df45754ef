"""`sweeper new`: a grid for somebody's data that fits their time."""

import os
import re
import string
from pathlib import Path

import pytest
from click.testing import CliRunner

from sweeper.cli import cli
from sweeper.errors import GridError
from sweeper.plan.cost import CostModel
from sweeper.plan.draft import USED_SHARE, Wish, draft
from sweeper.plan.expand import expand
from sweeper.plan.grid import load_grid


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Whatever else this machine does: the forecast of a command is that of a quiet one."""
    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))


@pytest.fixture
def book(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "book.txt").write_text("The quick brown fox; jumps over 13 lazy dogs! " * 2000)
    return "book.txt"


def made(data, minutes, **wish):
    return draft(Wish(data=data, minutes=minutes, lanes=2, **wish), "mine", CostModel())


def test_more_time_gives_a_larger_grid_that_still_fits(book):
    drafts = [made(book, minutes) for minutes in (2, 8, 30)]
    for one, minutes in zip(drafts, (2, 8, 30), strict=True):
        assert one.fits
        assert one.forecast.wall_seconds(2) <= USED_SHARE * 60 * minutes
    spent = [one.forecast.seconds for one in drafts]
    assert spent[0] < spent[1] < spent[2]
    assert len({row.seed for row in drafts[2].plan.trials.values()}) == 3


def test_more_time_never_costs_replicates(book):
    drafts = [made(book, minutes, budgets=(4_000, 8_000, 16_000)) for minutes in (0.5, 1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6)]
    seeds = [len({row.seed for row in one.plan.trials.values()}) for one in drafts]
    assert seeds == sorted(seeds)
    assert seeds[-1] == 3


def test_without_enough_time_the_smallest_grid_is_written_and_said_not_to_fit(book):
    assert not made(book, 0.01).fits
    assert not made(book, 1, budgets=(10_000_000,)).fits


def test_symbols_are_folded_where_the_read_out_would_take_the_budget():
    assert "alphabet: letters" in made("text", 5).text
    assert "alphabet: bytes" in made("text", 600, budgets=(200_000,)).text


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        (
            {"data": "nowhere.txt"},
            r"data: 'nowhere.txt' is no file here, and no task with embedded data \(text, shd, .*\)$",
        ),
        ({"data": "shdd"}, r"\(text, shd, .*\); did you mean 'shd'\?"),
    ],
)
def test_what_cannot_be_made_is_refused(wish, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GridError, match=message):
        made(minutes=5, **wish)


def test_budgets_that_are_too_small_are_told_with_the_reason_and_the_smallest_that_works(book):
    with pytest.raises(GridError, match="2000 is too small|2,000 is too small") as refused:
        made(book, 5, budgets=(2_000, 4_000))
    assert "1944 are the read-out" in str(refused.value) or "n_rec = 1 is outside" in str(refused.value)
    smallest = int(re.search(r"From about ([\d,]+) on", str(refused.value))[1].replace(",", ""))
    assert 2_000 < smallest < 2_500
    assert made(book, 5, budgets=(smallest, 4_000)).plan.trials


def test_too_little_time_is_told_with_the_time_that_would_do(book):
    asked = ["new", "mine.yaml", "--data", book, "-j", "2", "--minutes"]
    short = CliRunner().invoke(cli, [*asked, "0.05"])
    would_do = re.search(r"needs more than 0.05 minutes; --minutes (\S+) would do", short.output)[1]
    Path("mine.yaml").unlink()
    assert "would do" not in CliRunner().invoke(cli, [*asked, would_do]).output


def test_a_busy_machine_gets_a_smaller_grid_and_is_told_why(book, monkeypatch):
    quiet = CliRunner().invoke(cli, ["new", "quiet.yaml", "--data", book, "--minutes", "4", "-j", "1"])
    monkeypatch.setattr("os.getloadavg", lambda: (20.0 * os.cpu_count(), 0.0, 0.0))
    busy = CliRunner().invoke(cli, ["new", "busy.yaml", "--data", book, "--minutes", "4", "-j", "1"])
    trained = [load_grid(name).blocks[0].training["steps"][0] for name in ("quiet.yaml", "busy.yaml")]
    trials = [len(expand(load_grid(name)).trials) for name in ("quiet.yaml", "busy.yaml")]
    assert trials[0] * trained[0] > trials[1] * trained[1]
    assert " share " in busy.output
    assert " share " not in quiet.output


def test_the_command_asks_for_what_no_option_says_and_overwrites_nothing(book, tmp_path):
    asked = CliRunner().invoke(cli, ["new", "mine.yaml"], input=f"{book}\n4\n")
    assert asked.exit_code == 0, asked.output
    assert "wrote mine.yaml: " in asked.output
    plan = expand(load_grid(tmp_path / "mine.yaml"))
    assert {row.spec.task_options["data"] for row in plan.rows if row.spec} == {book}
    again = CliRunner().invoke(cli, ["new", "mine.yaml", "--data", book, "--minutes", "4"])
    assert "mine.yaml is there already" in str(again.exception)


def test_without_a_terminal_the_options_that_are_missing_are_named(book, tmp_path):
    alone = CliRunner().invoke(cli, ["new", "mine.yaml", "--data", book], input="")
    assert alone.exit_code == 2
    assert "nobody is there to be asked: give --data and --minutes" in alone.output
    assert not (tmp_path / "mine.yaml").exists()


def test_a_budget_that_is_given_twice_counts_once(book, tmp_path):
    twice = CliRunner().invoke(cli, ["new", "mine.yaml", "--data", book, "--minutes", "4", "--budgets", "8000,8000"])
    assert twice.exit_code == 0, twice.output
    assert "budgets: [8000]" in (tmp_path / "mine.yaml").read_text()


def test_letters_that_the_alphabet_drops_are_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "buch.txt").write_text("Größe für übermorgen " * 5000 + string.printable * 10)
    (tmp_path / "book.txt").write_text("Size for the day after tomorrow " * 5000 + string.printable * 10)
    lost, kept = (
        CliRunner().invoke(cli, ["new", f"{data}.yaml", "--data", f"{data}.txt", "--minutes", "1", "--budgets", "4000"])
        for data in ("buch", "book")
    )
    assert re.search(
        r"makes spaces of 2\d\.\d% of the letters of buch\.txt \(ü, ö, ß\), which splits words", lost.output
    )
    assert "Note" not in kept.output


def test_the_next_command_runs_where_ray_is_not_installed(book, monkeypatch):
    monkeypatch.setattr("sweeper.commands.grids.find_spec", lambda name: None)
    done = CliRunner().invoke(cli, ["new", "mine.yaml", "--data", book, "--minutes", "1", "--budgets", "4000"])
    assert done.output.endswith("Next: sweeper launch mine.yaml -r results/mine --executor processes\n")


def test_somebody_who_said_what_is_needed_is_asked_nothing(book, monkeypatch):
    monkeypatch.setattr("sweeper.commands.grids._answers", lambda: True)
    done = CliRunner().invoke(cli, ["new", "mine.yaml", "--data", book, "--minutes", "5"], catch_exceptions=False)
    assert done.exit_code == 0
    assert "Parameter budgets" not in done.output
