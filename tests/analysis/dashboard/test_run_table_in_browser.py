"""The table of all trials in a real browser: sorted, filtered, searched, drawn, and kept in the address."""

import csv
import io

import pytest

from analysis.commands.pages import dashboard
from analysis.laws.theory_fit import FitSettings
from analysis.rows.sweep import Selection
from sweeper.store.store import ResultsStore

SETTINGS = FitSettings(law="quadratic")
RATES = (0.001, 0.01, 0.1)


@pytest.fixture(scope="module")
def path(tmp_path_factory, trial):
    """Three budgets, four d_m, three learning rates and seven seeds, and two that failed: 254 trials."""
    rows = [
        trial(
            f"b{budget}d{d_m}r{rate}s{seed}",
            budget=budget,
            d_m=d_m,
            n_rec=budget // (100 * d_m),
            learning_rate=rate,
            seed=seed,
            lane=f"lane-{seed % 2}",
            final_valid_metric=2.0 + abs(rate - 0.01),
            final_test_metric=2.0 + abs(rate - 0.01) + 0.01 * d_m + 1000 / budget + 0.001 * seed,
        )
        for budget in (10_000, 30_000, 100_000)
        for d_m in (2, 4, 8, 16)
        for rate in RATES
        for seed in range(7)
    ]
    failed = [
        trial("f1", status="failed", reason="=HYPERLINK(1)", final_test_metric=None, budget=10_000),
        trial("f2", status="failed", reason="+1", final_test_metric=None, budget=10_000),
    ]
    folder = tmp_path_factory.mktemp("table")
    ResultsStore.create(folder / "a 'quoted' <b>sweep</b>").write("trials", [*rows, *failed])
    dashboard(str(folder / "a 'quoted' <b>sweep</b>"), Selection(), SETTINGS, str(folder / "page.html"))
    return folder / "page.html"


@pytest.fixture
def page(tab, path):
    page = tab.show(path, "runs")
    page.wait_for_selector("#trials tbody tr")
    return page


def listed(page):
    """Ids of the rows that are listed."""
    return page.evaluate("() => [...document.querySelectorAll('#trials tbody tr')].map(row => row.dataset.trial)")


def matching(page):
    """How many trials pass search and filters."""
    return page.evaluate("() => tableRows(candidates()).length")


def test_all_trials_are_listed_also_those_that_enter_no_fit(page):
    assert "Trials (254)" in page.locator("#trials-title").text_content()
    assert len(listed(page)) == 200
    page.locator("#more").click()
    assert len(listed(page)) == 254
    page.get_by_label("Filter in the fit").fill("yes")
    assert matching(page) == 3 * 4 * 7  # the best of three rates
    page.get_by_label("Filter in the fit").fill("no")
    assert matching(page) == 254 - 84


@pytest.mark.parametrize(
    ("column", "text", "count"),
    [
        ("learning rate", "0.01", 84),
        ("learning rate", ">= 0.01", 168),
        ("learning rate", "0.001, 0.1", 168),
        ("d_m", "4..8", 126),
        ("d_m", "..4", 126),
        ("final test metric", "none", 2),
        ("status", "=failed", 2),
        ("status", "!failed", 252),
        ("d_m", "four", 254),
    ],
)
def test_filters_of_numbers_and_texts(page, column, text, count):
    field = page.get_by_label(f"Filter {column}", exact=True)
    field.fill(text)
    # The two that failed have the usual d_m of 5, which lies between 4 and 8.
    assert matching(page) == (count + 2 if text == "4..8" else count)
    assert (field.get_attribute("aria-invalid") == "true") == (text == "four")


def test_a_filter_of_times_reads_utc_with_and_without_its_letter(page):
    exact = """() => ["2026-11-21T10:00", "2026-11-21 10:00:00", "2026-11-21T10:00Z"].map(text =>
        test({kind: "time"}, `=${text}`)?.(Date.UTC(2026, 10, 21, 10)) ?? null)"""
    assert page.evaluate(exact) == [True, True, True]


def test_sorting_keeps_missing_values_at_the_end_and_searching_looks_at_every_text(page):
    head = page.locator("#trials thead button", has_text="final test metric")
    head.click()
    first = listed(page)[0]
    assert first == "b100000d2r0.01s0"
    head.click()
    assert listed(page)[0] == "b10000d16r0.1s6"
    page.locator("#more").click()
    assert set(listed(page)[-2:]) == {"f1", "f2"}
    page.locator("#search").fill("hyperlink")
    assert listed(page) == ["f1"]


def test_columns_can_be_chosen(page):
    heads = "() => [...document.querySelectorAll('#trials thead th')].map(head => head.textContent)"
    assert "learning rate" in page.evaluate(heads)
    assert "host" not in page.evaluate(heads)
    page.locator("#table-tools summary").click()
    page.locator("#column-choice").get_by_label("host", exact=True).check()
    assert "host" in page.evaluate(heads)
    assert page.evaluate("() => document.activeElement.dataset.focus") == "column-choice host"
    page.locator("#column-choice button", has_text="All").click()
    assert len(page.evaluate(heads)) == page.evaluate("() => table.columns.length") > 60


