"""``evaluator.rewards``: the functions of each trainer, and the evaluator that they share."""

import asyncio
import doctest
import io
import json
import logging
import os
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator import Evaluator, Limits, ProblemError, SandboxError, extract_code, parse_problem
from evaluator.problem import PROBLEM_COLUMNS
from evaluator.rewards import (
    RewardTimeout,
    close,
    compute_reward,
    compute_score,
    configure,
    fraction,
    functions,
    passed,
    problem_cache,
    reward_evaluator,
    shared,
)
from evaluator.rewards.problem_cache import REWARD_COLUMNS, ProblemCache
from evaluator.rewards.reward_evaluator import RewardEvaluator, RewardSettings, compute_max_silence

ROOT = Path(__file__).parents[2]
LIMITS = Limits(wall_s=30, cpu_s=30)
ADD = "a, b = map(int, input().split())\nprint(a + b)"


def make_row(question_id="add", **changes):
    """Return the row of a problem that asks for the sum of two numbers, with changed columns."""
    tests = [{"input": "1 2\n", "output": "3\n"}, {"input": "10 -4\n", "output": "6\n"}]
    row = {
        "question_id": question_id,
        "question_content": "Add two numbers.",
        "starter_code": "",
        "public_test_cases": json.dumps(tests[:1]),
        "private_test_cases": json.dumps(tests[1:]),
        "metadata": "{}",
    }
    return row | changes


FUNCTION_ROW = make_row(
    "double",
    public_test_cases=json.dumps([{"input": "2", "output": "4", "testtype": "functional"}]),
    private_test_cases=json.dumps([{"input": "0", "output": "0", "testtype": "functional"}]),
    metadata=json.dumps({"func_name": "double"}),
)


def write_answer(code):
    return f"I add them.\n```python\n{code}\n```\n"


def make_columns(*rows):
    return {name: [row[name] for row in rows] for name in rows[0]}


def reward_texts(function, row, *texts):
    return function(prompts=[""] * len(texts), completions=[*texts], **make_columns(*[row] * len(texts)))


@pytest.fixture(scope="module", autouse=True)
def shared_evaluator():
    configure(LIMITS, workers=2)
    yield
    close()


@pytest.fixture
def stopped_evaluator():
    """No evaluator is running, neither at the start nor at the end, and settings are those of the module."""
    close()
    configure(LIMITS, workers=2)
    yield
    close()
    configure(LIMITS, workers=2)


class FakeEvaluator:
    """Stand-in for ``Evaluator`` whose programs get ``verdict``, or an error, or, with neither, never end."""

    missing = ()

    def __init__(self, *_, verdict=None, error=None, **__):
        self.verdict = verdict
        self.error = error
        self.submitted = []
        self.received = threading.Event()

    def submit(self, problem, code, *, all_tests):
        judging = Future()
        self.submitted.append(judging)
        self.received.set()
        if self.error is not None:
            judging.set_exception(self.error)
        elif self.verdict is not None:
            judging.set_result(self.verdict)
        return judging

    def close(self):
        for judging in self.submitted:
            judging.cancel()


@pytest.fixture
def use_fake_evaluator(monkeypatch, stopped_evaluator):
    """Function that makes the reward functions judge with a fake evaluator, which it returns."""

    def use(**arguments):
        fake = FakeEvaluator(**arguments)
        monkeypatch.setattr(reward_evaluator, "Evaluator", lambda *_, **__: fake)
        return fake

    return use


SANDBOX_ERROR = reward_evaluator._build_sandbox_error("the zygote exited")


# TRL


def test_passed_rewards_right_programs():
    texts = [write_answer(ADD), write_answer(ADD.replace("+", "-")), "I do not know.", write_answer("1/0"), ADD]
    assert reward_texts(passed, make_row(), *texts) == [1.0, 0.0, 0.0, 0.0, 1.0]


def test_fraction_counts_every_test():
    texts = [write_answer(code) for code in (ADD, "print(6)", "print(3)", "print(4)", "print(")]
    assert reward_texts(fraction, make_row(), *texts) == [1.0, 0.5, 0.5, 0.0, 0.0]


def test_functions_have_the_names_that_trl_logs():
    assert (passed.__name__, fraction.__name__) == ("passed", "fraction")


