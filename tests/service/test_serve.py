"""``optical-memory serve`` and ``doctor`` as real processes: first start, refusals, shutdown, kill -9 under load."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from http.client import HTTPConnection
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from benchmarks.service.chaos import crash
from benchmarks.service.process import Service
from optical_memory.cli import app
from optical_memory.cli.doctor import is_near
from optical_memory.cli.serve import prepare
from optical_memory.client import OpticalMemoryClient
from optical_memory.errors import InputError
from optical_memory.service.keys import Keyring
from optical_memory.service.records import open_records
from optical_memory.service.settings import ServiceSettings, settings_table

DOC = Path(__file__).parents[2] / "docs" / "service.md"


def test_with_no_settings_it_serves_on_sqlite_and_prints_a_key_and_a_url(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "from optical_memory.cli import main; main()", "serve", "--port", "0"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip().removeprefix("listening at ")
        key = process.stdout.readline().strip().rpartition(" ")[2]
        dashboard, _, link = process.stdout.readline().strip().removeprefix("dashboard: ").partition("#once=")
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+", url) and key.startswith("om_")
        assert dashboard == f"{url}/dashboard" and key not in link
        with OpticalMemoryClient(url, key, retries=50) as client:
            client.add("first", "user", "hello")
            assert client.messages("first") == [{"role": "user", "content": "hello"}]
        statuses = [
            httpx.post(f"{dashboard}/api/login", json={"link": link}, timeout=120).status_code for _ in range(2)
        ]
        assert statuses == [200, 401], "the link logs in once"
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=120)
    assert process.returncode in (0, -signal.SIGTERM) and key not in log and link not in log and "hello" not in log
    assert (tmp_path / "memory.db").is_file()


def test_it_refuses_to_listen_elsewhere_without_keys_and_tls(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'memory.db'}"
    for host in ("0.0.0.0", "::", "example.org", "192.0.2.1"):
        with pytest.raises(InputError, match="keys create"):
            prepare(ServiceSettings(store=store, host=host))
    key = prepare(ServiceSettings(store=store, host="::1"))
    assert key is not None and prepare(ServiceSettings(store=store, host="localhost")) is None
    with pytest.raises(InputError, match="plaintext"):
        prepare(ServiceSettings(store=store, host="0.0.0.0"))
    prepare(ServiceSettings(store=store, host="0.0.0.0", plaintext=True))
    tls = {"tls_cert": tmp_path / "cert.pem", "tls_key": tmp_path / "key.pem"}
    prepare(ServiceSettings(store=store, host="0.0.0.0", **tls))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="both"):
        prepare(ServiceSettings(store=store, tls_cert=tmp_path / "cert.pem"))


def test_a_shutdown_lets_requests_under_way_end(tmp_path: Path) -> None:
    store = f"sqlite:///{tmp_path / 'memory.db'}"
    records = open_records(store)
    key = Keyring(records).create("acme")[1]
    records.close()
    service = Service(store)
    body = b'{"role": "user", "content": "on the way"}'
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "Content-Length": str(len(body))}
    connection = HTTPConnection("127.0.0.1", service.port, timeout=60)
    connection.putrequest("POST", "/v1/sessions/s/turns")
    for name, value in (headers | {"Expect": "100-continue"}).items():
        connection.putheader(name, value)
    connection.endheaders()
    assert connection.sock.recv(1_000) == b"HTTP/1.1 100 Continue\r\n\r\n"  # it waits for the body: it is under way
    threading.Timer(1.0, connection.send, [body]).start()
    service.stop()
    assert connection.getresponse().status == 201
    connection.close()


def test_killed_under_load_it_loses_and_doubles_nothing(store_url: str) -> None:
    counted = crash(store_url, kills=2, writers=3)
    assert counted["append"] and counted["read"]
    assert (counted["lost"], counted["doubled"], counted["disordered"], counted["violations"]) == (0, 0, 0, [])


def test_the_doctor_looks_at_everything_and_says_the_way_out(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPTICAL_MEMORY_RENDERER", "dense")

    def run(*arguments: str) -> dict[str, dict[str, str]]:
        result = CliRunner().invoke(app, ["doctor", "--json", *arguments])
        found = {one["about"]: one for one in json.loads(result.stdout)}
        assert result.exit_code == any(one["state"] == "wrong" for one in found.values())
        return found

    found = run("--store", store_url)
    assert {name: one["state"] for name, one in found.items()} == {
        "store": "ok",
        "durability": "ok",
        "keys": "warning",
        "master key": "warning",
        "browser": "ok",
        "fonts": "ok",
        "clock": "ok",
    }
    monkeypatch.setenv("OPTICAL_MEMORY_MASTER_KEY", "not a key")
    assert run("--store", store_url)["master key"]["state"] == "wrong"
    gone = run("--store", "redis://127.0.0.1:9/0")
    assert gone["store"]["state"] == "wrong" and gone["store"]["way_out"]


@pytest.mark.parametrize(
    ("store", "near"),
    [
        ("redis://localhost/0", True),
        ("redis://:secret@127.0.0.1:6379/0", True),
        ("redis://[::1]:6379", True),
        ("redis+sentinel://localhost,127.0.0.1:26379/memories/0", True),
        ("redis+sentinel://localhost,cache:26379/memories/0", False),
        ("redis://cache:6379/0", False),
        ("redis://localhost@cache/0", False),
    ],
)
def test_the_doctor_tells_this_machine_from_others(store: str, near: bool) -> None:
    assert is_near(store) == near


def test_the_table_of_settings_in_the_documentation_is_generated() -> None:
    assert settings_table() in DOC.read_text("utf-8")
    assert settings_table() in CliRunner().invoke(app, ["serve", "--settings"]).stdout
