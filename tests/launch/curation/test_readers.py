"""Readers of published sets, on invented rows in the published columns."""

import json

import pytest

from evaluator.problem import ProblemError, ProblemTest
from launch.curation.sources.reader import MAX_PROGRAMS, Reader, SourceRow, UnwantedRow, make_problem
from launch.curation.sources.registry import READERS

STDIN_TESTS = (ProblemTest("1 2\n", "3\n"), ProblemTest("5 6\n", "11\n"))
LEETCODE_STARTER = "class Solution:\n    def add(self, nums: List[int], k: int) -> int:\n        "
CODE_CONTESTS_ROW = {
    "name": "1575_A. Sum of Books",
    "description": "Print the sum.",
    "public_tests": {"input": ["1 2\n"], "output": ["3\n"]},
    "private_tests": {"input": ["5 6\n"], "output": ["11\n"]},
    "generated_tests": {"input": ["7 7\n"], "output": ["14\n"]},
    "source": 2,
    "difficulty": 7,
    "solutions": {"language": [2, 3, 1, 3], "solution": ["int main() {}", "print(3)", "print 3", "print(3)"]},
    "incorrect_solutions": {"language": [3], "solution": ["print(4)"]},
    "cf_rating": 1500,
    "time_limit": {"seconds": 0, "nanos": 500000000},
    "memory_limit_bytes": 256000000,
    "input_file": "",
    "output_file": "",
}
CODEFORCES_ROW = {
    "id": "1700/A",
    "contest_start": 1654785300,
    "title": "A. Sum",
    "description": "Add.",
    "input_format": "Two integers.",
    "output_format": "Their sum.",
    "interaction_format": None,
    "note": "No overflow.",
    "examples": [{"input": "1 2", "output": "3"}],
    "rating": 800,
    "official_tests": [{"input": "1 2\n", "output": "3\n"}, {"input": "5 6\n", "output": "11\n"}],
    "input_mode": "stdio",
    "generated_checker": None,
}


def read(name, row):
    return READERS[name].read(row)


def test_names_are_keys_and_every_set_is_on_the_hub():
    assert all(name == reader.name and reader.repository and reader.files for name, reader in READERS.items())


@pytest.mark.parametrize(
    "tests",
    [
        json.dumps([{"input": "1 2\n", "output": "3\n", "type": "stdin_stdout"}, {"input": "5 6\n", "output": "11\n"}]),
        json.dumps([{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}, {"input": "5 6\n", "output": "11\n"}]),
        json.dumps({"inputs": ["1 2\n", "5 6\n"], "outputs": ["3\n", "11\n"]}),
        {"inputs": ["1 2\n", ["5 6", ""]], "outputs": ["3\n", "11\n"]},
    ],
)
def test_deepcoder_reads_every_layout_of_tests(tests):
    candidate = read("deepcoder", {"problem": "Print the sum.", "tests": tests, "solutions": ["print(sum())"]})
    assert candidate.problem.tests == STDIN_TESTS
    assert candidate.problem.func_name is None
    assert candidate.right_programs == ("print(sum())",)
    assert candidate.problem.question_id == f"deepcoder/{candidate.source_id}"


def test_deepcoder_takes_the_function_of_livecodebench_rows_from_their_metadata():
    tests = [{"input": "[1]\n2", "output": '"8"', "testtype": "functional", "metadata": {"func_name": "add"}}]
    row = {"problem": "Add.", "starter_code": LEETCODE_STARTER, "tests": json.dumps(tests)}
    problem = read("deepcoder", row).problem
    assert (problem.func_name, problem.tests) == ("add", (ProblemTest("[1]\n2", '"8"', "functional"),))


def test_deepcoder_separates_starter_code_and_labels_from_the_statement():
    statement = "Add.\nPlease complete the following python code precisely:\n```python\n" + LEETCODE_STARTER + "\n```\n"
    row = {
        "problem": statement,
        "tests": {"functional": "def check(candidate):\n    assert candidate([1], k = 2) == 3"},
    }
    problem = read("deepcoder", row).problem
    assert problem.starter_code.rstrip() == LEETCODE_STARTER.rstrip()
    assert problem.question_content.strip() == "Add."
    assert problem.tests == (ProblemTest("[1]\n2", "3", "functional"),)
    labels = "Print.\n\nTags:\n['math']\n\nTime Limit: {'seconds': 2, 'nanos': 0}\nMemory Limit: 256 MB\n"
    labelled_row = {"problem": labels, "tests": [{"input": "1", "output": "1"}]}
    assert read("deepcoder", labelled_row).problem.question_content == "Print."


