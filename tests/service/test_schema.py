"""Schemathesis over the whole schema, against a real server: no 5xx, and every error is a problem."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from server import Served, served

from optical_memory.service.app import create_app
from optical_memory.service.settings import ServiceSettings

schema = schemathesis.openapi.from_dict(create_app(ServiceSettings(store="memory://")).openapi())


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(store=f"sqlite:///{tmp_path_factory.mktemp('schema') / 'memory.db'}") as running:
        yield running


@schema.parametrize()
@settings(max_examples=12, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck))
def test_no_request_breaks_the_service(case: schemathesis.Case, service: Served) -> None:
    headers = {"Authorization": f"Bearer {service.key('acme')}"}
    answer = case.call(base_url=service.url, headers=headers, timeout=120)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"][0] == "application/problem+json"
