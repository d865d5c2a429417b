"""The search for a Chromium: the named one first, then a fetched one, then one on PATH."""

import pytest

from tests.browser.chromium import find_chromium


def add_program(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o755)
    return str(path)


def test_named_program_comes_first(tmp_path):
    named = add_program(tmp_path / "named")
    add_program(tmp_path / "cache/npm-1/chrome")
    assert find_chromium({"CHROMIUM": named, "PATH": ""}, tmp_path / "cache") == named


def test_named_program_that_does_not_exist_is_an_error(tmp_path):
    add_program(tmp_path / "cache/npm-1/chrome")
    with pytest.raises(FileNotFoundError, match="CHROMIUM=/nonexistent is not a program"):
        find_chromium({"CHROMIUM": "/nonexistent", "PATH": ""}, tmp_path / "cache")


def test_fetched_program_comes_before_one_on_path(tmp_path):
    on_path = add_program(tmp_path / "bin/chromium")
    environment = {"PATH": str(tmp_path / "bin")}
    assert find_chromium(environment, tmp_path / "cache") == on_path
    fetched = add_program(tmp_path / "cache/npm-1/chrome")
    assert find_chromium(environment, tmp_path / "cache") == fetched


def test_none_is_found(tmp_path):
    assert find_chromium({"PATH": str(tmp_path)}, tmp_path / "cache") is None
