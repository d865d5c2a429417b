"""Pages of a run's report in a browser: charts, filters, groups, completions, and runs that lack something."""

import itertools
import re
import shutil

import numpy as np
import pytest

from launch.run_report.build import build_report
from tests.browser.report_pages import (
    PHONE,
    VISIBLE_CHARTS,
    draw_charts,
    has_overflow,
    list_texts,
    read_address,
    read_rows,
    replace_plotly,
    show,
    wait_for_view,
)
from tests.launch.run_report.run_factory import OLD_COLUMNS, make_rollout_values, write_run

pytestmark = pytest.mark.browser

STEPS = 4
GROUPS = 5
SAMPLES = 4
LONG_ID = "starter/" + "a_very_long_name_of_a_problem_" * 12
VIEWS = (
    *("#/", "#/steps", "#/step/3", "#/step/3?only=truncated", "#/step/3/1", "#/step/3/1?diff=1", "#/step/3/1/3"),
    *("#/step/3/0/0", "#/problems", "#/problem/starter%2Ffamily_1%2F0000", "#/search", "#/search?text=print&run=1"),
    *("#/step/99", "#/nothing"),
)


def change_row(values):
    """Return the row with a few special cases in step 2: an excluded group and a dropped one, each with its reason."""
    if values["step"] == 2 and values["question_id"] == "starter/family_3/0000":
        return {**values, "status": "sandbox_error", "reward": None}
    if values["step"] == 2 and values["question_id"] in ("starter/family_0/0000", "starter/family_4/0000"):
        return {**values, "trained": False}
    return values


@pytest.fixture(scope="module")
def report_with_charts(tmp_path_factory):
    """Build the report of a finished run."""
    folder = tmp_path_factory.mktemp("report")
    run = write_run(folder / "run", steps=STEPS, groups=GROUPS, samples=SAMPLES, change_row=change_row)
    return build_report(run, folder / "out")


@pytest.fixture(scope="module")
def report(report_with_charts, tmp_path_factory):
    """Copy the report, without Plotly."""
    folder = tmp_path_factory.mktemp("copy") / "out"
    shutil.copytree(report_with_charts.parent, folder)
    return replace_plotly(folder / "index.html")


@pytest.fixture
def build(tmp_path):
    """Return a function that writes a run with these properties and builds its report, without Plotly by default."""

    def build(charts=False, **properties):
        report = build_report(write_run(tmp_path / "run", **properties), tmp_path / "out")
        return report if charts else replace_plotly(report)

    return build


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [{"width": 1280, "height": 900}, PHONE], ids=["desktop", "phone"])
def test_every_chart_is_drawn_in_the_colours_of_the_page(open_page, report_with_charts, size, dark):
    page = open_page(report_with_charts, dark=dark, **size)
    drawn = draw_charts(page)
    assert len(drawn) > 12
    assert all(drawn)
    color = page.evaluate("getComputedStyle(document.body).color")
    assert page.locator(".chart text").first.evaluate("(text) => getComputedStyle(text).fill") == color
    assert not has_overflow(page)
    assert page.locator("#figure-time .legend").count() == 1


def test_charts_follow_a_change_of_the_colours(open_page, report_with_charts):
    page = open_page(report_with_charts)
    draw_charts(page)
    page.emulate_media(color_scheme="dark")
    color = page.evaluate("getComputedStyle(document.body).color")
    page.wait_for_function(
        "(color) => [...document.querySelectorAll('.chart .xtick text')].every("
        "(text) => getComputedStyle(text).fill === color)",
        arg=color,
    )


def test_charts_of_views_that_were_left_are_freed(open_page, report_with_charts):
    page = open_page(report_with_charts)
    draw_charts(page)
    kept = page.evaluate("drawn.size")
    show(page, "#/problem/starter%2Ffamily_1%2F0000")
    assert all(draw_charts(page))
    place = page.locator(VISIBLE_CHARTS).first.element_handle()
    assert page.evaluate("drawn.size") > kept
    show(page, "#/steps")
    assert page.evaluate("drawn.size") == kept
    assert page.evaluate("(place) => place._fullLayout === undefined", place)  # purged


