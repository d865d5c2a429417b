"""Health rules on recorded series (``series/*.jsonl``: rows of metrics.jsonl, only the columns of a rule).

Recorded as they are:
    healthy_*           run of the ablation's arm "method", seed 2; some of its first steps where a file would get large
    diversity_decline   arm "temperature_1.0", seed 2: constant temperature
    reward_zero         run of a tiny policy that solves nothing (tests/integration/test_exact_resume.py)
    generator_restarts  run whose engine is killed in step 2 (tests/integration/test_driver.py)

Recorded, with columns changed from some step on (the step that each test expects):
    reward_one, no_mixed_groups     arm "temperature_0.6", seed 2, rewards and groups replaced
    entropy_collapse                arm "temperature_1.0", seed 2, entropy multiplied by 0.97 a step from step 30 on
    all others                      arm "method", seed 2, the rule's column replaced or scaled
    sharpening                      the same, all scores but pass@1 at temperature 1 kept at those of step 0

Constructed: memory_growth, 0.02 GiB a step with noise, since recorded runs had no metric of memory.
"""

import ast
import dataclasses
import json
import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf import schema
from conf.schema import Config
from evaluator.pass_at_k import Estimate
from launch.records.gains import BestUntrained, Gain, judge_learning
from launch.run_report.evaluations import LearningSoFar
from launch.run_report.health import RULES, find_problems
from launch.run_report.health.series import (
    MIN_STEPS,
    WINDOW,
    Point,
    find_lasting,
    format_steps,
    read_increases,
    read_series,
)
from launch.run_report.run_files import RecordedSettings
from tests.source_tree import ROOT, list_nodes, list_sources

SERIES = Path(__file__).parent / "series"
ABLATION = ROOT / "benchmarks/ablation/results"
EMPTY = RecordedSettings({})
HEALTHY = sorted(path.stem for path in SERIES.glob("healthy_*.jsonl"))
KEY = re.compile(rf"(?<![\w/.])({'|'.join(field.name for field in dataclasses.fields(Config))})\.([a-z_0-9]+)\b")

EXPECTED = {
    # file: (rule, severity, step, figures in the text)
    "reward_zero": ("reward_zero", "problem", 0, "mean reward 0.000 in steps 0-4"),
    "reward_one": ("reward_one", "problem", 25, "mean reward 1.000 in steps 25-59"),
    "no_mixed_groups": ("no_mixed_groups", "warning", 30, "13% of the groups of steps 30-69"),
    "truncation": ("truncation", "warning", 40, "truncated 57% of the answers of steps 40-59"),
    "diversity_decline": ("diversity_decline", "warning", 87, "from 0.238 (steps 0-19) to 0.171 (steps 100-119)"),
    "entropy_collapse": ("entropy_collapse", "problem", 53, "(steps 100-119)"),
    "sharpening": ("sharpening", "warning", 60, "rose from 0.241 to 0.417 (steps 0-120), but pass@1 at T 0.3"),
    "mismatch_kl": ("mismatch_kl", "problem", 44, "per token in steps 80-99"),
    "mismatch_ratio": ("mismatch_ratio", "warning", 35, "(median of steps 40-59)"),
    "non_finite_logprobs": ("non_finite_logprobs", "problem", 17, "15 tokens"),
    "skipped_updates": ("skipped_updates", "problem", 12, "7 updates skipped in 3 of 40 steps"),
    "gradient_not_finite": ("gradient_not_finite", "problem", 21, "in 2 steps, first in step 21"),
    "gradient_spikes": ("gradient_spikes", "warning", 33, "2 gradient norms"),
    "sandbox_errors": ("sandbox_errors", "warning", 11, "in 3 of 30 steps, first in step 11, at most 12.5%"),
    "evaluator_lost": ("evaluator_lost", "problem", 11, "6 answers"),
    "evaluator_retries": ("evaluator_retries", "warning", 9, "3 answers"),
    "groups_lost": ("groups_lost", "warning", 14, "4 groups lost (1.7% of all) in 2 steps"),
    "generator_restarts": ("generator_restarts", "warning", 2, "engine restarts: 1 in step 2; 16 requests"),
    "reward_wait": ("reward_wait", "warning", 12, "of the time of steps 12-39"),
    "drain_wait": ("drain_wait", "warning", 12, "of the time of steps 12-39"),
    "learner_wait": ("learner_wait", "warning", 12, "of the time of steps 12-39"),
    "weight_transfer": ("weight_transfer", "warning", 12, "of the time of steps 12-39"),
    "unaccounted_time": ("unaccounted_time", "warning", 12, "of the time of steps 12-39"),
    "memory_growth": ("memory_growth", "warning", 20, "memory of the driver grew from"),
}


def read_rows(name):
    return [json.loads(line) for line in (SERIES / f"{name}.jsonl").read_text().splitlines()]