def test_arguments_of_the_trainer_are_ignored():
    """TRL passes these besides the dataset's columns; environments are as many as completions."""
    rewards = passed(
        prompts=["", ""],
        completions=[write_answer(ADD), write_answer("def double(n):\n    return 2 * n")],
        completion_ids=[[1], [2]],
        trainer_state=object(),
        log_extra=print,
        log_metric=print,
        environments=[object(), object()],
        difficulty=["easy", None],
        source=["a", "b"],
        **make_columns(make_row(), FUNCTION_ROW),
    )
    assert rewards == [1.0, 1.0]


def test_no_completions_give_no_rewards():
    assert passed(prompts=[], completions=[], **{name: [] for name in make_row()}) == []


MESSAGES: dict[str, tuple[Any, str]] = {
    "one message": ([{"role": "assistant", "content": "x"}], "x"),
    "without a role": ([{"content": "x"}], "x"),
    "after a tool call": (
        [
            {"role": "assistant", "content": "call", "tool_calls": []},
            {"role": "tool", "content": "result"},
            {"role": "assistant", "content": "x"},
        ],
        "x",
    ),
    "ends with a tool call": ([{"role": "assistant", "content": None, "tool_calls": []}], ""),
    "ends with a tool's result": ([{"role": "assistant", "content": "x"}, {"role": "tool", "content": "y"}], "x"),
    "parts": (
        [
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "x"}, {"type": "image"}, {"type": "text", "text": "y"}],
            }
        ],
        "xy",
    ),
    "no message": ([], ""),
    "text": ("x", "x"),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_get_text_returns_the_answer(name):
    completion, text = MESSAGES[name]
    assert functions.get_text(completion) == text


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "question_id.*has none"),
        ({"question_id": ["a"]}, "public_test_cases.*has question_id"),
        (make_columns(make_row(), make_row()), "question_id: 2 values for 1 completions"),
    ],
)
def test_dataset_without_problem_columns_is_an_error(columns, message):
    with pytest.raises(ProblemError, match=message):
        passed(prompts=[""], completions=[ADD], **columns)


