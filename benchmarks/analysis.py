"""Speed of the dashboard, both sides of every comparison measured in one run: ``python -m benchmarks.analysis``.

Made-up sweeps of 10,000 and 100,000 trials are written, built into pages and opened in headless Chromium. The first
paint is compared with an empty Plotly page opened in turn with it, so that a slow machine slows both.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from analysis.dashboard.browser import arguments, need_browser
from benchmarks.synthetic import Design, write_sweep
from sweeper.errors import run_command
from sweeper.store.store import ResultsStore

# Six budgets over two and a half decades and up to eighteen d_m: as many panels and points as a large real sweep has.
BUDGETS = (30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
D_M = (2, 3, 4, 5, 7, 9, 11, 14, 17, 21, 25, 31, 38, 46, 56, 68, 82, 100)

STUDY = Path(__file__).resolve().parents[1] / "studies" / "paper_in_miniature" / "results" / "text"

FIT_SECONDS = 20.0
"""Processor seconds that the laws of the study may take: what a person waits for without doing something else."""

# Ready two frames after Plotly has drawn: the first callback still runs before the browser paints.
EMPTY_PAGE = """<!doctype html><html><body><div id="plot" style="height:360px"></div><script>{plotly}</script>
<script>Plotly.newPlot("plot", [{{x: [], y: [], type: "scatter"}}], {{}}).then(() =>
requestAnimationFrame(() => requestAnimationFrame(() => {{ document.documentElement.dataset.ready = "1"; }})));</script>
</body></html>"""


DASHBOARD_SECONDS = 8.0
"""Most processor seconds for the page of the shipped study."""

PAINT_RATIO = 1.5
"""Most times of an empty Plotly page's that a page of 10,000 trials may take."""

START_SECONDS = 2.0
"""Most processor seconds from calling a command to its first output; `summary` prints all at once, so its whole run."""


class Result(NamedTuple):
    """One measurement beside its target."""

    what: str
    measured: float
    unit: str
    limit: float | None
    """Largest value that meets the target; None where there is none."""

    @property
    def met(self) -> bool:
        """Whether the target is met."""
        return self.limit is None or self.measured <= self.limit


def write_trials(path: Path, trials: int) -> int:
    """Write a made-up sweep of about that many trials; returns how many it holds."""
    one_seed = 211  # configurations of this grid that have at least two neurons
    evaluations = 20 if trials <= 20_000 else 6
    seeds = max(1, round(trials / one_seed))
    # Two wirings, so that the pages have several k_c to choose from, and a few failures, which pages must show.
    design = Design(
        budgets=BUDGETS, d_m=D_M, trees=((20, 5), (40, 10)), seeds=seeds, failed=0.02, evaluations=evaluations
    )
    write_sweep(path, design)
    return int(ResultsStore.open(path).read("trials", ["trial_id"]).num_rows)


