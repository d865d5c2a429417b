"""Folder of a report: encoding, atomic files, clean-up, the lock of a build."""

import json
import os
import select
import subprocess
import sys
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.records.run_path import RunDirectoryError
from launch.run_report import report_folder
from launch.run_report.report_folder import MARKER, ReportFolder, encode_json, open_report_folder
from tests.launch.run_report.report_reader import read_data
from tests.launch.run_report.run_factory import HOSTILE_TEXT, make_older

ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=8)


@pytest.fixture
def folder(tmp_path):
    return ReportFolder(tmp_path / "report")


def join_surrogates(text):
    """Return a text as a script has it, where a high and a low surrogate are a character."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@given(st.recursive(ANY_TEXT | st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
                    lambda children: st.lists(children, max_size=3), max_leaves=6))  # fmt: skip
def test_any_value_is_utf8_json(value):
    content = encode_json(value)
    assert json.loads(content.decode("utf-8")) == json.loads(json.dumps(value))


@pytest.mark.parametrize(
    "text", [HOSTILE_TEXT, "\ud800", "\\\udc00", "\ud83d\ude00", "</script>", "\u2028\u2029", "\x00", "*/ -->", '");']
)
def test_hostile_texts_survive_a_data_file(folder, text):
    size = folder.write_data("front", {"text": [text]})
    assert read_data(folder.path, "front") == {"text": [join_surrogates(text)]}
    path = folder.path / "data" / "front.js"
    assert path.stat().st_size == size == folder.get_size("front")
    path.read_bytes().decode("utf-8")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [-float("inf")]])
def test_values_that_are_no_json_are_refused(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode_json(value)


def test_file_is_replaced_only_if_its_content_changes(folder):
    folder.write("index.html", b"one")
    make_older(folder.path, 100)
    modified = (folder.path / "index.html").stat().st_mtime_ns
    folder.write("index.html", b"one")
    assert (folder.path / "index.html").stat().st_mtime_ns == modified
    folder.write("index.html", b"two")
    assert (folder.path / "index.html").read_bytes() == b"two"
    assert (folder.path / "index.html").stat().st_mtime_ns > modified


def test_failed_write_leaves_the_old_file(folder, monkeypatch):
    folder.write("index.html", b"one")

    def fail(source, target):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(RunDirectoryError, match=r"index.html cannot be written: disk full.*output=DIR"):
        folder.write("index.html", b"two")
    assert (folder.path / "index.html").read_bytes() == b"one"
    assert [path.name for path in folder.path.iterdir() if path.is_file()] == ["index.html"]


@pytest.mark.parametrize("blocked", ["report", "report/data", "report/assets"])
def test_folder_that_cannot_be_written_to_is_an_error(tmp_path, blocked):
    path = tmp_path / blocked
    path.parent.mkdir(exist_ok=True)
    path.write_text("a file in place of the folder")
    with (
        pytest.raises(RunDirectoryError, match=r"cannot be written to .*: set output=DIR"),
        open_report_folder(tmp_path / "report"),
    ):
        pytest.fail("the folder was opened")


def test_folder_in_place_of_a_page_is_an_error(folder):
    (folder.path / "index.html").mkdir()
    with pytest.raises(RunDirectoryError, match=r"index.html cannot be written"):
        folder.write("index.html", b"one")


def test_assets_are_copied_once(folder):
    folder.copy_assets(("data.js",))
    source = files("launch.run_report").joinpath("assets", "data.js").read_bytes()
    assert (folder.path / "assets" / "data.js").read_bytes() == source
    bundle = folder.path / "assets" / "plotly.min.js"
    before = bundle.stat().st_mtime_ns
    folder.copy_assets(("data.js",))
    assert bundle.stat().st_mtime_ns == before and bundle.stat().st_size > 10**6
    bundle.write_bytes(b"cut")
    folder.copy_assets(())
    assert bundle.stat().st_size > 10**6


def test_stale_files_are_removed(folder):
    for name in ("front", "step_000001", "step_000002"):
        folder.write_data(name, 1)
    (folder.path / "data" / "manifest.json").write_text("{}")
    (folder.path / "data" / "odd.js").mkdir()
    for place in ("", "data/", "assets/"):
        for name in (".a.1.unfinished", ".b.2.unfinished"):
            (folder.path / f"{place}{name}").write_text("")
        make_older(folder.path / f"{place}.a.1.unfinished", 2 * report_folder.LONGEST_BUILD_S)
        os.utime(folder.path / f"{place}.a.1.unfinished", (0, 0))
    folder.remove_data(("front", "step_000002"))
    left = {str(path.relative_to(folder.path)) for path in folder.path.rglob("*") if path.is_file()}
    assert left == {
        *("data/front.js", "data/step_000002.js", "data/manifest.json"),
        *(".b.2.unfinished", "data/.b.2.unfinished", "assets/.b.2.unfinished"),
    }


def test_missing_file_has_no_size(folder):
    assert folder.get_size("none") == -1


HOLD = """
import pathlib, sys
from launch.run_report.report_folder import open_report_folder
print("started", flush=True)
with open_report_folder(pathlib.Path(sys.argv[1])):
    print("opened", flush=True)
    sys.stdin.read()
