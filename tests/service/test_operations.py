"""Traces, logs, figures and shutdowns of a service that works: names, counts and times, never content."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from server import Served, served

from benchmarks.service.histories import TENANT, Writer, checked
from benchmarks.service.load import make_key
from benchmarks.service.process import Service
from optical_memory.client import OpticalMemoryClient
from optical_memory.service import tracing
from optical_memory.service.logs import JsonFormatter

LONG = [{"role": "user", "content": f"Line {n}: secret ticket QX{n:04d} " + "and so on " * 30} for n in range(60)]


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Spans of a provider of the test's own: a process sets its provider once, and another test may have done so."""
    monkeypatch.delenv("OTEL_SDK_DISABLED", raising=False)
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
    tracing.tracer.cache_clear()
    yield exporter
    tracing.tracer.cache_clear()
    provider.shutdown()


def test_requests_store_calls_and_drawing_are_one_trace_without_content(
    store_url: str, spans: InMemorySpanExporter
) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with served(store=store_url, otel=True) as service, service.client("hidden-tenant") as client:
        client.post("/v1/sessions/hidden-session/turns", json=LONG)
        client.get("/v1/sessions/hidden-session/messages", headers={"traceparent": parent})
        client.get("/v1/sessions/absent/messages")
    found = spans.get_finished_spans()
    names = {span.name for span in found}
    assert {"POST /v1/sessions/{session}/turns", "GET /v1/sessions/{session}/messages", "draw", "store head"} <= names
    theirs = [span for span in found if f"{span.context.trace_id:032x}" == parent.split("-")[1]]
    assert {"draw", "store head", "GET /v1/sessions/{session}/messages"} <= {span.name for span in theirs}
    (request,) = [span for span in theirs if span.name.startswith("GET")]
    assert request.parent is not None and f"{request.parent.span_id:016x}" == parent.split("-")[2]
    assert request.attributes is not None and request.attributes["http.response.status_code"] == 200
    said = "".join(span.to_json() for span in found)
    assert "QX00" not in said and "hidden" not in said and "absent" not in said


def test_log_lines_are_json_without_content(store_url: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with served(store=store_url, log_requests=True) as service, service.client("acme") as client:
        client.post("/v1/sessions/hidden-session/turns", json=LONG)
        client.get("/v1/sessions/hidden-session/recall", params={"q": "secret"})
        service.engine.store.close()
        client.get("/v1/sessions/hidden-session/messages")
    try:
        raise ValueError("secret QX0001")
    except ValueError:
        logging.getLogger("optical_memory").exception("unexpected")
    own = [record for record in caplog.records if record.name.startswith("optical_memory")]
    lines = [json.loads(JsonFormatter().format(record)) for record in own]
    assert all({"at", "level", "logger", "message"} <= set(line) for line in lines)
    requests = [line for line in lines if line["logger"].endswith("requests")]
    assert [(one["method"], one["route"], one["status"], one["tenant"]) for one in requests] == [
        ("POST", "/v1/sessions/{session}/turns", 201, "acme"),
        ("GET", "/v1/sessions/{session}/recall", 200, "acme"),
        ("GET", "/v1/sessions/{session}/messages", 503, "acme"),
    ]
    assert lines[-1]["error"] == "ValueError" and "test_operations" in lines[-1]["where"]
    said = json.dumps([line for line in lines if line["logger"].endswith(("requests", "audit"))] + lines[-1:])
    assert "QX00" not in said and "hidden-session" not in said


def test_the_figures_that_are_promised_are_there(service: Served) -> None:
    with service.client() as client:
        client.post("/v1/sessions/s/turns", json=LONG)
        for _ in range(2):
            client.get("/v1/sessions/s/messages")
        client.get("/v1/sessions", headers={"Authorization": "Bearer none"})
        lines = client.get("/metrics").text.splitlines()
    figures = {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}
    assert figures['optical_memory_request_seconds_count{route="/v1/sessions/{session}/messages"}'] == 2
    assert figures["optical_memory_text_tokens_total"] > figures["optical_memory_context_tokens_total"] > 0
    assert figures['optical_memory_events_total{kind="epoch"}'] >= 1
    drawn, shown = figures["optical_memory_pages_drawn_total"], figures["optical_memory_pages_shown_total"]
    assert 0 < drawn < shown, "the second answer came from the cache"
    assert figures['optical_memory_refused_total{status="401"}'] == 1


def test_following_with_if_match(service: Served) -> None:
    with service.client() as client:
        path = "/v1/sessions/s/messages"
        none = client.put(path, json={"messages": LONG[:2]}, headers={"If-Match": '"none"'})
        assert none.status_code == 200
        assert client.put(path, json={"messages": LONG[:3]}, headers={"If-Match": '"none"'}).status_code == 412
        held = none.headers["etag"]
        assert client.put(path, json={"messages": LONG[:3]}, headers={"If-Match": held}).status_code == 200
        late = client.put(path, json={"messages": LONG[:4]}, headers={"If-Match": held})
        assert late.status_code == 412 and late.headers["content-type"] == "application/problem+json"
        assert client.put(path, json={"messages": LONG[:4]}, headers={"If-Match": "nonsense"}).status_code == 400
        assert client.get("/v1/sessions").json()["sessions"][0]["turns"] == 3
    with OpticalMemoryClient(service.url, service.key("acme")) as own:
        revision = own.follow("t", LONG[:1], if_match="none")["revision"]
        assert own.follow("t", LONG[:2], if_match=revision)["added"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_shutdown_under_load_loses_nothing_acknowledged(tmp_path: Path, workers: str) -> None:
    store = f"sqlite:///{tmp_path / 'memory.db'}"
    key, service, stop = make_key(store, TENANT), Service(store, workers=workers), threading.Event()
    clients = [OpticalMemoryClient(service.url, key, timeout_seconds=60, retries=300) for _ in range(4)]
    writers = [Writer(client, f"writer-{place}", stop, forgets=False) for place, client in enumerate(clients)]
    threads = [threading.Thread(target=writer.run) for writer in writers]
    for thread in threads:
        thread.start()
    while min(len(writer.own) for writer in writers) < 5:
        assert all(thread.is_alive() for thread in threads)
    assert service.stop() in (0, -15)
    service.start()
    stop.set()
    for thread in threads:
        thread.join()
    service.stop()
    found = checked(store, writers)
    assert (found["lost"], found["doubled"], found["disordered"], found["violations"]) == (0, 0, 0, [])
    for client in clients:
        client.close()
