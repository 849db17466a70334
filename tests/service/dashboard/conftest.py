"""One service for all of the dashboard's browser tests, and a real Chromium for each of their files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browsing import BUDGET, HOSTILE, NAME, PATIENCE, TURNS, Desk
from conversation import airline
from playwright.sync_api import Browser, sync_playwright
from provider_server import Reply, serving
from server import Served, served

from optical_memory.renderers.executable import find_executable


@pytest.fixture(scope="session")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """A service whose sessions real turns and hostile ones fill, with a model that answers, and an operator."""
    settings = {
        "store": f"sqlite:///{tmp_path_factory.mktemp('browser') / 'memory.db'}",
        "budget": BUDGET,
        "key_cache_seconds": 0.2,
        "operator": "ops",
    }
    with (
        serving(lambda name, request: Reply(text="Your reservation is 4NQLHD.")) as model,
        served(**settings, ask_url=f"{model.url}/v1", ask_model="m") as running,
        running.client("acme") as client,
    ):
        seen = []
        for message in airline(TURNS):
            assert client.post("/v1/sessions/desk/messages", json=[message]).status_code == 201
            answer = client.get("/v1/sessions/desk/context")
            assert answer.status_code == 200
            seen.append(answer.json())
        turns = [{"role": "user", "content": f"{number} {HOSTILE * 4}", "name": "<b>x</b>"} for number in range(40)]
        path = f"/v1/sessions/{NAME.replace('/', '%2F')}/turns"
        assert client.post(path, json=turns).status_code == 201
        for number in range(60):
            client.post(f"/v1/sessions/trip-{number:02}/turns", json={"role": "user", "content": "hello"})
        yield Desk(service=running, seen=seen)


@pytest.fixture(scope="session")
def service(desk: Desk) -> Served:
    """The service alone."""
    return desk.service


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A real Chromium."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(find_executable()), timeout=PATIENCE)
        yield browser
        browser.close()
