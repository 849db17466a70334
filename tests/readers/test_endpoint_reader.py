"""The endpoint reader against a real HTTP server of the test's own."""

import io
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from PIL import Image

from optical_memory.endpoint import KEY_VARIABLE
from optical_memory.errors import InputError, ReaderError
from optical_memory.readers import load_reader
from optical_memory.readers.endpoint import EndpointReader

pytest.importorskip("httpx")

Reply = tuple[int, dict[str, str], bytes]


class Server(ThreadingHTTPServer):
    """Answers from a list of replies, and keeps what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies: list[Reply | Callable[[], Reply]] = []
        self.asked: list[tuple[str, dict[str, str], Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, {key.lower(): value for key, value in self.headers.items()}, body))
        reply = self.server.replies.pop(0)
        status, headers, data = reply() if callable(reply) else reply
        if status == 0:  # hang up without an answer
            self.connection.close()
            return
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def good(text: Any = "read this", **more: Any) -> Reply:
    return 200, {}, json.dumps({"choices": [{"message": {"content": text}}], **more}).encode()


def png(side: int = 16) -> bytes:
    out = io.BytesIO()
    Image.new("L", (side, side), 255).save(out, "PNG")
    return out.getvalue()


def reader_for(server: Server, **options: Any) -> EndpointReader:
    return EndpointReader(server.url, model="some-model", **options)


def test_a_page_is_sent_and_the_answer_taken(server: Server) -> None:
    server.replies = [good("first\nsecond", usage={"prompt_tokens": 99})]
    reading = load_reader("endpoint", url=server.url + "/", model="some-model", key="secret").read(png())
    assert (reading.text, reading.tokens) == ("first\nsecond", 99)
    assert reading.seconds > 0
    path, headers, body = server.asked[0]
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == "Bearer secret"
    assert (body["model"], body["temperature"]) == ("some-model", 0)
    image, prompt = body["messages"][0]["content"]
    assert image["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert "exactly" in prompt["text"]


def test_the_key_comes_from_the_environment_and_stays_out_of_sight(
    server: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    monkeypatch.setenv(KEY_VARIABLE, "from-environment")
    server.replies = [(401, {}, b"no")]
    reader = reader_for(server)
    with pytest.raises(ReaderError, match="answered 401: 'no'") as caught:
        reader.read(png())
    assert server.asked[0][1]["authorization"] == "Bearer from-environment"
    assert "from-environment" not in f"{caught.value!r} {reader!r} {vars(reader)} {caplog.text}"
    monkeypatch.delenv(KEY_VARIABLE)
    server.replies = [good()]
    reader_for(server).read(png())
    assert "authorization" not in server.asked[1][1]


def test_passing_errors_are_tried_again(server: Server) -> None:
    server.replies = [(503, {}, b"busy"), (0, {}, b""), (429, {"Retry-After": "0"}, b""), good()]
    assert reader_for(server).read(png()).text == "read this"
    assert len(server.asked) == 4


def test_tries_are_counted(server: Server) -> None:
    server.replies = [(500, {}, b"broken")] * 2
    with pytest.raises(ReaderError, match=r"answered 500: 'broken' \(tried 2 times\)"):
        reader_for(server, retries=1).read(png())


def test_a_slow_endpoint_times_out(server: Server) -> None:
    over = threading.Event()

    def slow() -> Reply:
        over.wait()
        return good()

    server.replies = [slow]
    with pytest.raises(ReaderError, match="ReadTimeout"):
        reader_for(server, timeout_seconds=0.2, retries=0).read(png())
    over.set()


def test_an_endpoint_that_nobody_serves_is_an_error() -> None:
    with pytest.raises(ReaderError, match="ConnectError"):
        EndpointReader("http://127.0.0.1:9", model="m", retries=0).read(png())


@pytest.mark.parametrize(
    "data",
    [b"<html>", b"{}", b'{"choices": []}', b'{"choices": [{"message": {"content": 5}}]}', b"[1]", b"\xff\xfe"],
)
def test_an_answer_of_another_shape_is_an_error(server: Server, data: bytes) -> None:
    server.replies = [(200, {}, data)]
    with pytest.raises(ReaderError, match="endpoint"):
        reader_for(server).read(png())


def test_sizes_are_bounded(server: Server) -> None:
    server.replies = [(200, {}, b" " * 10_000)]
    with pytest.raises(ReaderError, match="more than 1,000 bytes"):
        reader_for(server, max_answer_bytes=1000).read(png())
    with pytest.raises(ReaderError, match="at most 10 are sent"):
        reader_for(server, max_image_bytes=10).read(png())
    assert len(server.asked) == 1


def test_no_redirect_is_followed(server: Server) -> None:
    server.replies = [(307, {"Location": server.url + "/elsewhere"}, b"")]
    with pytest.raises(ReaderError, match="answered 307"):
        reader_for(server, key="secret").read(png())
    assert len(server.asked) == 1


def test_an_answer_in_parts_is_put_together(server: Server) -> None:
    server.replies = [good([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])]
    assert reader_for(server).read(png()).text == "ab"


def test_a_bad_image_or_endpoint_is_refused(server: Server) -> None:
    with pytest.raises(ReaderError, match="not a readable image"):
        reader_for(server).read(b"text")
    for url in ("127.0.0.1:8000", "ftp://host/v1", "http://", "https://user:secret@host/v1"):
        with pytest.raises(InputError) as caught:
            EndpointReader(url, model="m")
        assert "secret" not in str(caught.value)