def test_rows_without_ids_have_the_same_id_in_every_file():
    row = {"problem": "Print the sum.", "tests": [{"input": "1", "output": "1"}]}
    other = {"problem": "Print the sum.", "tests": [{"input": "1", "output": "2"}]}
    ids = [read("deepcoder", content).source_id for content in (row, dict(row), other)]
    assert ids[0] == ids[1] != ids[2]


def test_taco_distinguishes_texts_from_numbers_in_the_values_of_functions():
    tests = {"fn_name": "join", "inputs": [["8", 1], ["9", 2]], "outputs": [["81"], ["92"]]}
    row = {
        "question": "Join.",
        "input_output": json.dumps(tests),
        "difficulty": "MEDIUM_HARD",
        "solutions": json.dumps(["def join(a, b): return a + str(b)"]),
        "starter_code": "",
        "source": "codewars",
        "name": None,
        "date": "2019-12-31",
    }
    candidate = read("taco", row)
    assert candidate.problem.tests[0] == ProblemTest('"8"\n1', '"81"', "functional")
    assert candidate.problem.starter_code == "# Define join here.\n"
    assert (candidate.problem.difficulty, candidate.problem.platform) == ("medium", "other")
    assert candidate.problem.contest_date == "2019-12-31T00:00:00"
    assert candidate.right_programs == ("def join(a, b): return a + str(b)",)


def test_results_are_unwrapped_only_if_all_are_lists_of_one_element():
    tests = {"fn_name": "split", "inputs": [["a b"], ["a"]], "outputs": [["a", "b"], ["a"]]}
    problem = read("taco", {"question": "Split.", "input_output": tests, "solutions": []}).problem
    assert [test.output for test in problem.tests] == ['["a", "b"]', '["a"]']


def test_codecontests_keeps_python_3_programs_of_both_labels():
    candidate = read("codecontests", CODE_CONTESTS_ROW)
    problem = candidate.problem
    assert (candidate.right_programs, candidate.wrong_programs) == (("print(3)",), ("print(4)",))
    assert (problem.question_title, problem.platform, problem.difficulty) == ("Sum of Books", "codeforces", "medium")
    assert [test.output for test in problem.public_tests] == ["3\n"]
    assert [test.output for test in problem.private_tests] == ["11\n", "14\n"]
    assert problem.time_limit_s is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"input_file": "input.txt"}, "not_standard_io"),
        ({"checker": '#include "testlib.h"\nint main() {}'}, "checker_not_python"),
    ],
)
def test_codecontests_drops_what_cannot_be_judged(change, reason):
    with pytest.raises(UnwantedRow) as caught:
        read("codecontests", CODE_CONTESTS_ROW | change)
    assert caught.value.reason == reason


def test_codecontests_reads_the_extract_of_sandboxfusion():
    row = {
        "id": 7,
        "content": "Print the sum.",
        "labels": json.dumps({"name": "12_B. Sum", "source": "CODEFORCES", "difficulty": "HARD"}),
        "test": json.dumps([{"input": {"stdin": "1 2\n"}, "output": {"stdout": "3\n"}}]),
    }
    candidate = read("codecontests", row)
    assert (candidate.source_id, candidate.licence) == ("7", "Apache-2.0")
    assert candidate.problem.tests == STDIN_TESTS[:1]
    assert (candidate.problem.question_title, candidate.problem.difficulty) == ("Sum", "hard")


def test_codeforces_joins_the_parts_of_a_statement_and_hides_other_tests():
    problem = read("codeforces", CODEFORCES_ROW).problem
    assert problem.question_content == (
        "Add.\n\nInput\n\nTwo integers.\n\nOutput\n\nTheir sum.\n\nExamples\n\nInput\n\n1 2\n\nOutput\n\n3\n\n"
        "Note\n\nNo overflow."
    )
    assert problem.public_tests == (ProblemTest("1 2", "3"),)
    assert problem.private_tests == (ProblemTest("5 6\n", "11\n"),)
    assert (problem.contest_date, problem.difficulty, problem.question_title) == ("2022-06-09", "easy", "Sum")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"interaction_format": "Print a query."}, "interactive"),
        ({"input_mode": "file"}, "not_standard_io"),
        ({"official_tests": []}, "no_tests"),
    ],
)
def test_codeforces_drops_what_cannot_be_judged(change, reason):
    with pytest.raises(UnwantedRow) as caught:
        read("codeforces", CODEFORCES_ROW | change)
    assert caught.value.reason == reason


