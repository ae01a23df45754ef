"""The page in a real browser: nothing fetched, nothing complained about, panels linked, readable on every screen."""

import json
import threading
from pathlib import Path

import pytest

from analysis.commands.groups import make_views
from analysis.commands.pages import dashboard, dashboard_payload
from analysis.dashboard import serve
from analysis.laws.theory_fit import FitSettings
from analysis.rows.sweep import Selection
from benchmarks.synthetic import Design, write_sweep
from sweeper.store.schema import TrialRecord
from sweeper.store.store import ResultsStore

SETTINGS = FitSettings(law="effective_information:floor=additive")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """Two tasks, two connectivities, a few failures: some 230 trials."""
    folder = tmp_path_factory.mktemp("browser")
    design = Design(
        trees=((20, 5), (20, 20)), tasks=("text", "adding"), failed=0.02, diverged=0.02, d_m=(2, 4, 8, 16, 32)
    )
    write_sweep(folder / "sweep", design)
    dashboard(str(folder / "sweep"), Selection(), SETTINGS, str(folder / "page.html"))
    return folder / "page.html"


POINTS = """([id, kind]) => [...document.querySelectorAll(`#${id} .scatterlayer .trace`)]
  .filter(trace => (trace.__data__[0].trace.meta || {}).kind === kind)
  .flatMap(trace => [...trace.querySelectorAll('path.point')]).map(path => path.style.opacity)"""

PLACE = """([id, x, i]) => {
  const gd = document.getElementById(id), full = gd._fullLayout, box = gd.getBoundingClientRect();
  return [box.left + full.xaxis._offset + full.xaxis.d2p(group().column(x)(i)),
    box.top + full.yaxis._offset + full.yaxis.d2p(group().column('value')(i))];
}"""


@pytest.fixture
def page(tab, path):
    """The page of the module, in its first state again."""
    return tab.show(path, "tradeoff")


def points(page, panel, kind):
    """Number of drawn points of one kind of trace."""
    return len(page.evaluate(POINTS, [panel, kind]))


def drag_box(page, panel):
    """Select the left half of a panel by dragging a box."""
    page.locator(f"#{panel}").scroll_into_view_if_needed()
    area = page.locator(f"#{panel} .draglayer .nsewdrag").first.bounding_box()
    page.mouse.move(area["x"] + 3, area["y"] + 3)
    page.mouse.down()
    page.mouse.move(area["x"] + area["width"] / 4, area["y"] + area["height"] / 2)
    page.mouse.move(area["x"] + area["width"] / 2, area["y"] + area["height"] - 3)
    page.mouse.up()
    page.wait_for_function("() => state.selected !== null")


def test_under_its_own_strict_policy_it_draws_and_asks_for_nothing(own_tab, path):
    page = own_tab(bypass_csp=False).open(path.as_uri())  # offline, and the page's Content-Security-Policy enforced
    assert page.locator("#panels .js-plotly-plot").count() == 3
    assert page.locator(".no-webgl").count() == 0
    assert page.get_by_text("Share chart").count() == 0


def test_a_selection_survives_every_tab(page):
    page.evaluate("() => open(3)")
    for tab in ("scaling", "surface", "frontier", "fit", "runs", "tradeoff"):  # some figures hold points of no trial
        page.locator(f"#tab-{tab}").click()
        assert page.evaluate("() => [...state.selected]") == [3]
    assert page.evaluate("() => drawn.size") == 4


def test_published_runs_appear_when_they_are_chosen(page):
    page.evaluate("() => { state.group = page.groups.findIndex(g => g.label.startsWith('text')); controls(); draw(); }")
    assert points(page, "frontier-third", "published") == 0
    page.get_by_label("Frontier: best metric per budget: axis").select_option(label="with published")
    assert points(page, "frontier-third", "published") == 14
    page.get_by_label("Frontier: best metric per budget: axis").select_option(label="metric")
    assert points(page, "frontier-third", "published") == 0


def test_every_trace_is_drawn(page):
    counts = page.evaluate(
        "() => [...document.querySelectorAll('#panels .js-plotly-plot')].map(gd => [gd.data.length,"
        " gd.querySelectorAll('.scatterlayer .trace').length])"
    )
    assert len(counts) == 3
    for wanted, drawn in counts:
        assert wanted == drawn > 0
    shown = page.evaluate("() => passing().length")
    for panel in ("isobudget-n_rec", "isobudget-d_m", "frontier-third"):
        assert points(page, panel, "trials") == shown
    assert points(page, "isobudget-n_rec", "optimum") == 3


