"""Command launch.report: pages, views, JSON, errors that say what to do, and what it does not import."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launch.run_report.run_factory import write_run

ROOT = Path(__file__).parents[2]
HEAVY_MODULES = ("torch", "ray", "transformers", "vllm", "tensorboard")
SAMPLE = "sample:1/an id: with, commas/3"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name in ("first", "second"):
        write_run(folder / name, texts={"question_id": "an id: with, commas"}, groups=2)
    return folder


@pytest.fixture
def run_main(monkeypatch, capsys):
    """Return a function that runs the command in this process; it returns exit status, stdout and stderr."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["report", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.delenv("FORCE_COLOR", raising=False)
        status: object = 0
        try:
            runpy.run_path(str(ROOT / "launch" / "report.py"), run_name="__main__")
        except SystemExit as stopped:
            status = stopped.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def test_views_are_printed_in_the_order_of_the_command_line(runs, run_main):
    status, output, _ = run_main(f"run={runs}/first", f'show=[slow,"{SAMPLE}",summary]')
    assert status == 0
    headings = ("slowest of run first", "sample 3 of an id: with, commas, step 1 of run first", "run first: finished")
    positions = [output.index(heading) for heading in headings]
    assert positions == sorted(positions)
    assert "\x1b" not in output and max(map(len, output.splitlines())) <= 80


def test_one_item_needs_no_list(runs, run_main):
    status, output, _ = run_main(f"run={runs}/first", "show=step:2")
    assert status == 0 and output.startswith("step 2 of run first\n")


def test_json_is_one_object_by_item(runs, run_main):
    status, output, error = run_main(f"run={runs}/first", f'show=["{SAMPLE}",summary]', "format=json")
    values = json.loads(output)
    assert (status, error, list(values)) == (0, "", [SAMPLE, "summary"])
    assert values["summary"]["steps_done"] == 3 and values[SAMPLE]["sample_index"] == 3
    assert values[SAMPLE]["completions"][0]["verdict"]["tests_total"] == 3


def test_error_in_json_mode_leaves_stdout_empty(runs, run_main):
    status, output, error = run_main(f"run={runs}/first", "show=[summary,step:9]", "format=json")
    assert (status, output) == (2, "")
    assert error.startswith("error: show: step 9 has no rollouts; the nearest steps that have are 0, 1, 2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "run: missing; set run=runs/NAME, or runs=[NAME,NAME] output=DIR"),
        (["run=RUNS/none"], "no such run"),
        (["run=RUNS/none", "show=[summary]"], "no such run"),
        (["run=RUNS/first", "show=[sumary]"], "show: 'sumary' is not an item: write summary"),
        (["run=RUNS/first", "format=json"], "format=json is a format of show: set show=[summary]"),
        (["run=RUNS/first", "format=yaml", "show=[summary]"], "format: "),
        (["run=RUNS/first", "show=[summary]", "output=RUNS/x"], "output with show"),
        (["run=RUNS/first", "runs=[RUNS/second]"], "run and runs are both set"),
        (["runs=[RUNS/first,RUNS/second]"], "output: missing"),
        (["runs=[RUNS/first]", "output=RUNS/x"], "a comparison needs two runs; for one run set run=RUNS/first"),
        (["runs=[RUNS/first,RUNS/none]", "output=RUNS/x"], "run=RUNS/none: no such run"),
        (["runs=[RUNS/first,RUNS/second/../first]", "output=RUNS/x"], "is in the list twice"),
        (["runs=[RUNS/first,RUNS/second]", "output=RUNS/x", "show=[summary]"], "show with runs: views are of one run"),
    ],
)
def test_wrong_arguments_are_errors_that_say_what_to_do(arguments, message, runs, run_main):
    status, output, error = run_main(*(argument.replace("RUNS", str(runs)) for argument in arguments))
    printed = (output or error).replace(str(runs), "RUNS")
    assert status == 2 and printed.startswith("error: ") and message in printed
    assert not (runs / "x").exists()


@pytest.mark.heavy
def test_pages_are_written_into_the_run_or_elsewhere(tmp_path, run_main):
    run = write_run(tmp_path / "run", steps=1)
    status, output, _ = run_main(f"run={run}")
    index, verdict = output.splitlines()
    assert status == 0 and index == str(run / "report" / "index.html") and Path(index).is_file()
    assert verdict.startswith("verdict: learned")
    status, output, _ = run_main(f"run={run}", f"output={tmp_path / 'elsewhere'}")
    assert status == 0 and (tmp_path / "elsewhere" / "index.html").is_file()


@pytest.mark.heavy
def test_place_that_cannot_be_written_is_an_error_that_names_the_key(tmp_path, run_main):
    run = write_run(tmp_path / "run", steps=1, with_evaluations=False)
    (run / "report").write_text("a file in the place of the folder")
    status, output, _ = run_main(f"run={run}")
    assert status == 2 and output.startswith("error: ") and "set output=DIR" in output


@pytest.mark.heavy
def test_comparison_of_runs_is_written(runs, tmp_path, run_main):
    status, output, _ = run_main(f"runs=[{runs}/first,{runs}/second]", f"output={tmp_path / 'comparison'}")
    assert status == 0 and Path(output.strip()).is_relative_to(tmp_path / "comparison")
    assert Path(output.strip()).is_file()


@pytest.mark.heavy
@pytest.mark.parametrize("arguments", [["show=[summary,health,slow,step:1]"], ["output=OUTPUT"]])
def test_command_imports_nothing_heavy(arguments, runs, tmp_path):
    """An ASCII terminal shows the output too."""
    arguments = [argument.replace("OUTPUT", str(tmp_path / "report")) for argument in arguments]
    program = (
        "import runpy, sys\n"
        f"sys.argv = {['report', f'run={runs}/first', *arguments]!r}\n"
        "runpy.run_module('launch.report', run_name='__main__')\n"
        f"print('imported:', *[name for name in {HEAVY_MODULES!r} if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={"PYTHONIOENCODING": "ascii", "PATH": ""},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].strip() == "imported:"
