"""Fidelity over HTTP: real pages read by a real reader, kept until something is forgotten, with clear refusals."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from server import Served, served

from optical_memory.readers import READERS
from optical_memory.service.fidelity import readers_here

TURNS = [{"role": ("user", "assistant")[n % 2], "content": f"QX{n:04d} " + "and so on " * 30} for n in range(40)]


def test_pages_are_read_and_the_figures_kept_until_a_turn_is_forgotten(service: Served) -> None:
    with service.client("acme") as client, service.client("other") as other:
        client.post("/v1/sessions/s/turns", json=TURNS)
        path = "/v1/sessions/s/fidelity"
        assert client.get(path).status_code == 404
        read = client.post(path, json={"pages": 1})
        assert read.status_code == 200, read.text
        tiers = read.json()["tiers"]
        assert len(tiers) >= 3 and max(one["precision"] for one in tiers.values()) > 0.9
        assert all(one["identifiers"] >= 1 for one in tiers.values())
        assert client.get(path).json() == read.json()
        assert client.get(path, params={"budget": 1_999}).status_code == 404, "another view"
        assert other.get(path).status_code == other.post(path, json={}).status_code == 404
        client.post("/v1/sessions/s/forget", json={"turn_id": "#3"})
        assert client.get(path).status_code == 404


def test_what_cannot_be_read_is_refused_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(store=f"sqlite:///{tmp_path / 'memory.db'}") as service, service.client() as client:
        client.post("/v1/sessions/s/turns", json=TURNS)
        path = "/v1/sessions/s/fidelity"
        for name in ("endpoint", "deepseek-ocr", "/etc", "owner/name", "nothing"):
            refused = client.post(path, json={"reader": name})
            assert refused.status_code == 404 and "mini" in refused.json()["detail"]
            assert client.get(path, params={"reader": name}).status_code == 404
        assert client.post(path, json={"pages": 100}).status_code == 422
        monkeypatch.setitem(sys.modules, "rapidocr", None)  # as where it is not installed
        missing = client.post(path, json={"reader": "rapidocr"})
        assert missing.status_code == 501 and "pip install 'optical-memory[rapidocr]'" in missing.json()["detail"]


def test_only_readers_that_need_nothing_but_a_name_can_be_named() -> None:
    assert {"mini", "rapidocr"} <= set(readers_here()) <= set(READERS.names())
    assert "endpoint" not in readers_here()