def build(path: Path) -> tuple[Path, float, float]:
    """Build the page of a sweep in a fresh process, as a user does; returns it, its wall and its CPU seconds."""
    page = path / "dashboard.html"
    # Processor seconds of children alone: this process only waits.
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "analysis.cli", "dashboard", str(path), "-o", str(page)], check=True, capture_output=True
    )
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return page, wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def processor_seconds(*arguments: str) -> float:
    """Processor seconds of one `analysis` command in a fresh process, with its imports."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    # A process of its own, because imports are part of what a person waits for.
    subprocess.run([sys.executable, "-m", "analysis.cli", *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def study_costs(folder: Path) -> list[Result]:
    """What the shipped study costs: all laws of its ELM Networks with evidence, and without."""
    # Of the study's networks only the ELM Networks have sizes of neurons to fit a law in.
    whole = ("fit-theory", str(STUDY), "--where", "architecture == 'elm'", "-o", str(folder / "fit.json"))
    return [
        Result("study, 8 groups: fit-theory, processor time", processor_seconds(*whole), "s", FIT_SECONDS),
        Result("study, 8 groups: fit-theory --quick, processor time", processor_seconds(*whole, "--quick"), "s", None),
        Result(
            "study, 403 trials: dashboard, processor time",
            processor_seconds("dashboard", str(STUDY), "-o", str(folder / "study.html")),
            "s",
            DASHBOARD_SECONDS,
        ),
        Result(
            "study: summary, processor time to the end", processor_seconds("summary", str(STUDY)), "s", START_SECONDS
        ),
    ]


class Browser:
    """A headless Chromium whose pages start from nothing."""

    def __init__(self, driver: Any) -> None:
        self._browser = driver.chromium.launch(executable_path=need_browser(), headless=True, args=arguments())

    def open(self, page: Path, fragment: str = "") -> tuple[Any, float]:
        """Open a file in a new profile; returns the tab and the seconds until it was drawn."""
        # a new profile for each page, so that nothing comes from a cache, and without a network, as a page is mailed
        context = self._browser.new_context(viewport={"width": 1440, "height": 900}, offline=True, bypass_csp=True)
        tab = context.new_page()
        begin = time.perf_counter()
        tab.goto(f"file://{page}{fragment}", timeout=300_000)
        tab.wait_for_selector("html[data-ready]", state="attached", timeout=300_000)
        return tab, time.perf_counter() - begin

    def close(self) -> None:
        """End the browser."""
        self._browser.close()


class Paint(NamedTuple):
    """Seconds from asking for a page, the shortest of several cold loads."""

    answer: float
    """Until the answer card has its text."""
    figures: float
    """Until the figures are drawn."""
    empty: float
    """Until an empty Plotly page is drawn."""


def first_paint(browser: Browser, page: Path, empty: Path, rounds: int) -> Paint:
    """Open both pages in turn, so that a change of the machine's load meets both; the shortest is least disturbed."""
    answers, figures, bare = [], [], []
    for _ in range(rounds):
        tab, elapsed = browser.open(empty)
        bare.append(elapsed)
        tab.context.close()
        tab, elapsed = browser.open(page)
        figures.append(elapsed)
        answers.append(tab.evaluate("() => performance.getEntriesByName('answer')[0].startTime") / 1000)
        tab.context.close()
    return Paint(min(answers), min(figures), min(bare))


SHOW_2000 = """() => {
  state.trials = true; state.kc = null; draw();
  return document.querySelectorAll('#isobudget-n_rec path.point').length;
}"""

HOVER = """() => {
  window.__took = [];
  let begin = 0;
  addEventListener('mousemove', () => { begin = performance.now(); }, true);
  new MutationObserver(changes => {
    if (changes.some(change => [...change.addedNodes].some(node => node.className === 'ring')))
      window.__took.push(performance.now() - begin);
  }).observe(document.getElementById('frontier-third'), {childList: true});
}"""

PLACE = """i => {
  const gd = document.getElementById('isobudget-n_rec'), full = gd._fullLayout, box = gd.getBoundingClientRect();
  const trial = drawn.get('isobudget-n_rec').points[i];
  return [box.left + full.xaxis._offset + full.xaxis.d2p(group().column('n_rec')(trial)),
    box.top + full.yaxis._offset + full.yaxis.d2p(group().column('value')(trial))];
}"""

HOVER_PAUSE_MS = 120
"""Between two mouse movements; Plotly itself answers at most every 50 ms."""


def hover_times(tab: Any, count: int) -> list[float]:
    """Move the mouse onto points; milliseconds from the movement to the ring in the last linked panel."""
    tab.evaluate(HOVER)
    for i in range(count):
        x, y = tab.evaluate(PLACE, i * 37)  # steps of 37 points, so that the mouse crosses the panel
        tab.mouse.move(x, y)
        tab.wait_for_timeout(HOVER_PAUSE_MS)
    return [float(value) for value in tab.evaluate("() => window.__took")]


RELEASE = """() => addEventListener('mouseup', () => {
  const begin = performance.now();
  requestAnimationFrame(() => requestAnimationFrame(() => { window.__release = performance.now() - begin; }));
}, true)"""


def box_selections(tab: Any, count: int) -> list[float]:
    """Drag boxes with the mouse; milliseconds from letting go until all panels, table and curves are drawn."""
    tab.evaluate(RELEASE)
    area = tab.locator("#isobudget-n_rec .draglayer .nsewdrag").first.bounding_box()
    elapsed = []
    for i in range(count):
        tab.evaluate("() => { clearSelection(); window.__release = null; scrollTo(0, 0); }")
        tab.mouse.move(area["x"] + 4, area["y"] + 4)
        # A real drag of the mouse, so that Plotly's own handling is measured too.
        tab.mouse.down()
        tab.mouse.move(area["x"] + area["width"] * (0.3 + 0.1 * i), area["y"] + area["height"] - 4, steps=5)
        tab.mouse.up()
        tab.wait_for_function("() => window.__release && state.selected")
        elapsed.append(float(tab.evaluate("() => window.__release")))
    return elapsed