def test_unknown_time_of_a_step_is_a_gap_of_the_areas(open_page, build):
    page = open_page(build(steps=1))
    series = {"name": "a", "kind": "area", "x": [0, 1, 2, 3], "y": [1, 2, None, 4]}
    traces = page.evaluate("(series) => tracesOf({ series: [series] })", series)
    assert [(trace["x"], trace["y"], trace["showlegend"]) for trace in traces] == [
        *(([0, 1], [1, 2], True), ([3], [4], False)),
    ]
    assert len({trace["stackgroup"] for trace in traces}) == 2 and len({trace["legendgroup"] for trace in traces}) == 1


def test_charts_without_the_bundle_are_messages(open_page, build):
    report = build(steps=2)
    (report.parent / "assets" / "plotly.min.js").write_text("")
    page = open_page(report)
    page.locator("[data-chart][data-state=failed] .error").first.wait_for()
    show(page, "#/problem/starter%2Ffamily_1%2F0000")  # opened long after the bundle should have been loaded
    message = page.locator("#view .chart .error").first.inner_text()
    assert "plotly.min.js is missing or damaged" in message


def test_no_view_is_wider_than_a_phone(open_page, report_with_charts):
    page = open_page(report_with_charts, **PHONE)
    for address in VIEWS:
        show(page, address)
        page.locator("details").evaluate_all("(all) => all.forEach((details) => { details.open = true; })")
        assert page.locator("main:not([hidden])").count() == 1
        assert all(draw_charts(page))
        assert not has_overflow(page), address
    page.locator("#help-button").click()
    assert page.locator("#help").is_visible()
    assert not has_overflow(page)


def test_long_names_do_not_widen_a_page(open_page, build):
    page = open_page(
        build(charts=True, texts={"question_id": LONG_ID, "status": "s" * 300, "accepted_by": "a" * 300}), **PHONE
    )
    for address in ("#/", "#/step/2", "#/step/2/0", "#/step/2/0/0", "#/problems", f"#/problem/{LONG_ID}"):
        show(page, address)
        assert not has_overflow(page), address


def test_front_page_says_in_one_screen_whether_the_run_is_healthy(open_page, report):
    page = open_page(report)
    verdict = page.get_by_label("Verdict")
    assert re.search(r"pass@1 at T 1: 0\.250 → 0\.750, change \+0\.500 \[.+, .+\]", verdict.inner_text())
    for place in (verdict, page.locator("#findings")):
        box = place.bounding_box()
        assert box["y"] + box["height"] < 800
    assert page.locator(".state").inner_text() == "finished"
    assert page.locator(".progress").inner_text() == "4 of 4 steps"


def expect_groups(is_match):
    """Return the groups of step 3 with a completion that matches."""
    return {
        group
        for group in range(GROUPS)
        for sample in range(SAMPLES)
        if is_match(make_rollout_values(3, group, sample, SAMPLES))
    }


FILTERS = {
    "status": [("runtime_error", lambda row: row["status"] == "runtime_error")],
    "problem": [("FAMILY_2", lambda row: "family_2" in row["question_id"])],
    "reward": [
        ("1", lambda row: row["reward"] == 1),
        ("0", lambda row: row["reward"] == 0),
        ("between", lambda row: 0 < row["reward"] < 1),
        ("none", lambda row: row["reward"] is None),
    ],
    "only": [
        ("signal", lambda row: row["question_id"][15] in "134"),
        ("truncated", lambda row: row["finish_reason"] == "length"),
        ("masked", lambda row: row["masked"]),
        ("dropped", lambda row: not row["trained"]),
    ],
}
"""Values of each filter, and what they let pass."""


@pytest.mark.parametrize("name", FILTERS)
def test_filter_of_a_step_changes_the_rows_and_the_address(open_page, report, name):
    page = open_page(report)
    for value, is_match in FILTERS[name]:
        show(page, "#/step/3")
        assert len(read_rows(page, "#groups")) == GROUPS
        field = page.locator(f"form [name={name}]")
        if name == "problem":
            field.fill(value)
            field.press("Enter")
        else:
            field.select_option(value)
        assert read_address(page) == f"#/step/3?{name}={value}"
        rows = read_rows(page, "#groups")
        assert {int(row[0]) for row in rows} == expect_groups(is_match), value
        assert f"({len(rows)} of {GROUPS})" in page.locator("#view h2").first.inner_text()

        page.reload()
        wait_for_view(page)
        assert read_rows(page, "#groups") == rows
        assert page.locator(f"form [name={name}]").input_value() == value


