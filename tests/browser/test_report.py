"""The report in a real browser: it works, it is readable everywhere, and it asks nobody."""

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page

from diffrec_core.report.style import DARK, LIGHT
from tests.browser.conftest import Opened
from tests.unit.report.full_run import NAMES, full_run

pytestmark = pytest.mark.browser
Open = Callable[..., Opened]
TEST_RECALL = "#leaderboard table.sortable >> nth=0 >> th[data-column='5'] >> button"
SCHEMES = ("light", "dark")
A4 = 710  # px between the margins

CUT_OFF = """
(region) => {
  const edge = region.getBoundingClientRect();
  const cut = (cell) => {
    const box = cell.getBoundingClientRect();
    const outside = box.right > edge.right + 1 || box.left < edge.left - 1;
    return outside || cell.scrollWidth > cell.clientWidth + 1;
  };
  return [...region.querySelectorAll("th, td")].filter(cut).map((cell) => cell.textContent);
}
"""
BEYOND_PANEL = """
(texts) => texts.filter((text) => {
  const [box, edge] = [text, text.closest("svg")].map((e) => e.getBoundingClientRect());
  return box.left < edge.left - 4 || box.right > edge.right + 4;
}).map((text) => text.textContent)
"""

# Relative luminance and contrast as WCAG 2 defines them. Of a text on transparent elements, the
# background is that of the nearest ancestor that has one; what is in a drawing stands on the page.
CONTRASTS = """
(selectors) => {
  const channel = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const luminance = (color) => {
    const [r, g, b] = numbers(color).map((c) => channel(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    const color = getComputedStyle(element).backgroundColor;
    const clear = numbers(color)[3] === 0;
    return clear && element.parentElement ? ground(element.parentElement) : color;
  };
  return selectors.map((selector) => {
    const element = document.querySelector(selector);
    const style = getComputedStyle(element);
    const color = element.closest("svg") ? style.fill : style.color;
    const [a, b] = [luminance(color), luminance(ground(element))].sort((x, y) => y - x);
    return [selector, (a + 0.05) / (b + 0.05)];
  });
}
"""
SMALL_TEXT = "svg text[style*='--muted']"
TEXTS = (
    *("h1", "p.lead strong", "nav a", "caption", "td small", "thead th", "tr.selected .badge"),
    *("figcaption", ".legend", ".tiles li", ".note", "svg text", SMALL_TEXT, ".user .tick"),
)


def first_column(page: Page) -> list[str]:
    """Names of the models in the leaderboard, from top to bottom."""
    cells = page.locator("#leaderboard table.sortable").first.locator("tbody th")
    return [text.partition(" ")[0].strip() for text in cells.all_text_contents()]


def test_nothing_is_asked_for_and_nothing_goes_wrong(open_report: Open, report: Path) -> None:
    opened = open_report()
    opened.page.locator(TEST_RECALL).click()
    opened.page.locator("#user-picker").select_option(index=2)
    for summary in opened.page.locator("summary:visible").all():
        summary.click()
    assert opened.requests == [report.as_uri()]
    assert opened.complaints == []


def test_the_policy_refuses_what_a_page_might_ask_for(open_report: Open) -> None:
    opened = open_report()
    opened.page.evaluate("fetch('http://127.0.0.1:9/').catch(() => null)")
    assert any("Content Security Policy" in text for text in opened.complaints)


def test_the_leaderboard_is_sorted_by_a_click_and_back_by_another(open_report: Open) -> None:
    page = open_report().page
    by_recall = sorted(full_run().models, key=lambda model: -model.test["recall@20"])
    best_first = [model.name for model in by_recall]
    head = page.locator(TEST_RECALL).locator("xpath=..")
    page.locator(TEST_RECALL).click()
    assert head.get_attribute("aria-sort") == "descending"
    assert first_column(page) == best_first
    page.locator(TEST_RECALL).click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert first_column(page) == best_first[::-1]
    table = page.locator("#leaderboard table.sortable").first
    assert table.locator("th[aria-sort]").count() == 1


def test_the_leaderboard_is_sorted_from_the_keyboard(open_report: Open) -> None:
    page = open_report().page
    page.locator("#leaderboard th[data-column='0'] button").first.focus()
    page.keyboard.press("Enter")
    assert first_column(page) == sorted(NAMES)
    page.keyboard.press("Space")
    assert first_column(page) == sorted(NAMES, reverse=True)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert first_column(page)[0] == "ease"  # by validation recall


