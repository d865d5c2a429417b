"""Judging: texts that are not Unicode, answers that are too long or cannot be compared, and failures of the host."""

import contextlib
import doctest
import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator import Evaluator, Limits, ProblemTest, SandboxError, Status, judging, to_row
from evaluator.judging import MAX_EXTRA_ANSWER, VerdictBuilder, decode_output, encode_input, restore_output
from evaluator.verdict import MAX_TEXT_BYTES, FailedTest
from tests.evaluator.problems import make_problem_with_tests

ROOT = Path(__file__).parents[2]
ANY_TEXT = st.text(st.characters(codec=None))


@pytest.fixture(scope="module")
def evaluator():
    with Evaluator(Limits(wall_s=30, cpu_s=30, memory_mb=256, output_bytes=8 << 20)) as evaluator:
        yield evaluator


def make_stdin_problem(*tests, **changes):
    """Return a standard-input problem with (input, output) ``tests`` and changed fields."""
    return make_problem_with_tests(*(ProblemTest(*test) for test in tests), **changes)


def make_functional_problem(*tests, **changes):
    """Return a problem that calls ``f``, with (input, output) ``tests``."""
    calls = [ProblemTest(text, output, "functional") for text, output in tests]
    return make_problem_with_tests(*calls, func_name="f", **changes)


# --- texts that are not Unicode -------------------------------------------------------------------------------------


def test_docstring_examples_pass():
    result = doctest.testmod(judging)
    assert result.attempted and not result.failed


@given(st.binary())
def test_bytes_survive_decoding(data):
    assert encode_input(decode_output(data)) == data


@given(ANY_TEXT)
def test_every_text_can_be_standard_input(text):
    data = encode_input(text)
    assert restore_output(text) == decode_output(data)
    with contextlib.suppress(UnicodeEncodeError):
        assert data == text.encode()


TEXTS = ["\ud800", "a\udcff\udc80b", "\udfff\ud800\n", "\0\x1b[31m\u2028é\U0001f600", "\ufeff\ud83d", "\r\n\x85\v"]


@pytest.mark.parametrize("text", TEXTS)
def test_programs_read_and_print_any_text(evaluator, text):
    problem = make_stdin_problem((text, text), (f"{text}\n1\n", "1\n"))
    echo = "import os\ndata = os.read(0, 1000)\nos.write(1, b'1' if data.endswith(b'1\\n') else data)"
    assert evaluator.evaluate(problem, echo).passed
    text_echo = "import sys\ntext = sys.stdin.read()\nsys.stdout.write(text if text[-2:] != '1\\n' else '1')"
    if "\r" not in text:  # read as a line end
        assert evaluator.evaluate(problem, text_echo).passed
    assert evaluator.evaluate(problem, "print('no')").status is Status.WRONG_ANSWER


@pytest.mark.parametrize("text", TEXTS)
def test_functions_take_and_return_any_text(evaluator, text):
    problem = make_functional_problem((json.dumps(text), json.dumps([text, text])))
    assert evaluator.evaluate(problem, "def f(s): return [s, s]").passed
    problem = make_functional_problem((json.dumps(text, ensure_ascii=False), json.dumps(text, ensure_ascii=False)))
    assert evaluator.evaluate(problem, "def f(s): return s").passed


@pytest.mark.parametrize("text", TEXTS)
def test_checkers_compare_any_text(evaluator, text):
    checker = {"type": "custom", "code": "def check(inp, out, exp): return inp == exp and out.strip() == '1'"}
    problem = make_stdin_problem((text, text), checker=checker)
    assert evaluator.evaluate(problem, "print(1)").passed
    assert evaluator.evaluate(problem, "import os\nos.write(1, b'\\xff')").status is Status.WRONG_ANSWER


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("source", ["print(1)\n# {}", "'''{}'''", "{}", "raise ValueError('''{}''')", "import {}"])
def test_any_text_in_a_program_has_a_verdict_that_can_be_written(evaluator, source, text):
    source = source.format(text)
    for problem in (make_stdin_problem(("", "1")), make_functional_problem(("1", "1"))):
        verdict = evaluator.evaluate(problem, source)
        assert verdict.status is not Status.SANDBOX_ERROR
        assert verdict.detail.encode().decode() == verdict.detail
        failed = verdict.failed_test
        texts = [] if failed is None else [failed.input, failed.expected, failed.actual or ""]
        assert all(text.encode().decode() == text for text in texts)