def test_filters_combine(open_page, report):
    page = open_page(report)
    show(page, "#/step/3")
    page.locator("[name=only]").select_option("signal")
    read_address(page)
    page.locator("[name=reward]").select_option("1")
    assert read_address(page) == "#/step/3?reward=1&only=signal"
    assert {row[0] for row in read_rows(page, "#groups")} == {"1", "3", "4"}
    page.locator("[name=status]").select_option("time_limit")
    assert read_address(page) == "#/step/3?status=time_limit&reward=1&only=signal"
    assert read_rows(page, "#groups") == []


def test_groups_are_sorted_by_spread_and_marked(open_page, report):
    page = open_page(report)
    show(page, "#/step/2")
    rows = {int(row[0]): row for row in read_rows(page, "#groups")}
    spreads = [-1.0 if row[4] == "—" else float(row[4]) for row in rows.values()]
    assert spreads == sorted(spreads, reverse=True)
    assert "dropped: rewards are all equal" in rows[0][-1]
    assert "all solved" in rows[0][-1]
    assert "none solved" in rows[2][-1]
    assert "4 excluded: sandbox_error" in rows[3][-1]
    assert rows[3][3:5] == ["—", "—"]
    assert "dropped" in rows[4][-1]


def test_click_on_a_point_of_the_reward_chart_opens_the_completion(open_page, report_with_charts):
    page = open_page(report_with_charts)
    show(page, "#/step/3")
    draw_charts(page)
    box = page.locator("#reward-length .trace").first.locator("path.point").first.bounding_box()
    x = box["x"] + box["width"] / 2
    y = box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.locator("#reward-length .hoverlayer text").first.wait_for()
    page.mouse.click(x, y)
    page.wait_for_function("() => location.hash.split('/').length === 5")
    assert re.fullmatch(r"#/step/3/\d/\d", read_address(page))
    assert page.locator("#view .badge").first.inner_text() == "passed"  # the first series


def test_group_shows_its_completions_and_the_difference_from_one_that_passed(open_page, report):
    page = open_page(report)
    view = show(page, "#/step/3/1")
    cards = view.locator(".card")
    assert cards.count() == SAMPLES
    assert page.locator("#prompt").inner_text() == "Print the sum of two numbers, in version 1."
    page.get_by_label("Compare the programs with that of sample 0, which passed").check()
    assert read_address(page) == "#/step/3/1?diff=1"
    assert "the program to compare with" in cards.nth(0).inner_text()
    assert cards.nth(1).locator(".removed").all_inner_texts() == ["− print(a + b)  # 0"]
    assert cards.nth(1).locator(".added").all_inner_texts() == ["+ print(a + b)  # 1"]
    assert cards.nth(1).locator(".same").count() == 1
    assert "no program" in cards.nth(2).inner_text()
    page.get_by_label("Compare").uncheck()
    assert read_address(page) == "#/step/3/1"
    assert cards.nth(1).locator(".added").count() == 0


def test_group_without_a_completion_that_passed_offers_no_difference(open_page, report):
    page = open_page(report)
    view = show(page, "#/step/3/2?diff=1")
    assert view.locator(".card").count() == SAMPLES
    assert view.locator("#diff").count() == 0
    assert view.locator(".added").count() == 0


def test_sample_shows_all_that_is_known_of_it(open_page, report):
    page = open_page(report)
    expected = make_rollout_values(3, 2, 3, SAMPLES)
    assert expected["masked"]
    view = show(page, "#/step/3/2/3")
    assert page.locator("#prompt").inner_text() == expected["prompt"]
    assert page.locator("#answer").inner_text() == expected["response"]
    assert page.locator("#program").inner_text() == expected["code"]
    assert view.locator("#program .h6").first.inner_text() == "map"  # a builtin
    failed = page.locator("#failed-test pre").all_inner_texts()
    assert [text.strip() for text in failed] == ["1 2", "3", "4"]
    verdict = dict(read_rows(page, "section:has(> h2:text-is('Verdict')) table"))
    assert verdict == {
        "status": expected["status"],
        "tests passed": "1 of 3",
        "first failed test": "1",
        "accepted by": "—",
    }
    mask = [row[1] for row in read_rows(page, "#mask")]
    assert mask == ["yes", "yes", "yes", "yes", "yes"]
    tiles = [text.split("\n")[:2] for text in list_texts(page, "#view .tile")]
    assert tiles[0] == ["reward", "0"]
    assert ["policy version", "3"] in tiles
    assert ["judged in", "0.375"] in tiles
    assert page.locator("#strip").inner_text().count("<") == len(expected["response_token_ids"])


