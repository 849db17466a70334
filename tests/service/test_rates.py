"""Rate limits, on real stores and through the service."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from server import served

from optical_memory.errors import InputError
from optical_memory.service.keys import Keyring
from optical_memory.service.problems import Problem
from optical_memory.service.rates import Rate, Rates, parse_rates
from optical_memory.service.records import open_records


def test_rates_are_requests_in_seconds() -> None:
    assert parse_rates("600/60, 20000/3600") == (Rate(most=600, seconds=60), Rate(most=20_000, seconds=3_600))
    assert parse_rates("") == ()
    for text in ("600", "0/60", "600/0", "-1/60", "600/60s", "a/b"):
        with pytest.raises(InputError, match="REQUESTS/SECONDS"):
            parse_rates(text)


def test_replicas_count_together_over_several_windows(store_url: str) -> None:
    now = [1_000.0]
    opened = [open_records(store_url) for _ in range(2)]
    ring = Keyring(opened[0])
    one, two = ring.create("acme")[0], ring.create("acme")[0]
    other = ring.create("other")[0]
    limits = {"of_key": parse_rates("3/10 4/100"), "of_tenant": parse_rates("5/100")}
    here, there = (Rates(records, clock=lambda: now[0], **limits) for records in opened)
    assert [rates.take(one).remaining for rates in (here, there, here)] == [2, 1, 0]
    with pytest.raises(Problem) as told:
        there.take(one)
    assert told.value.status_code == 429 and told.value.headers is not None
    assert told.value.headers["Retry-After"] == "10" and told.value.headers["RateLimit-Remaining"] == "0"
    assert here.take(two).remaining == 0, "the tenant has one left of five"
    now[0] = 1_010.0
    with pytest.raises(Problem):
        here.take(one)
    assert here.take(other).remaining == 2, "another tenant is not touched"
    now[0] = 1_100.0
    assert there.take(one).remaining == 2
    for records in opened:
        records.close()


def test_the_service_says_what_remains_and_refuses_the_rest(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'memory.db'}"
    with served(store=store, key_rates="2/86400") as service, service.client() as client:
        service.engine.rates._clock = lambda: 1_000.0  # else the window may begin anew here: it is midnight some time
        answers = [client.get("/v1/sessions") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["1", "0", "0"]
        assert int(answers[2].headers["retry-after"]) > 0
        assert answers[2].headers["content-type"] == "application/problem+json"
        with service.client() as other:
            assert other.get("/v1/sessions").status_code == 200
        assert httpx.get(f"{service.url}/healthz", timeout=120).status_code == 200
        assert client.get("/v1/keys").status_code == 429