def test_stars_sit_on_the_best_of_their_curve(page):
    pairs = page.evaluate(
        """() => {
          const data = document.getElementById('isobudget-n_rec').data;
          const of = kind => data.filter(t => t.meta.kind === kind);
          const means = budget => of('mean').filter(t => t.meta.budget === budget).flatMap(t => [...numbers(t.y)]);
          return of('optimum').map(star => [star.y[0], Math.min(...means(star.meta.budget))]);
        }"""
    )
    assert len(pairs) == 3
    assert all(star == best for star, best in pairs)


def test_a_budget_chip_filters_every_panel(page):
    before = points(page, "frontier-third", "trials")
    page.locator("button[data-budget='100000']").click()
    after = page.evaluate("() => passing().length")
    assert after < before
    for panel in ("isobudget-n_rec", "isobudget-d_m", "frontier-third"):
        assert points(page, panel, "trials") == after
    assert points(page, "isobudget-n_rec", "optimum") == 2
    assert page.locator("button[data-budget='100000'][aria-pressed='false']").count() == 1
    assert page.locator("#optima-title").count() == 1
    assert page.locator("tr[data-kc]:visible td:first-child").all_text_contents().count("100,000") == 0


def test_task_connectivity_and_seed_filters(page):
    first = page.evaluate("() => group().label")
    page.locator("#group").select_option("1")
    assert page.evaluate("() => group().label") != first
    page.locator("#kc").select_option("400")
    page.locator("#seed").select_option("1")
    rows = page.evaluate("() => passing().map(i => [group().column('k_c')(i), group().trials.seed[i]])")
    assert {tuple(row) for row in rows} == {(400, 1)}
    assert points(page, "isobudget-n_rec", "trials") == len(rows)


def test_toggles_and_colours(page):
    assert page.evaluate("() => document.getElementById('isobudget-n_rec').data.some(t => t.meta.kind === 'theory')")
    page.locator("#theory").focus()
    page.keyboard.press("Space")
    assert not page.evaluate(
        "() => document.getElementById('isobudget-n_rec').data.some(t => t.meta.kind === 'theory')"
    )
    page.locator("#trials-on").click()
    assert points(page, "isobudget-n_rec", "trials") == 0
    page.locator("#trials-on").click()
    page.locator("#colour").select_option("d_m")
    colours = page.evaluate("() => [...document.getElementById('isobudget-n_rec').data[0].marker.color].slice(0, 3)")
    assert all(isinstance(colour, float) for colour in colours)


def test_hovering_shows_the_trial_and_rings_it_in_the_siblings(page):
    trial = page.evaluate("() => passing()[7]")
    x, y = page.evaluate(PLACE, ["isobudget-n_rec", "n_rec", trial])
    page.mouse.move(x - 30, y - 30)
    page.mouse.move(x, y, steps=4)
    page.wait_for_selector(".ring")
    told = page.locator("#hovered").text_content()
    assert "→ test bpc" in told
    assert "d_m" in told
    rings = page.evaluate("() => [...document.querySelectorAll('.ring')].map(r => r.parentElement.id)")
    assert sorted(rings) == ["frontier-third", "isobudget-d_m", "isobudget-n_rec"]
    assert page.evaluate("() => window.__hover") < 150  # 50 ms on an idle machine
    page.mouse.move(5, 5)
    page.wait_for_function("() => document.querySelectorAll('.ring').length === 0")


def test_a_box_selects_in_all_panels_the_table_and_the_curves(page):
    drag_box(page, "isobudget-n_rec")
    chosen = page.evaluate("() => state.selected.size")
    assert 0 < chosen < page.evaluate("() => passing().length")
    panels = ("isobudget-n_rec", "isobudget-d_m", "frontier-third")
    full = [sum(float(opacity) > 0.5 for opacity in page.evaluate(POINTS, [panel, "trials"])) for panel in panels]
    assert full == [chosen] * 3
    page.wait_for_selector("#trials tbody tr")
    assert f"({chosen})" in page.locator("#trials-title").text_content()
    assert page.locator("#trials tbody tr").count() == min(chosen, 200)
    page.wait_for_function("() => document.querySelectorAll('#curve .scatterlayer path.js-line').length > 0")
    assert "sel=" in page.evaluate("() => location.hash")
    page.locator("#clear").click()
    assert page.evaluate("() => state.selected") is None
    opacities = [float(o) for kind in ("trials", "mean") for o in page.evaluate(POINTS, [panels[0], kind])]
    assert min(opacities) > 0.2