def test_each_condition_of_the_mask_is_shown(open_page, report):
    page = open_page(report)
    show(page, "#/step/3/1/1")  # passed, not truncated
    assert [row[1] for row in read_rows(page, "#mask")] == ["no", "yes", "yes", "no", "no"]


def test_conditions_are_those_of_the_mask_in_use(open_page, build):
    settings = {"algorithm.truncation_mask": "failing"}
    page = open_page(build(steps=1, settings=settings, texts={"finish_reason": "length", "status": "wrong_answer"}))
    show(page, "#/step/0/0/0")
    assert [row[0] for row in read_rows(page, "#mask")] == [
        *("the response reached the length limit", "a test failed", "masked"),
    ]
    assert "(failing)" in page.locator("section:has(#mask)").inner_text()


def write_not_finite(values):
    """Return the row with log-probs of which some are not finite."""
    return {
        **values,
        "response_token_ids": np.arange(4, dtype=np.int32),
        "sampler_logprobs": np.array([np.nan, -np.inf, -0.5, -1], dtype=np.float32),
        "learner_logprobs": np.array([-1, -2, -0.25, np.inf], dtype=np.float32),
    }


def test_log_probs_that_are_not_finite_are_dashes_in_the_strongest_colour(open_page, build):
    page = open_page(build(steps=1, groups=1, samples=1, change_row=write_not_finite))
    show(page, "#/step/0/0/0")
    tokens = page.locator("#strip span[title]").evaluate_all(
        "(all) => all.map((token) => [token.title, token.style.backgroundColor])"
    )
    strongest = "rgba(210, 60, 45, 0.75)"
    assert tokens == [
        ["token 0: sampler —, learner -1.000 nats; a log-prob is not finite", strongest],
        ["token 1: sampler —, learner -2.000 nats; a log-prob is not finite", strongest],
        ["token 2: sampler -0.500, learner -0.250 nats", "rgba(45, 110, 210, 0.19)"],
        ["token 3: sampler -1.000, learner — nats; a log-prob is not finite", strongest],
    ]


def write_long_response(values):
    """Return the row with a response of 5,000 tokens, in the middle of which sampler and learner disagree."""
    tokens = np.arange(5000, dtype=np.int32) % 100
    sampler = np.full(5000, -0.5, dtype=np.float32)
    learner = sampler.copy()
    learner[2500] = -3.0
    return {**values, "response_token_ids": tokens, "sampler_logprobs": sampler, "learner_logprobs": learner}


def test_strip_of_a_long_response_is_windowed_and_paged(open_page, build):
    page = open_page(build(steps=1, groups=1, samples=1, change_row=write_long_response))
    show(page, "#/step/0/0/0")
    buttons = page.locator("#strip-pages button")
    names = buttons.all_inner_texts()
    assert names[0] == "0–511"
    assert names[-1].endswith("–4999")
    strip = page.locator("#strip")
    assert strip.locator("span[title]").count() == 512
    assert buttons.first.get_attribute("aria-pressed") == "true"
    titles = []
    cuts = []
    for place in range(len(names)):
        buttons.nth(place).click()
        cuts += strip.locator(".cut").all_inner_texts()
        titles += strip.locator("span[title]").evaluate_all("(all) => all.map((token) => token.title)")
    positions = [int(title.split()[1].rstrip(":")) for title in titles]
    assert positions == sorted(set(positions))
    assert {0, 2500, 4999} <= set(positions)
    assert len(positions) == 3 * 1024
    assert cuts == ["… tokens 1024 to 1987 are not shown …", "… tokens 3012 to 3975 are not shown …"]

    buttons.nth(next(place for place, name in enumerate(names) if 2500 in range(*map(int, name.split("–"))))).click()
    token = strip.locator("span[title^='token 2500:']")
    assert token.evaluate("(token) => token.style.backgroundColor") == "rgba(210, 60, 45, 0.75)"
    token.click()
    assert page.locator("#token").inner_text() == "token 2500: sampler -0.500, learner -3.000 nats"


