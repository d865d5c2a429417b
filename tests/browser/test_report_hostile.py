"""Hostile texts in every field of a run: no script of theirs runs, no element of theirs exists, and they are shown."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from launch.run_report import build as build_module
from launch.run_report.build import build_report
from launch.run_report.health import Finding
from tests.browser.report_pages import draw_charts, read_address, read_rows, replace_plotly, show
from tests.launch.run_report.run_factory import HOSTILE_TEXT, TEXT_COLUMNS, write_run

pytestmark = pytest.mark.browser

ATTACK = (
    "</script></pre></title><script>window.__attacked=1</script><img src=x onerror=window.__attacked=2>"
    "<svg onload=window.__attacked=3><a href=javascript:window.__attacked=4>link</a>"
    "\"onmouseover='window.__attacked=5' {{ 7*7 }} ${window.__attacked=6} %{x} &lt;b&gt; <b>bold</b>"
)
"""Markup and scripts for every context: script, element, attribute, template, chart."""
TERMINAL = "\x1b[31mred\x07 \x00 \x9b31m \u202eright\u2066 \u200b \u2028 \r\n\ttab"
"""Characters that are invisible, or that change how a text is shown."""
VISIBLE_TERMINAL = r"\x1b[31mred\x07 \x00 \x9b31m \u202eright\u2066 \u200b \u2028 "
ID = f"a/b'c\"d%20e#f?g=1&h;i\\{ATTACK}"
"""Id of a problem with all that has a meaning in an address."""
ADDRESSES = (
    *("#/", "#/steps", "#/step/1", "#/step/1/0", "#/step/1/0?diff=1", "#/step/1/0/1", "#/problems"),
    *("#/search?text=window.__attacked&run=1", "#/search?problem=%22onmouseover&run=1"),
)
FOREIGN_ELEMENTS = """() => {
    const foreign = [...document.querySelectorAll("img, iframe, object, embed, b, script:not([src^='assets/'])"
        + ":not([src^='data/']), svg[onload], meta[http-equiv=refresh], base")];
    const links = [...document.querySelectorAll("a")].filter(
        (link) => !(link.getAttribute("href") || "").startsWith("#/"));
    const handlers = [...document.querySelectorAll("*")].filter(
        (element) => [...element.attributes].some((attribute) => attribute.name.startsWith("on")));
    return [...foreign, ...links, ...handlers].map((element) => element.outerHTML.slice(0, 200));
}"""


def write_hostile_run(folder):
    """Write a run with hostile texts in all its files."""
    texts = {
        name: f"{name} {ATTACK} {TERMINAL}" for name in TEXT_COLUMNS if name not in ("question_id", "finish_reason")
    }
    texts |= {"question_id": ID, "response": f"{ATTACK} ```{texts['code']}``` {TERMINAL}"}

    def change_row(values):
        return {**values, "status": "passed"} if values["sample_index"] == 0 else values

    run = write_run(
        folder / "<img src=x onerror=window.__attacked=7> &amp; \"'",
        steps=2,
        groups=1,
        texts=texts,
        change_row=change_row,
        settings={"algorithm.truncation_mask": ATTACK, "model.path": ATTACK, "generator.max_response_tokens": ATTACK},
    )
    (run / "environment.json").write_text(json.dumps({ATTACK: ATTACK, "escape": TERMINAL}))
    decision = {"step": 1, "old": 0.5, "new": 0.6, "rule": ATTACK, "explanation": ATTACK + TERMINAL}
    decisions = [decision, {"step": ATTACK, "old": ATTACK, "new": ATTACK}]
    (run / "temperature.jsonl").write_text("".join(json.dumps(row) + "\n" for row in decisions))
    event = {name: f"{name} {ATTACK}{TERMINAL}" for name in ("step", "kind", "actor", "cause", "lost", "detail")}
    (run / "events.jsonl").write_text(json.dumps(event) + "\n")
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (run / "metrics.jsonl").write_text("".join(json.dumps({**row, ATTACK: 1.0}) + "\n" for row in rows))
    for path in run.glob("evaluation/**/*.parquet"):
        table = pq.read_table(path)
        for name in ("platform", "family", "text"):
            values = pa.array([f"{name} {ATTACK}"] * table.num_rows, pa.string())
            table = table.set_column(table.schema.get_field_index(name), table.schema.field(name), values)
        pq.write_table(table, path)
    return run


@pytest.fixture(scope="module")
def report_with_charts(tmp_path_factory):
    """Build the report of a hostile run, with a hostile finding."""
    folder = tmp_path_factory.mktemp("report")
    finding = Finding(rule=ATTACK, severity="problem", step=1, text=ATTACK, advice=ATTACK + TERMINAL, metric=ATTACK)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_module, "find_problems", lambda *_: [finding])
        return build_report(write_hostile_run(folder), folder / "out")


@pytest.fixture(scope="module")
def report(report_with_charts, tmp_path_factory):
    """Copy the report, without Plotly."""
    folder = tmp_path_factory.mktemp("copy") / "out"
    shutil.copytree(report_with_charts.parent, folder)
    return replace_plotly(folder / "index.html")


def assert_harmless(page):
    """Assert that no script of a text has run and that no element of a text exists."""
    assert page.evaluate("() => window.__attacked") is None
    assert page.evaluate(FOREIGN_ELEMENTS) == []
    assert page.title() == "<img src=x onerror=window.__attacked=7> &amp; \"'"


def test_no_element_of_a_text_exists(open_page, report_with_charts):
    page = open_page(report_with_charts)
    for address in ADDRESSES:
        show(page, address)
        if address.startswith("#/search"):
            page.locator("#search-progress").filter(has_text="8 found").wait_for()
        assert all(draw_charts(page))
        page.locator("details").evaluate_all("(all) => all.forEach((details) => { details.open = true; })")
        for chart in page.locator("main:not([hidden]) .chart").all()[:3]:
            chart.hover(position={"x": 120, "y": 150})
        assert_harmless(page)


def test_texts_of_the_front_page_are_shown_literally(open_page, report):
    page = open_page(report)
    assert page.locator("header .title").inner_text() == "<img src=x onerror=window.__attacked=7> &amp; \"'"
    finding = page.locator("#findings .finding").inner_text()
    assert finding.count(ATTACK) == 2
    assert VISIBLE_TERMINAL in finding
    page.locator("details").evaluate_all("(all) => all.forEach((details) => { details.open = true; })")
    text = page.locator("#front").inner_text()
    for name in ("step", "kind", "actor", "cause", "lost", "detail"):
        assert f"{name} {ATTACK}{VISIBLE_TERMINAL}" in text, name
    assert ID in text  # of the slowest completions
    config = dict(read_rows(page, "section:has(h2:text-is('Configuration')) table"))
    assert config["model.path"] == json.dumps(ATTACK)
    environment = dict(read_rows(page, "section:has(h2:text-is('Environment')) table"))
    assert environment[ATTACK] == json.dumps(ATTACK)
    decisions = read_rows(page, "section:has(h2:text-is('Temperature decisions')) table")
    assert decisions[0][3] == ATTACK
    assert decisions[1][:3] == [ATTACK] * 3


def test_texts_of_a_sample_are_shown_literally(open_page, report):
    page = open_page(report)
    view = show(page, "#/step/1/0/1")
    for selector in ("#prompt", "#answer", "#program"):
        text = page.locator(selector).inner_text()
        assert ATTACK in text, selector
        assert VISIBLE_TERMINAL in text, selector
    failed = page.locator("#failed-test pre").all_inner_texts()
    assert [text.split(" ")[0] for text in failed] == ["failed_input", "failed_expected", "failed_actual"]
    assert all(ATTACK in text and VISIBLE_TERMINAL in text for text in failed)
    verdict = dict(read_rows(page, "section:has(> h2:text-is('Verdict')) table"))
    assert f"status {ATTACK}" in verdict["status"]
    assert f"accepted_by {ATTACK}" in verdict["accepted by"]
    assert ATTACK in page.locator("section:has(#mask)").inner_text()
    assert ID in view.inner_text()


def test_texts_of_a_group_and_a_difference_are_shown_literally(open_page, report):
    page = open_page(report)
    view = show(page, "#/step/1/0")
    assert ID in view.inner_text()
    assert ATTACK in view.locator(".card pre").nth(1).inner_text()
    page.locator("#diff").check()
    assert read_address(page) == "#/step/1/0?diff=1"
    assert ATTACK in view.locator(".card pre").nth(1).inner_text()


def test_filter_for_a_hostile_status_and_problem(open_page, report):
    page = open_page(report)
    show(page, "#/step/1")
    status = page.locator("[name=status] option").nth(2).get_attribute("value")
    assert status.startswith(f"status {ATTACK}")
    page.locator("[name=status]").select_option(index=2)
    page.wait_for_function("() => location.hash.includes('status=')")
    read_address(page)
    assert len(read_rows(page, "#groups")) == 1
    page.reload()
    page.locator("#groups tbody tr").wait_for()
    assert page.locator("[name=status]").input_value() == status
    page.locator("[name=problem]").fill(ID)
    page.locator("[name=problem]").press("Enter")
    page.wait_for_function("() => location.hash.includes('problem=')")
    read_address(page)
    assert read_rows(page, "#groups")[0][1] == ID
    assert_harmless(page)


def test_page_of_a_problem_with_a_hostile_id(open_page, report):
    page = open_page(report)
    show(page, "#/problems")
    page.locator("#problems a").click()
    page.wait_for_function("() => location.hash.startsWith('#/problem/')")
    address = read_address(page)
    assert page.locator("#view h1").inner_text() == ID
    assert len(read_rows(page, "#groups")) == 2
    page.reload()
    show(page, address)
    assert page.locator("#view h1").inner_text() == ID
    assert_harmless(page)


def test_point_of_a_chart_shows_the_id_literally(open_page, report_with_charts):
    page = open_page(report_with_charts)
    show(page, "#/step/1")
    draw_charts(page)
    box = page.locator("#reward-length path.point").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    label = page.locator("#reward-length .hoverlayer text").first
    label.wait_for()
    assert "<img src=x onerror=window.__attacked=2>" in label.text_content()
    assert "<b>bold</b>" in label.text_content()
    assert_harmless(page)


def test_hostile_addresses_are_shown_as_text(open_page, report):
    page = open_page(report)
    for address in ("#/<img src=x onerror=window.__attacked=8>", "#/problem/<script>window.__attacked=9</script>"):
        view = show(page, address)
        assert view.locator(".error").count() == 1
        assert_harmless(page)


def test_copied_json_has_the_texts_as_they_are(open_page, report):
    page = open_page(report)
    show(page, "#/step/1/0/1")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy as JSON").click()
    page.get_by_role("button", name="Copied").wait_for()
    copied = json.loads(page.evaluate("() => navigator.clipboard.readText()"))
    assert copied["question"] == ID
    assert copied["prompt"]["head"] == f"prompt {ATTACK} {TERMINAL}"


def test_text_of_the_factory_is_harmless_in_every_column(open_page, tmp_path):
    texts = dict.fromkeys((name for name in TEXT_COLUMNS if name != "finish_reason"), HOSTILE_TEXT)
    page = open_page(build_report(write_run(tmp_path / "run", steps=1, groups=1, texts=texts), tmp_path / "out"))
    view = show(page, "#/step/0/0/3")
    assert r"\x1b[31mred\x1b[2J\x1b]0;title\x07" in page.locator("#prompt").inner_text()
    assert "<img src=x onerror=alert(1)>{{ 7*7 }} &amp;" in view.inner_text()
    assert page.evaluate(FOREIGN_ELEMENTS) == []
