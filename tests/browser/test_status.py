"""The status page in a real browser: readable everywhere, never by colour alone, self-contained."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from diffrec_core.report.status import WORDS, render_status
from tests.browser.test_report import A4, CONTRASTS, SCHEMES, SMALL_TEXT
from tests.planted_status import faulty_night, quiet_night

pytestmark = pytest.mark.browser
RUNBOOK = "../../docs/runbook.md"
Open = Callable[..., Page]
TEXTS = (
    *(
        "h1",
        "h2",
        "b.value",
        "dt",
        "dd",
        "footer",
        "figcaption",
        "summary",
        SMALL_TEXT,
        ".do",
        ".do a",
    ),
    *(f".check .badge.{status}" for status in WORDS),
    ".verdict .badge",
)


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Both nights, as files."""
    folder = tmp_path_factory.mktemp("a status")
    found = {}
    for name, night in {"faulty": faulty_night(), "quiet": quiet_night()}.items():
        found[name] = folder / f"{name}.html"
        found[name].write_text(render_status(night, RUNBOOK), encoding="utf-8")
    return found


@pytest.fixture
def open_status(browser: Browser, pages: dict[str, Path]) -> Iterator[Open]:
    """Opens a night's page; at the end nothing else was asked for and nothing went wrong."""
    contexts, wrong = [], []
    allowed = {path.as_uri() for path in pages.values()}

    def open_(night: str = "faulty", width: int = 1100, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on(
            "request", lambda request: None if request.url in allowed else wrong.append(request.url)
        )
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(pages[night].as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("night", ["faulty", "quiet"])
def test_the_page_is_as_wide_as_the_window(open_status: Open, scheme: str, night: str) -> None:
    page = open_status(night, color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    for width in (1100, 768, 390, 320):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", SCHEMES)
def test_texts_stand_out(open_status: Open, scheme: str) -> None:
    page = open_status(color_scheme=scheme)
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    weak = {name: ratio for name, ratio in page.evaluate(CONTRASTS, TEXTS) if ratio < 4.5}
    assert weak == {}


def test_the_verdict_is_seen_first_and_without_colours(open_status: Open) -> None:
    page = open_status(width=390)
    verdict = page.locator(".verdict")
    assert verdict.inner_text().startswith("✕ ALARM")
    box = verdict.bounding_box()
    assert box is not None
    assert box["y"] < 200
    for check in faulty_night().checks:
        section = page.locator(f"#{check.name}")
        assert section.locator(".badge").inner_text() == " ".join(WORDS[check.status])
        assert section.locator(".do").count() == (check.status != "ok")
    assert open_status("quiet").locator(".do").count() == 0


def test_the_drawings_are_large_enough_to_read(open_status: Open) -> None:
    page = open_status(width=390)
    page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    for text in page.locator("svg text").all():
        box = text.bounding_box()
        assert box is not None
        assert box["height"] >= 11
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390


def test_it_fits_on_paper_in_light_colours(open_status: Open, tmp_path: Path) -> None:
    page = open_status(width=A4)
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("document.documentElement.scrollWidth") <= A4
    page.pdf(path=tmp_path / "status.pdf", format="A4")
    assert (tmp_path / "status.pdf").stat().st_size > 10_000