def test_leetcode_dataset_orders_arguments_by_the_signature():
    row = {
        "task_id": "add-all",
        "problem_description": "Add.",
        "starter_code": LEETCODE_STARTER,
        "completion": "class Solution: ...",
        "entry_point": "Solution().add",
        "test": "def check(candidate):\n    assert candidate(k = 2,nums = [1]) == -3\n",
        "difficulty": "Hard",
        "estimated_date": "2024-08-04",
    }
    candidate = read("leetcode_dataset", row)
    assert candidate.problem.tests == (ProblemTest("[1]\n2", "-3", "functional"),)
    assert (candidate.problem.platform, candidate.problem.difficulty) == ("leetcode", "hard")
    assert (candidate.problem.contest_date, candidate.right_programs) == ("2024-08-04", ("class Solution: ...",))


@pytest.mark.parametrize(
    ("date", "reason"), [("2025-01-01T00:00:00", "evaluated_window"), (None, "no_date"), ("soon", "no_date")]
)
def test_livecodebench_is_read_only_before_the_evaluated_window(date, reason):
    row = {
        "question_id": "abc1",
        "question_content": "Print 1.",
        "contest_date": "2024-12-31T23:00:00",
        "public_test_cases": [{"input": "", "output": "1", "testtype": "stdin"}],
    }
    assert read("livecodebench", row).source_id == "abc1"
    with pytest.raises(UnwantedRow) as caught:
        read("livecodebench", row | {"contest_date": date})
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("deepcoder", {"problem": "Print.", "tests": "[1, 2]"}),
        ("deepcoder", {"problem": "Print.", "tests": "{"}),
        ("deepcoder", {"problem": "Print.", "tests": "[]"}),
        ("deepcoder", {"problem": " ", "tests": [{"input": "1", "output": "1"}]}),
        ("deepcoder", {"problem": ["Print."], "tests": []}),
        ("deepcoder", {"problem": "Print.", "tests": {"functional": "def check(candidate): pass"}}),
        ("taco", {"question": "Print.", "input_output": {"inputs": ["1"], "outputs": []}}),
        ("taco", {"question": "Print.", "input_output": {"inputs": [1], "outputs": ["1"]}}),
        ("taco", {"question": "F.", "input_output": {"fn_name": "f", "inputs": ["N = 5"], "outputs": ["1"]}}),
        ("taco", {}),
        ("codecontests", {"description": "Print.", "public_tests": "none"}),
        ("codecontests", {"content": "Print.", "labels": "{}", "test": '[{"input": 1}]'}),
        ("codeforces", {"id": "", "description": "Print."}),
        ("leetcode_dataset", {"task_id": 1}),
        ("livecodebench", {"question_id": "a"}),
        ("humaneval", {"task_id": "HumanEval/0"}),
        ("mbpp", {"text": "Print.", "code": "def f(): pass", "task_id": 601}),
    ],
)
def test_bad_rows_are_reported(name, row):
    with pytest.raises(ProblemError) as caught:
        read(name, row)
    assert not isinstance(caught.value, UnwantedRow)


def test_programs_are_kept_once_and_up_to_a_number():
    problem = make_problem(source_id="1", statement="Print.", tests=STDIN_TESTS)
    programs = ["print(0)", "  ", "print(0)", *(f"print({number})" for number in range(1, 50))]
    reader = Reader(name="set", licence="MIT", parse=lambda row: SourceRow(problem=problem, right_programs=programs))
    kept = reader.read({}).right_programs
    assert len(kept) == MAX_PROGRAMS
    assert kept[:2] == ("print(0)", "print(1)")


def test_lone_surrogates_stay_in_tests_only():
    tests = [ProblemTest("\ud800", "\udfff")]
    problem = make_problem(source_id="1", statement="a\ud800", title="b\udc00", tests=tests)
    reader = Reader(name="set", licence="MIT", parse=lambda row: SourceRow(problem=problem))
    read_problem = reader.read({}).problem
    assert (read_problem.question_content, read_problem.question_title) == ("a\ufffd", "b\ufffd")
    assert read_problem.tests == tuple(tests)


@pytest.mark.heavy
def test_functions_get_tests_from_their_published_asserts():
    row = {
        "text": "Write a function to double a tuple.",
        "code": "def double(t):\n    return tuple(2 * x for x in t)",
        "task_id": 601,
        "test_setup_code": "",
        "test_list": ["assert double((1, 2)) == (2, 4)", "assert double(()) == ()"],
    }
    candidate = read("mbpp", row)
    assert [test.output for test in candidate.problem.tests] == ['{"tuple": [2, 4]}', '{"tuple": []}']
    assert candidate.right_programs == (row["code"],)
    assert candidate.problem.question_id == "mbpp/mbpp/601"
