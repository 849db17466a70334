"""The dashboard in a real Chromium: hostile content, what it loads, its login, its list, its colours, its errors."""

from __future__ import annotations

from browsing import NAME, PATHS, PATIENCE, opened
from playwright.sync_api import Browser, expect
from server import ALL, Served


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
        page.get_by_role("tab", name="Recall and ask").click()
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
    context.set_default_timeout(PATIENCE)
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


def test_all_of_it_comes_from_the_service_itself(chromium: Browser, service: Served) -> None:
    context = chromium.new_context()
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{service.url}/dashboard")
    page.get_by_label("Key", exact=True).fill(service.key("acme"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    for path in PATHS:
        page.goto(service.url + path)
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        expect(page.locator(".waiting, .bone")).to_have_count(0)
    assert len(asked) > 30 and all(url.startswith(f"{service.url}/dashboard") for url in asked)
    context.close()


def test_a_link_logs_in_and_leaves_the_address(chromium: Browser, service: Served) -> None:
    from optical_memory.service.dashboard.logins import Logins

    key, _ = service.engine.keyring.create("acme", ALL)
    link = Logins(service.engine.records, service.engine.keyring, seconds=60).link(key)
    page = chromium.new_context().new_page()
    page.set_default_timeout(PATIENCE)
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
