"""The dashboard in a real Chromium: hostile content, keyboard, screen reader, phone, colours, keys, logins that end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from conversation import airline
from playwright.sync_api import Browser, Page, expect, sync_playwright
from server import ALL, Served, served

from optical_memory.renderers.executable import find_executable

PATIENCE = 120_000
"""Milliseconds: a busy machine takes its time, and what is wrong stays wrong."""
expect.set_options(timeout=PATIENCE)
CHECKS = (Path(__file__).parent / "checks.js").read_text("utf-8")
HOSTILE = (
    "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'><svg onload=window.pwned=3> "
    "</pre><style>body{display:none}</style> javascript:window.pwned=4 {{7*7}} "
    "\x1b[31mred\x1b[0m \x1b]8;;http://evil\x07 \u202egnp.exe\u202c zero\u200bwidth "
)
NAME = "<img src=x onerror=window.pwned=5>"
PATHS = ["/dashboard", "/dashboard/keys"] + [
    "/dashboard/session?" + urlencode({"session": session, "tab": tab, "budget": 3_000, "profile": "mini"})
    for session, tab in (("desk", "sees"), ("desk", "recall"), ("desk", "costs"), ("desk", "fidelity"), (NAME, "sees"))
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    store = f"sqlite:///{tmp_path_factory.mktemp('browser') / 'memory.db'}"
    with served(store=store, budget=3_000, key_cache_seconds=0.2) as running, running.client("acme") as client:
        for message in airline(110):
            assert client.post("/v1/sessions/desk/messages", json=[message]).status_code == 201
            assert client.get("/v1/sessions/desk/context").status_code == 200
        turns = [{"role": "user", "content": f"{number} {HOSTILE * 4}", "name": "<b>x</b>"} for number in range(40)]
        path = f"/v1/sessions/{NAME.replace('/', '%2F')}/turns"
        assert client.post(path, json=turns).status_code == 201
        for number in range(60):
            client.post(f"/v1/sessions/trip-{number:02}/turns", json={"role": "user", "content": "hello"})
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(find_executable()), timeout=PATIENCE)
        yield browser
        browser.close()


@contextmanager
def opened(chromium: Browser, service: Served, path: str = "/dashboard", key: str = "", **given: Any) -> Iterator[Page]:
    """A page that is logged in; it fails on any error of its console but a refused key, and on any dialog."""
    context = chromium.new_context(**{"viewport": {"width": 1200, "height": 800}} | given)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    wrong: list[str] = []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.goto(service.url + path)
    page.get_by_label("Key", exact=True).fill(key or service.key("acme"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    expect(page.locator(".waiting")).to_have_count(0)
    if "session=" in path:
        expect(page.get_by_text("Each stop is a turn")).to_be_visible()
    yield page
    assert not [each for each in wrong if "status of 401" not in each and "status of 403" not in each], wrong
    context.close()


def test_hostile_content_is_text_and_nothing_else(chromium: Browser, service: Served) -> None:
    with opened(chromium, service, PATHS[-1]) as page:
        expect(page.get_by_role("heading", level=1)).to_have_text(NAME)
        shown = page.locator(".block.turn .words").first.text_content() or ""
        assert "<script>window.pwned = 1</script>" in shown and "␛[31mred␛[0m" in shown
        assert "\\u{202e}gnp.exe\\u{202c}" in shown and "zero\\u{200b}width" in shown and "{{7*7}}" in shown
        page.locator(".page-button").last.click()
        text = page.locator("dialog .page-text")
        expect(text).to_contain_text("<script>window.pwned")
        page.keyboard.press("Escape")
        page.get_by_role("tab", name="Recall").click()
        page.get_by_label("Question").fill("<img src=x onerror=window.pwned=6> red")
        page.keyboard.press("Enter")
        expect(page.locator(".result").first).to_be_visible()
        assert page.evaluate("window.pwned") is None
        assert page.locator("main script, main style, main iframe, main img[src=x]").count() == 0
        page.goto(f"{service.url}/dashboard")
        expect(page.get_by_text(NAME)).to_be_visible()
        assert page.evaluate("window.pwned") is None


def test_the_policy_stops_what_would_get_in(chromium: Browser, service: Served) -> None:
    context = chromium.new_context()
    page = context.new_page()
    page.goto(f"{service.url}/dashboard")
    page.get_by_label("Key", exact=True).fill(service.key("acme"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    assert page.evaluate("document.cookie") == "" and context.cookies()[0]["httpOnly"]
    assert (
        page.evaluate("""() => {
        try { document.body.insertAdjacentHTML("beforeend", "<i id=got-in></i>"); } catch { return "refused"; }
        return "let in";
    }""")
        == "refused"
    )
    page.evaluate("""() => {
        const one = document.createElement("div");
        document.body.append(one);
        try { one.setAttribute("onclick", "window.pwned = 7"); } catch { return; }
        one.click();
    }""")
    assert page.evaluate("window.pwned") is None and page.locator("#got-in").count() == 0
    context.close()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", PATHS)
def test_every_page_passes_the_accessibility_checks(chromium: Browser, service: Served, path: str, theme: Any) -> None:
    with opened(chromium, service, path, color_scheme=theme) as page:
        if "recall" in path:
            page.get_by_label("Question").fill("reservation flight")
            page.keyboard.press("Enter")
            expect(page.locator(".result").first).to_be_visible()
        assert page.evaluate(CHECKS) == []


@pytest.mark.parametrize("width", [320, 360, 390, 820, 1440])
def test_nothing_scrolls_sideways(chromium: Browser, service: Served, width: int) -> None:
    with opened(chromium, service, viewport={"width": width, "height": 740}) as page:
        for path in PATHS:
            page.goto(service.url + path)
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            expect(page.locator(".waiting, .bone")).to_have_count(0)
            assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), path


def test_time_is_moved_by_keyboard_alone(chromium: Browser, service: Served) -> None:
    with opened(chromium, service, PATHS[2]) as page:
        slider = page.get_by_role("slider", name="Age: after which turn")
        for _ in range(30):
            page.keyboard.press("Tab")
            if slider.evaluate("each => each === document.activeElement"):
                break
        expect(slider).to_be_focused()
        assert slider.evaluate("each => getComputedStyle(each).outlineStyle") == "solid"
        assert (slider.get_attribute("aria-valuetext") or "").startswith("now, after turn 110")
        page.keyboard.press("ArrowLeft")
        expect(page.locator(".where")).to_contain_text("After turn 109")
        page.keyboard.press("Home")
        expect(page.locator(".where")).to_contain_text("After turn 1 ")
        expect(page.locator(".figures")).to_contain_text("Epoch0")
        expect(page.locator(".change")).to_contain_text("No epoch yet")
        page.keyboard.press("]")
        expect(page.locator(".change")).to_contain_text("Epoch 1")
        assert "turn=" in page.url
        page.keyboard.press("n")
        expect(page.locator(".where strong")).to_have_text("Now")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keyboard")).to_be_visible()
        page.get_by_label("Use shortcuts of single keys").uncheck()
        page.keyboard.press("Escape")
        page.keyboard.press("[")
        expect(page.locator(".where strong")).to_have_text("Now")
        page.get_by_role("tab", name="What the model sees").focus()
        page.keyboard.press("ArrowRight")
        expect(page.get_by_role("tab", name="Recall")).to_be_focused()
        expect(page.get_by_role("tabpanel", name="Recall")).to_be_visible()


def test_pages_are_at_their_true_size_and_say_what_they_hold(chromium: Browser, service: Served) -> None:
    with opened(chromium, service, PATHS[2]) as page, service.client("acme") as api:
        pages = api.get("/v1/sessions/desk/context").json()["pages"]
        page.locator(".scales label").first.click()
        images = page.locator(".film img")
        expect(images).to_have_count(len(pages))
        for number, each in enumerate(pages):
            image = images.nth(number)
            image.scroll_into_view_if_needed()
            expect(image).to_have_js_property("complete", True)
            size = image.evaluate("one => [one.width, one.height, one.naturalWidth, one.naturalHeight]")
            assert size == each["size"] * 2
            alt = image.get_attribute("alt") or ""
            assert f"tier {each['tier']}" in alt and "It begins: " in alt and "turns #" in alt
        images.first.click()
        expect(page.get_by_role("dialog")).to_contain_text(
            f"{pages[0]['size'][0]}×{pages[0]['size'][1]} px at true size"
        )


def test_pages_are_read_when_asked_and_the_figures_are_shown_by_tier(chromium: Browser, service: Served) -> None:
    phone = {"width": 360, "height": 740}
    with opened(chromium, service, PATHS[5], viewport=phone) as page, service.client("acme") as api:
        tab = page.get_by_role("tab", name="Fidelity")
        assert tab.evaluate("each => each.getBoundingClientRect().right <= innerWidth"), "the chosen tab is seen"
        expect(page.get_by_role("heading", name="Not read yet")).to_be_visible()
        page.get_by_label("Newest pages").fill("1")
        page.get_by_role("button", name="Read the pages").click()
        rows = page.get_by_role("table", name="What was read at each tier").locator("tbody tr")
        expect(rows.first).to_be_visible()
        tiers = api.get("/v1/sessions/desk/fidelity").json()["tiers"]
        figures = [[tier, f"{score['precision'] * 100:.1f} %"] for tier, score in tiers.items()]
        shown = [[row.locator("th").inner_text(), row.locator("td").first.inner_text()] for row in rows.all()]
        assert shown == figures and len(shown) > 2 and tiers[shown[0][0]]["precision"] > 0.9
        assert page.evaluate(CHECKS) == []
        page.reload()
        expect(rows).to_have_count(len(shown))


def test_recall_marks_the_line(chromium: Browser, service: Served) -> None:
    with opened(chromium, service, PATHS[3]) as page, service.client("acme") as api:
        shown = api.get("/v1/sessions/desk/context").json()["pages"][-1]["id"]
        turns = api.get("/v1/sessions/desk/recall", params={"page": shown}).json()["turns"]
        words = next(turn["text"] for turn in turns if len(turn["text"].split()) > 6)
        page.get_by_label("Question").fill(words[:200])
        page.keyboard.press("Enter")
        crop = page.locator(".crop").first
        expect(crop.locator("rect.line-mark").first).to_be_attached()
        label = crop.locator("svg").get_attribute("aria-label") or ""
        assert "marked" in label
        crop.get_by_role("button").click()
        expect(page.get_by_role("dialog").locator("rect.line-mark").first).to_be_attached()


def test_keys_are_shown_once_and_end_logins(chromium: Browser, service: Served) -> None:
    with opened(chromium, service, "/dashboard/keys") as page:
        page.get_by_role("button", name="New key").click()
        page.get_by_label("Name", exact=True).fill("<b>laptop</b>")
        page.get_by_label("admin").check()
        page.get_by_role("button", name="Make the key").click()
        made = page.locator("#made")
        expect(made).to_be_visible()
        key = made.input_value()
        assert service.engine.keyring.find(key).scopes == ("read", "write", "admin")
        page.keyboard.press("Escape")
        expect(page.locator(".key-name b", has_text="<b>laptop</b>")).to_be_visible()
        assert key not in page.content()
        with opened(chromium, service, key=key) as other:
            page.get_by_role("button", name="Revoke <b>laptop</b>").click()
            page.get_by_role("button", name="Revoke", exact=True).click()
            expect(page.get_by_text("revoked", exact=True)).to_be_visible()
            expect(page.locator(".quota")).to_contain_text("no limit")
            other.wait_for_timeout(400)  # longer than keys are believed here
            other.get_by_role("searchbox").fill("trip")
            expect(other.get_by_label("Key", exact=True)).to_be_visible()


def test_a_link_logs_in_and_leaves_the_address(chromium: Browser, service: Served) -> None:
    from optical_memory.service.dashboard.logins import Logins

    key, _ = service.engine.keyring.create("acme", ALL)
    link = Logins(service.engine.records, service.engine.keyring, seconds=60).link(key)
    page = chromium.new_context().new_page()
    page.goto(f"{service.url}/dashboard#once={link}")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    assert link not in page.url
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Key", exact=True)).to_be_visible()
    page.context.close()


def test_the_list_comes_in_pages_and_is_searched_by_prefix(chromium: Browser, service: Served) -> None:
    with opened(chromium, service) as page:
        links = page.locator(".sessions a")
        expect(links).to_have_count(50)
        page.get_by_role("button", name="More after 50").click()
        expect(links).to_have_count(62)
        page.keyboard.press("/")
        page.keyboard.type("trip-1")
        expect(links).to_have_count(10)
        page.keyboard.press("Enter")
        page.get_by_role("searchbox").fill("nothing like it")
        expect(page.get_by_role("heading", name="No such session")).to_be_visible()


def test_errors_and_emptiness_are_said(chromium: Browser, service: Served) -> None:
    with opened(chromium, service, key=service.key("nobody")) as page:
        expect(page.get_by_role("heading", name="Nothing is remembered yet")).to_be_visible()
    with opened(chromium, service, key=service.key("acme", ("write",))) as page:
        expect(page.get_by_role("alert")).to_contain_text("scope 'read'")


def test_colours_are_chosen_and_kept(chromium: Browser, service: Served) -> None:
    with opened(chromium, service, color_scheme="light") as page:
        ground = "getComputedStyle(document.documentElement).backgroundColor"
        before = page.evaluate(ground)
        page.keyboard.press("t")
        page.keyboard.press("t")
        assert page.evaluate(ground) != before
        page.reload()
        expect(page.get_by_role("button", name="Colours: Dark")).to_be_visible()
        assert page.evaluate(ground) != before
