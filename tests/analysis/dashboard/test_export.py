"""Figures as files: what they show is tested without a browser, that they are drawn with one."""

import re
import sys
from xml.etree import ElementTree

import pytest

from analysis.cli import main
from analysis.commands.groups import make_views
from analysis.dashboard import browser
from analysis.dashboard.export import Format, Picture, draw, no_such_figure, pictures
from analysis.errors import AnalysisError
from analysis.laws.theory_fit import FitSettings
from analysis.rows.load import read_sweep
from analysis.rows.sweep import Selection
from benchmarks.synthetic import Design, write_sweep

playwright_api = pytest.importorskip(
    "playwright.sync_api", reason="playwright is not installed: pip install playwright"
)

INSIDE = """function inside() {
  const all = document.querySelector('svg').getBoundingClientRect();
  return [...document.querySelectorAll('.gtitle, .gtitle-subtitle')].map(node => node.getBoundingClientRect())
    .every(box => box.top >= all.top && box.left >= all.left && box.right <= all.right);
}"""

needs_browser = pytest.mark.skipif(browser.find_browser() is None, reason="no chromium: apt-get install chromium")

PANELS = (
    *("isobudget-n_rec", "isobudget-d_m", "isobudget-k_e", "frontier", "scaling-n_rec", "scaling-k_e", "surface"),
    *("surface-minus-law", "optimum-n_rec", "optimum-d_m", "optimum-k_e", "agreement", "residuals"),
)


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["analysis", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return stop.value.code


def kinds(picture):
    return {trace["meta"]["kind"] for trace in picture.figure["data"]}


def test_every_panel_becomes_a_titled_picture_with_its_runs(view):
    found = {picture.name: picture for picture in pictures([view])}
    assert set(PANELS) <= set(found)
    iso = found["isobudget-n_rec"]
    assert {"trials", "mean", "theory", "optimum"} <= kinds(iso)
    runs = [trace for trace in iso.figure["data"] if trace["meta"]["kind"] == "trials"]
    assert sum(len(trace["x"]) for trace in runs) == len(view.data.rows)
    assert view.data.label in iso.figure["layout"]["title"]["text"]
    assert "best mean" in iso.figure["layout"]["title"]["subtitle"]["text"]
    assert iso.figure["layout"]["paper_bgcolor"] == "#ffffff"


def test_connectivities_and_groups_do_not_cover_each_other(tmp_path):
    design = Design(trees=((20, 5), (20, 20)), tasks=("adding", "text"), d_m=(2, 4, 8, 16), evaluations=0)
    write_sweep(tmp_path / "two", design)
    settings = FitSettings(law="quadratic")
    views = make_views(read_sweep(tmp_path / "two"), Selection(), settings)
    found = {picture.name: picture for picture in pictures(views)}
    for task in ("adding", "text"):
        for k_c in (100, 400):
            iso = found[f"{task}-made-up-text-elm-isobudget-n_rec-k_c{k_c}"].figure
            assert {trace["meta"]["k_c"] for trace in iso["data"]} == {k_c}
            assert len(iso["layout"]["annotations"]) == 3
            assert f"k<sub>c</sub> = {k_c}" in iso["layout"]["title"]["subtitle"]["text"]
        assert f"{task}-made-up-text-elm-frontier-k_c{k_c}" in found  # connectivities do not compete on one frontier


@needs_browser
def test_pictures_are_the_same_bytes_every_time_and_name_their_axes(view):
    chosen = [picture for picture in pictures([view]) if picture.name in ("isobudget-n_rec", "surface")]
    first, second = draw(chosen, Format()), draw(chosen, Format())
    assert first == second
    root = ElementTree.fromstring(first["isobudget-n_rec"])
    assert (root.get("width"), root.get("height")) == ("800", "450")
    text = " ".join("".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text"))
    for word in ("neurons N", "test bpc (at the end)", "30k", "300k", "Metric vs neurons"):
        assert word in text
    stars = [node for node in root.iter() if (node.get("style") or "").find("rgb(255, 196, 0)") >= 0]
    assert len(stars) >= 3


@needs_browser
def test_the_command_writes_what_was_asked_for(monkeypatch, capsys, own_dir, tmp_path):
    arguments = ["--law", "quadratic", "--only", "isobudget-*", "--format", "png", "--theme", "dark", "--width", "500"]
    assert run(monkeypatch, "export", own_dir, "--figures", tmp_path / "new" / "figures", *arguments) == 0
    files = sorted((tmp_path / "new" / "figures").iterdir())
    assert [file.name for file in files] == ["isobudget-d_m.png", "isobudget-k_e.png", "isobudget-n_rec.png"]
    for file in files:
        head = file.read_bytes()[:24]
        assert head.startswith(b"\x89PNG")
        assert int.from_bytes(head[16:20], "big") == 1000
    assert "isobudget-d_m.png" in capsys.readouterr().out


def test_long_titles_are_broken_and_not_cut(view):
    narrow = {picture.name: picture.figure["layout"] for picture in pictures([view], width=391)}
    wide = {picture.name: picture.figure["layout"] for picture in pictures([view])}
    for name, layout in narrow.items():
        lines = layout["title"]["text"].split("<br>")
        assert " ".join(lines) == wide[name]["title"]["text"].replace("<br>", " ")
        assert view.data.label.rsplit(", ", 1)[-1] in lines[-1]
        assert layout["margin"]["t"] > wide[name]["margin"]["t"] or len(lines) == 1


@needs_browser
def test_a_column_is_85_mm_wide_and_its_title_stays_inside(view):
    chosen = [picture for picture in pictures([view], width=391) if picture.name == "surface"]
    svg = draw(chosen, Format.column())["surface"]
    assert ElementTree.fromstring(svg).get("width") == "85mm"
    with playwright_api.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=browser.find_browser(), args=browser.arguments())
        page = launched.new_page()
        page.set_content(f"<body style='margin:0'>{svg.decode()}</body>")
        page.add_script_tag(content=INSIDE)
        inside = page.evaluate("inside()")
        launched.close()
    assert inside


@needs_browser
def test_a_pdf_has_one_page_of_its_size_and_its_letters_inside(view):
    chosen = [picture for picture in pictures([view], width=391) if picture.name == "isobudget-n_rec"]
    printed = draw(chosen, Format.column("pdf"))["isobudget-n_rec"]
    assert printed.startswith(b"%PDF")
    assert len(re.findall(rb"/Type */Page\b", printed)) == 1
    width = float(re.search(rb"/MediaBox *\[0 0 ([0-9.]+)", printed).group(1))
    assert width == pytest.approx(85 / 25.4 * 72, abs=1)
    assert b"/FontFile" in printed


@needs_browser
def test_a_figure_that_cannot_be_drawn_is_named():
    with pytest.raises(AnalysisError, match="figure bad: the browser could not draw it"):
        draw([Picture("bad", {"data": 1, "layout": {"width": "x", "xaxis": None}})], Format(width=-1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--figures", "{tmp}/f", "--only", "isobuget"],
            "--only isobuget: no such figure; did you mean isobudget-d_m or",
        ),
        (["--figures", "{tmp}/f"], "no browser found (looked for /no/such/browser)"),
    ],
)
def test_errors_are_one_line(monkeypatch, capsys, own_dir, tmp_path, arguments, message):
    monkeypatch.setenv("BROWSER_PATH", "/no/such/browser")
    arguments = [a.format(tmp=tmp_path) for a in arguments]
    assert run(monkeypatch, "export", own_dir, "--law", "quadratic", *arguments) == 1
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "f").exists()