def test_norms_of_gradients_are_drawn_on_an_axis_of_their_own(tab, tmp_path):
    stored = Path(__file__).resolve().parents[3] / "studies" / "figures" / "results" / "gradients"
    dashboard(str(stored), Selection(), SETTINGS, str(tmp_path / "page.html"))
    page = tab.open(f"file://{tmp_path / 'page.html'}#mode=light")
    page.evaluate("() => open(0)")
    page.wait_for_function("() => document.getElementById('curve').data?.length === 2")
    assert page.evaluate("() => document.getElementById('curve').data[1].yaxis") == "y2"
    assert (
        page.evaluate("() => document.getElementById('curve')._fullLayout.yaxis2.title.text") == "norm of the gradient"
    )
    assert "norm of the gradient" in page.locator("#curve-caption").text_content()


def test_the_table_opens_a_trial_with_spec_and_command(page):
    drag_box(page, "isobudget-d_m")
    row = page.locator("#trials tbody tr").nth(1)
    name = row.get_attribute("data-trial")
    row.focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail pre")
    detail = page.locator("#detail").text_content()
    assert name in detail
    assert "sweeper retry" in detail
    assert '"learning_rate"' in detail
    assert page.locator("#curve-title").text_content() == "Training curve"
    assert page.evaluate("() => document.getElementById('curve').data[0].x.filter(v => v !== null).length") == 20
    page.keyboard.press("Escape")
    assert page.evaluate("() => state.selected") is None


def test_every_tab_draws(page):
    for tab in ("scaling", "surface", "frontier", "fit", "runs"):
        page.locator(f"#tab-{tab}").click()
        plots = page.evaluate(
            "() => [...document.querySelectorAll('#panels .js-plotly-plot')].map(gd => !!gd.querySelector('.main-svg'))"
        )
        assert plots, tab
        assert all(plots), tab
        assert page.locator(f"#tab-{tab}[aria-selected='true']").count() == 1
    page.wait_for_selector("#trials tbody tr")
    assert page.locator("#trials tbody tr").count() == page.evaluate("() => page.total") == 120
    page.get_by_label("Filter status").fill("diverged")
    assert 0 < page.locator("#trials tbody tr").count() < 50
    page.locator("#trials tbody tr").first.click()
    page.wait_for_selector("#detail pre")
    assert "loss is nan" in page.locator("#detail").text_content()


def test_tabs_follow_the_arrow_keys(page):
    page.locator("#tab-tradeoff").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("() => document.activeElement.id") == "tab-scaling"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("() => state.tab") == "runs"


def test_csv_has_the_shown_trials(page):
    page.locator("button[data-budget='100000']").click()
    with page.expect_download() as download:
        page.locator("#csv").click()
    lines = download.value.path().read_text().splitlines()
    assert {"trial_id", "learning_rate", "final_test_metric", "host"} <= set(lines[0].split(","))
    assert len(lines) - 1 == page.evaluate("() => passing().length")


def test_a_panel_can_be_saved(page):
    with page.expect_download() as download:
        page.locator("figure:has(#isobudget-n_rec) .tools button", has_text="SVG").click()
    assert download.value.path().read_text().startswith("<svg")


def test_a_link_reproduces_the_view(page, tab, path):
    page.locator("button[data-budget='30000']").click()
    page.locator("#tab-surface").click()
    tab.open(path.as_uri() + page.evaluate("() => location.hash").replace("light", "dark"))
    found = page.evaluate("() => [state.tab, [...state.off], document.documentElement.className]")
    assert found == ["surface", [30000], "dark"]


@pytest.mark.parametrize("width", [390, 1024, 1920])
def test_no_screen_scrolls_sideways(page, width):
    page.set_viewport_size({"width": width, "height": 900})
    try:
        page.wait_for_function(
            "w => document.querySelector('#isobudget-n_rec .main-svg').getBoundingClientRect().width <= w", arg=width
        )
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width
    finally:
        page.set_viewport_size({"width": 1440, "height": 900})