def interactions(browser: Browser, page: Path) -> dict[str, float]:
    """Milliseconds of hovering, selecting and drawing with 2,000 points in each of three linked panels."""
    tab, _ = browser.open(page, "#tab=tradeoff")
    points = tab.evaluate(SHOW_2000)
    # Medians of many small times, and the smallest of a few large ones: what else the machine does only adds to them.
    times = {
        "points": float(points),
        "hover": statistics.median(hover_times(tab, 40)),
        "select": statistics.median(box_selections(tab, 5)),
        "draw": min(tab.evaluate("() => { draw(); return window.__drawn.ms; }") for _ in range(3)),
    }
    tab.context.close()
    return times


def measure(folder: Path, rounds: int, say: Callable[[str], object]) -> list[Result]:
    """Run the whole benchmark.

    Args:
        folder: where the sweeps and pages go.
        rounds: cold loads of each page.
        say: told what is going on.
    """
    # Imported only here, since the installed package does not need it.
    from playwright.sync_api import sync_playwright
    from plotly.offline import get_plotlyjs

    empty = folder / "empty.html"
    # The same Plotly as the pages have, inline as there, so that loading it is no part of the difference.
    empty.write_text(EMPTY_PAGE.format(plotly=get_plotlyjs()), encoding="utf-8")
    say("the shipped study: fitting")
    results = study_costs(folder)
    with sync_playwright() as driver:
        browser = Browser(driver)
        for trials in (10_000, 100_000):
            say(f"{trials:,} trials: writing and building")
            count = write_trials(folder / str(trials), trials)
            page, seconds, cpu = build(folder / str(trials))
            # Targets are for sweeps of ten thousand trials; larger ones are shown without.
            large = trials > 20_000
            results.append(Result(f"{count:,} trials: build", seconds, "s", None if large else 10.0))
            results.append(Result(f"{count:,} trials: build, CPU time", cpu, "s", None))
            results.append(Result(f"{count:,} trials: file", page.stat().st_size / 1e6, "MB", None if large else 15.0))
            paint, limit = first_paint(browser, page, empty, rounds), None if large else PAINT_RATIO
            results.append(Result("empty Plotly page: drawn", paint.empty, "s", None))
            results.append(Result(f"{count:,} trials: answer on the screen", paint.answer, "s", None))
            results.append(Result(f"{count:,} trials: figures drawn", paint.figures, "s", None))
            results.append(Result(f"{count:,} trials: answer / empty page", paint.answer / paint.empty, "", limit))
            results.append(Result(f"{count:,} trials: figures / empty page", paint.figures / paint.empty, "", limit))
            if not large:
                times = interactions(browser, page)
                label = f"{times['points']:.0f} points a panel"
                results.append(Result(f"hover, {label}", times["hover"], "ms", 50.0))
                results.append(Result(f"box selection over three linked panels, {label}", times["select"], "ms", 500.0))
                results.append(Result(f"full redraw, {label}", times["draw"], "ms", None))
        browser.close()
    results.append(Result("load average at the end; wall times hold for an idle machine", os.getloadavg()[0], "", None))
    return results


@click.command()
@click.option("--rounds", default=4, show_default=True, help="Cold loads of each page; the fastest counts.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.option("--keep", help="Keep sweeps and pages in this directory.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the whole traceback of an error.")
def bench(rounds: int, as_json: bool, keep: str | None) -> None:
    """Measure the dashboard at 10,000 and 100,000 trials; exit code 1 if a target is missed."""
    # Progress goes to the error stream, so that the results can be piped.
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(keep) if keep else Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        results = measure(folder.resolve(), rounds, console.print)
    if as_json:
        click.echo(json.dumps([row._asdict() | {"met": row.met} for row in results], indent=1))
    else:
        _print(results)
    if not all(row.met for row in results):
        # The exit code tells a script that a target was missed.
        raise SystemExit(1)


def _print(results: list[Result]) -> None:
    table = Table(box=SIMPLE_HEAD)
    for title in ("measurement", "value", "target", ""):
        table.add_column(title, justify="left" if title == "measurement" else "right")
    for row in results:
        target = "" if row.limit is None else f"<= {row.limit:g} {row.unit}"
        verdict = "" if row.limit is None else "[green]met[/green]" if row.met else "[red]missed[/red]"
        table.add_row(row.what, f"{row.measured:.3g} {row.unit}", target, verdict)
    Console(width=120).print(table)


if __name__ == "__main__":
    run_command(bench)
