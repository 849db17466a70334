"""A list is followed by a service that is killed at each step in turn: sent again, the request is answered in whole."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from dying import DyingService

from benchmarks.service.load import make_key
from optical_memory.client import OpticalMemoryClient
from optical_memory.errors import ConflictError, InputError
from optical_memory.service.master import new_master_key
from optical_memory.stores import open_store
from optical_memory.stores.scoped import ScopedStore
from optical_memory.turns import Turn

BEFORE = [{"role": "user", "content": f"said {n}"} for n in range(4)]
STEPS = (("begun", 1), ("rewound", 1), ("stored", 1), ("kept", 2))
"""Where it dies: with nothing changed yet, with the path cut, with the turns stored, with the answer kept."""


@contextmanager
def running(store: str, file: Path, **settings: str) -> Iterator[tuple[DyingService, OpticalMemoryClient]]:
    service = DyingService(store, file, **settings)
    try:
        with OpticalMemoryClient(service.url, make_key(store, "acme"), retries=60) as client:
            yield service, client
    finally:
        service.stop()


def shown(client: OpticalMemoryClient, session: str) -> list[str]:
    return [message["content"] for message in client.messages(session, budget=100_000)]


def told(answer: dict[str, Any]) -> dict[str, Any]:
    """What a following changed, by the places of its turns."""
    figures = {name: answer[name] for name in ("superseded", "returned", "forgotten")}
    return figures | {"added": [turn["seq"] for turn in answer["added"]]}


def test_a_list_is_followed_once_wherever_the_service_dies(store_url: str, tmp_path: Path) -> None:
    after = [*BEFORE[:2], {"role": "assistant", "content": "another way"}, {"role": "user", "content": "and on"}]
    with running(store_url, tmp_path / "armed") as (service, client), ThreadPoolExecutor(1) as thread:
        for step, times in STEPS:
            revision = client.follow(step, BEFORE)["revision"]
            service.arm(step, times)
            answer = thread.submit(client.follow, step, after, if_match=revision)
            service.dead()
            service.start()
            found = answer.result()
            assert told(found) == {"added": [4, 5], "superseded": 2, "returned": 0, "forgotten": 0}, step
            assert shown(client, step) == [message["content"] for message in after], step
            lines = [json.loads(line) for line in client.export(step).splitlines()]
            stored = [line["turn"]["id"] for line in lines if "turn" in line]
            assert len(stored) == 6 and stored[4:] == [turn["id"] for turn in found["added"]], step
            assert client.follow(step, BEFORE, if_match=found["revision"])["returned"] == 2, "its revision is the last"
            with pytest.raises(ConflictError):
                client.follow(step, after, if_match=revision)


def test_an_import_is_loaded_once_wherever_the_service_dies(tmp_path: Path) -> None:
    url, master = f"sqlite:///{tmp_path / 'memory.db'}", new_master_key()
    with running(url, tmp_path / "armed", master_key=master) as (service, client), ThreadPoolExecutor(1) as thread:
        client.follow("s", BEFORE)
        client.follow("s", [*BEFORE[:2], {"role": "user", "content": "another way"}])
        client.forget("s", turn_id="#2")
        file = client.export("s")
        for step, times in (("stored", 1), ("deleted", 1), ("loaded", 1), ("kept", 2)):
            service.arm(step, times)
            answer = thread.submit(client.load, step, file)
            service.dead()
            service.start()
            assert answer.result()["turns"] == 4, step
            assert client.export(step).splitlines()[1:-2] == file.splitlines()[1:-2], step
            with pytest.raises(InputError, match="already"):
                client.load(step, file)


def test_what_others_store_meanwhile_stays(redis_url: str, tmp_path: Path) -> None:
    url = f"{redis_url}?prefix={tmp_path.name}"
    with (
        running(url, tmp_path / "armed") as (service, client),
        ThreadPoolExecutor(1) as thread,
        closing(open_store(url)) as opened,
    ):
        store = ScopedStore(opened, "acme")
        for step, more in (("begun", BEFORE[:1]), ("stored", [*BEFORE, {"role": "assistant", "content": "mine"}])):
            revision = client.follow(step, BEFORE)["revision"]
            service.arm(step)
            answer = thread.submit(client.follow, step, more, if_match=revision)
            service.dead()
            store.append(step, [Turn(id="other", role="user", text="another's")])
            service.start()
            if step == "begun":  # nothing of it was stored, and the session is no more as it was
                with pytest.raises(ConflictError):
                    answer.result()
                assert shown(client, step) == [*(message["content"] for message in BEFORE), "another's"]
            else:
                assert told(answer.result()) == {"added": [4], "superseded": 0, "returned": 0, "forgotten": 0}
                assert shown(client, step) == [*(message["content"] for message in more), "another's"]
