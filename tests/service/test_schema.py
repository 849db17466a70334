"""Schemathesis over the schema of every route, against a real server: no 5xx, and every error is a problem."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from every_route import every_route, log_in, whole_schema
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, settings
from server import Served, served

from optical_memory.service.app import create_app
from optical_memory.service.settings import ServiceSettings

REAL = "real"
"""A session that is there: each request is sent to it too, after the one that names whatever comes."""
SLOW = {("POST", "/v1/sessions/{session}/fidelity"), ("POST", "/dashboard/api/fidelity")}
"""A reader reads pages for seconds: of the real session only its own tests have it do so."""
everything = whole_schema(create_app(ServiceSettings(store="memory://", proxy="on")))
schema = schemathesis.openapi.from_dict(everything)
answered: dict[tuple[str, str], Counter[int]] = {}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(store=f"sqlite:///{tmp_path_factory.mktemp('schema') / 'memory.db'}", proxy="on") as running:
        yield running


@schema.parametrize()
@settings(max_examples=8, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))
def test_no_request_breaks_the_service(case: schemathesis.Case, service: Served) -> None:
    key = service.key("acme")
    with httpx.Client(base_url=service.url, headers={"Authorization": f"Bearer {key}"}, timeout=120) as client:
        log_in(client, key)
        client.put(f"/v1/sessions/{REAL}/messages", json={"messages": [{"role": "user", "content": "hello"}]})
        headers, cookies = dict(client.headers), dict(client.cookies)
    where = (case.method.upper(), case.path)
    for given in (case.path_parameters, case.query):
        sent = case.call(base_url=service.url, headers=headers, cookies=cookies, timeout=120)
        answered.setdefault(where, Counter())[sent.status_code] += 1
        assert sent.status_code < 500, sent.text
        if sent.status_code >= 400:
            assert sent.headers["content-type"][0] == "application/problem+json"
        if where in SLOW or "session" not in (given or {}):
            continue
        given["session"] = REAL


def test_the_schema_has_every_route(service: Served) -> None:
    """Routes cannot be forgotten: the schema is made from those that the app has, and those are all that it answers."""
    described: set[tuple[str, str]] = {
        (method.upper(), path) for path, methods in everything["paths"].items() for method in methods
    }
    assert described == {(method, path) for method, path in every_route(service.app) if path != "/openapi.json"}
    public: dict[str, Any] = service.app.openapi()["paths"]
    for path, methods in public.items():
        for method, operation in methods.items():
            for body in operation.get("requestBody", {}).get("content", {}).values():
                assert "example" in json.dumps(_resolved(service.app, body)), f"no example of {method} {path}"
    hidden = {path for _, path in described} - set(public)
    assert hidden and all(path.startswith("/dashboard") for path in hidden)


def _resolved(app: FastAPI, body: dict[str, Any]) -> Any:
    """Return a body as the schema describes it, with the model that it names."""
    name = body.get("schema", {}).get("$ref", "").rpartition("/")[2]
    return [body, app.openapi()["components"]["schemas"].get(name)]
