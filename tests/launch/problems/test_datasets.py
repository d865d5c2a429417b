"""Problems of a run: loading of training and evaluation sets, and the order of training problems."""

import gzip
import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator import Sandbox, SandboxError
from evaluator.problem import ProblemError, to_row
from launch.problems import datasets
from launch.problems.datasets import BENCHMARK_LOADERS, DatasetError, load_dataset, load_evaluation_set
from launch.problems.evaluation_set import EvaluationSet, LoadSummary
from launch.training.problem_order import ProblemOrder
from tests.factories import make_config, make_problem


def dataset(**changes):
    return replace(make_config().dataset, **changes)


def write(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def row(question_id):
    """Make the JSON row of a problem with its id as title and statement, so that it resembles no other problem."""
    return json.dumps(to_row(make_problem(question_id, question_title=question_id, question_content=question_id)))


@given(st.integers(1, 20), st.integers(1, 7), st.integers(0, 5))
def test_problem_order_has_every_problem_once_per_epoch(problems, size, seed):
    order = ProblemOrder(problems, seed)
    steps = -(-2 * problems // size)
    drawn = [index for step in range(steps) for index in order.batch(step, size)]
    assert sorted(drawn[:problems]) == list(range(problems))
    assert sorted(drawn[problems : 2 * problems]) == list(range(problems))


def test_problem_order_differs_between_epochs():
    order = ProblemOrder(30, 0)
    epochs = [tuple(order.batch(epoch, 30)) for epoch in range(4)]
    assert len(set(epochs)) == 4
    assert tuple(range(30)) not in epochs


def test_problem_order_depends_only_on_seed():
    resumed = ProblemOrder(30, 0)
    expected = [ProblemOrder(30, 0).batch(step, 8) for step in range(10)]
    assert [resumed.batch(step, 8) for step in reversed(range(10))] == expected[::-1]
    assert [ProblemOrder(30, 1).batch(step, 8) for step in range(10)] != expected


def test_batch_continues_in_next_epoch():
    order = ProblemOrder(5, 3)
    first = order.batch(0, 5)
    second = order.batch(1, 5)
    assert order.batch(1, 3) == [*first[3:], second[0]]


def test_batch_can_be_longer_than_an_epoch():
    order = ProblemOrder(5, 3)
    assert order.batch(0, 12) == [index for step in range(12) for index in order.batch(step, 1)]


def test_starter_dataset_has_disjoint_training_and_held_out_problems():
    loaded = load_dataset(dataset())
    training = {problem.question_id for problem in loaded.training}
    held_out = {problem.question_id for problem in loaded.held_out}
    assert len(training) > 16
    assert held_out
    assert not training & held_out
    assert loaded.rejected == ()


def test_dataset_path_takes_precedence_over_name(tmp_path):
    path = write(tmp_path / "p.jsonl", row("a"), "{broken", row("b"))
    loaded = load_dataset(dataset(path=path))
    assert [problem.question_id for problem in loaded.training] == ["a", "b"]
    assert loaded.held_out == ()
    assert [rejected.line for rejected in loaded.rejected] == [2]


def test_held_out_problems_are_read_from_file(tmp_path):
    training = write(tmp_path / "p.jsonl", row("a"))
    held_out = write(tmp_path / "h.jsonl", row("b"), "[]")
    loaded = load_dataset(dataset(path=training, held_out_path=held_out))
    assert [problem.question_id for problem in loaded.held_out] == ["b"]
    assert [str(bad) for bad in loaded.rejected] == [f"{held_out}, line 2: expected an object, got list"]


def test_strict_raises_for_bad_row(tmp_path):
    path = write(tmp_path / "p.jsonl", row("a"), "{broken")
    with pytest.raises(ProblemError, match="line 2"):
        load_dataset(dataset(path=path, strict=True))


@pytest.mark.parametrize("key", ["path", "held_out_path"])
def test_missing_file_is_an_error(tmp_path, key):
    with pytest.raises(DatasetError, match=rf"dataset\.{key}=.*absent\.jsonl: no such file"):
        load_dataset(dataset(**{key: str(tmp_path / "absent.jsonl")}))


def checked_row(question_id, code):
    return json.dumps(json.loads(row(question_id)) | {"metadata": {"checker": {"type": "custom", "code": code}}})


@pytest.mark.heavy
def test_problems_with_broken_checkers_are_dropped(tmp_path):
    fails = checked_row("b", "def check(inp, out, exp): return missing")
    works = checked_row("c", "def check(inp, out, exp): return out == exp")
    path = write(tmp_path / "p.jsonl", row("a"), fails, works)
    held_out = write(tmp_path / "h.jsonl", row("d"), checked_row("e", "import gone\ndef check(inp, out, exp): pass"))
    loaded = load_dataset(dataset(path=path, held_out_path=held_out))
    assert [problem.question_id for problem in loaded.training] == ["a", "c"]
    assert [problem.question_id for problem in loaded.held_out] == ["d"]
    assert [str(bad).partition(": problem ")[2] for bad in loaded.rejected] == [
        "'b': its checker fails on the expected output of test 0: NameError: name 'missing' is not defined",
        "'e': its checker cannot be loaded: ModuleNotFoundError: No module named 'gone'",
    ]
    with pytest.raises(ProblemError, match=r"p\.jsonl: problem 'b': its checker fails"):
        load_dataset(dataset(path=path, strict=True))


@pytest.mark.heavy
@pytest.mark.parametrize("name", sorted(BENCHMARK_LOADERS))
def test_benchmark_problems_with_broken_checkers_are_dropped(tmp_path, monkeypatch, name):
    """Whatever the benchmark: its loader returns the problems, and the broken ones are dropped by name."""
    broken = {"type": "custom", "code": "def check(inp, out, exp): return missing"}
    found = EvaluationSet(
        problems=(make_problem("a"), make_problem("b", checker=broken)),
        summary=LoadSummary(selected=2, outside_window=0, undated=0, rejected=(), published=2),
        window=None,
        remarks=("one of two",),
    )
    monkeypatch.setattr(datasets, "BENCHMARK_LOADERS", dict.fromkeys(BENCHMARK_LOADERS, lambda config: found))
    loaded = load_evaluation_set(dataset(name=name))
    assert [problem.question_id for problem in loaded.problems] == ["a"]
    (rejected,) = loaded.summary.rejected
    assert str(rejected).startswith(f"dataset.name={name}: problem 'b': its checker fails on the expected output")
    assert str(loaded.summary) == "1 problems (published: 2); dropped: 1 bad rows"
    assert loaded.remarks == ("one of two",)
    with pytest.raises(ProblemError, match="problem 'b': its checker fails"):
        load_evaluation_set(dataset(name=name, strict=True))
    monkeypatch.setattr(
        datasets, "BENCHMARK_LOADERS", {name: lambda config: replace(found, problems=found.problems[1:])}
    )
    with pytest.raises(DatasetError, match=rf"dataset\.name={name}: no usable problem; first bad row: .*problem 'b'"):
        load_evaluation_set(dataset(name=name))


def test_checkers_are_kept_where_no_sandbox_starts(tmp_path, monkeypatch):
    def fail(self):
        raise SandboxError("no zygote")

    monkeypatch.setattr(Sandbox, "start", fail)
    monkeypatch.setattr(Sandbox, "missing_fences", property(fail))
    path = write(tmp_path / "p.jsonl", row("a"), checked_row("b", "def check(inp, out, exp): return missing"))
    loaded = load_dataset(dataset(path=path))
    assert [problem.question_id for problem in loaded.training] == ["a", "b"]
    assert loaded.remarks == (
        f"dataset.path={path}: 1 custom checkers were not tried: the sandbox does not start here: no zygote",
    )


@pytest.mark.parametrize("name", ["question_id", "platform", "difficulty", "contest_date"])
def test_problem_whose_name_is_not_unicode_is_dropped(tmp_path, name):
    bad = json.dumps(json.loads(row("b")) | {name: "\ud800"})
    odd = json.dumps(json.loads(row("c")) | {"question_content": "\ud800", "question_title": "\ud800"})
    loaded = load_dataset(dataset(path=write(tmp_path / "p.jsonl", row("a"), bad, odd)))
    assert [problem.question_id for problem in loaded.training] == ["a", "c"]
    assert f"{name}: not Unicode" in str(loaded.rejected[0])


def test_training_file_without_usable_problem_is_an_error(tmp_path):
    path = write(tmp_path / "p.jsonl", "{broken")
    with pytest.raises(DatasetError, match=r"no usable problem; first bad row: .*p\.jsonl, line 1: "):
        load_dataset(dataset(path=path))
    with pytest.raises(DatasetError, match=r"p\.jsonl: no usable problem$"):
        load_dataset(dataset(path=write(tmp_path / "p.jsonl")))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("p.csv", b"question_id\n"),
        ("p.parquet", b"not parquet"),
        ("p.jsonl.gz", b"not gzip"),
        ("q.jsonl.gz", gzip.compress(b"x" * 1000)[:-10]),
        ("r.jsonl.gz", gzip.compress(b"")[:10] + b"\xff" * 20),
    ],
    ids=["not JSON", "not Parquet", "not gzip", "truncated gzip", "invalid deflate"],
)
@pytest.mark.parametrize("key", ["path", "held_out_path"])
def test_unreadable_file_is_an_error(tmp_path, name, content, key):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(
        DatasetError, match=rf"dataset\.{key}=.*{name}: (cannot be read|no usable problem; first bad row): "
    ):
        load_dataset(dataset(**{key: str(path)}))


