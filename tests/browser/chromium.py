"""The Chromium of the browser tests: where it is looked for, and how it is started.

The first of: the program that the environment variable CHROMIUM names, the one that `make browser` has put into
``.cache/chromium``, and an installed one on PATH.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from playwright.sync_api import Browser, Playwright

CACHE = Path(__file__).parents[2] / ".cache" / "chromium"
"""One folder per source of a browser (tests/browser/fetch.py), each with a script ``chrome`` that starts it."""
ON_PATH = ("chromium", "chromium-browser", "chromium-headless-shell", "google-chrome", "chrome")
LAUNCH_TIMEOUT_MS = 120_000
"""Guards against a browser that hangs; a start takes under a second on an idle machine."""


def find_chromium(environment: Mapping[str, str] = os.environ, cache: Path = CACHE) -> str | None:
    """Return the program to start; None if there is none.

    Raises:
        FileNotFoundError: The variable CHROMIUM names a program that does not exist.
    """
    if named := environment.get("CHROMIUM"):
        if found := shutil.which(named, path=environment.get("PATH")):
            return found
        raise FileNotFoundError(f"CHROMIUM={named} is not a program; correct it or unset it")
    fetched = sorted(cache.glob("*/chrome"), key=lambda path: path.stat().st_mtime)
    if fetched:
        return str(fetched[-1])
    on_path = (shutil.which(name, path=environment.get("PATH")) for name in ON_PATH)
    return next(filter(None, on_path), None)


def launch_chromium(playwright: Playwright, program: str) -> Browser:
    """Start ``program`` headless, unable to resolve any host name (also for what no request shows: a preconnect)."""
    arguments = ["--host-resolver-rules=MAP * ~NOTFOUND"]
    return playwright.chromium.launch(executable_path=program, args=arguments, timeout=LAUNCH_TIMEOUT_MS)