BAD_ROWS = {
    "no tests": ({"public_test_cases": "[]", "private_test_cases": None}, "no tests"),
    "tests that are not JSON": ({"public_test_cases": "["}, "public_test_cases"),
    "a number as test input": ({"public_test_cases": '[{"input": 1, "output": "2"}]'}, "input"),
    "private tests of another encoding": ({"private_test_cases": "\ud800"}, "private_test_cases"),
    "no id": ({"question_id": None}, "question_id"),
    "an unknown checker": ({"metadata": '{"checker": {"type": "exact"}}'}, "checker"),
    "metadata of another type": ({"metadata": 5}, "metadata"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_invalid_row_gives_no_reward_and_a_warning(name, caplog):
    changes, cause = BAD_ROWS[name]
    row = make_row(name) | changes
    rewards = passed(prompts=["", ""], completions=[ADD, ADD], **make_columns(row, make_row()))
    assert rewards == [None, 1.0]
    assert any(cause in record.message and record.levelno == logging.WARNING for record in caplog.records)


def test_unusual_text_in_rows_and_answers_never_raises():
    row = make_row(question_content="\ud800\0", public_test_cases='[{"input": "\\ud800\\u0000", "output": "\\udfff"}]')
    texts = ["\ud800", write_answer("'\ud800'"), "\0", write_answer("print('\\ud800')"), "```python\n" * 3]
    assert all(reward in (0.0, None) for reward in reward_texts(passed, row, *texts))


def test_warning_is_given_once_per_problem(use_fake_evaluator, caplog):
    use_fake_evaluator(verdict=SANDBOX_ERROR)
    rows = [make_row("first"), make_row("second"), make_row("first")]
    assert passed(prompts=[""] * 3, completions=[ADD] * 3, **make_columns(*rows)) == [None] * 3
    warnings = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 2
    assert "'first': the zygote exited" in warnings[0]


@pytest.mark.parametrize("reward", ["passed", "fraction"])
def test_sandbox_error_gives_no_reward(use_fake_evaluator, reward):
    use_fake_evaluator(verdict=SANDBOX_ERROR)
    text = json.dumps(make_row())
    assert reward_texts({"passed": passed, "fraction": fraction}[reward], make_row(), ADD) == [None]
    assert asyncio.run(compute_reward(text, ADD, reward=reward)) is None
    assert compute_score("code", ADD, text, reward=reward) == {"score": 0.0, "acc": 0.0, "sandbox_error": 1.0}


def test_failure_of_the_evaluator_gives_no_reward(use_fake_evaluator, caplog):
    use_fake_evaluator(error=ZeroDivisionError("a bug"))
    assert reward_texts(passed, make_row(), ADD) == [None]
    assert any("a bug" in str(record.exc_info) for record in caplog.records)


def test_failure_of_the_extraction_gives_no_reward(monkeypatch, caplog):
    def fail(answer, func_name):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(reward_evaluator, "extract_code", fail)
    assert reward_texts(passed, make_row(), ADD) == [None]
    assert any("a bug" in str(record.exc_info) for record in caplog.records)


@pytest.mark.usefixtures("failing_parser")
def test_failure_of_the_parser_gives_no_reward(caplog):
    text = json.dumps(make_row())
    assert reward_texts(passed, make_row(), write_answer(ADD), "") == [None, 0.0]
    assert asyncio.run(compute_reward(text, write_answer(ADD))) is None
    assert compute_score("code", write_answer(ADD), text)["sandbox_error"] == 1.0
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


SAME_VERDICTS = [
    (make_row(), write_answer(ADD)),
    (make_row(), write_answer("print(3)")),
    (make_row(), write_answer("import sys\nsys.exit(1)")),
    (make_row(), write_answer("raise ValueError")),
    (FUNCTION_ROW, write_answer("class Solution:\n    def double(self, n):\n        return n + n")),
    (FUNCTION_ROW, write_answer("def double(n):\n    return 4")),
    (FUNCTION_ROW, write_answer("def triple(n):\n    return 3 * n")),
    (
        make_row(metadata='{"checker": {"type": "tokens_ci"}}'),
        f"<think>\n```python\n1\n```\n</think>{write_answer(ADD)}",
    ),
]


@pytest.mark.heavy
def test_rewards_agree_with_the_evaluator():
    with Evaluator(LIMITS) as evaluator:
        verdicts = []
        for row, answer in SAME_VERDICTS:
            parsed = parse_problem(row)
            verdicts.append(evaluator.evaluate(parsed, extract_code(answer, parsed.func_name).code, all_tests=True))
    assert len({verdict.status for verdict in verdicts}) > 3
    answers = [answer for _, answer in SAME_VERDICTS]
    columns = make_columns(*(row for row, _ in SAME_VERDICTS))
    assert passed(prompts=answers, completions=answers, **columns) == [float(verdict.passed) for verdict in verdicts]
    assert fraction(prompts=answers, completions=answers, **columns) == [
        verdict.tests_passed / verdict.tests_total for verdict in verdicts
    ]


# verl


def test_compute_score_with_the_arguments_of_verl():
    text = json.dumps(make_row())
    # As verl's reward loop calls it, and as older reward managers do.
    score = compute_score(
        data_source="code",
        solution_str=write_answer(ADD),
        ground_truth=text,
        extra_info={"num_turns": None, "rollout_reward_scores": {}},
        reward_router_address="localhost:1",
        reward_model_tokenizer=None,
    )
    assert score == {"score": 1.0, "acc": 1.0, "sandbox_error": 0.0}
    assert compute_score("code", write_answer("print(3)"), text, None) == {
        "score": 0.0,
        "acc": 0.0,
        "sandbox_error": 0.0,
    }
    assert compute_score("code", write_answer("print(3)"), text, reward="fraction")["score"] == 0.5


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"question_id": "x"}', '"text"', 5, None])
def test_ground_truth_that_is_no_problem_is_scored_as_not_judged(text):
    assert compute_score("code", ADD, text) == {"score": 0.0, "acc": 0.0, "sandbox_error": 1.0}


def test_unknown_reward_is_an_error():
    unknown: Any = "accuracy"
    with pytest.raises(ValueError, match="passed, fraction, got 'accuracy'"):
        compute_score("code", ADD, json.dumps(make_row()), reward=unknown)


@pytest.mark.heavy
def test_many_threads_share_one_evaluator(stopped_evaluator, monkeypatch):
    """The first reward starts the evaluator, whichever thread wants it, and only one."""
    started = []

    class CountedEvaluator(RewardEvaluator):
        def __init__(self, settings):
            started.append(settings)
            super().__init__(settings)

    monkeypatch.setattr(shared, "RewardEvaluator", CountedEvaluator)
    text = json.dumps(make_row())
    answers = [write_answer(ADD if index % 3 else ADD.replace("+", "-")) for index in range(24)]
    with ThreadPoolExecutor(12) as threads:
        scores = list(threads.map(lambda answer: compute_score("code", answer, text)["score"], answers))
    assert scores == [float(index % 3 > 0) for index in range(24)]
    assert started == [RewardSettings(limits=LIMITS, workers=2)]


# Plain async function


@pytest.mark.heavy
def test_compute_reward_takes_a_problem_a_row_or_its_text():
    async def reward_all():
        sources = [parse_problem(make_row()), make_row(), json.dumps(make_row())]
        answers = [write_answer(ADD), write_answer("print(3)")]
        return await asyncio.gather(*(compute_reward(source, answer) for source in sources for answer in answers))

    assert asyncio.run(reward_all()) == [1.0, 0.0] * 3


def test_compute_reward_does_not_block_the_event_loop(use_fake_evaluator):
    fake = use_fake_evaluator()

    async def reward_while_the_loop_runs():
        reward = asyncio.create_task(compute_reward(make_row(), ADD))
        await asyncio.to_thread(fake.received.wait, 60)
        fake.submitted[0].set_result(reward_evaluator._build_sandbox_error("late"))
        return await reward

    assert asyncio.run(reward_while_the_loop_runs()) is None


def test_cancelled_compute_reward_cancels_its_program(use_fake_evaluator):
    fake = use_fake_evaluator()

    async def cancel():
        reward = asyncio.create_task(compute_reward(make_row(), ADD))
        await asyncio.to_thread(fake.received.wait, 60)
        reward.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reward

    asyncio.run(cancel())
    assert fake.submitted[0].cancelled()


# Settings, waiting, start and end


@pytest.mark.heavy
def test_settings_cannot_change_while_the_evaluator_runs(stopped_evaluator):
    assert reward_texts(passed, make_row(), ADD) == [1.0]
    configure(LIMITS, workers=2)  # the same settings
    with pytest.raises(RuntimeError, match="call configure"):
        configure(LIMITS, workers=1)
    close()
    configure(Limits(wall_s=0.5, cpu_s=0.5), workers=1)
    assert reward_texts(passed, make_row(), write_answer("while True: pass"), ADD.replace("+", "-")) == [0.0, 0.0]


def test_number_of_workers_must_be_positive():
    with pytest.raises(ValueError, match="workers must be at least 1, not 0"):
        configure(workers=0)


@pytest.mark.parametrize(("cpus", "processes", "workers"), [(8, None, 8), (8, "2", 4), (8, "3", 2), (2, "8", 1)])
def test_training_processes_of_a_host_share_its_cpus(monkeypatch, cpus, processes, workers):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cpus)))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if processes is not None:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", processes)
    assert reward_evaluator.count_default_workers() == workers