def test_the_picker_shows_one_user_with_history_and_hits(open_report: Open) -> None:
    page, run = open_report().page, full_run()
    assert page.locator("details.user:visible").count() == 1
    page.locator("#user-picker").select_option("user-4")
    (user,) = page.locator("details.user:visible").all()
    assert "User user-4, 41 items in the history" in user.inner_text()
    newest = run.item_titles[run.sample_histories[4][-1]]
    assert user.locator("ul li").first.inner_text() == newest
    assert user.locator(".card").count() == len(NAMES)
    hits = sum(hit for model in run.models for _, hit in model.top_items[4][:10])
    assert user.locator("li.hit").count() == hits > 0


def test_without_scripts_every_user_can_be_opened(open_report: Open) -> None:
    page = open_report(java_script_enabled=False).page
    assert page.locator("#user-picker:visible").count() == 0
    assert page.locator("details.user:visible").count() == 12
    page.locator("details.user summary").nth(3).click()
    assert page.locator("details.user").nth(3).locator(".card").first.is_visible()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_texts_stand_out(open_report: Open, scheme: str) -> None:
    page = open_report(color_scheme=scheme).page
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    weak = {name: ratio for name, ratio in page.evaluate(CONTRASTS, TEXTS) if ratio < 4.5}
    assert weak == {}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_page_is_as_wide_as_the_window(open_report: Open, scheme: str) -> None:
    page = open_report(color_scheme=scheme).page
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    for width in (1360, 768, 390, 320):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_no_cell_of_the_leaderboard_is_cut_off_in_a_usual_window(open_report: Open) -> None:
    page = open_report(1300).page
    for width in (1300, 1360, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.locator("#leaderboard .scroll").first.evaluate(CUT_OFF) == []


def test_texts_of_drawings_stay_in_their_panels(open_report: Open) -> None:
    page = open_report().page
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert page.locator("svg text").evaluate_all(BEYOND_PANEL) == []


@pytest.mark.parametrize(("scheme", "colours"), [("light", LIGHT), ("dark", DARK)])
def test_drawings_take_the_colours_of_the_scheme(
    open_report: Open, scheme: str, colours: dict[str, str]
) -> None:
    page = open_report(color_scheme=scheme).page
    bar = page.locator("#comparison path[style*='fill: var(--accent)']").first
    digits = colours["accent"].removeprefix("#")
    expected = ", ".join(str(int(digits[n : n + 2], 16)) for n in (0, 2, 4))
    assert bar.evaluate("(e) => getComputedStyle(e).fill") == f"rgb({expected})"


def test_wide_tables_scroll_inside_themselves_on_a_phone(open_report: Open) -> None:
    page = open_report(390).page
    region = page.locator("#leaderboard .scroll").first
    assert region.evaluate("(e) => e.scrollWidth > e.clientWidth")
    region.evaluate("(e) => { e.scrollLeft = 600; }")
    name = region.locator("tbody th").first.bounding_box()
    assert name is not None
    assert 0 <= name["x"] < 30  # the models' names stay in sight


def test_nothing_is_cut_off_on_paper(open_report: Open, tmp_path: Path) -> None:
    page = open_report(A4).page
    page.emulate_media(media="print", color_scheme="dark")
    wide = "(all) => all.filter((e) => e.scrollWidth > e.clientWidth + 1).length"
    assert page.locator(".scroll").evaluate_all(wide) == 0
    assert page.locator("nav:visible, .picker:visible").count() == 0
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(255, 255, 255)"
    page.pdf(path=tmp_path / "report.pdf", format="A4")
    assert (tmp_path / "report.pdf").stat().st_size > 50_000


def test_light_dark_and_phone_look_different(open_report: Open, tmp_path: Path) -> None:
    shots = []
    windows = (("light", 1360, "light"), ("dark", 1360, "dark"), ("phone", 390, "light"))
    for name, width, scheme in windows:
        page = open_report(width, color_scheme=scheme).page
        shots.append(page.screenshot(path=tmp_path / f"{name}.png"))
    assert all(len(shot) > 20_000 for shot in shots)
    assert len(set(shots)) == 3