"""


def start_build(path):
    command = [sys.executable, "-c", HOLD, str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)


@pytest.mark.heavy
def test_second_build_waits_until_the_first_has_ended(tmp_path):
    with start_build(tmp_path / "report") as first, start_build(tmp_path / "report") as second:
        for build in (first, second):
            assert build.stdout.readline() == b"started\n"
        ready, _, _ = select.select([first.stdout, second.stdout], [], [], 60)
        holder = first if ready[0] is first.stdout else second
        waiting = second if holder is first else first
        assert holder.stdout.readline() == b"opened\n"
        assert select.select([waiting.stdout], [], [], 0.3)[0] == []
        holder.kill()  # the lock of a killed build does not remain
        assert waiting.stdout.readline() == b"opened\n"
        waiting.stdin.close()
        assert waiting.wait(60) == 0


def test_file_system_without_locks(tmp_path, monkeypatch):
    def refuse(file, operation):
        raise OSError("no locks available")

    monkeypatch.setattr(report_folder.fcntl, "flock", refuse)
    with open_report_folder(tmp_path / "report") as folder:
        assert folder.write("index.html", b"page") == 4


def test_build_that_does_not_end_is_an_error_for_the_next_one(tmp_path, monkeypatch):
    monkeypatch.setattr(report_folder, "LONGEST_BUILD_S", 0.0)
    with (
        open_report_folder(tmp_path / "report"),
        pytest.raises(RunDirectoryError, match="another process has been writing the report"),
        open_report_folder(tmp_path / "report"),
    ):
        pass


@pytest.mark.parametrize("name", ["index.html", "notes.txt", "data/front.js", "data/step_1.js", ".git/config", ".lock"])
def test_folder_with_files_of_a_user_is_left_alone(tmp_path, name):
    for place in (name, "more.txt"):
        (tmp_path / "site" / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "site" / place).write_text("text of a user")
    with (
        pytest.raises(RunDirectoryError, match="site has files in it and is not a report: choose another output"),
        open_report_folder(tmp_path / "site"),
    ):
        pytest.fail("the folder was opened")
    left = {str(path.relative_to(tmp_path / "site")) for path in tmp_path.rglob("*") if path.is_file()}
    assert left == {name, "more.txt"} and (tmp_path / "site" / name).read_text() == "text of a user"


def test_report_is_opened_again(tmp_path):
    path = tmp_path / "report"
    path.mkdir()
    with open_report_folder(path) as folder:  # empty
        folder.write("assets/data.js", b"")  # and no front page, as after a build that was killed
    for _ in range(2):
        with open_report_folder(path):
            pass
    assert (path / ".lock").read_bytes() == MARKER


def test_report_of_an_older_version_has_no_marker(folder):
    folder.write_data("front", {"charts": []})
    folder.write("index.html", b"page")
    (folder.path / ".lock").write_bytes(b"")
    with open_report_folder(folder.path):
        assert (folder.path / "index.html").read_bytes() == b"page"


def test_files_with_names_of_a_user_are_not_deleted(folder):
    own = ["front", "groups", "step_000001", "texts_000001", "texts_000001_2"]
    users = ["main", "step", "step_", "steps_1", "frontend", "texts_a", "jquery.min"]
    for name in (*own, *users):
        folder.write_data(name, 1)
    folder.remove_data(())
    assert {path.stem for path in (folder.path / "data").glob("*.js")} == set(users)
