"""Fetching a browser: sources are tried in order, a browser that fails its check is dropped, a fetched one is kept."""

import subprocess

import pytest

from tests.browser import fetch
from tests.browser.fetch import FetchError, Source, compute_integrity, fetch_browser, find_npm


def accept(program):
    """Accept every browser."""


def fill(folder):
    program = folder / "platform" / "program"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$FONTCONFIG_FILE" "$@"\n')
    program.chmod(0o755)
    return program


def fail(folder):
    raise FetchError("not reachable")


def test_first_source_that_works_is_used(tmp_path):
    script = fetch_browser(tmp_path / "cache", [Source("one", fail), Source("two", fill)], accept)
    assert script == tmp_path / "cache/two/chrome"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["two"]


def test_script_starts_the_program_from_where_the_folder_is(tmp_path):
    fetch_browser(tmp_path / "cache", [Source("one", fill)], accept)
    (tmp_path / "cache").rename(tmp_path / "moved")
    output = subprocess.check_output([tmp_path / "moved/one/chrome", "--headless", "a b"], text=True)
    assert output == f"{tmp_path}/moved/one/fonts.conf --headless a b\n"


def test_fetched_browser_is_not_fetched_again(tmp_path):
    script = fetch_browser(tmp_path, [Source("two", fill)], accept)
    assert fetch_browser(tmp_path, [Source("one", fail), Source("two", fail)], accept) == script


def test_browser_that_fails_its_check_is_dropped(tmp_path):
    def refuse(program):
        raise FetchError("shows no text")

    with pytest.raises(FetchError, match="one: not reachable; two: shows no text"):
        fetch_browser(tmp_path, [Source("one", fail), Source("two", fill)], refuse)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.heavy
def test_program_that_is_no_browser_fails_the_check(tmp_path):
    with pytest.raises(FetchError, match="the browser does not run here"):
        fetch.check_text_is_rendered(fill(tmp_path))


def test_npm_comes_from_pypi_where_it_is_not_installed(tmp_path):
    assert find_npm({"PATH": str(tmp_path)})[-3:] == ["--from", fetch.PINS["npm"], "npm"]


def test_package_with_another_checksum_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(fetch, "run_client", lambda command: (tmp_path / "download/package.tgz").write_bytes(b"other"))
    with pytest.raises(FetchError, match="has the checksum sha512-"):
        fetch.fetch_with_npm(tmp_path)


def test_checksum_has_the_form_of_the_npm_registry():
    empty = "sha512-z4PhNX7vuL3xVChQ1m2AB9Yg5AULVxXcg/SpIdNs6c5H0NE8XYXysP+DGNKHfuwvY7kxvUdBeoGlODJ6+SfaPg=="
    assert compute_integrity(b"") == empty
