"""Fixtures of the browser tests: one browser per module, and pages that must neither log errors nor use the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.chromium import find_chromium, launch_chromium
from tests.browser.pages import PageMonitor


# Not for the session: while Playwright's event loop runs, asyncio.run fails, also in tests of other folders. A module
# that uses this fixture cannot call asyncio.run itself.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start Chromium; skip the module's tests if there is none."""
    program = find_chromium()
    if program is None:
        pytest.skip("needs Chromium: run `make browser`, or name one: CHROMIUM=/path/to/chromium")
    with sync_playwright() as playwright:
        started = launch_chromium(playwright, program)
        yield started
        started.close()


@pytest.fixture
def monitor(browser: Browser) -> Iterator[PageMonitor]:
    """Return a monitor whose errors the test itself examines."""
    monitor = PageMonitor(browser)
    yield monitor
    monitor.close()


@pytest.fixture
def open_page(monitor: PageMonitor) -> Iterator[Callable[..., Page]]:
    """Return ``PageMonitor.open``; the test fails if a page logs or raises an error, or requests something remote."""
    yield monitor.open
    assert monitor.read_errors() == []
