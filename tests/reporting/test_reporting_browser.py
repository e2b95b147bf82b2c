"""The page in a real browser, without a network."""

import pytest
from reporting_factory import scaling, sweep, troubled

from tnbench.reporting.page import write_page

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    records = [*sweep(seeds=2, ranks=(2, 4, 16)), *scaling(), *troubled()]
    return write_page(records, name="quick", summary="", out=tmp_path_factory.mktemp("page"))


@pytest.fixture(scope="module")
def opened(browser, file):
    """The page at a desktop's width, and everything it complained about or asked for."""
    context = browser.new_context(offline=True, viewport={"width": 1300, "height": 900})
    trouble = []

    def judge(route):
        if route.request.url.startswith("file:"):
            route.continue_()
        else:
            trouble.append(f"asked for {route.request.url}")
            route.abort()

    context.route("**/*", judge)
    page = context.new_page()
    page.on("console", lambda message: trouble.append(f"console {message.type}: {message.text}"))
    page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
    page.goto(file.as_uri())
    page.wait_for_selector("#plot .legendtoggle")
    yield page, trouble
    context.close()


def wait_until(page, condition):
    """As playwright's wait_for_function, which the page's security policy refuses."""
    for _ in range(100):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"never came true: {condition}")


def column(page, number):
    return page.eval_on_selector_all(
        f"#table tbody tr:not([hidden]) td:nth-child({number})",
        "cells => cells.map(cell => cell.dataset.value === undefined ? null : Number(cell.dataset.value))",
    )


def test_sorting_is_by_number_with_missing_values_last(opened):
    page, _ = opened
    heading = page.locator("#table").get_by_role("button", name="top-1")
    heading.click()
    ascending = column(page, 7)
    heading.focus()
    page.keyboard.press("Enter")
    descending = column(page, 7)
    known = [value for value in ascending if value is not None]
    assert known == sorted(known)
    assert ascending == [*known, *[None] * len(troubled())]
    assert descending == [*reversed(known), *[None] * len(troubled())]
    assert page.locator("th[aria-sort=descending]").count() == 1


def test_the_filter_keeps_what_has_all_words(opened):
    page, _ = opened
    page.fill("#filter", "tucker2 X4 digits")
    assert page.locator("#table tbody tr:visible").count() == 2
    assert page.text_content("#shown") == "2 of 39 records"
    page.fill("#filter", "cannot reach")
    assert page.locator("#table tbody tr:visible").count() == 1
    page.fill("#filter", "")
    assert page.text_content("#shown") == "39 records"


def test_the_legend_hides_a_method(opened):
    page, _ = opened
    drawn = "document.getElementById('plot')._fullData.filter(t => t.visible === true).map(t => t.name)"
    assert page.evaluate(drawn).count("tt") == 2
    page.locator("#plot .legend .traces", has_text="tt").locator(".legendtoggle").click()
    wait_until(page, f"!{drawn}.includes('tt')")
    assert "cp" in page.evaluate(drawn)
    page.get_by_role("button", name="accuracy drop (points)").click()
    wait_until(page, "document.querySelector('#plot .ytitle').textContent.startsWith('accuracy drop')")
    assert "tt" not in page.evaluate(drawn)
    page.get_by_role("button", name="top-1 accuracy (%)").click()


def test_pointing_at_a_record_names_its_case(opened):
    page, _ = opened
    texts = page.evaluate("document.getElementById('plot')._fullData.flatMap(t => t.text || [])")
    assert sum("tucker2/x4/cnn8/digits/finetune/single#1" in text for text in texts) == 1
    marker = page.locator("#plot .scatterlayer .points path").last
    marker.scroll_into_view_if_needed()
    marker.hover(force=True)
    page.wait_for_selector("#plot .hoverlayer .hovertext")
    assert "cnn8/digits/finetune/single#" in page.text_content("#plot .hoverlayer")


@pytest.mark.parametrize("quantity", ["MACs per picture", "latency at batch 1 (ms)", "parameters"])
def test_buttons_choose_the_axis(opened, quantity):
    page, _ = opened
    button = page.locator(".choice[data-axis=x]").get_by_role("button", name=quantity)
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    wait_until(page, f"document.querySelector('#plot .xtitle').textContent === '{quantity}'")
    assert page.locator(".choice[data-axis=x] [aria-pressed=true]").count() == 1


def test_a_context_can_be_shown_alone_or_with_all_others(opened):
    page, _ = opened
    shown = "new Set(document.getElementById('plot')._fullData.filter(t => t.visible === true).map(t => t.name)).size"
    page.select_option("#context", label="resnet20 on cifar10, finetune (ddp:2)")
    assert page.evaluate(shown) == 2
    page.select_option("#context", label="everything")
    assert page.evaluate(shown) == 11


@pytest.mark.parametrize("width", [360, 768, 1300])
def test_nothing_is_wider_than_the_window(opened, width):
    page, _ = opened
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_timeout(200)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_nothing_was_complained_about_or_asked_for(opened):
    _, trouble = opened
    assert trouble == []


def test_the_watch_would_notice_a_request(browser):
    context = browser.new_context(offline=True)
    asked = []
    context.route("**/*", lambda route: (asked.append(route.request.url), route.abort()))
    page = context.new_page()
    page.set_content('<img src="https://example.org/a.png" alt="">')
    page.wait_for_timeout(200)
    context.close()
    assert asked == ["https://example.org/a.png"]
