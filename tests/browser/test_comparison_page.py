"""Page that compares runs, in a browser."""

import pytest

from launch.run_report.comparison_page import build_comparison
from tests.browser.report_pages import PHONE, draw_charts, has_overflow, list_texts, read_rows
from tests.launch.run_report.run_factory import write_run

pytestmark = pytest.mark.browser

ATTACK = "<img src=x onerror=window.__attacked=1><b>bold</b>\x1b[31m\u202e"
VISIBLE_ATTACK = r"<img src=x onerror=window.__attacked=1><b>bold</b>\x1b[31m\u202e"


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """Compare two settings, the first with two seeds."""
    folder = tmp_path_factory.mktemp("comparison")
    runs = [
        write_run(folder / "base-0", settings={"run.seed": 0}),
        write_run(folder / "base-1", settings={"run.seed": 1}),
        write_run(folder / "fast", settings={"learner.learning_rate": 0.5}),
    ]
    return build_comparison(runs, folder / "out")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [{"width": 1280, "height": 900}, PHONE], ids=["desktop", "phone"])
def test_every_chart_is_drawn(open_page, comparison, size, dark):
    page = open_page(comparison, dark=dark, **size)
    drawn = draw_charts(page)
    assert len(drawn) > 10
    assert all(drawn)
    assert not has_overflow(page)


def test_settings_differences_and_intervals_are_shown(open_page, comparison):
    page = open_page(comparison)
    assert page.title() == "3 runs compared"
    assert any("base-0 (finished), base-1 (finished)" in text for text in list_texts(page, "main td"))
    differences = read_rows(page, "#differences")
    assert {row[5] for row in differences} == {"2", "1"}
    assert all("[" in row[6] for row in differences)
    assert [row[0] for row in read_rows(page, "#settings")] == ["learner.learning_rate"]


def test_runs_without_evaluations_and_of_one_setting(open_page, tmp_path):
    runs = [write_run(tmp_path / name, with_evaluations=False, with_rollouts=False) for name in ("first", "second")]
    page = open_page(build_comparison(runs, tmp_path / "out"), **PHONE)
    assert page.locator("#differences").count() == 0
    assert "The configurations are the same" in page.locator("main").inner_text()
    assert all(draw_charts(page))
    assert not has_overflow(page)


def test_hostile_names_and_values_are_shown_literally(open_page, tmp_path):
    runs = [
        write_run(tmp_path / "<img src=x onerror=window.__attacked=2>"),
        write_run(tmp_path / "other", settings={"model.path": ATTACK, "algorithm.truncation_mask": ATTACK * 20}),
    ]
    page = open_page(build_comparison(runs, tmp_path / "out"), **PHONE)
    assert all(draw_charts(page))
    assert page.evaluate("() => window.__attacked") is None
    assert page.locator("img, b").count() == 0
    text = page.locator("main").inner_text()
    assert VISIBLE_ATTACK in text
    assert "<img src=x onerror=window.__attacked=2>" in text
    assert not has_overflow(page)