def read_healthy_rows():
    """Return the healthy run: the rows of its files, merged by step."""
    rows = {}
    for name in HEALTHY:
        for row in read_rows(name):
            rows.setdefault(row["step"], {}).update(row)
    return [rows[step] for step in sorted(rows)]


def make_rows(metric, values):
    return [{"step": step, metric: value} for step, value in enumerate(values)]


@pytest.mark.parametrize("name", EXPECTED)
def test_rule_fires_on_its_series_only(name):
    rule, severity, step, figures = EXPECTED[name]
    (finding,) = find_problems(read_rows(name), EMPTY)
    assert (finding.rule, finding.severity, finding.step) == (rule, severity, step)
    assert figures in finding.text
    assert any(finding.metric in row for row in read_rows(name))
    assert KEY.search(finding.advice)


def test_every_rule_has_a_series():
    constants = {
        node.value.value
        for path in list_sources("launch/run_report/health")
        for node in list_nodes(path)
        if isinstance(node, ast.keyword) and node.arg == "rule" and isinstance(node.value, ast.Constant)
    }
    assert constants == {rule for rule, *_ in EXPECTED.values()}


def test_healthy_run_has_no_finding():
    rows = read_healthy_rows()
    assert len(rows) == 121
    metrics = {metric for row in rows for metric in row}
    judged = {find_problems(read_rows(name), EMPTY)[0].metric for name in EXPECTED}
    assert judged - metrics == {"perf/memory/driver_gib"}
    assert find_problems(rows, EMPTY) == []


@pytest.mark.parametrize("end", [1, MIN_STEPS, 7, WINDOW, 33, 50, 90])
def test_healthy_run_has_no_finding_while_it_runs(end):
    assert find_problems(read_healthy_rows()[:end], EMPTY) == []


def test_only_arms_with_declining_diversity_have_findings_in_the_ablation():
    """The temperature of the last of these runs was raised once, to the highest of its grid."""
    found = {}
    for path in sorted(ABLATION.glob("*.json")):
        result = json.loads(path.read_text())
        columns = result["curves"]
        rows = [
            {"step": step, **dict(zip(columns, values, strict=True))}
            for step, values in enumerate(zip(*columns.values(), strict=True))
        ]
        if findings := find_problems(rows, RecordedSettings(result["settings"])):
            found[path.stem] = [finding.rule for finding in findings]
    constant = {name for name in found if name.startswith("temperature_1.0-")}
    assert {"temperature_1.0-0", "temperature_1.0-1"} <= constant
    assert found == {name: ["diversity_decline"] for name in constant | {"clip_0.2-1"}}


def test_problems_come_before_warnings():
    rows = read_rows("drain_wait")
    for row, other in zip(rows, read_rows("evaluator_lost"), strict=False):
        row.update(other)
    findings = find_problems(rows, EMPTY)
    assert [finding.rule for finding in findings] == ["evaluator_lost", "drain_wait"]


def test_advice_names_only_keys_of_the_configuration():
    nodes = [node for path in list_sources("launch/run_report/health") for node in list_nodes(path)]
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    texts = [
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings
    ]
    sections = {field.name: field.type for field in dataclasses.fields(Config)}
    named = {match.groups() for text in texts for match in KEY.finditer(text)}
    assert len(named) > 30
    for section, key in named:
        kind = getattr(schema, str(sections[section]))
        assert key in {field.name for field in dataclasses.fields(kind)}, f"{section}.{key}"


def test_advice_has_the_present_value_of_a_key():
    settings = RecordedSettings({"generator": {"max_response_tokens": 256}})
    (finding,) = find_problems(read_rows("truncation"), settings)
    assert "raise generator.max_response_tokens (now 256)" in finding.advice


@pytest.mark.parametrize(
    ("temperature", "advice"),
    [
        ({"kind": "fixed", "value": 1.0}, "set temperature.kind=diversity"),
        (
            {"kind": "diversity", "grid": [0.8, 1.0, 1.2], "min_diversity": 0.1},
            "raise temperature.min_diversity (now 0.1)",
        ),
        ({"kind": "diversity", "grid": [0.8, 1.0], "highest": 1.6}, "the temperature is the last of temperature.grid"),
    ],
)
def test_advice_on_diversity_depends_on_the_rule(temperature, advice):
    (finding,) = find_problems(read_rows("diversity_decline"), RecordedSettings({"temperature": temperature}))
    assert finding.advice.startswith(advice)


def test_diversity_is_compared_within_one_temperature():
    rows = read_rows("diversity_decline")
    for row in rows:
        if row["step"] >= 70:
            row["temperature/value"] = 1.2
    assert find_problems(rows, EMPTY) == []


