"""Functions of launch.evaluate that need neither engines nor a cluster."""

import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from evaluator.problem import ProblemTest
from evaluator.verdict import Status
from launch.cluster.model_shape import estimate_shape
from launch.evaluation.answers import Answer, AnswerLog
from launch.evaluation.endpoint import EndpointError
from launch.evaluation.evaluation import EngineSource
from launch.evaluation.model_evaluation import (
    INCOMPLETE_STATUS,
    PreparedEvaluation,
    identify_evaluation,
    make_answer_source,
    plan_evaluation_roles,
    prepare_evaluation,
    write_results,
)
from launch.models.starter_model import build_untrained_model, train_tokenizer
from launch.problems.datasets import DatasetError
from launch.problems.evaluation_set import BadRow, EvaluationSet, LoadSummary
from launch.problems.prompts import PromptedProblem
from tests.factories import make_evaluation_config, make_problem, make_rollout

PASSED = Status.PASSED
WRONG = Status.WRONG_ANSWER
ERROR = Status.SANDBOX_ERROR


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model")
    tokenizer = train_tokenizer(["Add two numbers."], 300)
    tokenizer.save_pretrained(path)
    build_untrained_model(len(tokenizer), seed=0).save_pretrained(path)
    return path


def make_prepared(*problems, model=None):
    prompts = [PromptedProblem(problem, np.zeros(1, np.int32), (("user", "?"),)) for problem in problems]
    return PreparedEvaluation(prompts, model, ("a remark",))


def make_evaluation_set(*problems):
    return EvaluationSet(
        problems=problems,
        summary=LoadSummary(
            selected=len(problems), outside_window=0, undated=0, rejected=(BadRow("p.jsonl", 4, "not JSON"),)
        ),
        window=None,
    )


def test_evaluation_plans_no_learner_and_with_a_server_no_engine():
    roles = plan_evaluation_roles(make_evaluation_config(), estimate_shape(1000), 80.0)
    assert [role.name for role in roles] == ["generator", "evaluator"]
    roles = plan_evaluation_roles(
        make_evaluation_config("generator.endpoint=http://localhost:1/v1"), estimate_shape(1000), 80.0
    )
    assert [role.name for role in roles] == ["evaluator"]


def test_problems_longer_than_the_context_are_dropped_with_a_remark(model):
    config = make_evaluation_config("evaluation.max_response_tokens=924")  # of 1,024
    long = make_problem("long", question_content="Add two numbers. " * 100)
    prepared = prepare_evaluation(config, make_evaluation_set(make_problem("short"), long), model)
    assert [prompted.problem.question_id for prompted in prepared.problems] == ["short"]
    assert 0 < prepared.longest_prompt <= 100
    assert prepared.remarks[:2] == ("starter: 2 problems; dropped: 1 bad rows", "skipped: p.jsonl, line 4: not JSON")
    assert prepared.remarks[2].startswith("dropped: 1 of 2 problems")
    with pytest.raises(DatasetError, match="1 of 1 problems do not fit"):
        prepare_evaluation(config, make_evaluation_set(long), model)
    strict = replace(config, dataset=replace(config.dataset, strict=True))
    with pytest.raises(DatasetError, match="1 of 2 problems do not fit"):
        prepare_evaluation(strict, make_evaluation_set(make_problem("short"), long), model)


def test_served_model_gets_problems_of_any_length():
    long = make_problem("long", question_content="Add two numbers. " * 10_000)
    config = make_evaluation_config("generator.endpoint=http://localhost:1/v1")
    prepared = prepare_evaluation(config, make_evaluation_set(long), None)
    assert prepared.problems[0].messages[-1][1].startswith("Add two numbers.")


def test_identity_depends_on_model_problems_prompts_and_sampling(model):
    config = make_evaluation_config()
    prepared = make_prepared(make_problem("a"), model=model)
    identity = identify_evaluation(config, prepared)
    same = identify_evaluation(make_evaluation_config("evaluation.samples=9", "generator.actors=2"), prepared)
    assert identity == same
    reworded = make_problem("a", question_content="Other words.")
    others = [
        identify_evaluation(config, make_prepared(make_problem("b"), model=model)),
        identify_evaluation(config, make_prepared(reworded, model=model)),
        identify_evaluation(make_evaluation_config("evaluation.temperature=0.7"), prepared),
        identify_evaluation(make_evaluation_config("dataset.prompt=livecodebench"), prepared),
    ]
    (model / "config.json").touch()
    others.append(identify_evaluation(config, prepared))
    assert all(identity != other for other in others)


