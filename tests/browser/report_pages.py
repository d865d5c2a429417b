"""Helpers of the browser tests of reports: open a view, wait for it, read it, press keys, draw charts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Locator, Page

PHONE = {"width": 390, "height": 844}
IS_SHOWN = "() => document.body.dataset.shown === location.hash"
DRAW_ALL = """async (charts) => {
    for (const chart of charts) {
        chart.scrollIntoView();
        while (chart.dataset.state !== "drawn") await new Promise((resolve) => setTimeout(resolve, 20));
    }
    return charts.map((chart) => chart.querySelectorAll("svg.main-svg").length > 0);
}"""
PLOTLY_STUB = "window.Plotly = { react: async (place) => { place.on = () => {}; }, purge: () => {} };"
VISIBLE_CHARTS = "main:not([hidden]) .chart"


def wait_for_view(page: Page) -> None:
    """Wait until the view of the page's address is shown."""
    page.wait_for_function(IS_SHOWN)


def show(page: Page, address: str) -> Locator:
    """Open an address of the report, the part after "#", and return the view."""
    page.evaluate("(address) => { location.hash = address; }", address)
    wait_for_view(page)
    return page.locator("#view")


def read_address(page: Page) -> str:
    """Return the part of the address after "#", once its view is shown."""
    wait_for_view(page)
    return str(page.evaluate("() => location.hash"))


def press(page: Page, key: str) -> str:
    """Press a key and return the address that it leads to."""
    page.keyboard.press(key)
    page.evaluate("() => new Promise((resolve) => setTimeout(resolve))")  # the change of the address is an event
    return read_address(page)


def list_texts(page: Page, selector: str) -> list[str]:
    """Return the texts of elements."""
    return page.locator(selector).all_inner_texts()


def draw_charts(page: Page) -> list[bool]:
    """Scroll to each chart until it is drawn; return which of them have a drawing."""
    drawn: list[bool] = page.locator(VISIBLE_CHARTS).evaluate_all(DRAW_ALL)
    return drawn


def has_overflow(page: Page) -> bool:
    """Return True if the page itself, not a table in it, is wider than the window."""
    return bool(page.evaluate("() => document.documentElement.scrollWidth > innerWidth"))


def read_rows(page: Page, table: str) -> list[list[str]]:
    """Return the texts of the cells of a table's body."""
    rows: list[Any] = page.locator(f"{table} tbody tr").evaluate_all(
        "(rows) => rows.map((row) => [...row.cells].map((cell) => cell.innerText))"
    )
    return [[str(cell) for cell in row] for row in rows]


def replace_plotly(report: Path) -> Path:
    """Replace the bundle of Plotly, whose loading takes a second, by a stub; return the report."""
    (report.parent / "assets" / "plotly.min.js").write_text(PLOTLY_STUB)
    return report