@pytest.mark.heavy
def test_host_without_sandboxes_is_an_error_at_the_first_reward(monkeypatch, stopped_evaluator):
    monkeypatch.setattr("evaluator.sandbox.ZYGOTE_SCRIPT", Path("/nowhere/zygote.py"))
    with pytest.raises(SandboxError, match="zygote"):
        reward_texts(passed, make_row(), ADD)
    monkeypatch.undo()
    assert reward_texts(passed, make_row(), ADD) == [1.0]


def test_sandbox_that_does_not_start_in_time_is_named(use_fake_evaluator, monkeypatch):
    def time_out(self):
        raise TimeoutError

    use_fake_evaluator()
    monkeypatch.setattr(FakeEvaluator, "missing", property(time_out))
    with pytest.raises(RewardTimeout, match="sandbox did not start"):
        reward_texts(passed, make_row(), ADD)


def test_closed_evaluator_gives_waiting_answers_no_reward(use_fake_evaluator):
    fake = use_fake_evaluator()
    with ThreadPoolExecutor(1) as threads:
        rewards = threads.submit(reward_texts, passed, make_row(), ADD, ADD)
        fake.received.wait(60)
        close()
        assert rewards.result(60) == [None, None]


@pytest.mark.heavy
def test_evaluator_starts_again_after_close():
    for _ in range(2):
        assert reward_texts(passed, make_row(), ADD) == [1.0]
        close()
        close()