def test_the_focus_stays_in_the_field_that_is_typed_into(page):
    page.get_by_label("Filter d_m", exact=True).focus()
    page.keyboard.type("2, 4")
    assert page.get_by_label("Filter d_m", exact=True).input_value() == "2, 4"
    assert matching(page) == 126
    page.locator("#trials tbody tr").nth(2).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#detail pre")
    name = listed(page)[2]
    assert page.evaluate("() => document.activeElement.dataset.trial") == name
    page.keyboard.press("ArrowDown")
    assert page.evaluate("() => document.activeElement.dataset.trial") == listed(page)[3]


def test_the_csv_file_has_every_column_and_no_formula(page):
    with page.expect_download() as download:
        page.locator("#csv").click()
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text())))
    assert len(rows) == 254
    assert {"learning_rate", "host", "final_valid_metric", "reason", "enters", "group"} <= set(rows[0])
    reasons = {row["trial_id"]: row["reason"] for row in rows}
    assert (reasons["f1"], reasons["f2"]) == ("'=HYPERLINK(1)", "'+1")


def test_rates_and_lanes_are_drawn_from_the_rows_that_pass(page):
    lines = page.evaluate("() => document.getElementById('rates').data.map(line => [[...line.x], [...line.y]])")
    assert len(lines) == 12
    for x, y in lines:
        assert x == list(RATES)
        assert y[1] == min(y)
    assert (
        page.evaluate("() => document.querySelectorAll('#timeline .ytick').length") == 3
    )  # the failed ones ran on another
    page.get_by_label("Filter P", exact=True).fill("10000")
    assert page.evaluate("() => document.getElementById('rates').data.length") == 4
    page.get_by_label("Filter learning rate", exact=True).fill("0.01")
    assert page.locator("#rates").is_hidden()
    assert "No design point" in page.locator("#rates-caption").text_content()


def test_a_box_over_an_axis_becomes_a_filter(page):
    names = page.evaluate("() => axesNow().map(column => column.name)")
    assert {"budget", "d_m", "learning_rate", "final_test_metric"} <= set(names)
    place = page.evaluate(
        """name => {
          const gd = document.getElementById('parallel'), full = gd._fullLayout, box = gd.getBoundingClientRect();
          const k = axesNow().findIndex(column => column.name === name), at = (x, y) =>
            [box.left + full.xaxis._offset + full.xaxis.l2p(x), box.top + full.yaxis._offset + full.yaxis.l2p(y)];
          gd.scrollIntoView({block: 'center'});
          const after = gd.getBoundingClientRect();
          return [[k - 0.2, 0.7], [k + 0.2, 0.02]].map(([x, y]) =>
            [after.left + full.xaxis._offset + full.xaxis.l2p(x), after.top + full.yaxis._offset + full.yaxis.l2p(y)]);
        }""",
        "d_m",
    )
    page.mouse.move(*place[0])
    page.mouse.down()
    page.mouse.move((place[0][0] + place[1][0]) / 2, (place[0][1] + place[1][1]) / 2)
    page.mouse.move(*place[1])
    page.mouse.up()
    page.wait_for_function("() => state.table.filters.d_m")
    assert {row.split("d")[1].split("r")[0] for row in listed(page) if row[0] == "b"} == {"4", "8"}


def test_the_address_keeps_table_axes_and_the_open_trial(page, tab, path):
    page.get_by_label("Filter d_m", exact=True).fill("2, 4")
    page.locator("#search").fill("s3")
    page.locator("#trials thead button", has_text="learning rate").click()
    page.locator("details:has(#parallel-axes) summary").click()
    page.locator("#parallel-axes").get_by_label("seed", exact=True).check()
    page.locator("#trials tbody tr").nth(1).click()
    page.wait_for_selector("#detail pre")
    before, axes = listed(page), page.evaluate("() => axesNow().map(column => column.name)")
    tab.open(path.as_uri() + page.evaluate("() => location.hash"))
    page.wait_for_selector("#detail pre")
    assert listed(page) == before
    assert page.evaluate("() => axesNow().map(column => column.name)") == axes
    assert "seed" in axes
    assert page.locator("#trials tr[aria-selected='true']").get_attribute("data-trial") == before[1]


def test_a_large_selection_and_the_choice_of_an_axis_stand_in_the_address(page, tab, path):
    page.locator("#tab-tradeoff").click()
    page.evaluate("() => select(new Set(passing().filter(i => i % 7 !== 3)))")
    page.get_by_label("Metric vs complexity, fixed budget: axis").select_option(label="k_e")
    chosen = page.evaluate("() => [...state.selected]")
    assert len(chosen) > 50
    address = page.evaluate("() => location.hash")
    assert len(address) < 600
    tab.open(path.as_uri() + address)
    assert page.evaluate("() => [...state.selected]") == chosen
    assert page.evaluate("() => drawn.get('isobudget-d_m').choice") == 1
    tab.open(path.as_uri() + address.replace("bits%3A", "bits%3A0"))
    assert page.evaluate("() => state.selected") is None
    assert "made on other rows" in page.locator("#notice").text_content()
