"""Records of steps in the manifest, and the slowest completions."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launch.run_report.rollout_rows import RolloutRow, split_groups
from launch.run_report.step_records import (
    SHOWN_SLOWEST,
    Manifest,
    StepRecord,
    encode_manifest,
    find_slowest,
    read_manifest,
    summarize_group,
)


def make_group(*rows):
    return split_groups([RolloutRow(question_id="q", sample_index=index, **row) for index, row in enumerate(rows)])


def make_record(step=3):
    groups = make_group({"reward": 1.0, "status": "passed", "generation_seconds": 2.0}, {"reward": 0.0})
    return StepRecord(
        step=step,
        stamp=(10**18, 5),
        rows=2,
        signal_rows=2,
        figures_bytes=7,
        groups=tuple(summarize_group(group) for group in groups),
        slow=find_slowest(step, groups),
        level="signal",
        chunks=1,
        signal_bytes=9,
    )


def test_summary_of_a_group():
    (group,) = make_group(
        {"reward": 1.0, "status": "passed", "response_tokens": 4, "finish_reason": "length"},
        {"reward": 0.0, "status": "wrong_answer", "response_tokens": 7},
        {"reward": None, "status": "sandbox_error"},
    )
    summary = summarize_group(group)
    assert (summary.passed, summary.size, summary.at_limit, summary.trained) == (1, 3, 1, True)
    assert (summary.mean_reward, summary.spread, summary.mean_tokens) == (0.5, 0.5, 5.5)


def test_summary_of_a_group_with_unknown_values():
    summary = summarize_group(make_group({}, {"reward": math.nan})[0])
    assert (summary.mean_reward, summary.spread, summary.mean_tokens) == (None, None, None)
    assert (summary.passed, summary.at_limit, summary.judged) == (None, None, 0)
    assert (summary.timed, summary.judging_seconds, summary.longest_judging_seconds) == (0, None, None)


def test_time_of_judging_a_group():
    seconds = [0.25, 1.0, None, math.nan, math.inf]
    summary = summarize_group(make_group(*({"evaluation_seconds": value} for value in seconds))[0])
    assert (summary.timed, summary.judging_seconds, summary.longest_judging_seconds) == (2, 1.25, 1.0)


def test_excluded_completions_are_not_judged():
    passed = {"reward": 1.0, "status": "passed"}
    excluded = {"reward": None, "status": "sandbox_error"}
    summaries = [summarize_group(make_group(*rows)[0]) for rows in ((passed, excluded), (excluded, excluded))]
    assert [(summary.passed, summary.judged, summary.size) for summary in summaries] == [(1, 1, 2), (0, 0, 2)]


def test_slowest_completions_by_sampling_and_by_judging():
    seconds = [math.nan, None, math.inf, *range(20)]
    groups = make_group(*({"generation_seconds": value, "evaluation_seconds": -1.0} for value in seconds))
    slow = find_slowest(7, groups)
    assert [each.generation_seconds for each in slow[:SHOWN_SLOWEST]] == list(range(19, 9, -1))
    groups = make_group({"evaluation_seconds": 1.0, "generation_seconds": 1.0}, {})
    assert [each.sample_index for each in find_slowest(7, groups)] == [0]
    assert find_slowest(7, []) == ()


def test_manifest_survives(tmp_path):
    manifest = Manifest("tokenizer.json", 4, {3: make_record(3), 8: make_record(8)})
    (tmp_path / "manifest.json").write_bytes(encode_manifest(manifest))
    assert read_manifest(tmp_path / "manifest.json") == manifest
    assert manifest.steps[3].text_bytes == 9 and manifest.steps[3].size.signal_bytes == 9


def damage(change):
    values = json.loads(encode_manifest(Manifest(None, 1, {3: make_record()})))
    change(values)
    return json.dumps(values)


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "7", '{"version": 2}', '{"version": 2, "tokenizer": null, "every": 1, "steps": [7]}'),
        "[" * 100_000,
        damage(lambda values: values.update(version=1)),
        damage(lambda values: values.update(every=None)),
        damage(lambda values: values["steps"][0].update(groups=None)),
        damage(lambda values: values["steps"][0].update(groups=[[1]])),
        damage(lambda values: values["steps"][0].update(rows="many")),
        damage(lambda values: values["steps"][0].update(stamp=[1])),
        damage(lambda values: values["steps"][0].pop("level")),
    ],
    ids=range(15),
)
def test_damaged_manifest_is_empty(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text)
    assert read_manifest(tmp_path / "manifest.json") == Manifest()


def test_missing_manifest_is_empty(tmp_path):
    assert read_manifest(tmp_path / "manifest.json") == read_manifest(tmp_path) == Manifest()


@given(question=st.text(st.characters(exclude_categories=["Cs"])), seconds=st.none() | st.floats())
def test_manifest_with_any_values_survives(tmp_path_factory, question, seconds):
    path = tmp_path_factory.mktemp("report") / "manifest.json"
    groups = split_groups(
        [RolloutRow(question_id=question, reward=seconds, generation_seconds=seconds, evaluation_seconds=seconds)]
    )
    record = StepRecord(
        step=0,
        stamp=(1, 1),
        rows=1,
        signal_rows=0,
        figures_bytes=1,
        groups=tuple(summarize_group(group) for group in groups),
        slow=find_slowest(0, groups),
    )
    path.write_bytes(encode_manifest(Manifest(None, 1, {0: record})))
    assert read_manifest(path).steps == {0: record}