def test_wait_without_any_verdict_ends_with_the_names_of_the_problems(use_fake_evaluator, monkeypatch):
    fake = use_fake_evaluator()
    monkeypatch.setattr(reward_evaluator, "compute_max_silence", lambda limits: 0.2)
    rows = [make_row(name) for name in ("first", "second", "second")]
    with pytest.raises(RewardTimeout, match=r"3 of 3 answers were waiting, the first to problem 'first', 'second'"):
        passed(prompts=[""] * 3, completions=[ADD] * 3, **make_columns(*rows))
    assert all(judging.cancelled() for judging in fake.submitted)
    with pytest.raises(RewardTimeout, match="1 of 1 answers were waiting, the first to problem 'late'"):
        asyncio.run(compute_reward(make_row("late"), ADD))


def test_wait_goes_on_while_other_callers_get_verdicts(use_fake_evaluator):
    use_fake_evaluator()
    evaluator = RewardEvaluator(RewardSettings())
    pending = evaluator.submit(make_row(), ADD, all_tests=False)
    long_ago = time.monotonic() - 1e6
    evaluator._last_verdict_time = time.monotonic()
    assert evaluator._compute_time_left(long_ago, [pending]) > 1000
    evaluator._last_verdict_time = long_ago
    assert evaluator._compute_time_left(time.monotonic(), [pending]) > 1000  # this caller has only begun to wait
    with pytest.raises(RewardTimeout, match="no verdict for 1000000 s"):
        evaluator._compute_time_left(long_ago, [pending])
    evaluator.close()


def test_max_silence_exceeds_what_a_program_may_take():
    limits = Limits(wall_s=10, budget_s=100)
    assert compute_max_silence(limits) > limits.budget_s + 3 * limits.wall_s
    assert 1200 < compute_max_silence(Limits()) < 1800


# Problem cache


def test_problem_is_parsed_once(monkeypatch):
    parsed = []

    def count(row):
        parsed.append(row)
        return parse_problem(row)

    monkeypatch.setattr(problem_cache, "parse_problem", count)
    cache = ProblemCache()
    problems = [cache.load(source) for source in (make_row(), make_row(), make_row(other="x"))]
    assert len(parsed) == 1
    assert problems[0] is problems[1] is problems[2]
    text = json.dumps(make_row())
    assert cache.load(text) is cache.load(text)
    assert len(parsed) == 2


@given(name=st.sampled_from(REWARD_COLUMNS), first=st.text(), second=st.text())
def test_rows_that_differ_have_different_keys(name, first, second):
    keys = [problem_cache._compute_key(make_row() | {name: value}) for value in (first, second)]
    assert (keys[0] == keys[1]) == (first == second)


def test_values_of_different_types_have_different_keys():
    values = ["1", 1, 1.5, None, [1], {"a": 1}, "[1]", "null"]
    assert len({problem_cache._compute_key({"metadata": value}) for value in values}) == len(values)


def test_cache_drops_the_problem_that_was_used_longest_ago(monkeypatch):
    monkeypatch.setattr(problem_cache, "MAX_CACHED_CHARS", 2 * problem_cache._count_chars(parse_problem(make_row())))
    cache = ProblemCache()
    first = cache.load(make_row("first"))
    second = cache.load(make_row("second"))
    assert cache.load(make_row("first")) is first
    cache.load(make_row("third"))
    assert cache.load(make_row("first")) is first
    assert cache.load(make_row("second")) is not second


def test_cache_keeps_a_problem_of_any_size(monkeypatch):
    monkeypatch.setattr(problem_cache, "MAX_CACHED_CHARS", 1)
    cache = ProblemCache()
    assert cache.load(make_row()) is cache.load(make_row())


def test_every_column_that_a_problem_is_parsed_from_is_used():
    assert {*REWARD_COLUMNS} >= {*PROBLEM_COLUMNS}


# Processes


