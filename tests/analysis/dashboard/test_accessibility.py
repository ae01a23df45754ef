"""axe-core on every tab of the page and on the report, light and dark: no violation of WCAG A or AA."""

import pytest

from analysis.commands.groups import make_views
from analysis.commands.pages import dashboard
from analysis.laws.theory_fit import FitSettings
from analysis.report import report
from analysis.report.collect import describe
from analysis.report.html import report_html
from analysis.report.model import ReportSettings
from analysis.rows.load import read_sweep
from analysis.rows.sweep import Selection
from benchmarks.synthetic import Design, write_sweep

axe = pytest.importorskip(
    "axe_playwright_python.base", reason="axe is not installed: pip install axe-playwright-python"
)

SETTINGS = FitSettings(law="effective_information:floor=none", starts=8)
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"], "resultTypes": ["violations"]}
# Between light and dark nothing differs but colours, so what is checked in both is what looks at colours.
OF_COLOURS = RULES | {"runOnly": ["color-contrast", "link-in-text-block"]}


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


def violations(page, options=RULES):
    """What axe found, one line per rule."""
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate(axe.AXE_SCRIPT)
    found = page.evaluate("options => axe.run(options).then(found => found.violations)", options)
    return [f"{rule['id']}: {[node['html'][:120] for node in rule['nodes'][:3]]}" for rule in found]


def test_no_tab_of_the_page_breaks_a_rule(tab, folder):
    page = tab.open(f"{folder.as_uri()}/page.html#mode=light")
    for mode, options in (("light", RULES), ("dark", OF_COLOURS)):
        if mode == "dark":
            page.locator("#dark").click()
        for name in ("tradeoff", "scaling", "surface", "frontier", "fit", "runs"):
            page.evaluate("name => go(name)", name)
            if name == "tradeoff":
                page.evaluate("() => open(3)")  # with a selected trial, its curve and its spec
                page.wait_for_selector("#detail pre")
            assert violations(page, options) == [], (mode, name)


def test_the_report_breaks_no_rule(tab, folder):
    for mode, options in (("light", RULES), ("dark", OF_COLOURS)):
        tab.page.emulate_media(color_scheme=mode)
        page = tab.open(f"{folder.as_uri()}/fit.html")
        assert page.evaluate("() => document.documentElement.className") == ("dark" if mode == "dark" else "")
        assert violations(page, options) == [], mode


def test_the_report_fits_a_phone_and_paper(tab, folder):
    tab.page.set_viewport_size({"width": 390, "height": 844})
    tab.page.emulate_media(color_scheme="dark")
    page = tab.open(f"{folder.as_uri()}/fit.html")
    widths = "() => [...new Set([...document.querySelectorAll('.js-plotly-plot')].map(gd => gd._fullLayout.width))]"
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