@pytest.mark.parametrize("reward", ["my_rewards:shaped", "fraction"])
def test_other_rewards_are_not_judged_by_rules_for_passed(reward):
    settings = RecordedSettings({"algorithm": {"reward": reward}})
    assert find_problems(read_rows("no_mixed_groups"), settings) == []
    expected = 0 if ":" in reward else 1
    assert len(find_problems(read_rows("reward_one"), settings)) == expected


def test_groups_of_hard_problems_ask_for_easier_ones():
    (hard,) = find_problems(read_rows("no_mixed_groups"), EMPTY)
    swapped = [
        {**row, "group/all_solved": row["group/none_solved"], "group/none_solved": row["group/all_solved"]}
        for row in read_rows("no_mixed_groups")
    ]
    (easy,) = find_problems(swapped, EMPTY)
    assert hard.advice.startswith("give easier problems")
    assert easy.advice.startswith("give harder problems")


def test_advice_on_waiting_for_rewards_depends_on_the_load():
    rows = read_rows("reward_wait")
    (idle,) = find_problems([{**row, "evaluator/busy": 0.2} for row in rows], EMPTY)
    (busy,) = find_problems([{**row, "evaluator/busy": 0.95} for row in rows], EMPTY)
    assert "lower evaluator.budget_s" in idle.advice
    assert "raise evaluator.max_actors" in busy.advice


def test_reason_of_lost_groups_decides_the_advice():
    rows = read_rows("groups_lost")
    (late,) = find_problems(rows, EMPTY)
    (failed,) = find_problems(
        [{**row, "group/lost/failed": row["group/lost/deadline"], "group/lost/deadline": 0} for row in rows], EMPTY
    )
    assert "generator.deadline_s" in late.advice
    assert "generator.deadline_s" not in failed.advice
    assert "events.jsonl" in failed.advice


@pytest.mark.parametrize("changed", ["evaluation/starter@T0.3/all/all/pass@1", "evaluation/starter/all/all/pass@8"])
def test_rise_of_another_score_is_no_sharpening(changed):
    rows = read_rows("sharpening")
    rows[-1][changed] += 0.1
    assert find_problems(rows, EMPTY) == []


def test_sharpening_needs_a_lower_temperature():
    settings = RecordedSettings({"evaluation": {"temperature": 0.3}})
    assert find_problems(read_rows("sharpening"), settings) == []


def test_skipped_step_is_not_reported_as_a_broken_gradient_too():
    rows = read_rows("skipped_updates")
    assert any(math.isnan(row["actor/grad_norm"]) for row in rows)
    assert [finding.rule for finding in find_problems(rows, EMPTY)] == ["skipped_updates"]


def test_memory_that_grows_in_one_leap_is_no_finding():
    leap = make_rows("perf/memory/driver_gib", [2.0] * 55 + [4.0] * 45)
    steady = make_rows("perf/memory/driver_gib", [2.0 + 0.02 * step for step in range(100)])
    assert find_problems(leap, EMPTY) == []
    assert [finding.rule for finding in find_problems(steady, EMPTY)] == ["memory_growth"]


def test_condition_that_ended_is_no_finding():
    assert find_problems(make_rows("truncation/rate", [0.9] * 30 + [0.1] * 30), EMPTY) == []
    (finding,) = find_problems(make_rows("truncation/rate", [0.1] * 30 + [0.95] * 30), EMPTY)
    assert (finding.step, finding.severity) == (30, "problem")


def test_one_bad_step_is_no_finding():
    assert find_problems(make_rows("truncation/rate", [0.1] * 30 + [1.0]), EMPTY) == []


def test_condition_lasts_from_the_first_step_that_meets_it():
    points = [Point(step, float(step >= 30)) for step in range(0, 60, 2)]
    stretch = find_lasting(points, lambda mean: mean > 0.4)
    assert format_steps(stretch) == "steps 30-58"
    assert find_lasting(points, lambda mean: mean > 0.9) == ()
    assert find_lasting(points[: MIN_STEPS - 1], lambda mean: mean < 0.1) == ()


def test_counter_starts_again_in_a_resumed_run():
    rows = make_rows("generator/restarts", [0, 2, 2, 0, 1, 3])
    assert read_increases(rows, "generator/restarts") == [Point(1, 2.0), Point(4, 1.0), Point(5, 2.0)]


def test_series_is_sorted_and_has_the_last_value_of_a_step():
    rows: list[dict[str, float]]
    rows = [{"step": 2.0, "a": 1.0}, {"step": 1, "a": math.nan}, {"step": 0, "a": 5}, {"a": 9}, {"step": 2, "a": 3}]
    assert read_series(rows, "a") == [Point(0, 5), Point(2, 3)]


METRICS = sorted({metric for name in [*EXPECTED, *HEALTHY] for row in read_rows(name) for metric in row})
VALUES = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True), st.integers(-3, 10**6), st.floats(0, 1), st.sampled_from([0.0, 1.0])
)


