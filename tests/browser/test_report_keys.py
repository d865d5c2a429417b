"""Keys of a run's report, and the copy of what is shown as JSON."""

import json

import pytest

from launch.run_report.build import build_report
from tests.browser.report_pages import press, read_address, replace_plotly, show
from tests.launch.run_report.run_factory import make_rollout_values, write_run

pytestmark = pytest.mark.browser

REFUSE = "() => { navigator.clipboard.writeText = () => Promise.reject(new Error('not allowed')); }"
RECORD_COPIES = """() => {
    window.copies = [];
    document.addEventListener("copy", () => window.copies.push(document.activeElement.value));
}"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Build the report of a run of three steps with four groups of four completions."""
    folder = tmp_path_factory.mktemp("report")
    return replace_plotly(build_report(write_run(folder / "run"), folder / "out"))


def read_selected(page):
    """Return the address of the selected item; None without one."""
    selected = page.locator("[data-item].selected")
    assert selected.count() <= 1
    return selected.get_attribute("data-item") if selected.count() else None


def test_j_and_k_select_a_row_and_enter_opens_it(open_page, report):
    page = open_page(report)
    show(page, "#/steps")
    assert read_selected(page) is None
    assert [press(page, "j") and read_selected(page) for _ in range(4)] == [
        *("#/step/2", "#/step/1", "#/step/0"),
        "#/step/0",  # the last one
    ]
    press(page, "k")
    assert read_selected(page) == "#/step/1"
    assert press(page, "Enter") == "#/step/1"
    press(page, "j")
    first = read_selected(page)
    assert first == "#/step/1/1"  # the only group with different rewards
    assert press(page, "Enter") == first
    press(page, "j")
    press(page, "j")
    assert press(page, "Enter") == f"{first}/1"


def test_j_and_k_lead_to_the_next_completion_of_a_group(open_page, report):
    page = open_page(report)
    show(page, "#/step/1/2/0")
    assert [press(page, "j") for _ in range(4)] == [f"#/step/1/2/{sample}" for sample in (1, 2, 3, 3)]
    assert press(page, "k") == "#/step/1/2/2"
    assert press(page, "n") == "#/step/1/2/3"
    assert press(page, "p") == "#/step/1/2/2"


@pytest.mark.parametrize(
    ("addresses", "last"),
    [
        (["#/step/0", "#/step/1", "#/step/2"], "#/step/2"),
        (["#/step/1/1", "#/step/1/2", "#/step/1/3"], "#/step/1/3"),
        ([f"#/problem/starter%2Ffamily_{family}%2F0000" for family in (1, 2, 3)], None),
    ],
    ids=["step", "group", "problem"],
)
def test_n_and_p_lead_to_the_next_page_of_a_kind(open_page, report, addresses, last):
    page = open_page(report)
    show(page, addresses[0])
    assert [press(page, "n") for _ in addresses[1:]] == addresses[1:]
    if last is not None:
        assert press(page, "n") == last
    assert press(page, "p") == addresses[-2]


def test_u_leads_up_and_the_page_left_is_selected(open_page, report):
    page = open_page(report)
    show(page, "#/step/1/2/3")
    assert press(page, "u") == "#/step/1/2"
    assert read_selected(page) == "#/step/1/2/3"
    assert press(page, "u") == "#/step/1"
    assert read_selected(page) == "#/step/1/2"
    assert press(page, "u") == "#/steps"
    assert read_selected(page) == "#/step/1"
    assert press(page, "u") == "#/"
    show(page, "#/problem/starter%2Ffamily_1%2F0000")
    assert press(page, "u") == "#/problems"
    assert read_selected(page) == "#/problem/starter%2Ffamily_1%2F0000"


def test_slash_opens_the_search_and_escape_leaves_its_field(open_page, report):
    page = open_page(report)
    assert press(page, "/") == "#/search"
    page.keyboard.type("jk?u/")
    assert read_address(page) == "#/search"
    assert page.locator("[name=text]").input_value() == "jk?u/"
    assert not page.locator("#help").is_visible()
    page.keyboard.press("Escape")
    assert press(page, "u") == "#/"


