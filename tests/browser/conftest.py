"""Chromium, and the report of a full run opened in it as a file."""

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Playwright, sync_playwright

from diffrec_core.report.figures import build_figures
from diffrec_core.report.html import render_report
from tests.unit.report.full_run import full_run

_NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's program."""
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("there is no Chromium on PATH: `apt-get install chromium` (as root) brings it")
    return found


@pytest.fixture(scope="session")
def playwright(chromium: str) -> Iterator[Playwright]:
    with sync_playwright() as driver:
        yield driver


@pytest.fixture(scope="session")
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    # root, as in a container, cannot have the sandbox; the page is our own
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of twenty models, as a file in a folder of its own."""
    path = tmp_path_factory.mktemp("a report") / "report.html"
    run = full_run()
    path.write_text(render_report(run, build_figures(run)), encoding="utf-8")
    return path


@dataclass(frozen=True, slots=True)
class Opened:
    """A page, and what it asked for and complained about.

    Attributes:
        page: the report.
        requests: every address that was asked for.
        complaints: messages on the console, and errors.
    """

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture
def open_report(browser: Browser, report: Path) -> Iterator[Callable[..., Opened]]:
    """Opens the report in a window of `width`; further arguments are those of the context."""
    contexts = []

    def open_(width: int = 1360, **options: Any) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        opened = Opened(context.new_page())
        opened.page.on("request", lambda request: opened.requests.append(request.url))
        opened.page.on("console", lambda message: opened.complaints.append(message.text))
        opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.page.goto(report.as_uri())
        return opened

    yield open_
    for context in contexts:
        context.close()
