"""The control flow of the check, on a processor with Triton's interpreter; no number of it means anything."""

import re
from pathlib import Path

import pytest

from model.gpu_check import sections
from model.gpu_check.__main__ import main
from model.gpu_check.page import Page

GOLDEN = Path(__file__).parents[2] / "golden"


@pytest.mark.usefixtures("triton_kernel", "native_kernel")
def test_the_simulation_fills_the_page_and_marks_every_number(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    assert main(["--simulate", "-o", str(path), "--golden", str(GOLDEN)]) == 0
    page = path.read_text()
    assert re.findall(r"^## (.*)", page, re.MULTILINE) == [
        "Machine", "Golden numbers", "Precision", "Small networks, stacked", "A sweep",
        "Speed and memory of a training step",
    ]  # fmt: skip
    assert page.startswith("# GPU check\n\n**Simulated on a processor")
    assert "FAILED" not in page
    for way in ("eager", "compiled step", "torch", "cuda_graph", "one launch a step", "one program a network", "LSTM"):
        assert way in page
    measured = [cell for line in page.splitlines() for cell in line.split("|") if re.match(r" [\d.,]+(e-\d+)?", cell)]
    unmarked = [cell.strip() for cell in measured if "simulated" not in cell]
    # trials a GPU and those that finished are counted, versions are read
    assert unmarked[-2:] == ["1", "1 native"]
    assert len(measured) > 20
    assert all(re.match(r"\d+\.\d+", cell) for cell in unmarked[:-2])  # CUDA, where torch has it, is "13.0"


def test_without_a_gpu_it_says_so_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-o", str(tmp_path / "page.md")]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: torch ")
    assert "--simulate" in line
    assert not (tmp_path / "page.md").exists()


def test_a_section_that_fails_leaves_the_others(tmp_path: Path) -> None:
    page = Page(tmp_path / "page.md", simulated=True, minutes=1.0)

    def breaks():
        yield "before"
        raise RuntimeError("out of memory\nand more")

    page.section("One", breaks)
    page.section("Two", lambda: ["after"])
    text = (tmp_path / "page.md").read_text()
    assert text.index("before") < text.index("FAILED: RuntimeError: out of memory") < text.index("after")
    assert "and more" not in text
    assert page.failures == ["One"]


def test_the_check_ends_when_its_time_is_up(tmp_path: Path) -> None:
    now = iter([0.0, 30.0, 61.0])
    page = Page(tmp_path / "page.md", simulated=False, minutes=1.0, clock=lambda: next(now))
    page.section("One", lambda: iter(["first", "second", "third"]))
    text = (tmp_path / "page.md").read_text()
    assert "second" in text
    assert "third" not in text
    assert "Not run to its end" in text
    assert page.failures == ["One"]


def test_golden_numbers_that_differ_fail_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sections, "check_file", lambda path, device: {"triton": {"logits": 1e-9}})
    page = Page(tmp_path / "page.md", simulated=True, minutes=1.0)
    page.section("Golden", lambda: sections.golden(page, "cpu", [Path("a.npz")]))
    assert page.failures == ["Golden"]
    assert "| a.npz | triton | 1.0e-09 (simulated) | NO |" in (tmp_path / "page.md").read_text()