@pytest.mark.parametrize("width", [390, 720])
def test_runs_and_fit_do_not_scroll_sideways_either(page, width):  # 720 is 1440 at a zoom of 200 %
    page.set_viewport_size({"width": width, "height": 700})
    try:
        page.locator("#tab-runs").click()
        page.wait_for_selector("#parallel .main-svg")
        page.wait_for_function("w => document.documentElement.scrollWidth <= w", arg=width)
        assert page.locator("#printed").text_content().startswith("All groups · ")
        long = "effective_information:floor=additive,link=boxcox,connectivity=true,exponents=shared,levels=budget"
        page.locator("#tab-fit").click()
        page.evaluate("text => { document.querySelector('#panels .summary').textContent = text; }", long)
        page.wait_for_function("w => document.documentElement.scrollWidth <= w", arg=width)
    finally:
        page.set_viewport_size({"width": 1440, "height": 900})


@pytest.mark.parametrize(("width", "height"), [(390, 844), (720, 450)])  # 720 is 1440 at a zoom of 200 %
def test_the_answer_is_the_first_thing_on_a_narrow_screen(page, width, height):
    page.set_viewport_size({"width": width, "height": height})
    try:
        page.wait_for_function("() => !document.getElementById('fold').open")
        top = page.evaluate("() => document.getElementById('answer').getBoundingClientRect().top")
        assert top < 80  # below the title alone
        order = "() => ['answer', 'tabs', 'chosen', 'notice'].map(id => $(id).compareDocumentPosition($('panels')) & 4)"
        assert page.evaluate(order) == [4] * 4
        assert page.evaluate("() => $('answer').compareDocumentPosition($('tabs')) & 4") == 4  # also for who listens
        assert "Group: adding, made-up/text, elm" in page.locator("#chosen").inner_text()
        assert not page.locator("#kc").is_visible()
        page.locator("#chosen").click()
        assert page.locator("#kc").is_visible()
    finally:
        page.set_viewport_size({"width": 1440, "height": 900})
        # The click above has opened the fold already, so only the answer's place tells that the page is wide again.
        page.wait_for_function("() => document.getElementById('answer').parentElement.id === 'main'")
    assert page.evaluate("() => $('fold').open")


def test_paper_is_light_fits_and_says_what_is_shown(page):
    page.evaluate("() => { state.mode = 'dark'; paint(); draw(); }")
    page.locator("button[data-budget='100000']").click()
    page.emulate_media(media="print")
    page.evaluate("() => paperMode(true)")
    told = page.locator("#printed").inner_text()
    assert "Group: adding, made-up/text, elm" in told
    assert "without P = 100k" in told
    widths = "() => [...document.querySelectorAll('#panels .js-plotly-plot')].map(gd => gd._fullLayout.width)"
    assert page.evaluate(widths) == [660] * 3  # one figure across the paper
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.emulate_media(media="screen")
    page.evaluate("() => paperMode(false)")
    assert page.evaluate("() => state.mode") == "dark"
    assert page.evaluate("() => document.getElementById('isobudget-n_rec')._fullLayout.width") < 660


def test_words_are_explained_on_hover_and_provenance_is_closed(page):
    page.locator("#tab-fit").click()
    assert "Akaike" in page.locator("abbr", has_text="AICc").first.get_attribute("title")
    assert page.locator("#how[open]").count() == 0


def test_dark_mode_changes_page_and_figures(page):
    def colours():
        return page.evaluate(
            "() => [getComputedStyle(document.body).backgroundColor,"
            " getComputedStyle(document.querySelector('#isobudget-n_rec .xtick text')).fill]"
        )

    light = colours()
    page.locator("#dark").click()
    dark = colours()
    assert light[0] != dark[0]
    assert light[1] != dark[1]
    assert page.locator("#dark[aria-pressed='true']").count() == 1


