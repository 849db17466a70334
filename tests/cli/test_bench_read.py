"""``optical-memory bench read`` against a real HTTP server that reads small cells badly."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from optical_memory.budget import get_profile
from optical_memory.cli import app
from optical_memory.errors import InputError, NotFoundError
from optical_memory.policies import legible_tiers
from optical_memory.readers.legibility import BASIC, Trial, trials

pytest.importorskip("httpx")


class Reader(ThreadingHTTPServer):
    """Knows the text of each page by its pixels, and gets one character in so many wrong at each tier."""

    daemon_threads = True

    def __init__(self, pages: list[Trial], every: dict[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.known = {hashlib.sha256(trial.page.png).hexdigest(): trial for trial in pages}
        self.every = every
        self.asked: list[tuple[Trial, dict[str, Any], str | None]] = []

    def read(self, trial: Trial) -> str:
        letters = list(trial.page.text)
        for place in range(0, len(letters), self.every.get(trial.tier, len(letters) + 1)):
            letters[place] = "x" if letters[place].strip() and place else letters[place]
        return "".join(letters).replace("\n", "\u21b5")


class Handler(BaseHTTPRequestHandler):
    server: Reader

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        image = body["messages"][0]["content"][0]["image_url"]
        png = base64.b64decode(image["url"].partition(",")[2])
        trial = self.server.known[hashlib.sha256(png).hexdigest()]
        self.server.asked.append((trial, body, image.get("detail")))
        if self.server.every.get(trial.tier) == 0:
            data, status = b'{"error": "image refused"}', 400
        else:
            message = {"choices": [{"message": {"content": self.server.read(trial)}}], "usage": {"prompt_tokens": 9}}
            data, status = json.dumps(message).encode(), 200
        self.send_response(status)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:
        return


MODEL = "gpt-6.2-sol"
EVERY = {"large": 1_000, "base": 20, "gist": 4}


@pytest.fixture
def server() -> Iterator[Reader]:
    profile = get_profile(MODEL)
    pages = [*trials(profile), *trials(profile, kinds=["chinese"]), *trials(profile, tiers=[], cells=[(5, 8)])]
    with Reader(pages, dict(EVERY)) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def bench(server: Reader, *options: str, given: str = "") -> Any:
    url = f"http://127.0.0.1:{server.server_port}/v1"
    return CliRunner().invoke(app, ["bench", "read", "--endpoint", url, "--model", MODEL, *options], input=given)


def test_it_measures_each_tier_and_writes_a_profile(server: Reader, tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    ran = bench(server, "--yes", "-o", str(path))
    assert ran.exit_code == 0, ran.output
    assert len(server.asked) == 9 and {detail for _, _, detail in server.asked} == {"high"}
    assert {body["model"] for _, body, _ in server.asked} == {MODEL}
    measured, known = get_profile(path), get_profile(MODEL)
    assert measured.name == MODEL and measured.tiers == known.tiers and measured.price == known.price
    assert measured.legibility["large"] > 0.998 and 0.93 < measured.legibility["base"] < 0.96
    assert 0.7 < measured.legibility["gist"] < 0.8 and set(measured.reads) == set(BASIC)
    assert "bench read: gpt-6.2-sol at 127.0.0.1, dense" in measured.legibility_source
    assert [tier.name for tier in legible_tiers(measured)] == ["large", "base"]


def test_what_it_costs_is_shown_before_anything_is_sent(server: Reader) -> None:
    ran = bench(server, given="n\n")
    assert "9 pages" in ran.stderr and "about $ " in ran.stderr and "Go on?" in ran.stderr
    assert ran.exit_code != 0 and not server.asked


def test_identifiers_scripts_and_other_cells(server: Reader) -> None:
    ran = bench(server, "--yes", "--json", "--tiers", "large", "--kinds", "identifiers,chinese")
    results = {row["kind"]: row for row in json.loads(ran.stdout)["results"]}
    assert results["identifiers"]["exact"] > 0.95 and results["chinese"]["exact"] is None
    assert json.loads(ran.stdout)["reads"]["chinese"]["large"] > 0.99
    assert set(json.loads(ran.stdout)["legibility"]) == {"large"}
    ran = bench(server, "--yes", "--json", "--tiers", "large", "--kinds", "code", "--cells", "5x8")
    found = {row["cell"]: row for row in json.loads(ran.stdout)["results"]}
    assert set(found) == {"10×16", "5×8"} and found["5×8"]["characters"] > 0.99
    assert set(json.loads(ran.stdout)["reads"]["code"]) == {"large"}, "other cells are not the profile's"


def test_a_page_that_is_refused_is_told_and_left_out(server: Reader, tmp_path: Path) -> None:
    server.every["base"] = 0
    ran = bench(server, "--yes", "--kinds", "prose", "-o", str(tmp_path / "own.toml"), "--json")
    (refused,) = [row for row in json.loads(ran.stdout)["results"] if row["failed"]]
    assert refused["tier"] == "base" and "400" in refused["failed"] and refused["characters"] == 0.0
    assert get_profile(tmp_path / "own.toml").legibility["base"] == get_profile(MODEL).legibility["base"]


def test_what_is_no_model_kind_tier_or_cell_is_refused(server: Reader) -> None:
    url = f"http://127.0.0.1:{server.server_port}/v1"
    ran = CliRunner().invoke(app, ["bench", "read", "--endpoint", url, "--model", "my-model", "--yes"])
    assert isinstance(ran.exception, NotFoundError) and "--profile" in str(ran.exception)
    assert isinstance(bench(server, "--kinds", "poems", "--yes").exception, InputError)
    assert isinstance(bench(server, "--tiers", "huge", "--yes").exception, NotFoundError)
    assert isinstance(bench(server, "--cells", "wide", "--yes").exception, InputError)
    assert not server.asked
    ran = CliRunner().invoke(
        app, ["bench", "read", "--endpoint", url, "--model", "own", "--profile", MODEL, "--yes", "--tiers", "large"]
    )
    assert ran.exit_code == 0, ran.output
