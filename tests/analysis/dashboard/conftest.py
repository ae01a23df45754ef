"""One browser for a module's tests, and one tab for most: a browser reads Plotly once in a tab, which takes seconds."""

import pytest

from analysis.dashboard.browser import arguments, find_browser

PATIENCE_MS = 120_000
"""A page of 5 MB takes 2 s to open on an idle machine, and half a minute on one that does ten things at once."""

RESET = """tab => {
  Object.assign(state, {tab, group: 0, off: new Set(), kc: undefined, seed: '', colour: 'budget',
    theory: true, trials: null, selected: null, opened: null, axis: {}, parallel: null,
    table: emptyTable(), mode: 'light'});
  delete document.getElementById('panels').dataset.key;
  document.getElementById('table-tools').replaceChildren();
  defaults(); paint(); controls(); draw(); scrollTo(0, 0);
}"""


class Tab:
    """A tab of the browser with everything its pages complained about and asked for."""

    def __init__(self, browser, **context):
        usual = {"viewport": {"width": 1440, "height": 900}, "offline": True, "bypass_csp": True}
        self.context = browser.new_context(**(usual | context))
        self.context.set_default_timeout(PATIENCE_MS)
        self.page = self.context.new_page()
        self.home = "file:"
        self.problems, self.requests = [], []
        self.page.on("console", lambda m: self.problems.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))

    def open(self, address):
        """Open a page anew, also one that is open already, and wait until it is painted."""
        self.page.goto("about:blank")
        self.page.goto(address)
        self.home = "file:" if address.startswith("file:") else address
        self.page.wait_for_selector("html[data-ready]", state="attached")
        return self.page

    def show(self, path, tab):
        """The page of a file in its first state, read anew only where another is open."""
        if self.page.url.split("#")[0] != path.as_uri():
            self.open(f"{path.as_uri()}#mode=light&tab={tab}")
        self.page.evaluate(RESET, tab)
        return self.page

    def check(self):
        """Nothing was complained about, and nothing asked for but files or, of a server, its own pages."""
        problems, self.problems = self.problems, []
        requests, self.requests = self.requests, []
        assert problems == []
        assert [url for url in requests if not url.startswith((self.home, "data:", "blob:"))] == []


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    found = find_browser()
    if found is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=found, headless=True, args=arguments())
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def module_tab(browser):
    opened = Tab(browser)
    yield opened
    opened.context.close()


@pytest.fixture
def tab(module_tab):
    """The tab of the module, whose pages have complained about nothing and asked for nothing at the end of the test."""
    yield module_tab
    module_tab.check()


@pytest.fixture
def own_tab(browser):
    """A builder of tabs with a context of their own, which is closed and checked at the end of the test."""
    opened = []

    def build(**context):
        opened.append(Tab(browser, **context))
        return opened[-1]

    yield build
    for each in opened:
        each.context.close()
        each.check()