def test_steps_and_problems_are_listed(open_page, report_with_charts):
    page = open_page(report_with_charts)
    show(page, "#/steps")
    rows = read_rows(page, "#steps")
    assert [row[0] for row in rows] == ["3", "2", "1", "0"]
    assert {row[-1] for row in rows} == {"all"}
    show(page, "#/problems")
    assert len(read_rows(page, "#problems")) == GROUPS
    page.locator("[name=problem]").fill("family_1")
    page.locator("[name=problem]").press("Enter")
    assert read_address(page) == "#/problems?problem=family_1"
    assert [row[:2] for row in read_rows(page, "#problems")] == [["starter/family_1/0000", str(STEPS)]]
    page.locator("#problems a").click()
    assert read_address(page) == "#/problem/starter%2Ffamily_1%2F0000"
    assert [row[:3] for row in read_rows(page, "#groups")] == [[str(step), "group 1", "2/4"] for step in (3, 2, 1, 0)]
    page.locator("#prompt").wait_for()
    assert draw_charts(page) == [True]


NOTHING = {
    "#/step/99": "Step 99 is not in this report, which has 4 steps from 0 to 3",
    "#/step/99/0": "Step 99 is not in this report",
    "#/step/99/0/0": "Step 99 is not in this report",
    "#/step/3/99": "Step 3 has no group 99.",
    "#/step/3/1/99": "Step 3 has no sample 99 in group 1.",
    "#/step/3/99/0": "Step 3 has no sample 0 in group 99.",
    "#/step/x": "There is no page #/step/x in this report.",
    "#/step/1.5": "There is no page #/step/1.5 in this report.",
    "#/step/1/2/3/4": "There is no page #/step/1/2/3/4 in this report.",
    "#/step": "There is no page #/step in this report.",
    "#/problem/none%2Fsuch": "No rollouts of the problem none/such in this report.",
    "#/problem/50%": "No rollouts of the problem 50% in this report.",
    "#/nothing": "There is no page #/nothing in this report.",
}


def test_address_of_nothing_gives_a_message(open_page, report):
    page = open_page(report)
    for address, message in NOTHING.items():
        view = show(page, address)
        assert message in view.locator(".error").inner_text()
    page.locator("nav a").first.click()
    assert read_address(page) == "#/"
    assert page.locator("#front").is_visible()


def test_columns_that_an_old_run_lacks_are_dashes(open_page, build):
    page = open_page(build(steps=2, columns=OLD_COLUMNS))
    show(page, "#/step/1/2/0")
    tiles = {text.split("\n")[0]: text.split("\n")[1] for text in list_texts(page, "#view .tile")}
    assert tiles["sampled in"] == tiles["judged in"] == "—"
    verdict = dict(read_rows(page, "section:has(> h2:text-is('Verdict')) table"))
    assert verdict["first failed test"] == verdict["accepted by"] == "—"
    assert [row[1] for row in read_rows(page, "#mask")] == ["no", "—", "—", "—", "no"]
    assert page.locator("#failed-test").count() == 0
    show(page, "#/step/1")
    assert len(read_rows(page, "#groups")) == 4
    show(page, "#/step/1/1?diff=1")
    assert page.locator(".card").count() == 4


SHORTEST_COLUMNS = ("question_id", "sample_index", "prompt", "response")


def test_figures_that_a_run_lacks_are_not_shown_as_zero(open_page, build):
    page = open_page(build(steps=1, groups=2, columns=SHORTEST_COLUMNS))
    view = show(page, "#/step/0")
    tiles = {text.split("\n")[0]: text.split("\n")[1:] for text in list_texts(page, "#view .tile")}
    for name in ("mean reward", "groups with signal", "all solved", "none solved", "truncated"):
        assert tiles[name][0] == "—", name
    assert not re.search(r"passed|masked", " ".join(tiles["mean reward"] + tiles["truncated"]))
    assert [row[2:] for row in read_rows(page, "#groups")] == [["—/4", *["—"] * 5, ""]] * 2
    assert view.locator(".badge").count() == 0
    show(page, "#/step/0/0/0")
    assert [row[1] for row in read_rows(page, "#mask")] == ["—"] * 5
    assert "excluded" not in page.locator("#view").inner_text()
    show(page, "#/problems")
    assert [row[2:] for row in read_rows(page, "#problems")] == [["—"] * 3] * 2
    show(page, "#/problem/starter%2Ffamily_0%2F0000")
    assert read_rows(page, "#groups")[0][2:7] == ["—/4", "—", "—", "—", "—"]