@given(
    st.lists(st.dictionaries(st.sampled_from(METRICS), VALUES), max_size=90),
    st.booleans(),
    st.dictionaries(
        st.sampled_from(["algorithm", "temperature", "evaluation", "generator"]),
        st.one_of(
            st.none(),
            st.text(max_size=3),
            st.dictionaries(
                st.sampled_from(["reward", "kind", "grid", "temperature"]),
                st.one_of(st.none(), st.floats(), st.sampled_from(["diversity", "passed"]), st.lists(st.none())),
            ),
        ),
    ),
)
def test_no_rows_and_settings_raise(rows, numbered, values):
    """Missing keys, NaN, infinity and values of any size; without ``numbered`` steps are missing or arbitrary."""
    if numbered:
        rows = [{**row, "step": step} for step, row in enumerate(rows)]
    for finding in find_problems(rows, RecordedSettings(values)):
        assert finding.severity in ("problem", "warning")
        assert finding.text
        assert KEY.search(finding.advice)


@given(st.data(), st.sampled_from([*EXPECTED]))
def test_no_recorded_rows_with_gaps_raise(data, name):
    """Recorded rows, in which the conditions hold, with cells missing or not finite."""
    rows = []
    for row in read_rows(name):
        for metric in data.draw(st.sets(st.sampled_from(sorted(row)))):
            if data.draw(st.booleans()):
                del row[metric]
            else:
                row[metric] = data.draw(st.sampled_from([math.nan, math.inf, -math.inf, 0.0, 1e308]))
        rows.append(row)
    assert all(finding.rule for finding in find_problems(rows, EMPTY))


def test_rules_are_listed_once():
    assert len(set(RULES)) == len(RULES)
    assert find_problems([], EMPTY) == []


def make_gain(temperature, at_1, at_8):
    """Return a gain on the trained part; ``at_1`` and ``at_8`` are changes with their intervals."""
    scores = (Estimate(0.6, 0.5, 0.7), Estimate(0.6, 0.5, 0.7))
    return Gain(
        part="trained",
        temperature=temperature,
        problems=96,
        clusters=24,
        k=8,
        pass_at_1=(*scores, Estimate(*at_1)),
        pass_at_k=(*scores, Estimate(*at_8)),
        from_style=0.0,
        from_accuracy=0.0,
    )


def make_learning(*gains):
    best = BestUntrained(temperature=0.3, difference=Estimate(-0.06, -0.12, -0.01))
    return LearningSoFar(verdict=judge_learning(gains, best), gains=gains, best=best, first_step=0, last_step=56)


SHARPER = make_learning(
    make_gain(1.0, (0.082, 0.029, 0.125), (-0.115, -0.208, -0.042)),
    make_gain(0.3, (-0.004, -0.064, 0.046), (-0.083, -0.177, 0.0)),
)
"""Changes of a recorded run, whose scores over all problems (0.544, 0.588) rose by less than the rule's margin."""
WORSE = make_learning(make_gain(1.0, (-0.1, -0.2, -0.05), (0.0, -0.1, 0.1)))
UNCHANGED = make_learning(make_gain(1.0, (0.02, -0.03, 0.07), (0.0, -0.1, 0.1)))


def test_finding_agrees_with_the_verdict_on_the_evaluations():
    rows = [
        {"step": step, "evaluation/starter/all/all/pass@1": overall, "evaluation/starter/trained/all/pass@1": trained}
        for step, overall, trained in ((0, 0.544, 0.598), (56, 0.588, 0.680))
    ]
    assert find_problems(rows, EMPTY) == []
    (finding,) = find_problems(rows, EMPTY, SHARPER)
    assert (finding.rule, finding.severity, finding.step) == ("sharpening", "warning", 56)
    assert finding.text.startswith(SHARPER.verdict) and SHARPER.verdict.startswith("sharper, not better")
    assert "T 1: pass@1 +0.082 [+0.029, +0.125], pass@8 -0.115 [-0.208, -0.042]" in finding.text
    assert "T 0.3: pass@1 -0.004 [-0.064, +0.046]" in finding.text
    assert KEY.search(finding.advice) and finding.metric == "evaluation/starter/trained/all/pass@1"


def test_verdict_of_a_fall_is_a_problem():
    (finding,) = find_problems([], EMPTY, WORSE)
    assert (finding.rule, finding.severity, finding.step) == ("verdict_worse", "problem", 56)
    assert "pass@1 fell at T 1" in finding.text and KEY.search(finding.advice)


def test_verdict_with_intervals_replaces_the_rule_on_point_estimates():
    rows = read_rows("sharpening")
    assert [finding.rule for finding in find_problems(rows, EMPTY)] == ["sharpening"]
    assert find_problems(rows, EMPTY, UNCHANGED) == []
