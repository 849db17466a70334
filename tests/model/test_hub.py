"""A checkpoint from a hub: a server that answers as the Hugging Face hub does, and the client that users have."""

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
constants = pytest.importorskip("huggingface_hub.constants")

from optical_memory.errors import CheckpointError  # noqa: E402
from optical_memory.model import load_model  # noqa: E402

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Serve the tiny checkpoint as ``someone/tiny``, with a file that is no part of it; yield the files asked for."""
    files = {path.name: path.read_bytes() for path in tiny_checkpoint.iterdir()} | {"modeling_code.py": b"raise 1"}
    fetched: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.answer(body=False)

        def do_GET(self) -> None:
            self.answer(body=True)

        def answer(self, *, body: bool) -> None:
            path = self.path.split("?")[0]
            name = path.rpartition("/")[2]
            if path.startswith("/api/models/someone/tiny"):
                listed: Any = [{"rfilename": each} for each in sorted(files)]
                if "/tree/" in path:
                    listed = [{"type": "file", "path": n, "size": len(d), "oid": n} for n, d in files.items()]
                else:
                    listed = {"id": "someone/tiny", "sha": COMMIT, "siblings": listed, "private": False}
                self.send(200, json.dumps(listed).encode(), body, {"Content-Type": "application/json"})
            elif path.startswith("/someone/tiny/resolve/") and name in files:
                if body:
                    fetched.append(name)
                headers = {"ETag": f'"{hashlib.sha1(files[name]).hexdigest()}"', "X-Repo-Commit": COMMIT}
                self.send(200, files[name], body, headers)
            else:
                self.send(404, b"{}", body, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "no such repository"})

        def send(self, status: int, data: bytes, body: bool, headers: dict[str, str]) -> None:
            self.send_response(status)
            for key, value in (headers | {"Content-Length": str(len(data))}).items():
                self.send_header(key, value)
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield fetched
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_hub_id_is_fetched_once_and_without_code(hub: list[str], tiny_checkpoint: Path) -> None:
    model = load_model("someone/tiny")
    expected = {path.name for path in tiny_checkpoint.iterdir()}
    assert set(hub) == expected and "modeling_code.py" not in hub
    again = load_model("someone/tiny")
    assert len(hub) == len(expected)  # the second came from the cache
    assert model.logits([5, 6, 7]).equal(again.logits([5, 6, 7]))
    assert model.generate("text", max_new_tokens=2).usage.new_tokens >= 0  # its tokenizer came too


def test_fetched_files_are_used_offline(hub: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    load_model("someone/tiny")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    load_model("someone/tiny")
    with pytest.raises(CheckpointError, match=r"'someone/other' from the Hugging Face hub .* no network"):
        load_model("someone/other")


def test_a_repository_that_is_not_there_is_named(hub: list[str]) -> None:
    with pytest.raises(CheckpointError, match="someone/other"):
        load_model("someone/other")