def test_missing_api_key_is_an_error(monkeypatch):
    monkeypatch.delenv("NO_KEY", raising=False)
    config = make_evaluation_config("generator.endpoint=http://localhost:1/v1", "generator.api_key_env=NO_KEY")
    with pytest.raises(EndpointError, match="NO_KEY"):
        make_answer_source(config, None)


def test_engine_source_has_the_sampling_settings_of_the_evaluation():
    config = make_evaluation_config(
        "evaluation.max_response_tokens=7", "evaluation.temperature=0.25", "evaluation.top_p=0.5"
    )
    pool: Any = object()
    expected = EngineSource(generators=pool, max_tokens=7, temperature=0.25, top_p=0.5)
    assert make_answer_source(config, pool) == expected


def write_log(tmp_path, *answers):
    """Write a log of answers, given as (question id, sample index, status); None is the status of an unjudged one."""
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
            log.add_judgement((question_id, index), make_rollout(status).judgement)
    return log


def test_results_are_printed_and_written_to_files(tmp_path, console):
    log = write_log(tmp_path, ("a", 0, PASSED), ("a", 1, WRONG), ("b", 0, WRONG), ("b", 1, WRONG))
    config = make_evaluation_config("evaluation.samples=2", "run.name=r")
    tests = (ProblemTest("1 2\n", "3\n"),) * 3
    problems = make_problem("a", public_tests=tests), make_problem("b", public_tests=tests)
    status = write_results(
        config=config,
        prepared=make_prepared(*problems),
        log=log,
        failures={},
        directory=tmp_path,
        console=console,
    )
    assert status == 0
    output = console.file.getvalue()
    assert "25.0" in output and "50% of the answers were cut off at 256 tokens" in output
    assert "25.0" in (tmp_path / "table.txt").read_text() and "a remark" in (tmp_path / "table.txt").read_text()
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert (scores["problems"], scores["samples"], scores["lacking"]) == (2, 2, 0)
    names = [path.name for path in sorted((tmp_path / "livecodebench").iterdir())]
    assert names == [f"Scenario.codegeneration_2_0.6{part}.json" for part in ("", "_eval", "_eval_all")]


def test_missing_answers_are_reported_and_change_the_exit_status(tmp_path, console):
    status = write_results(
        config=make_evaluation_config("evaluation.samples=2", "run.name=r"),
        prepared=make_prepared(make_problem("a"), make_problem("b")),
        log=write_log(tmp_path, ("a", 0, PASSED), ("b", 0, ERROR)),
        failures={"a#1": "the server: 503", "b#1": "the server: 503"},
        directory=tmp_path,
        console=console,
    )
    assert status == INCOMPLETE_STATUS
    output = console.file.getvalue()
    assert "no answer: a#1: the server: 503" in output
    assert "2 answers are missing" in output
    assert "to retry the answers that are missing or could not be judged: run.name=r run.resume=true" in output
    assert "1 answers could not be judged" in output


def test_sandbox_errors_do_not_count_as_failures_of_the_model(tmp_path, console):
    status = write_results(
        config=make_evaluation_config("evaluation.samples=1"),
        prepared=make_prepared(make_problem("a")),
        log=write_log(tmp_path, ("a", 0, ERROR)),
        failures={},
        directory=tmp_path,
        console=console,
    )
    assert status == INCOMPLETE_STATUS and "no attempt at any problem" in console.file.getvalue()


def test_no_answer_at_all_is_an_error(tmp_path, console):
    log = write_log(tmp_path)
    with pytest.raises(EndpointError, match="no answer at all; the first failure: 503"):
        write_results(
            config=make_evaluation_config(),
            prepared=make_prepared(make_problem("a")),
            log=log,
            failures={"a#0": "503"},
            directory=tmp_path,
            console=console,
        )
