"""Search through all completions of a run's report."""

import pytest

from launch.run_report import step_writer
from launch.run_report.build import build_report
from tests.browser.report_pages import press, read_address, read_rows, replace_plotly, show, wait_for_view
from tests.launch.run_report.run_factory import make_rollout_values, write_run

pytestmark = pytest.mark.browser

STEPS = 3
GROUPS = 4
SAMPLES = 4


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Build the report of a run."""
    folder = tmp_path_factory.mktemp("report")
    run = write_run(folder / "run", steps=STEPS, groups=GROUPS, samples=SAMPLES)
    return replace_plotly(build_report(run, folder / "out"))


def search(page, **values):
    """Fill in the form, search, and return the rows of results."""
    show(page, "#/search")
    for name, value in values.items():
        field = page.locator(f"form [name={name}]")
        if name in ("reward", "only"):
            field.select_option(value)
        else:
            field.fill(value)
    page.get_by_role("button", name="Search", exact=True).click()
    return wait_for_results(page)


def wait_for_results(page):
    """Wait until the search is done; return the rows of results."""
    page.locator("#search-progress").filter(has_text="found").filter(has_not_text="Searching").wait_for()
    wait_for_view(page)
    return read_rows(page, "#results")


def expect_results(is_match):
    """Return the names of the completions that match, newest step first."""
    return [
        f"step {step}, group {group}, sample {sample}"
        for step in reversed(range(STEPS))
        for group in range(GROUPS)
        for sample in range(SAMPLES)
        if is_match(make_rollout_values(step, group, sample, SAMPLES))
    ]


@pytest.mark.parametrize(
    ("values", "is_match"),
    [
        ({"text": "PRINT(A + B)"}, lambda row: "print(a + b)" in row["response"]),
        ({"text": "in version 2"}, lambda row: "version 2" in row["prompt"]),
        ({"text": "# 3"}, lambda row: "# 3" in row["response"]),
        ({"problem": "family_1"}, lambda row: "family_1" in row["question_id"]),
        ({"status": "no_code"}, lambda row: row["status"] == "no_code"),
        ({"reward": "1"}, lambda row: row["reward"] == 1),
        ({"only": "masked"}, lambda row: row["masked"]),
        (
            {"text": "print", "problem": "family_3", "reward": "0", "only": "signal"},
            lambda row: row["step"] == 0 and "family_3" in row["question_id"] and row["reward"] == 0,
        ),
        ({"text": "no such text"}, lambda row: False),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_search_finds_completions_and_its_address_finds_them_again(open_page, report, values, is_match):
    page = open_page(report)
    rows = search(page, **values)
    expected = expect_results(is_match)
    assert [row[0] for row in rows] == expected
    assert page.locator("#search-progress").inner_text() == f"{len(expected)} found"
    page.reload()
    assert wait_for_results(page) == rows
    for name, value in values.items():
        assert page.locator(f"form [name={name}]").input_value() == value
        assert f"{name}=" in read_address(page)


def test_result_shows_where_the_text_is_and_leads_to_the_completion(open_page, report):
    page = open_page(report)
    rows = search(page, text="map(int", problem="family_1", reward="1")
    assert rows[0][-1].startswith("answer: …")
    assert "map(int" in rows[0][-1]
    page.locator("#results a").first.click()
    assert read_address(page) == "#/step/2/1/0"


def test_keys_move_through_the_results(open_page, report):
    page = open_page(report)
    search(page, status="no_code")
    page.keyboard.press("j")
    page.keyboard.press("j")
    second = page.locator("#results tbody tr").nth(1)
    assert second.get_attribute("class") == "selected"
    item = second.get_attribute("data-item")
    assert press(page, "Enter") == item


def test_search_says_what_it_could_not_look_at(open_page, tmp_path, monkeypatch):
    monkeypatch.setattr(step_writer, "TEXT_BUDGET", 0)
    page = open_page(build_report(write_run(tmp_path / "run", steps=1), tmp_path / "out"))
    assert search(page, text="print") == []
    assert page.locator("#search-progress").inner_text() == (
        "0 found; the texts of 16 completions are not in this report"
    )
    view = show(page, "#/step/0/0")
    assert "only the figures" in view.inner_text()
    view = show(page, "#/step/0/0/0")
    assert "only the figures" in view.inner_text()


def test_number_of_results_is_limited(open_page, tmp_path):
    page = open_page(build_report(write_run(tmp_path / "run", steps=4, groups=8, samples=8), tmp_path / "out"))
    show(page, "#/search?text=print&run=1")
    page.get_by_text("The newest 200 are shown").wait_for()
    rows = read_rows(page, "#results")
    assert len(rows) == 200
    assert rows[0][0].startswith("step 3,")
