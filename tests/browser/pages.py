"""Pages opened by a browser test, and what they must not do: log an error, raise one, or use the network.

Requests of any scheme but file:, data: and blob: are blocked, so that a page that needs the network looks broken.
Not covered: a preconnect is no request and is not reported; the browser resolves no host names, so nothing leaves it.
"""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Browser, ConsoleMessage, Page, Route, WebSocketRoute

FROM_NETWORK = re.compile(r"^(?!(file|data|blob|about):)")
TIMEOUT_MS = 120_000
"""Guards against a page that hangs."""


class PageMonitor:
    """Opens pages, each in a context of its own, and records their errors, warnings and blocked requests."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._errors: list[str] = []
        self._warnings: list[str] = []

    def open(self, path: Path, *, width: int = 1280, height: int = 800, dark: bool = False) -> Page:
        """Open a file and wait until it has loaded.

        Args:
            width: Of the window, in CSS pixels.
            height: Of the window, in CSS pixels.
            dark: The user prefers the dark colour scheme.
        """
        context = self._browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            service_workers="block",  # their requests would pass the routes below
        )
        context.set_default_timeout(TIMEOUT_MS)
        context.route(FROM_NETWORK, self._block)
        context.route_web_socket(re.compile(""), self._block_socket)
        context.on("console", self._record_message)
        context.on("weberror", lambda error: self._errors.append(f"page error: {error.error.message}"))
        page = context.new_page()
        page.goto(path.resolve().as_uri())
        return page

    def read_errors(self) -> list[str]:
        """Return the errors and blocked requests of all pages so far, in order."""
        self._receive_events()
        return list(self._errors)

    def read_warnings(self) -> list[str]:
        """Return the warnings on the consoles of all pages so far."""
        self._receive_events()
        return list(self._warnings)

    def close(self) -> None:
        """Close all pages."""
        for context in self._browser.contexts:
            context.close()

    def _receive_events(self) -> None:
        """Wait for an answer of each page: the events that it has sent before arrive first."""
        for context in self._browser.contexts:
            for page in context.pages:
                page.evaluate("() => new Promise(resolve => setTimeout(resolve))")

    def _block(self, route: Route) -> None:
        self._errors.append(f"network request: {route.request.url}")
        route.abort()

    def _block_socket(self, socket: WebSocketRoute) -> None:
        self._errors.append(f"network request: {socket.url}")
        socket.close()

    def _record_message(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self._errors.append(f"console error: {message.text}")
        elif message.type == "warning":
            self._warnings.append(message.text)
