"""Runs that SIGKILL or a full disk ends, at each of their writes: the same command goes on and gives the same bytes."""

import errno
import json
import os
import resource
import shutil
import signal
from dataclasses import replace

import pytest

from evaluator.errors import RunFailed
from launch.curation import blocks
from tests.launch.curation.test_pipeline import SETTINGS, read_data, run

pytestmark = pytest.mark.faults


@pytest.fixture
def sources(tmp_path):
    """Write two sources of numbers, each of which is one block; both have rows that each stage drops."""
    paths = [tmp_path / f"source{number}.json" for number in range(2)]
    for number, path in enumerate(paths):
        path.write_text(json.dumps([*range(100 * number, 100 * number + 14), None]))
    return paths


@pytest.fixture
def whole(tmp_path, sources):
    """Output of a run that nothing ends."""
    run(tmp_path / "whole", sources)
    return tmp_path / "whole"


class FailingCalls:
    """Replacement of a function of ``os``, which calls ``fail`` at the call with a number and counts all calls."""

    def __init__(self, name, number, fail):
        self.calls = 0
        self._original = getattr(os, name)
        self._number = number
        self._fail = fail

    def __call__(self, *arguments):
        self.calls += 1
        if self.calls == self._number:
            self._fail()
        return self._original(*arguments)


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def raise_no_space():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def run_with_failure(output, sources, name, number, fail):
    """Curate with ``fail`` at a call of a function; return the number of its calls."""
    with pytest.MonkeyPatch.context() as patch:
        calls = FailingCalls(name, number, fail)
        patch.setattr(blocks.os, name, calls)
        run(output, sources)
        return calls.calls


def run_in_child(function):
    """Call a function in a forked process; return its status as ``os.waitpid`` does."""
    child = os.fork()
    if not child:
        signal.alarm(120)
        try:
            function()
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1]


def read_manifest(output):
    """Read the manifest without seconds, which differ between runs."""
    values = json.loads((output / "manifest.json").read_text())
    for totals in (values["stages"], *values["sources"].values()):
        for entry in totals.values():
            del entry["seconds"]
    return values


def check_same(output, whole):
    assert read_data(output) == read_data(whole)
    assert read_manifest(output) == read_manifest(whole)
    assert [path for path in output.rglob("*") if path.name.startswith(".")] == []


@pytest.mark.heavy
def test_a_run_killed_at_any_write_goes_on(tmp_path, sources, whole):
    writes = run_with_failure(tmp_path / "counted", sources, "replace", 0, kill)
    assert writes > 25
    output = tmp_path / "killed"
    for number in range(1, writes + 1):
        status = run_in_child(lambda number=number: run_with_failure(output, sources, "replace", number, kill))
        assert os.WTERMSIG(status) == signal.SIGKILL
        assert not (output / "manifest.json").exists()
        run(output, sources)
        check_same(output, whole)
        shutil.rmtree(output)


@pytest.mark.heavy
def test_a_run_whose_disk_is_full_at_any_write_goes_on(tmp_path, sources, whole):
    writes = run_with_failure(tmp_path / "counted", sources, "fsync", 0, raise_no_space)
    output = tmp_path / "full"
    for number in range(1, writes + 1):
        with pytest.raises(RunFailed, match=r"No space left on device: '.*'; run the same command again to continue$"):
            run_with_failure(output, sources, "fsync", number, raise_no_space)
        assert [path for path in output.rglob("*") if path.name.startswith(".")] == []
        run(output, sources)
        check_same(output, whole)
        shutil.rmtree(output)


def test_a_file_that_the_system_does_not_write_is_named(tmp_path, sources, whole):
    def run_with_small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        try:
            run(tmp_path / "limited", sources)
        except RunFailed as error:
            os._exit(0 if str(error).startswith("collect, block 0: [Errno 27] File too large: '/") else 2)

    assert os.waitstatus_to_exitcode(run_in_child(run_with_small_files)) == 0
    run(tmp_path / "limited", sources)
    check_same(tmp_path / "limited", whole)


def test_a_run_killed_while_it_removes_old_stages_harms_neither_settings(tmp_path, sources, whole):
    output = tmp_path / "out"
    run(output, sources)

    def remove_some(folder):
        next(folder.rglob("*.parquet")).unlink()
        kill()

    def run_with_other_settings():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(blocks.shutil, "rmtree", remove_some)
            run(output, sources, settings=replace(SETTINGS, process={"max_tests": 3}))

    assert os.WTERMSIG(run_in_child(run_with_other_settings)) == signal.SIGKILL
    run(output, sources)
    check_same(output, whole)
