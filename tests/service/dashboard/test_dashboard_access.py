"""The dashboard for everyone: checks of axe and our own, phone, keyboard alone, screen readers, reduced motion."""

from __future__ import annotations

import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import CHECKS, PATHS, address, opened
from playwright.sync_api import Browser, Page, expect
from server import Served

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
AXE = Axe()


def wrong(page: Page) -> list[str]:
    """What axe and our own checks find wrong with a page as it stands."""
    found = AXE.run(page, options={"runOnly": {"type": "tag", "values": TAGS}}).response["violations"]
    named = [f"{each['id']}: {node['html'][:160]}" for each in found for node in each["nodes"]]
    return named + page.evaluate(CHECKS)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", PATHS)
def test_every_page_passes_the_accessibility_checks(chromium: Browser, service: Served, path: str, theme: Any) -> None:
    with opened(chromium, service, path, color_scheme=theme) as page:
        if "recall" in path:
            page.get_by_label("Question").fill("reservation flight")
            page.get_by_role("button", name="Recall").click()
            expect(page.locator(".result").first).to_be_visible()
            assert wrong(page) == []
            page.get_by_role("button", name="Ask the model").click()
            expect(page.get_by_role("heading", name="Answer")).to_be_visible()
        assert wrong(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_dialog_passes_them_and_gives_the_focus_back(chromium: Browser, service: Served, theme: Any) -> None:
    with opened(chromium, service, address("desk"), color_scheme=theme) as page:
        button = page.locator(".page-button").first
        button.focus()
        page.keyboard.press("Enter")
        dialog = page.get_by_role("dialog")
        expect(dialog.locator(".page-text")).not_to_have_text("Loading …")
        assert dialog.evaluate("box => box.contains(document.activeElement)") and wrong(page) == []
        page.keyboard.press("Escape")
        expect(button).to_be_focused()
        page.keyboard.press("?")
        expect(dialog).to_be_visible()
        assert wrong(page) == []
        page.keyboard.press("Escape")
        page.goto(f"{service.url}/dashboard/keys")
        page.get_by_role("button", name="New key").click()
        expect(dialog).to_be_visible()
        assert wrong(page) == []


@pytest.mark.parametrize("width", [320, 360, 390, 820, 1440])
def test_nothing_scrolls_sideways(chromium: Browser, service: Served, width: int) -> None:
    with opened(chromium, service, viewport={"width": width, "height": 740}) as page:
        for path in PATHS:
            page.goto(service.url + path)
            expect(page.get_by_role("heading", level=1)).to_be_visible()
            expect(page.locator(".waiting, .bone")).to_have_count(0)
            assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), path
            if "tab=sees" in path:
                page.locator(".page-button").first.click()
                box = page.get_by_role("dialog").bounding_box()
                assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width
                page.keyboard.press("Escape")


def test_time_is_moved_by_keyboard_alone(chromium: Browser, service: Served) -> None:
    with opened(chromium, service, address("desk")) as page:
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
        expect(page.get_by_role("tab", name="Recall and ask")).to_be_focused()
        expect(page.get_by_role("tabpanel", name="Recall and ask")).to_be_visible()


def test_a_screen_reader_is_told_what_there_is_and_what_changes(chromium: Browser, service: Served) -> None:
    with opened(chromium, service, address("desk")) as page:
        for role, name in (("banner", None), ("navigation", "Main"), ("main", None), ("tablist", "About this age")):
            expect(page.get_by_role(role, name=name)).to_have_count(1)
        expect(page.get_by_role("region", name="What the last epoch changed")).to_be_visible()
        expect(page.get_by_role("img", name="Tokens of the context after each of 110 turns")).to_be_visible()
        live = page.get_by_role("status")
        expect(live).to_contain_text("in 110 turns")
        page.keyboard.press("[")
        expect(live).to_contain_text("Epoch ")
        slider = page.get_by_role("slider", name="Age: after which turn")
        expect(slider).to_have_attribute(
            "aria-valuetext", re.compile(r"after turn \d+ of 110, epoch \d+, [\d,]+ tokens")
        )
        page.get_by_role("tab", name="Recall and ask").click()
        page.get_by_label("Question").fill("reservation")
        page.get_by_role("button", name="Recall").click()
        expect(live).to_contain_text("found")


def test_nothing_moves_where_less_motion_is_asked_for(chromium: Browser, service: Served) -> None:
    moving = "document.getAnimations().filter(each => each.playState === 'running').length"
    bone = "document.querySelector('main').append(Object.assign(document.createElement('p'), {className: 'bone'}))"
    for motion, moves in (("no-preference", True), ("reduce", False)):
        with opened(chromium, service, reduced_motion=motion) as page:
            page.evaluate(bone)
            assert (page.evaluate(moving) > 0) is moves  # there may be more while the page still loads
