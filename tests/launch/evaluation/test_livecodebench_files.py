"""Files in LiveCodeBench's format: its own tools read them, where they are installed, and say what we say."""

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
from launch.evaluation.scores import ALL, score
from learner.rollout import Judgement
from tests.factories import problem

PEER = Path(__file__).parents[3] / ".venv-peers/livecodebench/bin/python"
needs_peer = pytest.mark.skipif(
    not PEER.exists(), reason="LiveCodeBench is not installed: make .venv-peers/livecodebench/.installed"
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


def dated(question_id, difficulty, **changes):
    values = {
        "platform": "atcoder",
        "difficulty": difficulty,
        "contest_date": "2025-01-04T00:00:00",
        "extra": {"contest_id": f"contest_{question_id}"},
        "public_tests": (ProblemTest("1 2\n", "3\n"), ProblemTest("4 5\n", "9\n")),
    }
    return problem(question_id, **(values | changes))


def judged(outcomes):
    answers = {}
    judgements = {}
    for question_id, statuses in outcomes.items():
        for index, status in enumerate(statuses):
            code = PROGRAMS[status]
            passed = status is P
            text = f"answer {index}\n```python\n{code}\n```" if code else f"answer {index}"
            ended = Verdict(
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
            judgements[question_id, index] = Judgement(verdict=ended, code=code, incomplete=False, seconds=0.3)
    return answers, judgements


def written(directory, problems, outcomes, samples=4):
    return write_livecodebench_files(directory, problems, samples, 1, *judged(outcomes))


def read(path):
    return json.loads(path.read_text())


UNEVEN = [
    dated("c", "hard"),
    dated("a", "easy"),
    dated("b", "easy", contest_date=None),
    dated("none", "medium"),
]
OUTCOMES = {"a": [P, W, R, N], "b": [E, P, P], "c": [N, N, W, W], "none": [E]}


def peer(*arguments, **options):
    done = subprocess.run([PEER, *map(str, arguments)], capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_fields_and_order(tmp_path):
    files = written(tmp_path / "new", UNEVEN, OUTCOMES)
    assert [path.name for path in (files.output, files.evaluation, files.evaluation_all)] == [
        "Scenario.codegeneration_4_1.0.json",
        "Scenario.codegeneration_4_1.0_eval.json",
        "Scenario.codegeneration_4_1.0_eval_all.json",
    ]
    assert (files.left_out, files.undated) == (("none",), ("b",))
    rows = read(files.evaluation_all)
    assert [row["question_id"] for row in rows] == ["a", "b", "c"]
    outputs = "question_title question_content platform question_id contest_id contest_date starter_code difficulty"
    assert list(rows[0]) == [*outputs.split(), "output_list", "code_list", "graded_list", "pass@1", "metadata"]
    assert rows[0]["graded_list"] == [True, False, False, False]
    assert rows[0]["code_list"] == [PROGRAMS[P], PROGRAMS[W], PROGRAMS[R], ""]
    assert [text.splitlines()[0] for text in rows[0]["output_list"]] == [f"answer {index}" for index in range(4)]
    assert (rows[0]["pass@1"], rows[0]["contest_id"]) == (0.25, "contest_a")
    assert read(files.output) == [
        {name: value for name, value in row.items() if name not in ("graded_list", "pass@1", "metadata")}
        for row in rows
    ]
    assert not list(tmp_path.rglob("*.unfinished"))


def test_attempts_that_do_not_count_are_not_in_the_lists(tmp_path):
    row = read(written(tmp_path, UNEVEN, OUTCOMES).evaluation_all)[1]
    assert row["graded_list"] == [True, True] and len(row["code_list"]) == len(row["output_list"]) == 2
    assert [json.loads(text)["sample_index"] for text in row["metadata"]] == [1, 2]


def test_the_evaluation_has_the_form_of_their_metrics(tmp_path):
    even = {"a": [P, W, R, N, P], "c": [N, W, W, W, W]}
    files = written(tmp_path, [UNEVEN[0], UNEVEN[1]], even, samples=5)
    means, results, metadata = read(files.evaluation)
    assert means == {
        "pass@1": 0.2,
        "pass@5": 0.5,
        "detail": {"pass@1": {"0": 0.4, "1": 0.0}, "pass@5": {"0": 1.0, "1": 0.0}},
    }
    assert results["0"] == [[True, True], [-2], [-4], [-1], [True, True]]
    assert metadata == [row["metadata"] for row in read(files.evaluation_all)]
    wrong = json.loads(metadata[0][1])
    assert (wrong["error_code"], wrong["inputs"], wrong["expected"]) == (-2, "1 2\n", "3\n")


def test_long_tests_are_cut_in_the_metadata(tmp_path):
    long = dated("a", "easy", public_tests=(ProblemTest("1" * 9999, "2"), ProblemTest("1", "2")))
    text = read(written(tmp_path, [long], {"a": [W]}, samples=1).evaluation_all)[0]["metadata"][0]
    assert len(text) < 1000


def test_a_date_with_a_time_zone_loses_it(tmp_path):
    zoned = dated("a", "easy", contest_date="2025-01-04T23:00:00+09:00")
    assert read(written(tmp_path, [zoned], {"a": [P]}).output)[0]["contest_date"] == "2025-01-04T23:00:00"


def test_no_attempt_at_all_is_refused(tmp_path):
    with pytest.raises(ValueError, match="no attempt"):
        written(tmp_path, UNEVEN, {"none": [E]})
    assert not list(tmp_path.iterdir())


def test_files_of_before_survive_a_failure(tmp_path, monkeypatch):
    before = written(tmp_path, UNEVEN, OUTCOMES).evaluation_all.read_bytes()
    monkeypatch.setattr("launch.evaluation.livecodebench_files.json.dumps", lambda value: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        written(tmp_path, UNEVEN, {"a": [W]})
    assert (tmp_path / "Scenario.codegeneration_4_1.0_eval_all.json").read_bytes() == before


def test_our_own_reader_takes_them(tmp_path):
    files = written(tmp_path, UNEVEN, OUTCOMES)
    for path in (files.output, files.evaluation_all):
        rows = list(read_solutions(path))
        assert [(row.question_id, len(row.texts), row.raw) for row in rows] == [
            ("a", 4, False),
            ("b", 2, False),
            ("c", 4, False),
        ]


@needs_peer
def test_their_compute_scores_finds_our_figures(tmp_path):
    files = written(tmp_path, UNEVEN, OUTCOMES)
    scores = score(UNEVEN, 4, *judged(OUTCOMES))
    command = "-m", "livecodebench.evaluation.compute_scores", "--eval_all_file", files.evaluation_all
    text = peer(*command)
    found = {name: float(value) for name, value in re.findall(r"^([\w@ ]*?Pass@1)(?: = |:) *(\S+)$", text, re.M)}
    for name, difficulty in (("", ALL), ("Easy ", "easy"), ("Hard ", "hard")):
        assert found[f"{name}Pass@1"] == pytest.approx(scores.cell(ALL, difficulty).pass_at_1.mean)
    assert text.startswith("3\n")
    # A problem without a date is in no window that has a start.
    assert peer(*command, "--start_date", "2025-01-01").startswith("2\n")


# What custom_evaluator imports but judging does not touch: the hub's client, which here serves problems of a file, and
# a model provider's, of which it asks two constants.
CUSTOM_EVALUATOR = """
import json, sys, types

class Served(list):
    def filter(self, wanted):
        return Served(filter(wanted, self))

hub, provider = types.ModuleType("datasets"), types.ModuleType("anthropic")
hub.Dataset = Served
hub.load_dataset = lambda *names, **options: Served(map(json.loads, open("problems.jsonl")))
provider.HUMAN_PROMPT = provider.AI_PROMPT = ""
sys.modules.update(datasets=hub, anthropic=provider)
from livecodebench.runner.custom_evaluator import main
main()
"""


@needs_peer
def test_their_custom_evaluator_judges_the_programs_of_it_as_we_do(tmp_path):
    problems = [UNEVEN[0], UNEVEN[1]]
    files = written(tmp_path, problems, {"a": [P, W, R], "c": [W, P, P]}, samples=3)
    rows = [json.dumps(to_row(one)) for one in problems]
    (tmp_path / "problems.jsonl").write_text("\n".join(rows))
    (tmp_path / "run.py").write_text(textwrap.dedent(CUSTOM_EVALUATOR))
    peer("run.py", "--custom_output_file", files.output.name, "--num_process_evaluate", "2", cwd=tmp_path)
    theirs = read(tmp_path / f"{files.output.stem}_codegeneration_output_eval_all.json")
    ours = read(files.evaluation_all)
    assert [list(row) for row in theirs] == [list(row) for row in ours]
    # It has no answers, only programs, and its metadata has outputs; everything else is the same.
    differing = {name for one, other in zip(theirs, ours, strict=True) for name in one if one[name] != other[name]}
    assert differing == {"output_list", "metadata"}
    means, results, _ = read(tmp_path / f"{files.output.stem}_codegeneration_output_eval.json")
    our_means, our_results, _ = read(files.evaluation)
    assert results == our_results
    assert our_means["detail"].keys() == means["detail"].keys() == {"pass@1"}
    assert our_means["pass@1"] == pytest.approx(means["pass@1"])
    assert our_means["detail"]["pass@1"] == pytest.approx(means["detail"]["pass@1"])