def dated_row(question_id, day):
    return json.dumps(json.loads(row(question_id)) | {"contest_date": day})


def test_contaminated_training_problems_are_dropped_unless_overlap_is_allowed(tmp_path):
    held_out = write(tmp_path / "h.jsonl", row("a"), row("b"))
    training = write(tmp_path / "p.jsonl", row("a"), row("B!"), row("c"))
    loaded = load_dataset(dataset(path=training, held_out_path=held_out))
    assert [problem.question_id for problem in loaded.training] == ["c"]
    assert loaded.remarks == ("dropped: 2 of 3 training problems overlap the evaluation set (question_id 1, title 1)",)
    allowed = load_dataset(dataset(path=training, held_out_path=held_out, allow_overlap=True))
    assert [problem.question_id for problem in allowed.training] == ["a", "B!", "c"]
    assert allowed.remarks[0].startswith("kept (dataset.allow_overlap=true): 2 of 3 ")
    with pytest.raises(DatasetError, match=r"^2 of 2 .*dataset\.allow_overlap=true"):
        load_dataset(dataset(path=held_out, held_out_path=held_out))


def test_built_in_split_is_not_checked_for_contamination():
    assert load_dataset(dataset()).contamination is None


def test_livecodebench_with_a_training_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the cache goes there
    days = {"old": "2024-12-31", "new": "2025-02-01T00:00:00", "new2": "2025-02-02", "?": None}
    path = write(tmp_path / "p.jsonl", *(dated_row(question_id, day) for question_id, day in days.items()))
    loaded = load_dataset(dataset(name="lcb_v6", path=path, held_out_path=path))
    assert [problem.question_id for problem in loaded.held_out] == ["new", "new2"]
    assert [problem.question_id for problem in loaded.training] == ["old", "?"]
    assert loaded.remarks == (
        "dataset.name=lcb_v6: 2 problems (published: 175); dropped: 1 outside the date window, 1 without a date",
        "dropped: 2 of 4 training problems overlap the evaluation set (question_id 2); 1 have no date to check",
    )
    window = {"start_date": "2024-01-01", "end_date": "2025-02-01"}
    config = dataset(name="livecodebench", path=path, held_out_path=path, **window)
    assert [problem.question_id for problem in load_dataset(config).held_out] == ["old", "new"]


