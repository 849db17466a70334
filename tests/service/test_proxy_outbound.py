"""Providers that are reached through an outbound proxy, over TLS, as the environment says."""

from __future__ import annotations

import datetime
import ipaddress
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from provider_server import Provider, serving
from proxying import KEY, done
from server import served

from optical_memory.errors import InputError
from optical_memory.service.proxy.upstream import Upstream

BODY = {"model": "gpt-5", "messages": [{"role": "user", "content": "Hello"}]}
NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


class Between:
    """A forward proxy: what it was asked for, and with which credentials."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.credentials: list[str | None] = []
        self.port = 0


@contextmanager
def forwarding() -> Iterator[Between]:
    """Run a forward proxy: tunnels (CONNECT), and requests with a whole URL."""
    between = Between()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_CONNECT(self) -> None:
            self._saw()
            host, _, port = self.path.partition(":")
            with socket.create_connection((host, int(port))) as there:
                self.send_response(200)
                self.end_headers()
                self.close_connection = True
                pair = [self.connection, there]
                while True:
                    for one in select.select(pair, [], [])[0]:
                        data = one.recv(65_536)
                        if not data:
                            return
                        pair[one is self.connection].sendall(data)

        def do_POST(self) -> None:
            self._saw()
            url = httpx.URL(self.path)
            headers = {name: value for name, value in self.headers.items() if not name.lower().startswith("proxy-")}
            there = HTTPConnection(url.host, url.port)
            there.request("POST", url.raw_path.decode(), self.rfile.read(int(headers["content-length"])), headers)
            answer = there.getresponse()
            data = answer.read()
            self.send_response(answer.status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            there.close()

        def _saw(self) -> None:
            between.asked.append(f"{self.command} {self.path}")
            between.credentials.append(self.headers.get("proxy-authorization"))

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        between.port = server.server_port
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield between
        finally:
            server.shutdown()


def certified(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Return the TLS of a server at 127.0.0.1, and the file with the certificate to trust."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "provider")])
    host = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(host, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "trusted.pem").write_bytes(made.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(folder / "trusted.pem", folder / "key.pem")
    return tls, folder / "trusted.pem"


@pytest.fixture(autouse=True)
def no_proxy_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def asked(folder: Path, provider: Provider) -> httpx.Response:
    """Send a request through a service that was started now."""
    with served(store=f"sqlite:///{folder / 'm.db'}", proxy="on", proxy_openai_url=provider.url) as service:
        headers = {KEY: service.key("acme"), "authorization": "Bearer sk-own"}
        with httpx.Client(trust_env=False, timeout=600) as client:
            return client.post(f"{service.url}/v1/chat/completions", json=BODY, headers=headers)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "ALL_PROXY"])
def test_a_provider_is_reached_through_the_environments_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with forwarding() as between, serving(done) as provider:
        monkeypatch.setenv(name, f"http://127.0.0.1:{between.port}")
        assert asked(tmp_path, provider).status_code == 200
        assert between.asked == [f"POST {provider.url}/v1/chat/completions"] and len(provider.bodies) == 1


def test_over_tls_the_proxy_is_a_tunnel_and_its_password_goes_no_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls, trusted = certified(tmp_path)
    with forwarding() as between, serving(done, tls=tls) as provider:
        monkeypatch.setenv("HTTPS_PROXY", f"http://user:pass@127.0.0.1:{between.port}")
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        assert asked(tmp_path, provider).status_code == 200
        assert between.asked == [f"CONNECT {provider.url.removeprefix('https://')}"]
        assert between.credentials == ["Basic dXNlcjpwYXNz"]
        [(_, head)] = provider.heads
        assert head["proxy-authorization"] is None and head["authorization"] == "Bearer sk-own"


def test_a_certificate_that_is_not_trusted_is_502(tmp_path: Path) -> None:
    tls, _ = certified(tmp_path)
    with serving(done, tls=tls) as provider:
        assert asked(tmp_path, provider).status_code == 502 and provider.bodies == []


@pytest.mark.parametrize("bypass", ["127.0.0.1", "127.0.0.1:{port}", "*"])
def test_hosts_of_no_proxy_are_reached_directly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bypass: str) -> None:
    with forwarding() as between, serving(done) as provider:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{between.port}")
        monkeypatch.setenv("NO_PROXY", bypass.format(port=provider.url.rpartition(":")[2]))
        assert asked(tmp_path, provider).status_code == 200
        assert between.asked == [] and len(provider.bodies) == 1


def test_a_proxy_of_another_kind_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://127.0.0.1:1080")
    with pytest.raises(InputError, match="socks5"):
        Upstream({"openai": "https://api.openai.com"}, seconds=1.0)