def test_every_control_has_a_name_and_every_panel_its_data(page):
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll('button, select, input')].filter(node => !(node.textContent.trim()
          || node.title || node.getAttribute('aria-label') || node.closest('label') || node.dataset.title)).length"""
    )
    assert unnamed == 0
    figures = page.locator("#panels figure")
    for i in range(figures.count()):
        name = figures.nth(i).get_attribute("aria-labelledby")
        assert page.locator(f"#{name}").text_content()
        assert figures.nth(i).locator("table").count() == 1


def test_names_with_markup_stay_text(tab, tmp_path, trial):
    evil = "<img src=x onerror=alert(1)><b>bold</b>"
    rows = [trial(f"t{d}", task=evil, metric=evil, d_m=d, n_rec=600 // d, reason=evil) for d in (3, 5, 8)]
    ResultsStore.create(tmp_path / "evil").write("trials", [*rows, trial("f", task=evil, status="failed", reason=evil)])
    written = dashboard(str(tmp_path / "evil"), Selection(), SETTINGS, str(tmp_path / "page.html"))
    page = tab.open(f"{written.as_uri()}#tab=runs")
    assert page.locator("img").count() == 0
    assert page.locator("b").count() == 0
    assert evil in page.locator("#panels").text_content()


# Two questions, of which the one that was asked first is answered last.
OVERTAKEN = """async () => {
  const real = window.fetch, payload = await (await real("data.json")).json(), held = [];
  const answer = running => new Response(JSON.stringify({...payload, running}));
  window.fetch = url => url === "data.json" ? new Promise(done => held.push(done)) : real(url);
  live.paused = false;
  const asked = [refresh(), refresh()];
  live.paused = true;
  held[1](answer("asked last"));
  await asked[1];
  held[0](answer("asked first"));
  await asked[0];
  return page.running;
}"""


def test_the_live_page_follows_new_rows_and_keeps_zoom_and_selection(own_tab, tmp_path, monkeypatch, trial):
    monkeypatch.setattr(serve, "IDLE_FACTOR", 0.0)
    monkeypatch.setattr(serve, "POLL_MS", 150)
    write_sweep(tmp_path / "live", Design(budgets=(30_000, 90_000), d_m=(3, 6, 12), seeds=2))

    def build(sweep, live):
        views = make_views(sweep, Selection(), FitSettings(law="quadratic"))
        return dashboard_payload(sweep, views, Selection(), live=live)

    server = serve.make_server(str(tmp_path / "live"), build, host="127.0.0.1", port=0)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    live = own_tab(offline=False)
    try:
        page = live.open(f"http://127.0.0.1:{server.server_address[1]}/")
        assert "12 trials" in page.locator("#subtitle").text_content()
        page.evaluate("() => { open(3); Plotly.relayout('isobudget-n_rec', {'xaxis.range': [1, 2]}); }")
        chosen = page.evaluate("() => [...state.selected].map(i => group().trials.id[i])")
        row = ResultsStore.open(tmp_path / "live").read("trials").to_pylist()[0]
        fresh = TrialRecord(**(row | {"trial_id": "fresh", "seed": 9}))
        ResultsStore.create(tmp_path / "live").write("trials", [fresh])
        page.wait_for_function("() => document.getElementById('subtitle').textContent.includes('13 trials')")
        assert page.evaluate("() => group().trials.id.includes('fresh')")
        assert page.evaluate("() => [...state.selected].map(i => group().trials.id[i])") == chosen
        assert page.evaluate("() => document.getElementById('isobudget-n_rec').layout.xaxis.range") == [1, 2]
        page.wait_for_selector("#detail pre")
        page.locator("#tab-runs").click()
        assert "Nothing runs now" in page.locator("#panels").text_content()
        state = {"sweep": "<b>made-up", "host": "h", "pid": 7, "running": ["0" * 16], "done": 1}
        ResultsStore.open(tmp_path / "live").write_text(
            "launches/20260101T000000-a.json", json.dumps(state | {"total": 9})
        )
        page.wait_for_selector("text=1 of 9 done")
        assert "<b>made-up" in page.locator("#panels").text_content()
        page.wait_for_selector("#panels td:has-text('0000000000000000')")
        page.wait_for_selector("#live:has-text('13 trials ended, 1 running')")
        page.locator("#pause").click()
        assert page.locator("#pause[aria-pressed='true']").count() == 1
        assert "new rows" in page.locator("#live").text_content()
        assert page.evaluate(OVERTAKEN) == "asked last"
    finally:
        live.context.close()  # a page that asks a server that has gone would complain
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize("kind", ["empty", "one", "failed"])
def test_poor_sweeps_open_without_complaint(tab, tmp_path, trial, kind):
    rows = {"empty": [], "one": [trial("a")], "failed": [trial("a", status="failed", reason="boom")]}[kind]
    ResultsStore.create(tmp_path / kind).write("trials", rows)
    written = dashboard(str(tmp_path / kind), Selection(), SETTINGS, str(tmp_path / "page.html"))
    page = tab.open(written.as_uri())
    for name in page.evaluate("() => tabsNow().map(t => t.id)"):
        page.locator(f"#tab-{name}").click()
    assert page.locator("#panels figure").count() > 0
