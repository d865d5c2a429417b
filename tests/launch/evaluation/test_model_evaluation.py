"""The parts of launch.evaluate that need neither engine nor cluster."""

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from evaluator.problem import ProblemTest
from evaluator.verdict import Status
from launch.evaluation.answers import Answer, AnswerLog
from launch.evaluation.endpoint import EndpointError
from launch.evaluation.evaluation import EngineSource
from launch.evaluation.model_evaluation import INCOMPLETE, Asked, ask, report, roles, settings, source
from launch.models.starter_model import train_tokenizer, untrained_model
from launch.problems.datasets import DatasetError
from launch.problems.evaluation_set import BadRow, EvaluationSet, Summary
from launch.problems.prompts import PromptedProblem
from tests.factories import evaluation_config, problem, rollout

PASSED = Status.PASSED
WRONG = Status.WRONG_ANSWER
OURS = Status.SANDBOX_ERROR


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer(["Add two numbers."], 300)
    tokenizer.save_pretrained(path)
    untrained_model(len(tokenizer), seed=0).save_pretrained(path)
    return path


def asked(*problems, model=None):
    return Asked(
        [PromptedProblem(one, np.zeros(1, np.int32), (("user", "?"),)) for one in problems], model, ("a remark",)
    )


def found(*problems):
    return EvaluationSet(
        problems=problems,
        summary=Summary(
            selected=len(problems), outside_window=0, undated=0, rejected=(BadRow("p.jsonl", 4, "not JSON"),)
        ),
        window=None,
    )


def test_an_evaluation_needs_no_learner_and_with_a_server_no_engine():
    assert [part.role for part in roles(evaluation_config(), 1000)] == ["generator", "evaluator"]
    served = evaluation_config("generator.endpoint=http://localhost:1/v1")
    assert [part.role for part in roles(served, 1000)] == ["evaluator"]


def test_problems_that_no_context_holds_are_left_out_and_told(model):
    config = evaluation_config("evaluation.max_response_tokens=924")  # of 1,024
    long = problem("long", question_content="Add two numbers. " * 100)
    kept = ask(config, found(problem("short"), long), model)
    assert [one.problem.question_id for one in kept.problems] == ["short"]
    assert 0 < kept.longest_prompt <= 100
    assert kept.remarks[:2] == ("starter: 2 problems; left out: 1 bad rows", "skipped: p.jsonl, line 4: not JSON")
    assert kept.remarks[2].startswith("left out: 1 of 2 problems")
    with pytest.raises(DatasetError, match="1 of 1 problems do not fit"):
        ask(config, found(long), model)
    strict = replace(config, dataset=replace(config.dataset, strict=True))
    with pytest.raises(DatasetError, match="1 of 2 problems do not fit"):
        ask(strict, found(problem("short"), long), model)


def test_a_server_is_asked_everything():
    long = problem("long", question_content="Add two numbers. " * 10_000)
    kept = ask(evaluation_config("generator.endpoint=http://localhost:1/v1"), found(long), None)
    assert kept.problems[0].messages[-1][1].startswith("Add two numbers.")


def test_what_makes_two_evaluations_the_same(model):
    config = evaluation_config()
    first = settings(config, asked(problem("a"), model=model))
    assert first == settings(
        evaluation_config("evaluation.samples=9", "generator.actors=2"), asked(problem("a"), model=model)
    )
    others = [
        settings(config, asked(problem("b"), model=model)),
        settings(config, asked(problem("a", question_content="Other words."), model=model)),
        settings(evaluation_config("evaluation.temperature=0.7"), asked(problem("a"), model=model)),
        settings(evaluation_config("dataset.prompt=livecodebench"), asked(problem("a"), model=model)),
    ]
    (model / "config.json").touch()
    others.append(settings(config, asked(problem("a"), model=model)))
    assert all(first != other for other in others)


def test_a_server_wants_the_key_it_was_promised(monkeypatch):
    monkeypatch.delenv("NO_KEY", raising=False)
    config = evaluation_config("generator.endpoint=http://localhost:1/v1", "generator.api_key_env=NO_KEY")
    with pytest.raises(EndpointError, match="NO_KEY"):
        source(config, None)


def test_engines_get_the_settings_of_the_evaluation():
    config = evaluation_config(
        "evaluation.max_response_tokens=7", "evaluation.temperature=0.25", "evaluation.top_p=0.5"
    )
    pool: Any = object()
    assert source(config, pool) == EngineSource(generators=pool, max_tokens=7, temperature=0.25, top_p=0.5)


def evaluated(tmp_path, *answers):
    """A log with answers (question, sample, status or None for one that is not judged)."""
    log = AnswerLog(tmp_path / "answers.jsonl", {})
    for question_id, index, status in answers:
        log.add_answer(
            Answer(
                question_id=question_id,
                sample_index=index,
                text="```python\nprint(1)\n```",
                tokens=9,
                truncated=index == 1,
                seconds=0.5,
            )
        )
        if status is not None:
            log.add_judgement((question_id, index), rollout(status).judgement)
    return log


def test_the_report(tmp_path, console):
    log = evaluated(tmp_path, ("a", 0, PASSED), ("a", 1, WRONG), ("b", 0, WRONG), ("b", 1, WRONG))
    config = evaluation_config("evaluation.samples=2", "run.name=r")
    tests = (ProblemTest("1 2\n", "3\n"),) * 3
    problems = problem("a", public_tests=tests), problem("b", public_tests=tests)
    assert report(config=config, asked=asked(*problems), log=log, failures={}, directory=tmp_path, console=console) == 0
    shown = console.file.getvalue()
    assert "25.0" in shown and "50% of the answers were cut off at 256 tokens" in shown
    assert "25.0" in (tmp_path / "table.txt").read_text() and "a remark" in (tmp_path / "table.txt").read_text()
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert (scores["problems"], scores["samples"], scores["lacking"]) == (2, 2, 0)
    names = [path.name for path in sorted((tmp_path / "livecodebench").iterdir())]
    assert names == [f"Scenario.codegeneration_2_0.6{part}.json" for part in ("", "_eval", "_eval_all")]


def test_lacking_answers_are_told_and_change_the_exit_status(tmp_path, console):
    log = evaluated(tmp_path, ("a", 0, PASSED), ("b", 0, OURS))
    config = evaluation_config("evaluation.samples=2", "run.name=r")
    failures = {"a#1": "the server: 503", "b#1": "the server: 503"}
    assert (
        report(
            config=config,
            asked=asked(problem("a"), problem("b")),
            log=log,
            failures=failures,
            directory=tmp_path,
            console=console,
        )
        == INCOMPLETE
    )
    shown = console.file.getvalue()
    assert "no answer: a#1: the server: 503" in shown
    assert "2 answers are lacking" in shown and "run.name=r run.resume=true tries again" in shown
    assert "1 answers could not be judged" in shown


def test_answers_that_could_not_be_judged_are_no_zero(tmp_path, console):
    log = evaluated(tmp_path, ("a", 0, OURS))
    status = report(
        config=evaluation_config("evaluation.samples=1"),
        asked=asked(problem("a")),
        log=log,
        failures={},
        directory=tmp_path,
        console=console,
    )
    assert status == INCOMPLETE and "no attempt at any problem" in console.file.getvalue()


def test_no_answer_at_all(tmp_path, console):
    log = evaluated(tmp_path)
    with pytest.raises(EndpointError, match="no answer at all; the first: 503"):
        report(
            config=evaluation_config(),
            asked=asked(problem("a")),
            log=log,
            failures={"a#0": "503"},
            directory=tmp_path,
            console=console,
        )
