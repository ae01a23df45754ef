"""axe-core on every tab of the page and on the report, light and dark: no violation of WCAG A or AA."""

import pytest

from analysis.commands.groups import make_views
from analysis.commands.pages import dashboard
from analysis.dashboard.browser import arguments, find_browser
from analysis.laws.theory_fit import FitSettings
from analysis.report import report
from analysis.report.collect import describe
from analysis.report.html import report_html
from analysis.report.model import ReportSettings
from analysis.rows.load import read_sweep
from analysis.rows.sweep import Selection
from benchmarks.synthetic import Design, write_sweep

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install playwright")
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="axe is not installed: pip install axe-playwright-python"
)
pytestmark = pytest.mark.skipif(find_browser() is None, reason="no chromium on this machine: apt-get install chromium")

SETTINGS = FitSettings(law="effective_information:floor=none", starts=8)
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"], "resultTypes": ["violations"]}


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=find_browser(), headless=True, args=arguments())
        yield found
        found.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A page and a report of two connectivities with a failure."""
    path = tmp_path_factory.mktemp("axe")
    write_sweep(path / "sweep", Design(trees=((20, 5), (20, 20)), failed=0.05, d_m=(2, 4, 8, 16, 32)))
    dashboard(str(path / "sweep"), Selection(), SETTINGS, str(path / "page.html"))
    sweep = read_sweep(path / "sweep")
    views = make_views(sweep, Selection(), SETTINGS)
    found = report.assemble(sweep, [describe(view, None) for view in views], ReportSettings(vary=("k_c",)))
    (path / "fit.html").write_text(report_html(found, views))
    return path


def violations(page):
    """What axe found, one line per rule."""
    found = axe.Axe().run(page, options=RULES).response["violations"]
    return [f"{rule['id']}: {[node['html'][:120] for node in rule['nodes'][:3]]}" for rule in found]


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_no_tab_of_the_page_breaks_a_rule(browser, folder, mode):
    context = browser.new_context(viewport={"width": 1440, "height": 900}, bypass_csp=True)
    context.set_default_timeout(120_000)
    page = context.new_page()
    page.goto(f"file://{folder}/page.html#mode={mode}")
    page.wait_for_selector("html[data-ready]", state="attached")
    try:
        for tab in ("tradeoff", "scaling", "surface", "frontier", "fit", "runs"):
            page.evaluate("tab => go(tab)", tab)
            if tab == "tradeoff":
                page.evaluate("() => open(3)")  # with a selected trial, its curve and its spec
            assert violations(page) == [], tab
    finally:
        context.close()


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_report_breaks_no_rule(browser, folder, mode):
    context = browser.new_context(color_scheme=mode, bypass_csp=True)
    context.set_default_timeout(120_000)
    page = context.new_page()
    page.goto(f"file://{folder}/fit.html")
    page.wait_for_selector("html[data-ready]", state="attached")
    try:
        assert violations(page) == []
    finally:
        context.close()


def test_the_report_fits_a_phone_and_paper(browser, folder):
    context = browser.new_context(viewport={"width": 390, "height": 844}, bypass_csp=True, color_scheme="dark")
    context.set_default_timeout(120_000)
    page = context.new_page()
    page.goto(f"file://{folder}/fit.html")
    page.wait_for_selector("html[data-ready]", state="attached")
    widths = "() => [...new Set([...document.querySelectorAll('.js-plotly-plot')].map(gd => gd._fullLayout.width))]"
    try:
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
        assert max(page.evaluate(widths)) < 390
        page.emulate_media(media="print")
        page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
        assert page.evaluate(widths) == [660]
        assert not page.locator("#json").is_visible()
        assert page.evaluate("() => document.documentElement.className") == ""  # paper is light
        page.emulate_media(media="screen")
        page.evaluate("() => dispatchEvent(new Event('afterprint'))")
        assert max(page.evaluate(widths)) < 390
        assert page.evaluate("() => document.documentElement.className") == "dark"
    finally:
        context.close()
