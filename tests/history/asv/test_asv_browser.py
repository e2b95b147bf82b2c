"""The published site in a real browser that reaches nothing but this machine."""

from __future__ import annotations

import re
import subprocess
import sys
import threading

import pytest
from asv_results import CASES, SLOWER, STEP, asv_project

from tnbench.history.asv.serve import address, bound_server
from tnbench.history.asv.site import make_offline

pytestmark = pytest.mark.browser
MACHINES = 2
CASE_BUTTONS = "#graphdisplay-navigation-params .panel:has(.panel-heading:text-is('case')) a.btn"
CUT = """elements => elements.filter(one => one.scrollWidth > one.clientWidth || one.scrollHeight > one.clientHeight)
                             .map(one => one.textContent)"""
OVERLAPPING = """elements => {
    const boxes = elements.map(one => one.getBoundingClientRect());
    const border = 2;
    const before = (end, start) => end <= start + border;
    const apart = (a, b) => before(a.right, b.left) || before(b.right, a.left)
                            || before(a.bottom, b.top) || before(b.bottom, a.top);
    return elements.filter((_, i) => boxes.some((box, j) => j !== i && !apart(boxes[i], box)))
                   .map(one => one.textContent);
}"""
PAINTED = """canvas => canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data
                              .some(value => value !== 0)"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """The address of a site that asv published and `make_offline` changed."""
    config = asv_project(tmp_path_factory.mktemp("project"))
    subprocess.run((sys.executable, "-m", "asv", "publish", "--config", config), check=True)
    make_offline(config.parent / "site")
    with bound_server(config.parent / "site", 0) as server:
        threading.Thread(target=server.serve_forever).start()
        yield address(server)
        server.shutdown()


@pytest.fixture
def opened(browser, home):
    """A function that opens a page of the site; nothing may be complained about or asked for from elsewhere."""
    context = browser.new_context(viewport={"width": 1300, "height": 900})
    trouble = []

    def judge(route):
        if route.request.url.startswith(home):
            route.continue_()
        else:
            trouble.append(f"asked for {route.request.url}")
            route.abort()

    context.route("**/*", judge)
    page = context.new_page()
    page.on("console", lambda message: trouble.append(f"console {message.type}: {message.text}"))
    page.on("pageerror", lambda error: trouble.append(f"error: {error}"))

    def open_page(place, until, without=None):
        if without is not None:
            page.route(f"**/{without}", lambda route: route.fulfill(body=""))
        page.goto(f"{home}#{place}")
        page.wait_for_selector(until)
        return page

    yield open_page
    context.close()
    assert trouble == []


def texts(page, selector):
    return [text.strip() for text in page.locator(selector).all_inner_texts()]


def wait_until_sorted(page, column, direction):
    page.wait_for_function(f"location.hash.endsWith('sort={column}&dir={direction}')")


def one_line(text):
    """Without the line breaks that wrapping shows."""
    return re.sub(r"\s", "", text)


def test_the_grid_draws_every_benchmark(opened):
    page = opened("", ".benchmark-plot canvas")
    assert texts(page, ".benchmark-text") == ["time_step", "track_error"]
    assert page.locator(".benchmark-text").evaluate_all(CUT) == []
    page.wait_for_function("document.querySelectorAll('.benchmark-plot canvas.flot-base').length === 2")
    assert all(canvas.evaluate(PAINTED) for canvas in page.locator("canvas.flot-base").all())


def test_the_graph_is_drawn_with_a_curve_for_each_case_and_machine(opened):
    page = opened(STEP, "#main-graph .legendLabel")
    assert page.locator("#main-graph canvas.flot-base").evaluate(PAINTED)
    assert page.locator("#overview canvas.flot-base").evaluate(PAINTED)
    assert page.evaluate("$('#main-graph').data('plot').getData().length") == len(CASES) * MACHINES


def test_case_ids_are_whole_in_the_selector_and_the_legend(opened):
    page = opened(STEP, "#main-graph .legendLabel")
    assert texts(page, CASE_BUTTONS) == list(CASES)
    assert page.locator(CASE_BUTTONS).evaluate_all(CUT) == []
    assert page.locator(CASE_BUTTONS).evaluate_all(OVERLAPPING) == []
    legend = page.locator("#main-graph .legendLabel")
    assert sorted(text.split(";")[0] for text in legend.all_inner_texts()) == sorted(f"case-{c}" for c in CASES * 2)
    assert legend.evaluate_all(CUT) == []
    assert legend.evaluate_all(OVERLAPPING) == []


def test_without_our_style_an_id_would_be_seen_to_be_cut(opened):
    page = opened(STEP, "#main-graph .legendLabel", without="legible.css")
    assert set(page.locator(CASE_BUTTONS).evaluate_all(CUT)) == set(CASES)


def test_a_case_is_chosen_by_its_button(opened):
    page = opened(STEP, "#main-graph .legendLabel")
    for case in CASES:
        if case != SLOWER:
            page.get_by_role("button", name=case, exact=True).click()
    page.wait_for_function("document.querySelectorAll('#main-graph .legendLabel').length === 2")
    assert {text.split(";")[0] for text in texts(page, "#main-graph .legendLabel")} == {f"case-{SLOWER}"}


def test_cases_along_the_axis_have_a_bar_for_each_machine_and_whole_names(opened):
    page = opened(f"{STEP}?x-axis=case", "#main-graph .flot-x-axis .flot-tick-label")
    page.wait_for_function(f"document.querySelectorAll('#main-graph .legendLabel').length === {MACHINES}")
    labels = page.locator("#main-graph .flot-x-axis .flot-tick-label")
    assert [one_line(text) for text in labels.all_inner_texts()] == list(CASES)
    assert labels.evaluate_all(OVERLAPPING) == []
    bars = page.evaluate("$('#main-graph').data('plot').getData().map(one => one.datapoints.points)")
    places = [bar for machine in bars for bar in machine[::3]]
    assert [[round(value, 6) for value in machine[1::3]] for machine in bars] == [[0.02, 0.03, 0.08, 0.05, 0.06]] * 2
    assert len(set(places)) == len(CASES) * MACHINES
    assert all(round(place) == at for machine in bars for at, place in enumerate(machine[::3]))


def test_without_our_script_bars_and_names_would_be_seen_to_be_missing(opened):
    page = opened(f"{STEP}?x-axis=case", "#main-graph .flot-x-axis .flot-tick-label", without="bars.js")
    page.wait_for_function(f"document.querySelectorAll('#main-graph .legendLabel').length === {MACHINES}")
    assert page.locator("#main-graph .flot-x-axis .flot-tick-label").count() < len(CASES)
    bars = page.evaluate("$('#main-graph').data('plot').getData().map(one => one.datapoints.points[0])")
    assert all(place is None or place != place for place in bars)


def test_the_list_shows_every_case_and_sorts_by_number(opened):
    page = opened("summarylist", "#summarylist-body tbody tr")
    names = texts(page, "#summarylist-body tbody td:first-child")
    assert sorted(names) == sorted(f"{name} ('{c}')" for c in CASES for name in (STEP, "accuracy.track_error"))
    assert page.locator("#summarylist-body tbody td:first-child").evaluate_all(CUT) == []
    wait_until_sorted(page, 0, "asc")
    page.locator("#summarylist-body th", has_text="Value").click()
    wait_until_sorted(page, 1, "asc")
    assert texts(page, "#summarylist-body tbody td.value")[:5] == ["10.0 %", "11.0 %", "12.0 %", "13.0 %", "14.0 %"]
    page.locator("#summarylist-body th", has_text="Value").click()
    wait_until_sorted(page, 1, "desc")
    assert texts(page, "#summarylist-body tbody td.value")[0] == "80.000ms"
    assert page.locator("#summarylist-body td.positive-change").inner_text().startswith("+100.0%")


def test_the_regression_is_named_and_leads_to_its_graph(opened):
    page = opened("regressions", "#regressions-body tbody tr")
    wait_until_sorted(page, 3, "desc")
    links = page.locator("#regressions-body tbody td:first-child a")
    assert links.all_inner_texts() == [f"{STEP}('{SLOWER}')"] * MACHINES
    assert texts(page, "#regressions-body tbody td:nth-child(4)") == ["2.00x"] * MACHINES
    links.first.hover()
    page.wait_for_selector(".popover canvas.flot-base")
    assert page.locator(".popover canvas.flot-base").evaluate(PAINTED)
    links.first.click()
    page.wait_for_selector("#main-graph .legendLabel")
    assert texts(page, "#main-graph .legendLabel") == [f"case-{SLOWER}"]
    assert texts(page, f"{CASE_BUTTONS}.active") == [SLOWER]


def test_the_watch_would_notice_a_request(browser):
    context = browser.new_context()
    asked = []
    context.route("**/*", lambda route: (asked.append(route.request.url), route.abort()))
    page = context.new_page()
    page.set_content('<script src="https://cdn.example/a.js"></script>')
    page.wait_for_timeout(200)
    context.close()
    assert asked == ["https://cdn.example/a.js"]
