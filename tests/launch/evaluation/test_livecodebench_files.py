"""Files in LiveCodeBench's format, checked also with LiveCodeBench's own tools if they are installed."""

import json
import re
import subprocess
import textwrap
from pathlib import Path

import pytest

from evaluator.problem import ProblemTest, to_row
from evaluator.solutions import read_solutions
from evaluator.verdict import Status, Verdict
from launch.evaluation.answers import Answer
from launch.evaluation.livecodebench_files import write_livecodebench_files
from launch.evaluation.scores import ALL, compute_scores
from learner.rollout import Judgement
from tests.factories import make_problem

LIVECODEBENCH_PYTHON = Path(__file__).parents[3] / ".venv-peers/livecodebench/bin/python"
needs_livecodebench = pytest.mark.skipif(
    not LIVECODEBENCH_PYTHON.exists(),
    reason="LiveCodeBench is not installed: make .venv-peers/livecodebench/.installed",
)
SUM = "print(sum(map(int, input().split())))"
PROGRAMS = {
    Status.PASSED: SUM,
    Status.WRONG_ANSWER: "print(0)",
    Status.RUNTIME_ERROR: "raise SystemError",
    Status.SANDBOX_ERROR: SUM,
    Status.NO_CODE: None,
}
P, W, R, E, N = PROGRAMS


def make_dated_problem(question_id, difficulty, **changes):
    values = {
        "platform": "atcoder",
        "difficulty": difficulty,
        "contest_date": "2025-01-04T00:00:00",
        "extra": {"contest_id": f"contest_{question_id}"},
        "public_tests": (ProblemTest("1 2\n", "3\n"), ProblemTest("4 5\n", "9\n")),
    }
    return make_problem(question_id, **(values | changes))


def make_judged_answers(outcomes):
    """Return answers and judgements with the statuses ``outcomes`` (by question id, in sample order)."""
    answers = {}
    judgements = {}
    for question_id, statuses in outcomes.items():
        for index, status in enumerate(statuses):
            code = PROGRAMS[status]
            passed = status is P
            text = f"answer {index}\n```python\n{code}\n```" if code else f"answer {index}"
            verdict = Verdict(
                status=status,
                tests_passed=2 * passed,
                tests_run=2,
                tests_total=2,
                first_failed=None if passed or not code else 0,
                accepted_by=None,
                seconds=0.25,
                detail="detail",
            )
            answers[question_id, index] = Answer(
                question_id=question_id, sample_index=index, text=text, tokens=7, truncated=False, seconds=0.5
            )
            judgements[question_id, index] = Judgement(verdict=verdict, code=code, incomplete=False, seconds=0.3)
    return answers, judgements


def write_files(directory, problems, outcomes, samples=4):
    answers, judgements = make_judged_answers(outcomes)
    return write_livecodebench_files(
        directory=directory,
        problems=problems,
        samples=samples,
        temperature=1,
        answers=answers,
        judgements=judgements,
    )


def read_json(path):
    return json.loads(path.read_text())


PROBLEMS = [
    make_dated_problem("c", "hard"),
    make_dated_problem("a", "easy"),
    make_dated_problem("b", "easy", contest_date=None),
    make_dated_problem("none", "medium"),
]
OUTCOMES = {"a": [P, W, R, N], "b": [E, P, P], "c": [N, N, W, W], "none": [E]}