def run_script(folder, source, *arguments, check=True):
    """Run a Python program that sees the project, in ``folder``; return the finished process."""
    environment = os.environ | {"PYTHONPATH": f"{folder}:{ROOT}"}
    (folder / "script.py").write_text(source)
    completed = subprocess.run(
        [sys.executable, "script.py", *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert not check or completed.returncode == 0, completed.stderr
    return completed


def test_import_needs_neither_torch_nor_a_trainer(tmp_path):
    heavy = {
        "actors",
        "datasets",
        "launch",
        "learner",
        "numpy",
        "pyarrow",
        "ray",
        "torch",
        "transformers",
        "trl",
        "verl",
    }
    source = f"import sys, evaluator.rewards\nprint(sorted({heavy} & set(sys.modules)))"
    assert run_script(tmp_path, source).stdout == "[]\n"


FORKING = f"""
import json, multiprocessing, sys, threading
from concurrent.futures import ProcessPoolExecutor
from evaluator import Limits
from evaluator.rewards import compute_score, configure

ROW = {json.dumps(make_row())!r}
RIGHT = {write_answer(ADD)!r}
SLOW = {write_answer("import time; time.sleep(1)")!r}

configure(Limits(wall_s=60, cpu_s=60), workers=1)
scores = [compute_score("code", RIGHT, ROW)["score"]]
# Fork while a program runs: the children hold copies of all its connections for as long as they live.
slow = threading.Thread(target=lambda: scores.append(compute_score("code", SLOW, ROW)["score"]))
slow.start()
with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as processes:
    children = [processes.submit(compute_score, "code", answer, ROW) for answer in (RIGHT, SLOW, RIGHT)]
    scores += [child.result()["score"] for child in children]
    scores.append(compute_score("code", RIGHT, ROW)["score"])
slow.join()
print(sorted(scores))
"""


@pytest.mark.heavy
def test_forked_processes_have_evaluators_of_their_own(tmp_path):
    completed = run_script(tmp_path, FORKING)
    assert completed.stdout == "[0.0, 0.0, 1.0, 1.0, 1.0, 1.0]\n"
    assert completed.stderr == ""  # no sandbox had to be restarted


EXITING = f"""
import atexit, sys, threading, time
from evaluator import Evaluator, Limits
from evaluator.rewards import configure, passed

ROW = {make_row()!r}
ANSWERS = [{write_answer("import time; time.sleep(1)")!r}] * 200
submitted = []
rewards = []
submit = Evaluator.submit

def record(self, problem, code, **options):
    submitted.append(submit(self, problem, code, **options))
    return submitted[-1]

def reward():
    columns = {{name: [value] * len(ANSWERS) for name, value in ROW.items()}}
    rewards.extend(passed(prompts=ANSWERS, completions=ANSWERS, **columns))

Evaluator.submit = record
configure(Limits(wall_s=60, cpu_s=60), workers=1)
caller = threading.Thread(target=reward, daemon=True)
caller.start()
atexit.register(lambda: (caller.join(60), print(rewards.count(None) > 50, len(rewards))))
while len(submitted) < len(ANSWERS):
    time.sleep(0.01)
sys.exit("stopped")
"""


@pytest.mark.heavy
def test_exit_does_not_wait_for_queued_programs(tmp_path):
    completed = run_script(tmp_path, EXITING, check=False)
    assert completed.returncode == 1
    assert completed.stdout == "True 200\n"
    assert completed.stderr.startswith("stopped\n")
    assert "Traceback" not in completed.stderr


INTERRUPTED = f"""
import os, signal, threading, time
from evaluator import Limits
from evaluator.rewards import configure, passed, shared

ROW = {make_row()!r}
ANSWERS = [{write_answer("import time; time.sleep(0.3)")!r}] * 200

def interrupt():
    while shared._state.evaluator is None:
        time.sleep(0.01)
    time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGINT)

configure(Limits(wall_s=60, cpu_s=60), workers=1)
threading.Thread(target=interrupt).start()
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    passed(prompts=ANSWERS, completions=ANSWERS, **{{name: [value] * len(ANSWERS) for name, value in ROW.items()}})
except KeyboardInterrupt:
    evaluator = shared._state.evaluator
    right = passed(prompts=[""], completions=[{write_answer(ADD)!r}], **{{name: [ROW[name]] for name in ROW}})
    print(right)  # the evaluator goes on, without what nobody waits for
"""


@pytest.mark.heavy
def test_interrupted_caller_leaves_a_working_evaluator(tmp_path):
    completed = run_script(tmp_path, INTERRUPTED)
    assert completed.stdout == "[1.0]\n"
    assert completed.stderr == ""


# docs/rewards.md

PAGE = (ROOT / "docs/rewards.md").read_text()


def find_file(name):
    """Return the file of this name on the page: a Python block that begins with its name in a comment."""
    [block] = [
        block for block in re.findall(r"```python\n(.*?)\n```", PAGE, re.DOTALL) if block.startswith(f"# {name}")
    ]
    return block


def write_problems(folder):
    rows = [make_row(), FUNCTION_ROW]
    (folder / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.heavy
def test_examples_on_the_page_give_what_it_shows(tmp_path, monkeypatch):
    write_problems(tmp_path)
    monkeypatch.chdir(tmp_path)
    examples = doctest.DocTestParser().get_doctest(PAGE, {}, "docs/rewards.md", "docs/rewards.md", 0)
    assert len(examples.examples) >= 15
    report = io.StringIO()
    assert doctest.DocTestRunner(verbose=False).run(examples, out=report.write).failed == 0, report.getvalue()


FAKE_TRL = f"""
import copy

class GRPOConfig:
    def __init__(self, **settings):
        self.num_generations = settings["num_generations"]
        self.max_steps = settings["max_steps"]

class GRPOTrainer:
    def __init__(self, *, model, reward_funcs, args, train_dataset):
        self.reward_func = reward_funcs
        self.args = args
        self.dataset = train_dataset

    def train(self):
        # As TRL 1.16.0's _calculate_rewards calls a function: columns without "prompt", and TRL's own arguments.
        for example in self.dataset[: self.args.max_steps]:
            inputs = [copy.deepcopy(example) for _ in range(self.args.num_generations)]
            columns = {{key: [row[key] for row in inputs] for key in inputs[0] if key != "prompt"}}
            rewards = self.reward_func(
                prompts=[row["prompt"] for row in inputs],
                completions=[[{{"role": "assistant", "content": {write_answer(ADD)!r}}}] for _ in inputs],
                completion_ids=[[1, 2] for _ in inputs],
                trainer_state=object(),
                log_extra=print,
                log_metric=print,
                **columns,
            )
            print(self.reward_func.__name__, rewards)
"""
FAKE_DATASETS = """
class Dataset:
    @staticmethod
    def from_list(rows):
        return rows
"""


@pytest.mark.heavy
def test_training_script_on_the_page_runs_with_a_trainer_that_calls_as_trl_does(tmp_path):
    write_problems(tmp_path)
    (tmp_path / "trl.py").write_text(FAKE_TRL)
    (tmp_path / "datasets.py").write_text(FAKE_DATASETS)
    completed = run_script(tmp_path, find_file("train.py"))
    assert completed.stdout == f"passed {[1.0] * 8}\npassed {[0.0] * 8}\n"
    assert completed.stderr == ""


# As verl loads and calls a custom reward function: verl/trainer/ppo/reward.py and
# verl/experimental/reward_loop/reward_manager/naive.py.
FAKE_VERL = f"""
import asyncio, importlib.util, json, sys
from functools import partial

spec = importlib.util.spec_from_file_location("custom_module", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)

def call_with_kwargs(function, extra, *args, **kwargs):
    return function(*args, **kwargs, **extra)

async def reward_all(compute_score, answers):
    loop = asyncio.get_running_loop()
    calls = [
        partial(
            compute_score,
            data_source="code",
            solution_str=answer,
            ground_truth={json.dumps(make_row())!r},
            extra_info={{"index": 0, "num_turns": None, "rollout_reward_scores": {{}}}},
        )
        for answer in answers
    ]
    return await asyncio.gather(*(loop.run_in_executor(None, call) for call in calls))

answers = [{write_answer(ADD)!r}, {write_answer("print(3)")!r}, "?"]
for extra in ({{}}, {{"reward": "fraction"}}):
    compute_score = partial(call_with_kwargs, module.compute_score, extra)
    print([result["score"] for result in asyncio.run(reward_all(compute_score, answers))])
"""


@pytest.mark.heavy
@pytest.mark.parametrize("path", ["my_reward.py", ROOT / "evaluator/rewards/functions.py"])
def test_reward_file_of_verl_runs_with_a_caller_like_verl(tmp_path, path):
    (tmp_path / "my_reward.py").write_text(find_file("my_reward.py"))
    completed = run_script(tmp_path, FAKE_VERL, str(path))
    assert completed.stdout == "[1.0, 0.0, 0.0]\n[1.0, 0.5, 0.0]\n"
    assert completed.stderr == ""