def test_training_problems_are_those_of_train(tmp_path):
    built_in = load_dataset(dataset(name=None, train=["starter"]))
    assert built_in.training == load_dataset(dataset()).training
    assert (built_in.held_out, load_dataset(dataset(train=["starter"])).contamination) == ((), None)
    path = write(tmp_path / "p.jsonl", row("a"))
    assert [problem.question_id for problem in load_dataset(dataset(path=path, train=["starter"])).training] == ["a"]
    with pytest.raises(DatasetError, match=r"dataset\.train=taco has no training problems: set dataset\.path"):
        load_dataset(dataset(train=["taco"]))


def test_curated_problems_are_compared_with_the_evaluation_set(tmp_path):
    curated = tmp_path / "p.jsonl"
    held_out = load_evaluation_set(dataset(train=["taco"])).problems
    write(curated, row("a"), json.dumps(to_row(held_out[0])))
    loaded = load_dataset(dataset(train=["taco"]), curated)
    assert [problem.question_id for problem in loaded.training] == ["a"]
    assert loaded.held_out == held_out == load_dataset(dataset()).held_out
    with pytest.raises(DatasetError, match=r"^dataset\.train=taco, .*p\.jsonl: no usable problem$"):
        load_dataset(dataset(train=["taco"]), Path(write(curated)))


