"""What one session shows in a real Chromium: each age as the model saw it, pages, recall, answers, costs, fidelity."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from browsing import BUDGET, CHECKS, TURNS, Desk, address, opened
from conversation import airline
from playwright.sync_api import Browser, Page, expect
from server import Served, served

VIEW: dict[str, Any] = {"session": "desk", "profile": "mini", "budget": BUDGET}


def api(shown: Page, route: str, **query: Any) -> Any:
    """What the page's own login gets of a route."""
    query = {name: str(value) for name, value in (VIEW | query).items()}
    return shown.request.get(shown.url.split("/dashboard")[0] + f"/dashboard/api/{route}", params=query).json()


def test_each_age_shows_exactly_what_the_model_saw(chromium: Browser, desk: Desk) -> None:
    ages = [after for after, (old, new) in enumerate(pairwise(desk.seen), start=2) if old["epoch"] != new["epoch"]]
    assert len(ages) >= 2
    for turn in (ages[0] - 1, ages[0], ages[-1] - 1, ages[-1], TURNS):
        seen = desk.seen[turn - 1]
        with opened(chromium, desk.service, address("desk", turn=turn)) as page:
            figures = page.locator(".figures").inner_text().replace(",", "")
            assert f"{seen['tokens']}" in figures and f"{seen['text_tokens']}" in figures
            assert figures.split()[-1] == str(seen["epoch"])
            shown = page.locator("figure.page").evaluate_all("all => all.map(each => each.id.slice(5))")
            assert shown == [each["id"] for each in seen["pages"]]
            turns = page.locator(".block.turn article")
            expect(turns).to_have_count(len([each for each in seen["recent"] if each["role"] != "system"]))
            said = [each["text"] for each in seen["recent"] if each["role"] == "user"]
            words = page.locator(".block.turn .piece.user .words").all_text_contents()
            assert [" ".join(text.split()) for text in said] == [" ".join(w.split(": ", 1)[1].split()) for w in words]
            values = " ".join(page.locator(".chips, .facts").all_text_contents())
            assert seen["facts"] or not seen["epoch"]
            for value in (value for line in seen["facts"] for value in line.split(" | ")):
                assert value.strip() in values


def test_a_long_session_shows_any_age_before_all_of_it_is_counted(chromium: Browser, desk: Desk) -> None:
    with desk.service.client("far") as client:
        messages = airline(400)
        for start in range(0, 400, 10):
            body = messages[start : start + 10]
            assert client.post("/v1/sessions/long/messages", json=body).status_code == 201
            context = client.get("/v1/sessions/long/context").json()
            if start == 200:
                seen = context
    with opened(chromium, desk.service, key=desk.service.key("far")) as page:
        page.route("**/api/replay*", lambda route: None)  # never answered: nothing is counted
        page.goto(desk.service.url + address("long", turn=210))
        expect(page.locator("figure.page")).to_have_count(len(seen["pages"]))
        expect(page.locator(".figures")).to_contain_text(f"{seen['tokens']:,}")
        expect(page.locator(".where strong")).to_have_text("After turn 210")


def test_a_long_session_that_no_agent_asked_for_follows_its_replay(chromium: Browser, desk: Desk) -> None:
    turns = [{"role": "user", "content": f"turn {number} of many"} for number in range(2_010)]
    with desk.service.client("idle") as client:
        assert client.post("/v1/sessions/idle/turns", json=turns).status_code == 201
    with opened(chromium, desk.service, address("idle"), key=desk.service.key("idle")) as page:
        expect(page.locator(".where")).to_have_text("After turn 2,010 of 2,010")
        expect(page.locator(".block.turn .words").last).to_contain_text("turn 2009 of many")
        page.get_by_role("slider", name="Age: after which turn").press("Home")
        expect(page.locator(".block.turn .words")).to_have_count(1)


def test_each_epoch_says_what_it_changed(chromium: Browser, service: Served) -> None:
    with opened(chromium, service, address("desk", turn=1)) as page:
        began = api(page, "replay")["recorded"]["epochs"]
        assert len(began) >= 2
        for turn in began:
            page.keyboard.press("]")
            expect(page.locator(".where strong")).to_have_text(f"After turn {turn}")
            change = api(page, "context", turn=turn)["change"]
            aside = page.locator(".change")
            expect(aside.get_by_role("heading")).to_have_text(f"Epoch {change['number']}")
            expect(aside).to_contain_text(f"began after turn {turn}")
            expect(aside).to_contain_text(f"{change['sealed']['turns']} turn")
            expect(aside).to_contain_text(f"The past costs {change['tokens'][1]:,} tokens")
            expect(page.locator(".badge.new")).to_have_count(len(change["added"]) - _records(change, page))


def _records(change: dict[str, Any], page: Page) -> int:
    """How many of the added entries are text, and so stand in no figure."""
    shown = set(page.locator("figure.page").evaluate_all("all => all.map(each => each.id.slice(5))"))
    return len([each for each in change["added"] if each["id"] not in shown])


def test_pages_are_at_their_true_size_and_say_what_they_hold(chromium: Browser, service: Served) -> None:
    with opened(chromium, service, address("desk")) as page, service.client("acme") as api:
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