def exclude_some(row):
    """Return the row with a sandbox error: of group 0 and group 2 one sample each, of group 3 all samples."""
    is_excluded = row["question_id"][15] == "3" or (row["question_id"][15] in "02" and row["sample_index"] == 1)
    values = {"status": "sandbox_error", "reward": None} if is_excluded else {}
    return {**row, **values, "trained": row["question_id"][15] != "3"}


def test_excluded_completions_count_neither_as_solved_nor_as_unsolved(open_page, build):
    page = open_page(build(steps=1, change_row=exclude_some))
    show(page, "#/step/0")
    tiles = {text.split("\n")[0]: text.split("\n")[1] for text in list_texts(page, "#view .tile")}
    assert (tiles["all solved"], tiles["none solved"]) == ("1", "1")
    badges = {row[0]: row[-1] for row in read_rows(page, "#groups")}
    assert "all solved" in badges["0"]
    assert "1 excluded: sandbox_error" in badges["0"]
    assert "none solved" in badges["2"]
    assert "solved" not in badges["1"] + badges["3"]
    assert "dropped: no completion was judged" in badges["3"]
    show(page, "#/problems")
    shares = {row[0][15]: row[-1] for row in read_rows(page, "#problems")}
    assert shares == {"0": "100 %", "1": "50 %", "2": "0 %", "3": "—"}


def test_files_of_steps_in_memory_are_limited(open_page, report):
    page = open_page(report)
    kept = page.evaluate(
        """() => {
            for (let step = 1000; step < 1500; step += 1) {
                for (const kind of ["step", "texts"]) report.receive(`${kind}_00${step}`, {});
            }
            return [...report.received.keys()];
        }"""
    )
    assert [name for name in kept if name.startswith("step_")] == [f"step_{step:06d}" for step in range(1300, 1500)]
    assert len([name for name in kept if name.startswith("texts_")]) == 200
    show(page, "#/step/2")
    assert len(read_rows(page, "#groups")) == GROUPS


def test_run_without_rollouts(open_page, build):
    page = open_page(build(charts=True, with_rollouts=False))
    assert "no rollout files" in page.locator("#texts").inner_text()
    assert all(draw_charts(page))
    show(page, "#/steps")
    assert page.locator("#steps a").count() == 0
    assert [row[-1] for row in read_rows(page, "#steps")] == ["—"] * 3
    view = show(page, "#/step/1")
    assert "This report has no steps" in view.locator(".error").inner_text()
    show(page, "#/problems")
    assert "Problems (0 of 0)" in page.locator("h1").inner_text()
    view = show(page, "#/search?text=print&run=1")
    view.get_by_text("0 found").wait_for()


def test_run_without_evaluations(open_page, build):
    page = open_page(build(charts=True, with_evaluations=False))
    assert "No verdict yet" in page.get_by_label("Verdict").inner_text()
    assert page.locator("#figure-pass_at_1").count() == 0
    assert all(draw_charts(page))


def test_run_that_is_running(open_page, build):
    page = open_page(build(steps=2, planned_steps=100, with_evaluations=False))
    assert page.locator(".state").inner_text() == "running"
    assert page.locator(".progress").inner_text() == "2 of 100 steps"
    view = show(page, "#/step/50")
    assert "If the run has got there since, reload the page." in view.inner_text()


def test_run_before_its_first_step(open_page, build):
    page = open_page(build(steps=0, planned_steps=100, with_evaluations=False))
    tiles = list_texts(page, "#front .tile .value")
    assert set(tiles) == {"—"}
    for address in ("#/steps", "#/problems", "#/search", "#/step/0"):
        show(page, address)


def test_every_link_of_the_front_page_leads_to_a_page(open_page, report):
    page = open_page(report)
    addresses = page.locator("#front a, header a").evaluate_all("(all) => all.map((a) => a.getAttribute('href'))")
    assert any(address.count("/") == 4 for address in addresses)
    for address in dict.fromkeys(addresses):
        view = show(page, address)
        assert view.locator(".error").count() == 0, address


def test_every_page_of_a_step_opens(open_page, report):
    page = open_page(report)
    for group, sample in itertools.product(range(GROUPS), range(SAMPLES)):
        view = show(page, f"#/step/2/{group}/{sample}")
        assert view.locator("h1").inner_text() == f"Step 2, group {group}, sample {sample}"
