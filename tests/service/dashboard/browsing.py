"""A session in a real service for the dashboard's browser tests, and pages of a real Chromium that are logged in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import Browser, Page, expect
from server import Served

PATIENCE = 60_000
"""Milliseconds: a busy machine takes its time, and what is wrong stays wrong."""
expect.set_options(timeout=PATIENCE)
CHECKS = (Path(__file__).parent / "checks.js").read_text("utf-8")
TURNS, BUDGET = 110, 3_000
HOSTILE = (
    "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'><svg onload=window.pwned=3> "
    "</pre><style>body{display:none}</style> javascript:window.pwned=4 {{7*7}} "
    "\x1b[31mred\x1b[0m \x1b]8;;http://evil\x07 \u202egnp.exe\u202c zero\u200bwidth "
)
NAME = "<img src=x onerror=window.pwned=5>"


def address(session: str, tab: str = "sees", **query: Any) -> str:
    """Return the address of a session under the view that its agent had."""
    view = {"session": session, "tab": tab, "budget": BUDGET, "profile": "mini"}
    return "/dashboard/session?" + urlencode(view | query)


PATHS = ["/dashboard", "/dashboard/keys"] + [
    address(session, tab)
    for session, tab in (("desk", "sees"), ("desk", "recall"), ("desk", "costs"), ("desk", "fidelity"), (NAME, "sees"))
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """A service with a session "desk", and what its agent got after each turn: ``seen[n]`` after turn n + 1."""

    service: Served
    seen: list[dict[str, Any]]


@contextmanager
def opened(chromium: Browser, service: Served, path: str = "/dashboard", key: str = "", **given: Any) -> Iterator[Page]:
    """A page that is logged in; it fails on any error of its console but a refused request, and on any dialog."""
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
        expect(page.get_by_text("Each stop is a turn")).to_be_visible(timeout=60_000)
        expect(page.locator(".bone")).to_have_count(0)
    yield page
    assert not [each for each in wrong if "status of 401" not in each and "status of 403" not in each], wrong
    context.close()
