"""The monitor of pages: each kind of error is found, and a page gets the size and colour scheme of the test."""

import pytest

pytestmark = pytest.mark.browser


@pytest.fixture
def write_page(tmp_path):
    """Return a function that writes a page with this body and returns its path."""

    def write(body):
        path = tmp_path / "page.html"
        path.write_text(f"<!doctype html><meta charset='utf-8'><title>Page</title>{body}")
        return path

    return write


def test_page_of_local_content_has_no_errors(open_page, write_page, tmp_path):
    (tmp_path / "code.js").write_text("document.body.append('from a file, ')")
    image = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
    blob = (
        "fetch(URL.createObjectURL(new Blob(['from a blob']))).then(r => r.text()).then(t => document.body.append(t))"
    )
    page = open_page(write_page(f"<body><script src='code.js'></script><img src='{image}'><script>{blob}</script>"))
    page.get_by_text("from a file, from a blob").wait_for()


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("<script>console.error('broken', 1)</script>", "console error: broken 1"),
        ("<script>throw new Error('broken')</script>", "page error: broken"),
        ("<script>setTimeout(() => { throw new Error('later') })</script>", "page error: later"),
        ("<script>Promise.reject(new Error('unhandled'))</script>", "page error: unhandled"),
        ("<script src='missing.js'></script>", "console error: Failed to load resource: net::ERR_FILE_NOT_FOUND"),
        ("<script src='http://localhost/x.js'></script>", "network request: http://localhost/x.js"),
        ("<style>@import 'https://localhost/x.css'</style>", "network request: https://localhost/x.css"),
        ("<iframe src='http://localhost/frame'></iframe>", "network request: http://localhost/frame"),
        ("<script>fetch('http://localhost/data').catch(() => 0)</script>", "network request: http://localhost/data"),
        ("<script>new WebSocket('ws://localhost/socket')</script>", "network request: ws://localhost/socket"),
        (
            "<script>navigator.sendBeacon('http://localhost/beacon')</script>",
            "network request: http://localhost/beacon",
        ),
    ],
)
def test_error_is_found(monitor, write_page, body, error):
    monitor.open(write_page(body))
    assert error in monitor.read_errors()


def test_request_after_a_click_is_found(monitor, write_page):
    page = monitor.open(write_page("<button onclick='fetch(`http://localhost/late`).catch(() => 0)'>Load</button>"))
    assert monitor.read_errors() == []
    page.get_by_role("button").click()
    assert "network request: http://localhost/late" in monitor.read_errors()


def test_warning_is_no_error(monitor, write_page):
    monitor.open(write_page("<script>console.warn('careful')</script>"))
    assert (monitor.read_errors(), monitor.read_warnings()) == ([], ["careful"])


@pytest.mark.parametrize("dark", [False, True])
def test_page_has_the_size_and_colour_scheme_of_the_test(open_page, write_page, dark):
    page = open_page(write_page(""), width=390, height=844, dark=dark)
    assert page.evaluate("[innerWidth, innerHeight]") == [390, 844]
    assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") is dark


def test_text_is_rendered(open_page, write_page):
    page = open_page(
        write_page("<style>body { font: 40px monospace }</style><p id='wide'>mmmm</p><p id='narrow'>iiii</p>")
    )
    assert page.locator("#wide").screenshot() != page.locator("#narrow").screenshot()