def run_livecodebench(*arguments, **options):
    command = [str(LIVECODEBENCH_PYTHON), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_files_have_the_expected_fields_and_order(tmp_path):
    files = write_files(tmp_path / "new", PROBLEMS, OUTCOMES)
    assert [path.name for path in (files.output, files.evaluation, files.evaluation_all)] == [
        "Scenario.codegeneration_4_1.0.json",
        "Scenario.codegeneration_4_1.0_eval.json",
        "Scenario.codegeneration_4_1.0_eval_all.json",
    ]
    assert (files.unattempted, files.undated) == (("none",), ("b",))
    rows = read_json(files.evaluation_all)
    assert [row["question_id"] for row in rows] == ["a", "b", "c"]
    outputs = "question_title question_content platform question_id contest_id contest_date starter_code difficulty"
    assert list(rows[0]) == [*outputs.split(), "output_list", "code_list", "graded_list", "pass@1", "metadata"]
    assert rows[0]["graded_list"] == [True, False, False, False]
    assert rows[0]["code_list"] == [PROGRAMS[P], PROGRAMS[W], PROGRAMS[R], ""]
    assert [text.splitlines()[0] for text in rows[0]["output_list"]] == [f"answer {index}" for index in range(4)]
    assert (rows[0]["pass@1"], rows[0]["contest_id"]) == (0.25, "contest_a")
    assert read_json(files.output) == [
        {name: value for name, value in row.items() if name not in ("graded_list", "pass@1", "metadata")}
        for row in rows
    ]
    assert not list(tmp_path.rglob("*.unfinished"))


def test_sandbox_errors_are_not_in_the_lists(tmp_path):
    row = read_json(write_files(tmp_path, PROBLEMS, OUTCOMES).evaluation_all)[1]
    assert row["graded_list"] == [True, True] and len(row["code_list"]) == len(row["output_list"]) == 2
    assert [json.loads(text)["sample_index"] for text in row["metadata"]] == [1, 2]


def test_evaluation_file_has_the_form_of_codegen_metrics(tmp_path):
    outcomes = {"a": [P, W, R, N, P], "c": [N, W, W, W, W]}
    files = write_files(tmp_path, PROBLEMS[:2], outcomes, samples=5)
    means, results, metadata = read_json(files.evaluation)
    assert means == {
        "pass@1": 0.2,
        "pass@5": 0.5,
        "detail": {"pass@1": {"0": 0.4, "1": 0.0}, "pass@5": {"0": 1.0, "1": 0.0}},
    }
    assert results["0"] == [[True, True], [-2], [-4], [-1], [True, True]]
    assert metadata == [row["metadata"] for row in read_json(files.evaluation_all)]
    wrong_answer = json.loads(metadata[0][1])
    assert (wrong_answer["error_code"], wrong_answer["inputs"], wrong_answer["expected"]) == (-2, "1 2\n", "3\n")


def test_long_tests_are_shortened_in_the_metadata(tmp_path):
    tests = (ProblemTest("1" * 9999, "2"), ProblemTest("1", "2"))
    problem = make_dated_problem("a", "easy", public_tests=tests)
    text = read_json(write_files(tmp_path, [problem], {"a": [W]}, samples=1).evaluation_all)[0]["metadata"][0]
    assert len(text) < 1000


def test_time_zone_of_a_date_is_removed(tmp_path):
    problem = make_dated_problem("a", "easy", contest_date="2025-01-04T23:00:00+09:00")
    assert read_json(write_files(tmp_path, [problem], {"a": [P]}).output)[0]["contest_date"] == "2025-01-04T23:00:00"


def test_no_attempt_at_all_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no attempt"):
        write_files(tmp_path, PROBLEMS, {"none": [E]})
    assert not list(tmp_path.iterdir())


def test_existing_files_survive_a_failure(tmp_path, monkeypatch):
    before = write_files(tmp_path, PROBLEMS, OUTCOMES).evaluation_all.read_bytes()
    monkeypatch.setattr("launch.evaluation.livecodebench_files.json.dumps", lambda value: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_files(tmp_path, PROBLEMS, {"a": [W]})
    assert (tmp_path / "Scenario.codegeneration_4_1.0_eval_all.json").read_bytes() == before


def test_evaluator_package_reads_the_files(tmp_path):
    files = write_files(tmp_path, PROBLEMS, OUTCOMES)
    for path in (files.output, files.evaluation_all):
        rows = list(read_solutions(path))
        assert [(row.question_id, len(row.texts), row.raw) for row in rows] == [
            ("a", 4, False),
            ("b", 2, False),
            ("c", 4, False),
        ]


@needs_livecodebench
def test_compute_scores_of_livecodebench_agrees(tmp_path):
    files = write_files(tmp_path, PROBLEMS, OUTCOMES)
    scores = compute_scores(PROBLEMS, 4, *make_judged_answers(OUTCOMES))
    command = "-m", "livecodebench.evaluation.compute_scores", "--eval_all_file", files.evaluation_all
    text = run_livecodebench(*command)
    theirs = {name: float(value) for name, value in re.findall(r"^([\w@ ]*?Pass@1)(?: = |:) *(\S+)$", text, re.M)}
    for name, difficulty in (("", ALL), ("Easy ", "easy"), ("Hard ", "hard")):
        assert theirs[f"{name}Pass@1"] == pytest.approx(scores.cell(ALL, difficulty).pass_at_1.mean)
    assert text.startswith("3\n")
    # A problem without a date is outside any window with a start date.
    assert run_livecodebench(*command, "--start_date", "2025-01-01").startswith("2\n")


# Fakes of two modules that custom_evaluator imports: the hub's client, here with the problems of a file, and the client
# of a model provider, of which only two constants are read.
CUSTOM_EVALUATOR = """
import json, sys, types

class FakeDataset(list):
    def filter(self, predicate):
        return FakeDataset(filter(predicate, self))

fake_datasets = types.ModuleType("datasets")
fake_datasets.Dataset = FakeDataset
fake_datasets.load_dataset = lambda *names, **options: FakeDataset(map(json.loads, open("problems.jsonl")))
fake_anthropic = types.ModuleType("anthropic")
fake_anthropic.HUMAN_PROMPT = fake_anthropic.AI_PROMPT = ""
sys.modules.update(datasets=fake_datasets, anthropic=fake_anthropic)
from livecodebench.runner.custom_evaluator import main
main()
"""


@needs_livecodebench
def test_livecodebench_custom_evaluator_gives_the_same_results(tmp_path):
    problems = PROBLEMS[:2]
    files = write_files(tmp_path, problems, {"a": [P, W, R], "c": [W, P, P]}, samples=3)
    rows = [json.dumps(to_row(problem)) for problem in problems]
    (tmp_path / "problems.jsonl").write_text("\n".join(rows))
    (tmp_path / "run.py").write_text(textwrap.dedent(CUSTOM_EVALUATOR))
    arguments = ("--custom_output_file", files.output.name, "--num_process_evaluate", "2")
    run_livecodebench("run.py", *arguments, cwd=tmp_path)
    theirs = read_json(tmp_path / f"{files.output.stem}_codegeneration_output_eval_all.json")
    ours = read_json(files.evaluation_all)
    assert [list(row) for row in theirs] == [list(row) for row in ours]
    # Its rows have programs but no answers, and its metadata has outputs; all other fields are equal.
    differing = {
        name
        for their_row, our_row in zip(theirs, ours, strict=True)
        for name in their_row
        if their_row[name] != our_row[name]
    }
    assert differing == {"output_list", "metadata"}
    means, results, _ = read_json(tmp_path / f"{files.output.stem}_codegeneration_output_eval.json")
    our_means, our_results, _ = read_json(files.evaluation)
    assert results == our_results
    assert our_means["detail"].keys() == means["detail"].keys() == {"pass@1"}
    assert our_means["pass@1"] == pytest.approx(means["pass@1"])
    assert our_means["detail"]["pass@1"] == pytest.approx(means["detail"]["pass@1"])
