"""The report's page in a real browser: nothing sticks out, and everything works by mouse, by keyboard and by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

WIDTHS = (390, 900, 980, 1280)
MEGABYTE = 1e6
OUTSIDE = """() => {
  const outside = [], room = document.documentElement.clientWidth + 0.5;
  const shown = (element) => element.getClientRects().length > 0;
  for (const element of document.querySelectorAll("main *")) {
    if (!shown(element) || element.closest(".scroll, pre, .skip, thead")) continue;
    const box = element.getBoundingClientRect();
    if (box.right > room || box.left < -0.5) outside.push(`${element.tagName} ${element.className} ${box.right}`);
  }
  for (const picture of document.querySelectorAll("main svg")) {
    if (!shown(picture)) continue;
    const frame = picture.getBoundingClientRect();
    for (const drawn of picture.querySelectorAll("text, path, .mark")) {
      if (drawn.matches(".mark") || !shown(drawn)) continue;
      const box = drawn.getBoundingClientRect();
      if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 ||
          box.bottom > frame.bottom + 1) outside.push(`${picture.getAttribute("aria-label")}: ${drawn.outerHTML}`);
    }
  }
  return outside.slice(0, 5);
}"""
CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgba = (css) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = css; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = ([r, g, b]) => { const f = [r, g, b].map((v) => { v /= 255;
    return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2]; };
  const below = (element) => { for (let one = element; one; one = one.parentElement) {
    const found = rgba(getComputedStyle(one).backgroundColor); if (found[3] === 255) return found; }
    return rgba("canvas"); };
  const poor = new Map();
  for (const element of document.querySelectorAll("body *")) {
    const words = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!words || !element.getClientRects().length || element.closest("svg, .track, option, script, #tip")) continue;
    const style = getComputedStyle(element), [a, b] = [light(rgba(style.color)), light(below(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) poor.set(`${element.tagName} ${element.className}`, ratio);
  }
  return [...poor];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["large", "small", "compared"])
def test_nothing_sticks_out(
    show: Callable[..., Any], request: pytest.FixtureRequest, name: str, width: int, scheme: str
) -> None:
    page = show(request.getfixturevalue(name).as_uri(), width, scheme).page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(OUTSIDE) == []
    for folded in page.locator("details > summary").all()[:3]:
        folded.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if width == 1280:
        assert page.evaluate(CONTRAST) == []


def test_the_large_page_is_small_and_opens_quickly(show: Callable[..., Any], large: Path) -> None:
    assert large.stat().st_size < 3 * MEGABYTE
    timings = []
    for _ in range(3):  # the best of three: other work on the machine is no fault of the page
        page = show(large.as_uri()).page
        page.wait_for_timeout(100)  # the event's own end comes after it
        timings.append(page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd"))
    assert 0 < min(timings) < 2000
    assert page.locator(".panel svg").count() == 26
    assert "more hits of this type are in the run folder" in page.locator("#transcripts").inner_text()


def test_everything_is_there_without_scripts(show: Callable[..., Any], small: Path) -> None:
    page = show(small.as_uri(), java_script_enabled=False).page
    assert page.locator(".panel svg").count() == 4
    assert page.locator(".answer tbody tr").count() == 4
    assert page.locator(".filters").is_hidden()
    assert page.locator(".mark title").first.text_content()
    assert page.locator(".scroll table").first.is_visible() or page.locator("details").count()


def test_filters_leave_one_type(show: Callable[..., Any], large: Path) -> None:
    page = show(large.as_uri()).page
    assert page.locator("select[name=run]").is_hidden()  # one run is no choice
    page.locator("[name=type]").select_option("process_exit")
    for place in (".panel", ".answer tbody tr", "#labels tbody tr", ".hits", "#forecasts tbody tr", ".reach tbody tr"):
        kept = page.locator(f"{place}:not(.away)").evaluate_all("all => all.map(one => one.dataset.type)")
        assert set(kept) == {"process_exit"}, place
    assert page.locator(".filters output").inner_text() == "1 of 26 panels"
    page.reload()
    assert page.locator(".panel:visible").count() == 1  # a reader's choice outlives a reload
    page.get_by_role("button", name="Show all").click()
    assert page.locator(".panel:visible").count() == 26
    page.locator("[name=words]").fill("test_")
    names = page.locator(".panel:visible").evaluate_all("all => all.map(one => one.dataset.type)")
    assert names
    assert len(names) < 26
    assert all("test_" in name for name in names)


def test_filters_leave_one_run(show: Callable[..., Any], compared: Path) -> None:
    page = show(compared.as_uri()).page
    page.locator("[name=run]").select_option("control")
    assert page.locator("#run-rl").is_hidden()
    assert page.locator("#run-control").is_visible()
    assert page.locator("#accuracy").is_visible()  # of both runs, so that no filter takes it away


def test_tables_sort_by_value(show: Callable[..., Any], large: Path) -> None:
    page = show(large.as_uri()).page
    table = page.locator("#forecasts table.sortable").last
    head = table.locator("th", has_text="score")
    column = head.evaluate("one => one.cellIndex")

    def values() -> list[str]:
        found: list[str] = table.locator(f"tbody tr td:nth-child({column + 1})").all_inner_texts()
        return found

    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    numbers = [float(value) for value in values() if value != "no hit"]
    assert numbers == sorted(numbers, reverse=True)
    assert values()[len(numbers) :] == ["no hit"] * (26 - len(numbers))  # what is missing comes last
    page.keyboard.press("Space")
    assert head.get_attribute("aria-sort") == "ascending"
    assert [float(value) for value in values() if value != "no hit"] == sorted(numbers)
    assert table.locator("th[aria-sort=none]").count() == table.locator("th").count() - 1


def test_rates_sort_below_what_a_float_holds(show: Callable[..., Any], small: Path) -> None:
    page = show(small.as_uri()).page
    found = page.evaluate(
        """() => {
          const table = document.querySelector("#health table"), texts = ["1.0e-3", "2.0e-401", "0.5", "—", "3.0e-402"];
          table.tBodies[0].innerHTML = texts.map((text) => `<tr><td>${text}</td></tr>`).join("");
          table.querySelector("th button").click();
          return [...table.tBodies[0].rows].map((row) => row.cells[0].textContent);
        }"""
    )
    assert found == ["3.0e-402", "2.0e-401", "1.0e-3", "0.5", "—"]


def test_terms_and_marks_explain_themselves(show: Callable[..., Any], small: Path) -> None:
    page = show(small.as_uri()).page
    tip = page.locator("#tip")
    assert tip.is_hidden()
    term = page.locator(".answer a.term", has_text="P(emerges)")
    term.hover()
    assert "Not calibrated on real runs" in tip.inner_text()
    page.keyboard.press("Escape")
    assert tip.is_hidden()
    page.mouse.move(0, 0)
    term.focus()
    assert "Not calibrated on real runs" in tip.inner_text()
    page.keyboard.press("Enter")
    assert page.locator("#term-p-emerges-").evaluate("one => one.matches(':target')")
    mark = page.locator(".panel svg .mark.s-estimate").first
    mark.scroll_into_view_if_needed()
    mark.hover()
    assert "certified" in tip.inner_text()
    box, room = tip.bounding_box(), page.viewport_size
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= room["width"]


def test_the_keyboard_reaches_everything(show: Callable[..., Any], small: Path) -> None:
    page = show(small.as_uri()).page
    seen = []
    for _ in range(400):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate(
                "() => { const one = document.activeElement; return one.closest('svg') ? 'mark' : "
                "one.closest('.filters') ? one.name || one.type : one.matches('th button') ? 'sort' : "
                "one.matches('a.term') ? 'term' : one.matches('summary') ? 'fold' : one.tagName; }"
            )
        )
        if seen[-1] == "BODY":
            break
    assert {"type", "words", "reset", "sort", "term", "fold", "mark", "A"} <= set(seen)
    assert seen.count("mark") == page.locator(".panel svg").count()  # one stop for each picture
    page.locator(".panel svg .mark[tabindex='0']").first.focus()
    first = page.evaluate("document.activeElement.getAttribute('aria-label')")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") != first
    assert page.locator("#tip").is_visible()
    page.keyboard.press("ArrowLeft")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == first


def test_a_series_can_be_taken_away(show: Callable[..., Any], compared: Path) -> None:
    page = show(compared.as_uri()).page
    series = page.locator(".key button", has_text="brute force, same")
    series.click()
    assert series.get_attribute("aria-pressed") == "false"
    assert page.locator(".panel .mark.s-brute:visible").count() == 0
    assert page.locator(".panel .mark.s-estimate:visible").count() > 0
    series.click()
    assert page.locator(".panel .mark.s-brute:visible").count() > 0


def test_it_prints_with_everything_unfolded(show: Callable[..., Any], small: Path) -> None:
    page = show(small.as_uri()).page
    page.emulate_media(media="print")
    assert page.locator("nav").is_hidden()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0
    assert page.pdf()[:5] == b"%PDF-"


def test_a_link_to_transcripts_opens_the_first(show: Callable[..., Any], small: Path) -> None:
    page = show(small.as_uri()).page
    page.locator(".answer a", has_text="Transcripts").first.click()
    opened = page.locator(".hits details[open]")
    assert opened.count() == 1
    assert opened.locator("pre .donor, pre .subject").count() > 0
    assert "Verdict: exploit" in opened.inner_text()