def test_the_page_dialog_holds_pixels_text_and_values(chromium: Browser, service: Served) -> None:
    with opened(chromium, service, address("desk"), viewport={"width": 360, "height": 740}) as page:
        first = next(piece["page"] for piece in api(page, "context")["pieces"] if "page" in piece)
        page.locator(".page-button").first.click()
        dialog = page.get_by_role(
            "dialog", name=f"{'Excerpt' if first['kind'] == 'gist' else 'Page'} {first['id'][:12]}"
        )
        whole = api(page, "page", page=first["id"], tier=first["tier"])
        text = dialog.locator(".page-text")
        expect(text).to_contain_text(whole["text"].split("\n")[0][:40])
        picture = dialog.locator(".true-size svg")
        assert picture.evaluate("each => [each.width.baseVal.value, each.height.baseVal.value]") == first["size"]
        expect(dialog).to_contain_text(f"Tier {first['tier']}")
        dialog.get_by_role("button", name="Close").click()
        expect(dialog).to_have_count(0)


def test_recall_marks_the_line(chromium: Browser, service: Served) -> None:
    with opened(chromium, service, address("desk", "recall")) as page, service.client("acme") as api:
        shown = api.get("/v1/sessions/desk/context").json()["pages"][-1]["id"]
        turns = api.get("/v1/sessions/desk/recall", params={"page": shown}).json()["turns"]
        words = next(turn["text"] for turn in turns if len(turn["text"].split()) > 6)
        page.get_by_label("Question").fill(words[:200])
        page.get_by_role("button", name="Recall").click()
        crop = page.locator(".crop").first
        expect(crop.locator("rect.line-mark").first).to_be_attached()
        label = crop.locator("svg").get_attribute("aria-label") or ""
        assert "marked" in label
        crop.get_by_role("button").click()
        expect(page.get_by_role("dialog").locator("rect.line-mark").first).to_be_attached()


def test_a_model_answers_and_its_sources_stand_with_their_lines_marked(chromium: Browser, service: Served) -> None:
    with opened(chromium, service, address("desk", "recall")) as page:
        page.get_by_label("Question").fill("Which reservation do I have?")
        page.get_by_role("button", name="Ask the model").click()
        answer = page.locator(".answer")
        expect(answer.locator(".said")).to_have_text("Your reservation is 4NQLHD.")
        expect(answer).to_contain_text("Certainty 100.0 %")
        expect(answer).to_contain_text("1 request,")
        assert answer.get_by_role("meter", name="Certainty").evaluate("each => each.value") == 1
        sources = page.locator(".result")
        assert 1 <= sources.count() <= 3
        for source in sources.all():
            expect(source.locator(".words")).to_contain_text("4NQLHD")
        crop = sources.locator(".crop").first
        expect(crop.locator("rect.line-mark").first).to_be_attached()
        crop.get_by_role("button").click()
        expect(page.get_by_role("dialog").locator("rect.line-mark").first).to_be_attached()


def test_without_a_model_the_panel_says_how_to_have_one(chromium: Browser, tmp_path: Path) -> None:
    with served(store=f"sqlite:///{tmp_path / 'memory.db'}") as plain, plain.client("acme") as client:
        client.post("/v1/sessions/desk/turns", json={"role": "user", "content": "Hello there"})
        with opened(chromium, plain, address("desk", "recall")) as page:
            expect(page.get_by_role("button", name="Ask the model")).to_be_disabled()
            expect(page.locator("#model-help")).to_contain_text("OPTICAL_MEMORY_ASK_URL")
            assert page.evaluate(CHECKS) == []


def test_tokens_and_money_stand_beside_the_full_history(chromium: Browser, service: Served) -> None:
    with opened(chromium, service, address("desk", "costs", profile="gpt-5")) as page:
        costs = api(page, "costs", profile="gpt-5")
        assert costs["requests"] == TURNS - 1 and costs["price"]["fresh"] > 0
        rows = page.get_by_role("table").locator("tbody tr")
        expect(rows).to_have_count(3)
        for row, bill in zip(rows.all(), costs["bills"], strict=True):
            digits = 0 if bill["dollars"] >= 100 else 2 if bill["dollars"] >= 0.1 else 4
            expect(row).to_contain_text(f"${bill['dollars']:.{digits}f}")
            expect(row).to_contain_text(f"{bill['most']:,}")
        for name in ("Dollars of input so far", "Tokens of each request"):
            expect(page.get_by_role("img", name=name)).to_be_visible()
        share = f"{costs['read'] / costs['sent'] * 100:.1f} % of all tokens sent stood so in the request before"
        expect(page.get_by_text(share)).to_be_visible()
        expect(page.get_by_role("img", name="Share of each request that stayed")).to_be_visible()


def test_pages_are_read_when_asked_and_the_figures_are_shown_by_tier(chromium: Browser, service: Served) -> None:
    phone = {"width": 360, "height": 740}
    with opened(chromium, service, address("desk", "fidelity"), viewport=phone) as page, service.client("acme") as api:
        tab = page.get_by_role("tab", name="Fidelity")
        assert tab.evaluate("each => each.getBoundingClientRect().right <= innerWidth"), "the chosen tab is seen"
        expect(page.get_by_role("heading", name="Not read yet")).to_be_visible()
        page.get_by_label("Newest pages").fill("1")
        page.get_by_role("button", name="Read the pages").click()
        rows = page.get_by_role("table", name="What was read at each tier").locator("tbody tr")
        expect(rows.first).to_be_visible(timeout=120_000)
        tiers = api.get("/v1/sessions/desk/fidelity").json()["tiers"]
        figures = [[tier, f"{score['precision'] * 100:.1f} %"] for tier, score in tiers.items()]
        shown = [[row.locator("th").inner_text(), row.locator("td").first.inner_text()] for row in rows.all()]
        assert shown == figures and len(shown) > 2 and tiers[shown[0][0]]["precision"] > 0.9
        assert page.evaluate(CHECKS) == []
        page.reload()
        expect(rows).to_have_count(len(shown))
