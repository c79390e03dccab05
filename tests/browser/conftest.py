"""A real Chromium for the tests of the report's page. Nothing is downloaded: it has to be installed."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.audit import estate
from webhook.audit.report.figures import Report
from webhook.audit.report.page import render

ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""None of them is of the page's doing: they keep the browser itself off the network, and let root start it."""

Open = Callable[..., Page]


def chromium() -> str | None:
    """Where the browser is, if there is one."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = chromium()
    if path is None:
        pytest.skip("no chromium on the path: the report's page was not looked at in a browser")
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def estate_report() -> Report:
    return estate.report()


@pytest.fixture(scope="session")
def html(estate_report: Report) -> str:
    return render(estate_report, generated="written by a test")


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Opens HTML as a file, in a context of its own. `page.heard` are requests beyond the file, errors, dialogs."""
    contexts = []

    def open_(html: str, *, media: str | None = None, **how: Any) -> Page:
        file = tmp_path / "report.html"
        file.write_text(html, encoding="utf-8")
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **how})
        contexts.append(context)
        page = context.new_page()
        heard: list[str] = []
        page.heard = heard  # type: ignore[attr-defined]
        page.on("request", lambda request: None if request.url == file.as_uri() else heard.append(request.url))
        page.on("console", lambda said: heard.append(f"{said.type}: {said.text}"))
        page.on("pageerror", lambda error: heard.append(str(error)))
        page.on("dialog", lambda dialog: heard.append(f"dialog {dialog.message}"))
        page.set_default_timeout(10_000)
        if media:
            page.emulate_media(media=media)  # type: ignore[arg-type]
        page.goto(file.as_uri())
        return page

    yield open_
    for context in contexts:
        context.close()