def test_question_mark_and_button_show_the_help(open_page, report):
    page = open_page(report)
    page.keyboard.press("?")
    assert page.locator("#help").is_visible()
    assert press(page, "/") == ""  # keys of the page do nothing below the help
    page.keyboard.press("Escape")
    assert not page.locator("#help").is_visible()
    page.locator("#help-button").click()
    assert page.locator("#help").is_visible()
    page.get_by_role("button", name="Close").click()
    assert not page.locator("#help").is_visible()


def test_every_key_of_the_help_is_one_of_the_tested(open_page, report):
    page = open_page(report)
    page.keyboard.press("?")
    assert set(page.locator("#help kbd").all_inner_texts()) == {*"jknpuc/?", "Enter", "Esc"}


def test_keys_with_a_modifier_belong_to_the_browser(open_page, report):
    page = open_page(report)
    show(page, "#/step/1")
    assert press(page, "Control+p") == "#/step/1"
    assert press(page, "Alt+n") == "#/step/1"


def test_keys_do_nothing_on_the_front_page(open_page, report):
    page = open_page(report)
    assert {press(page, key) for key in ("j", "k", "n", "p", "u", "Enter", "x")} == {""}


def copy_shown(page):
    """Copy what is shown and return it, read from the clipboard."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy as JSON").click()
    page.get_by_role("button", name="Copied").wait_for()
    return json.loads(page.evaluate("() => navigator.clipboard.readText()"))


def test_sample_is_copied_as_json(open_page, report):
    page = open_page(report)
    show(page, "#/step/1/1/2")
    copied = copy_shown(page)
    row = make_rollout_values(1, 1, 2)
    for name in ("step", "reward", "temperature", "status", "accepted_by", "first_failed", "tests_passed", "mask_draw"):
        assert copied[name] == row[name], name
    assert copied["question"] == row["question_id"]
    assert copied["answer"]["head"] == row["response"]
    assert copied["prompt"]["head"] == row["prompt"]


@pytest.mark.parametrize(
    "address", ["#/step/1", "#/step/1/1", "#/steps", "#/problems", "#/problem/starter%2Ffamily_1%2F0000"]
)
def test_other_views_are_copied_as_json(open_page, report, address):
    page = open_page(report)
    show(page, address)
    copied = json.dumps(copy_shown(page))
    assert '"step": 1' in copied or "starter/family_1/0000" in copied


def test_copied_step_has_only_what_the_filter_lets_pass(open_page, report):
    page = open_page(report)
    show(page, "#/step/1?problem=family_2")
    assert [group["question"] for group in copy_shown(page)["groups"]] == ["starter/family_2/0000"]


def test_key_copies_the_front_page(open_page, report):
    page = open_page(report)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.keyboard.press("c")
    page.wait_for_function("async () => (await navigator.clipboard.readText()).includes('charts')")
    assert set(json.loads(page.evaluate("() => navigator.clipboard.readText()"))) == {"charts", "steps", "run"}


def test_copied_json_has_escapes_for_characters_that_cannot_be_seen(open_page, report):
    page = open_page(report)
    text = "\x9b31m \u202e \u200b \u2028 \x1b \x7f \U000e0041 \n\t\u00e9"
    copied = page.evaluate("(text) => safeJson({ text })", text)
    escapes = r"\u009b31m \u202e \u200b \u2028 \u001b \u007f \udb40\udc41 \n\t"
    assert copied == f'{{\n  "text": "{escapes}\u00e9"\n}}'
    assert json.loads(copied) == {"text": text}


def test_copy_where_the_clipboard_is_not_allowed(open_page, report):
    page = open_page(report)
    show(page, "#/step/1/1/2")
    page.evaluate(REFUSE)
    page.evaluate(RECORD_COPIES)
    page.get_by_role("button", name="Copy as JSON").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert json.loads(page.evaluate("() => window.copies[0]"))["sample"] == 2
    assert page.locator("body > textarea").count() == 0
    page.get_by_role("button", name="Copy as JSON").wait_for()