def test_something_must_be_asked_for(monkeypatch, capsys, own_dir):
    assert run(monkeypatch, "export", own_dir) == 2
    assert "-o FILE for the rows, --figures FOLDER" in capsys.readouterr().err


def test_an_unknown_figure_of_many_is_answered_by_the_closest_few():
    kinds = ("isobudget-n_rec", "isobudget-d_m", "frontier", "residuals")
    names = [f"text-enwiki-mini-letters-elm-l_mlp-{i}-{kind}" for i in range(90) for kind in kinds]
    said = no_such_figure("frontire", names)
    assert "did you mean text-enwiki-mini-letters-elm-l_mlp-0-frontier or" in said
    assert said.count("l_mlp") == 3
    assert said.endswith("--list prints all 360 names")
    assert "did you mean '*frontier*' (90 of them) or text-enwiki" in no_such_figure("frontier", names)


def test_the_names_of_all_figures_can_be_listed(monkeypatch, capsys, own_dir):
    assert run(monkeypatch, "export", own_dir, "--law", "quadratic", "--list") == 0
    names = capsys.readouterr().out.split()
    assert {"isobudget-n_rec", "isobudget-d_m", "frontier"} <= set(names)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+", name) for name in names)
    assert run(monkeypatch, "export", own_dir, "--list", "-o", "rows.csv") == 2
    assert "--list writes nothing" in capsys.readouterr().err