def test_benchmark_without_training_file_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match=r"dataset\.name=lcb_v6 has no training problems: set dataset\.path"):
        load_dataset(dataset(name="lcb_v6"))
    with pytest.raises(DatasetError, match=r"dataset\.held_out_path=.*absent: no such file or directory"):
        load_evaluation_set(dataset(name="lcb_v6", held_out_path=str(tmp_path / "absent")))


def test_evaluation_set_comes_from_file_or_built_in_split(tmp_path):
    path = write(tmp_path / "h.jsonl", row("a"), "[]")
    loaded = load_evaluation_set(dataset(name=None, held_out_path=path))
    assert (loaded.summary.selected, len(loaded.summary.rejected), loaded.window) == (1, 1, None)
    assert len(load_evaluation_set(dataset()).problems) == len(load_dataset(dataset()).held_out)
    assert load_evaluation_set(dataset(path=path)) is None


def test_humaneval_and_mbpp_are_loaded_by_name(tmp_path):
    row = {
        "task_id": "HumanEval/0",
        "prompt": 'def add(a, b):\n    """The sum."""\n',
        "entry_point": "add",
        "canonical_solution": "    return a + b\n",
        "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
    }
    path = tmp_path / "HumanEval.jsonl"
    path.write_text(json.dumps(row) + "\n")
    (problem,) = load_evaluation_set(dataset(name="humaneval", held_out_path=str(path))).problems
    assert (problem.func_name, problem.tests[0].output) == ("add", "3")
    with pytest.raises(DatasetError, match="no usable problem of MBPP"):
        load_evaluation_set(dataset(name="mbpp", held_out_path=str(path)))


@pytest.mark.heavy
def test_published_task_with_a_broken_checker_is_dropped(tmp_path):
    """The recorded result of an iterator is a truth value, which the published test cannot iterate over."""
    row = {
        "task_id": "HumanEval/0",
        "prompt": 'def count(n):\n    """Count up to n."""\n',
        "entry_point": "count",
        "canonical_solution": "    return iter(range(n))\n",
        "test": "def check(candidate):\n    assert list(candidate(2)) == [0, 1]\n",
    }
    as_list = {"task_id": "HumanEval/1", "canonical_solution": "    return list(range(n))\n"}
    path = write(tmp_path / "tasks.jsonl", json.dumps(row), json.dumps(row | as_list))
    loaded = load_evaluation_set(dataset(name="humaneval", held_out_path=path))
    assert [problem.question_id for problem in loaded.problems] == ["HumanEval/1"]
    assert "problem 'HumanEval/0': its checker fails on the expected output of test 0: TypeError: 'Truth'" in str(
        loaded.summary.rejected[0]
    )