def test_message_of_a_program_can_be_written(evaluator):
    verdict = evaluator.evaluate(make_functional_problem(("1", "1")), "def f(x): raise ValueError('\\ud800' + 'é')")
    assert (verdict.status, verdict.detail) == (Status.RUNTIME_ERROR, "ValueError: \\ud800é")


@pytest.mark.heavy
def test_no_text_of_a_row_ends_a_run(tmp_path):
    text = "\udcff\ud800é\x1b[1m\0"
    problems = []
    for name in ("lone \ud800", "plain", "escape \udcff\x1b[1m"):
        problem = make_stdin_problem(
            *((f"{text}\n", "1\n"), ("2\n", f"{text}\n")),
            question_id=name,
            question_title=text,
            question_content=text,
            platform=text,
            difficulty=text,
        )
        problems.append(to_row(problem) | {"unknown": text})
    checker = {"type": "custom", "code": "def check(inp, out, exp): return False, '\\ud800\\x1b'"}
    problems.append(to_row(make_stdin_problem(("", "1"), question_id=text, checker=checker)))
    programs = ["import os\nos.write(1, b'1' if os.read(0, 99) != b'2\\n' else b'\\xff')", text, f"# {text}", ""]
    solutions = [{"question_id": row["question_id"], "code_list": programs} for row in problems]
    solutions.append({"question_id": "plain", "output_list": [text, f"```python\n{text}\n```", f"```{text}\nx\n```"]})
    for name, rows in (("P", problems), ("S", [*solutions, {"question_id": "\ud800?", "code_list": [""]}])):
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    files = [
        f"--{name}={tmp_path}/{file}.jsonl" for name, file in (("problems", "P"), ("solutions", "S"), ("out", "V"))
    ]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHON"))}
    completed = subprocess.run(
        [sys.executable, "-X", "utf8=0", "-m", "evaluator.score", *files, "--workers", "1"],
        cwd=ROOT,
        env=environment | {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0"},
        capture_output=True,
        timeout=300,
    )
    rows = [json.loads(line) for line in (tmp_path / "V.jsonl").read_text().splitlines()]
    judged = [row for row in rows if not row["question_id"].endswith("?")]
    assert [row["question_id"] for row in judged] == [
        row["question_id"] for row in solutions for _ in row.get("code_list", row.get("output_list"))
    ]
    assert not [row for row in judged if row["status"] in ("passed", "sandbox_error")], completed.stderr
    assert completed.returncode == 3  # for the row without a problem
    assert b"Traceback" not in completed.stderr


# --- the first failed test ------------------------------------------------------------------------------------------


def test_passed_program_has_no_failed_test(evaluator):
    assert evaluator.evaluate(make_stdin_problem(("1\n", "1\n")), "print(input())").failed_test is None


@pytest.mark.parametrize("all_tests", [False, True])
def test_texts_of_the_first_failed_test_are_recorded(evaluator, all_tests):
    problem = make_stdin_problem(("1\n", "1\n"), ("2\n", "4\n"), ("3\n", "9\n"))
    verdict = evaluator.evaluate(problem, "print(input())", all_tests=all_tests)
    assert (verdict.first_failed, verdict.failed_test) == (1, FailedTest(input="2\n", expected="4\n", actual="2\n"))
    problem = make_functional_problem(("1", "1"), ("[2]", "[4]"), ("3", "9"))
    verdict = evaluator.evaluate(problem, "def f(x): return x", all_tests=all_tests)
    assert (verdict.first_failed, verdict.failed_test) == (1, FailedTest(input="[2]", expected="[4]", actual="[2]"))


@pytest.mark.parametrize(
    ("source", "status", "actual"),
    [
        ("", Status.WRONG_ANSWER, ""),
        ("print(7)\nraise SystemExit(1)", Status.RUNTIME_ERROR, "7\n"),
        ("1 / 0", Status.RUNTIME_ERROR, None),
        ("print(7, flush=True)\nwhile True: pass", Status.TIME_LIMIT, "7\n"),
        ("while True: pass", Status.TIME_LIMIT, None),
        ("print(7, flush=True)\nx = bytearray(1 << 31)", Status.MEMORY_LIMIT, "7\n"),
        ("import os\nos.write(1, b'a\\xff\\xed\\xa0\\x80\\0')", Status.WRONG_ANSWER, "a\\udcff\\udced\\udca0\\udc80\0"),
    ],
)
def test_output_of_a_failed_program_is_recorded_as_far_as_it_got(evaluator, source, status, actual):
    verdict = evaluator.evaluate(make_stdin_problem(("1\n", "1\n"), time_limit_s=1), source)
    assert (verdict.status, verdict.failed_test.actual) == (status, actual)


@pytest.mark.parametrize(
    ("source", "status", "actual"),
    [
        ("def f(x): return 'a\\ud800'", Status.WRONG_ANSWER, '"a\\ud800"'),
        ("def f(x): return object()", Status.WRONG_ANSWER, None),
        ("def f(x): 1 / 0", Status.RUNTIME_ERROR, None),
        ("def f(x):\n    while True: pass", Status.TIME_LIMIT, None),
        ("import os\ndef f(x): os._exit(0)", Status.RUNTIME_ERROR, None),
    ],
)
def test_returned_value_is_recorded_as_json(evaluator, source, status, actual):
    verdict = evaluator.evaluate(make_functional_problem(("1", "1"), time_limit_s=1), source)
    assert (verdict.status, verdict.failed_test.actual) == (status, actual)


@pytest.mark.parametrize(
    "source", ["print('7' * 3_000_000)\ndef f(x): return [7] * 1_000_000", "while True: print('7' * 9999)"]
)
def test_long_texts_of_a_failed_test_are_bounded(evaluator, source):
    long = "1 " * 5000
    for problem in (make_stdin_problem((long, long)), make_functional_problem((f"[{long[:1]}]", f'"{long}"'))):
        failed = evaluator.evaluate(replace(problem, time_limit_s=5), source).failed_test
        texts = [text for text in (failed.input, failed.expected, failed.actual) if text is not None]
        assert all(len(text.encode()) <= MAX_TEXT_BYTES for text in texts)
        assert failed.expected.endswith("more bytes)")


def test_answer_that_a_checker_rejects_is_recorded(evaluator):
    checker = {"type": "custom", "code": "def check(inp, out, exp): return out.strip() == '1'"}
    verdict = evaluator.evaluate(make_stdin_problem(("5\n", "1\n"), checker=checker), "print(2)")
    assert verdict.failed_test == FailedTest(input="5\n", expected="1\n", actual="2\n")


def test_failure_of_the_evaluator_has_no_failed_test(evaluator, caplog):
    problem = make_stdin_problem(("", "1"), checker={"type": "no such type"})
    assert evaluator.evaluate(problem, "print(2)").failed_test is None
    builder = VerdictBuilder(total=2, all_tests=True, closing=threading.Event())
    builder.results.append(judging.TestResult(status=Status.WRONG_ANSWER, actual="7"))
    assert builder.build_verdict(make_stdin_problem(("", "1"), ("", "2")), 0.0).failed_test.actual == "7"
    builder.results.append(judging.TestResult(status=Status.SANDBOX_ERROR))
    assert builder.build_verdict(make_stdin_problem(("", "1"), ("", "2")), 0.0).failed_test is None


def test_budget_that_runs_out_after_the_last_test_has_no_failed_test():
    builder = VerdictBuilder(total=1, all_tests=False, closing=threading.Event())
    builder.results += [judging.TestResult(status=Status.PASSED), judging.TestResult(status=Status.TIME_LIMIT)]
    verdict = builder.build_verdict(make_stdin_problem(("", "1")), 0.0)
    assert (verdict.status, verdict.failed_test) == (Status.TIME_LIMIT, None)


# --- answers that cannot be compared --------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [ValueError("odd"), RecursionError("deep"), MemoryError(), UnicodeError("\ud800")])
def test_answer_that_cannot_be_compared_is_wrong(evaluator, monkeypatch, error):
    def compare(expected, answer, checker, policy):
        if answer.strip() == "7":
            raise error
        return None

    monkeypatch.setattr(judging, "compare_stdin", compare)
    verdict = evaluator.evaluate(make_stdin_problem(("", "8")), "print(7)")
    assert verdict.status is Status.WRONG_ANSWER
    assert f"cannot be compared: {type(error).__name__}" in verdict.detail
    verdict = evaluator.evaluate(make_stdin_problem(("", "7")), "print(7)")
    assert verdict.status is Status.SANDBOX_ERROR
    assert f"the expected output is unusable: {type(error).__name__}" in verdict.detail


def test_fault_of_the_evaluator_ends_one_program_only(evaluator, monkeypatch, caplog):
    problem = make_stdin_problem(("", "1"), checker={"type": "no such type"})
    verdict = evaluator.evaluate(problem, "print(1)")
    assert (verdict.status, verdict.detail[:10]) == (Status.SANDBOX_ERROR, "ValueError")
    assert "no such type" in caplog.text
    assert evaluator.evaluate(make_stdin_problem(("", "1")), "print(1)").passed


# --- answers that are too long --------------------------------------------------------------------------------------

LONG = MAX_EXTRA_ANSWER + 100


def test_answers_up_to_the_limit_are_compared(evaluator):
    blanks = MAX_EXTRA_ANSWER
    assert evaluator.evaluate(make_stdin_problem(("", "12")), f"print('12' + ' ' * {blanks})").passed
    assert evaluator.evaluate(make_functional_problem(("1", '"é"')), "def f(x): return 'é'").passed
    text = "é" * (MAX_EXTRA_ANSWER // 2)
    problem = make_functional_problem(("1", json.dumps(text, ensure_ascii=False)))
    assert evaluator.evaluate(problem, f"def f(x): return 'é' * {len(text)}").passed


FORGE = """
import os, sys
def f(x):
    frame = sys._getframe()
    while frame:
        for value in list(frame.f_locals.values()):
            if isinstance(value, dict) and 'nonce' in value:
                reply = b'["' + value['nonce'].encode() + b'", "value", "[' + b'[],' * {parts} + b'1]"]'
                reply = memoryview(len(reply).to_bytes(8, 'big') + reply)
                while reply: reply = reply[os.write(3, reply):]
                os._exit(0)
        frame = frame.f_back
"""


@pytest.mark.parametrize("parts", [10, LONG // 6, LONG // 3, 2 * LONG // 3])
def test_longer_answers_are_wrong_without_a_look_at_them(evaluator, monkeypatch, parts):
    decoded = []
    monkeypatch.setattr(judging, "compare_functional", lambda expected, answer, *_: decoded.append(len(answer)))
    monkeypatch.setattr(judging, "compare_stdin", lambda expected, answer, *_: decoded.append(len(answer)))
    verdict = evaluator.evaluate(make_functional_problem(("1", "[]")), FORGE.format(parts=parts))
    assert verdict.status is Status.WRONG_ANSWER, verdict
    assert decoded == [3 * parts + 3] * (3 * parts < LONG - 100)
    assert evaluator.evaluate(make_stdin_problem(("", "1")), f"print('7' * {LONG})").status is Status.WRONG_ANSWER
    assert len(decoded) <= 1


# --- failures of the host -------------------------------------------------------------------------------------------


class FailingProgram:
    """Program whose first ``failures`` tests fail with ``error``; it then runs as ``program`` does."""

    def __init__(self, program, failures, error):
        self.program = program
        self.failures = failures
        self.error = error

    def __getattr__(self, name):
        return getattr(self.program, name)

    def run(self, stdin):
        if self.failures:
            self.failures.pop()
            raise self.error
        return self.program.run(stdin)


@pytest.mark.parametrize("error", [SandboxError("gone"), OSError(24, "Too many open files")])
@pytest.mark.parametrize(("count", "status"), [(1, Status.PASSED), (2, Status.SANDBOX_ERROR)])
def test_failure_of_the_host_is_tried_again_once(evaluator, monkeypatch, error, count, status):
    failures = [None] * count
    sandbox = evaluator._workers[0].light
    original_load = sandbox.load_program

    @contextlib.contextmanager
    def load_program(*arguments):
        with original_load(*arguments) as program:
            yield FailingProgram(program, failures, error)

    monkeypatch.setattr(sandbox, "load_program", load_program)
    verdict = evaluator.evaluate(make_stdin_problem(("", "1"), ("", "1")), "print(1)")
    assert (verdict.status, failures) == (status, [])
    if status is Status.SANDBOX_ERROR:
        assert str(error) in verdict.detail


def test_each_test_is_run_once_more_after_its_process_was_killed():
    killed = judging._KilledWithinLimits(judging.TestResult(status=Status.RUNTIME_ERROR))
    outcomes = iter([killed, killed, killed, None, SandboxError("gone"), killed, None])
    builder = VerdictBuilder(total=3, all_tests=True, closing=threading.Event())

    def run():
        if (error := next(outcomes)) is not None:
            raise error
        builder.results.append(judging.TestResult(status=Status.PASSED))

    judging._run_with_one_retry(run, builder)
    assert [result.status for result in builder.results] == [Status.RUNTIME_ERROR, Status.PASSED, Status.PASSED]
    assert list(outcomes) == []


def test_failure_of_a_checkers_sandbox_is_tried_again_once(evaluator, monkeypatch):
    problem = make_stdin_problem(("", "1"), checker={"type": "custom", "code": "def check(i, out, exp): return True"})
    assert evaluator.evaluate(problem, "print(2)").passed
    sandbox = evaluator._workers[0].checkers
    original_load = sandbox.load_program
    failures = [None] * 3

    @contextlib.contextmanager
    def load_program(*arguments):
        with original_load(*arguments) as program:
            yield FailingProgram(program, failures, SandboxError("gone"))

    monkeypatch.setattr(sandbox, "load_program", load_program)
    assert evaluator.evaluate(problem, "print(2)").status is Status.SANDBOX_ERROR
    assert evaluator.evaluate(problem, "print(2)").passed
    assert not failures


def test_checker_whose_sandbox_dies_is_tried_again(evaluator):
    problem = make_stdin_problem(("", "1"), checker={"type": "custom", "code": "def check(i, out, exp): return True"})
    assert evaluator.evaluate(problem, "print(2)").passed
    guard_pid = evaluator._workers[0].checkers.guard_pid
    assert guard_pid is not None
    os.kill(guard_pid, 9)
    assert evaluator.evaluate(problem, "print(2)").passed
    assert evaluator.find_broken_checkers([problem]) == {}


# --- no way out of a bad verdict ------------------------------------------------------------------------------------

PROGRAMS = {
    # source: it is not compiled, or compiling it is the attack
    "not Python": ("def f(x:", {"compile_error"}),
    "null byte": ("x = '\0'", {"compile_error"}),
    "surrogate": ("'\ud800'", {"compile_error"}),
    "bad encoding": ("# coding: no_such_codec\nprint(1)", {"compile_error"}),
    "deep nesting": ("(" * 5000 + ")" * 5000, {"compile_error"}),
    "deep operators": ("x = " + "-" * 200_000 + "1", {"compile_error"}),
    "long": ("x = 1\n" * 300_000, {"wrong_answer", "memory_limit", "compile_error"}),
    # the process: how it ends
    "raises": ("raise Exception", {"runtime_error"}),
    "raises what cannot be shown": (
        "class E(BaseException):\n    def __str__(self): raise self\n    __repr__ = __str__\nraise E",
        {"runtime_error"},
    ),
    "metaclass": (
        "class M(type):\n    def __getattribute__(c, n): raise SystemExit(0)\nclass E(Exception, metaclass=M): pass\n"
        "def f(x): raise E\nraise E",
        {"runtime_error", "wrong_answer"},
    ),
    "exits": ("import sys\nsys.exit(3)", {"runtime_error"}),
    "exits with text": ("raise SystemExit('\\ud800')", {"runtime_error"}),
    "exits at once": ("import os\nos._exit(0)", {"runtime_error", "wrong_answer"}),
    "kills itself": ("import os\nos.kill(os.getpid(), 9)", {"runtime_error"}),
    "stops itself": ("import os\nos.kill(os.getpid(), 19)", {"time_limit"}),
    "kills all": ("import os\nos.kill(-1, 9)", {"runtime_error", "wrong_answer"}),
    "kills its parent": ("import os\nos.kill(os.getppid(), 9)", {"runtime_error", "wrong_answer"}),
    "kills its group": ("import os\nos.killpg(0, 9)", {"runtime_error"}),
    "crashes": ("import ctypes\nctypes.string_at(0)", {"runtime_error"}),
    "becomes another program": ("import os\nos.execv('/bin/true', ['true'])", {"runtime_error", "wrong_answer"}),
    "forks and goes": (
        "import os\nos.fork() and os._exit(0)\nimport time\ntime.sleep(60)",
        {"runtime_error", "wrong_answer"},
    ),
    "daemon": (
        "import os, time\nos.fork() and os._exit(0)\nos.setsid()\nos.fork() and os._exit(0)\ntime.sleep(60)",
        {"runtime_error", "wrong_answer"},
    ),
    # limits
    "loops": ("while True: pass", {"time_limit"}),
    "sleeps": ("import time\ntime.sleep(60)", {"time_limit"}),
    "ignores signals": (
        "import signal\nfor n in range(1, 65):\n    try: signal.signal(n, signal.SIG_IGN)\n    except Exception: pass\n"
        "while True: pass",
        {"time_limit"},
    ),
    "memory": ("x = bytearray(8 << 30)", {"memory_limit"}),
    "memory of children": (
        "import os, time\nfor _ in range(8):\n    if not os.fork():\n        x = b'x' * (60 << 20)\n        break\n"
        "time.sleep(60)",
        {"memory_limit", "time_limit"},
    ),
    "fork bomb": (
        "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
        {"time_limit", "runtime_error", "memory_limit"},
    ),
    "output": ("while True: print('x' * 9999)", {"output_limit", "time_limit"}),
    "files": (
        "import os\nfor n in range(9**9):\n    open(str(n), 'wb').write(b'x' * 9999)",
        {"runtime_error"},
    ),
    "no more descriptors": ("import os\nwhile True: os.dup(0)", {"runtime_error"}),
    # files and descriptors
    "closes all files": ("import os\nos.closerange(0, 1 << 16)", {"runtime_error", "wrong_answer"}),
    "unreadable directory": ("import os\nos.chmod('.', 0)", {"runtime_error", "wrong_answer"}),
    "deep directories": (
        "import os\nfor _ in range(3000):\n    os.mkdir('d' * 200)\n    os.chdir('d' * 200)",
        {"runtime_error", "wrong_answer"},
    ),
    "writes on every descriptor": (
        "import os\nfor n in range(3, 256):\n    try: os.write(n, b'[\"x\"]' * 99)\n    except OSError: pass",
        {"runtime_error", "wrong_answer"},
    ),
}
ANSWERS = {
    "not UTF-8": ("import os\nos.write(1, bytes(range(128, 256)))\ndef f(x): return bytes(9)", {"wrong_answer"}),
    "surrogates": ("import os\nos.write(1, b'\\xed\\xa0\\x80')\ndef f(x): return '\\ud800'", {"wrong_answer"}),
    "long line": ("print('[' * 500_000)\ndef f(x): return '[' * 500_000", {"wrong_answer"}),
    "many digits": ("print('9' * 500_000)\ndef f(x): return 10 ** 4000", {"wrong_answer"}),
    "too many digits": ("print('9' * 500_000)\ndef f(x): return 1 << 400_000", {"wrong_answer", "runtime_error"}),
    "many parts": ("print('0,' * 300_000)\ndef f(x): return [[]] * 300_000", {"wrong_answer"}),
    "nulls": ("print('\\0' * 500_000)\ndef f(x): return '\\0' * 500_000", {"wrong_answer", "output_limit"}),
    "deep answer": (
        "print('[' * 99999)\ndef f(x):\n    for _ in range(9999): x = [x]\n    return x",
        {"wrong_answer", "runtime_error"},
    ),
    "infinite": ("print('inf nan 1e999')\ndef f(x): return [float('inf'), float('nan')]", {"wrong_answer"}),
    "endless list": ("def f(x):\n    x = []\n    x.append(x)\n    return x", {"wrong_answer", "runtime_error"}),
    "object": ("def f(x): return object()", {"wrong_answer"}),
    "raises in the answer": (
        "class L(list):\n    def __iter__(self): raise KeyboardInterrupt\n    __len__ = __getitem__ = __iter__\n"
        "def f(x): return L([2])",
        {"wrong_answer", "runtime_error"},
    ),
}
CHECK = (
    "def check(inp, out, exp):\n    values = [float(part) for part in str(out).split()]\n    return values == [1.0]\n"
)
LIMITS = {"time_limit_s": 1, "memory_limit_mb": 256}
CUSTOM = {"type": "custom", "code": CHECK}
KINDS = {
    "stdin": make_stdin_problem(("1\n", "1\n"), **LIMITS),
    "function": make_functional_problem(("1", "1"), **LIMITS),
    "Python's values": make_functional_problem(("1", "1"), values="python", **LIMITS),
    "stdin, checker": make_stdin_problem(("1\n", "1\n"), checker=CUSTOM, **LIMITS),
    "function, checker": make_functional_problem(("1", "1"), checker=CUSTOM, **LIMITS),
}


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("name", "kind"),
    [*((name, kind) for name in PROGRAMS for kind in list(KINDS)[:2]), *((n, k) for n in ANSWERS for k in KINDS)],
)
def test_nothing_that_a_program_does_is_a_sandbox_error(evaluator, kind, name):
    source, statuses = (PROGRAMS | ANSWERS)[name]
    problem = KINDS[kind]
    verdict = evaluator.evaluate(problem, source)
    assert verdict.status not in (Status.SANDBOX_ERROR, Status.PASSED), verdict
    if problem.func_name is None and "def f(" not in source:
        assert verdict.status in statuses, verdict
    right = "def f(x): return 1" if problem.func_name else "print(1)"
    assert evaluator.evaluate(replace(problem, time_limit_s=None), right).passed


def test_every_status_of_a_program_is_provoked_above():
    statuses = {status for _, statuses in (PROGRAMS | ANSWERS).values() for status in statuses}
    assert statuses == {*Status} - {Status.PASSED, Status.NO_CODE, Status.SANDBOX_ERROR}
