"""Redis under real Sentinels and over real TLS: found, followed when the master changes, waited for."""

from __future__ import annotations

import datetime
import ipaddress
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from benchmarks.service.ports import free_port
from benchmarks.service.redis_process import RedisProcess, program
from benchmarks.service.topologies import Sentinels, until
from optical_memory.errors import InputError, StoreUnavailableError
from optical_memory.service.records import open_records
from optical_memory.stores import open_store
from optical_memory.turns import Turn

Key = ec.EllipticCurvePrivateKey


def turn(text: str) -> Turn:
    return Turn(id=text, role="user", text=text)


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinels]:
    setup = Sentinels(tmp_path_factory.mktemp("sentinels"))
    yield setup
    setup.close()


def test_the_store_follows_the_master_and_loses_nothing_that_was_acknowledged(sentinels: Sentinels) -> None:
    store, records = open_store(f"{sentinels.url}&timeout=2"), open_records(f"{sentinels.url}&timeout=2")
    store.append("s", [turn("before")])
    records.put("r", b"before", seconds=600)
    before = sentinels.master_port()
    assert f":{before} by 3 Sentinels, 2 replicas" in records.describe()
    sentinels.master.kill()
    until(lambda: sentinels.master_port() != before)

    def stored() -> bool:
        try:
            return bool(store.append("s", [turn("after")]))
        except StoreUnavailableError:
            return False

    until(stored, 120)
    assert [one.text for one in store.turns("s")] == ["before", "after"]
    assert records.get("r") == b"before" and f":{before} " not in records.describe()
    for opened in (store, records):
        opened.close()


def test_without_a_replica_to_wait_for_nothing_is_acknowledged(tmp_path: Path) -> None:
    redis = RedisProcess(tmp_path)
    store = open_store(f"{redis.url}?replicas=1&retries=0")
    try:
        with pytest.raises(StoreUnavailableError, match="replicas"):
            store.append("s", [turn("alone")])
        with pytest.raises(StoreUnavailableError, match="replicas"):
            open_records(f"{redis.url}?replicas=1").put("r", b"alone", seconds=600)
    finally:
        store.close()
        redis.kill()


def test_a_service_that_no_sentinel_knows_is_named(sentinels: Sentinels) -> None:
    with pytest.raises(StoreUnavailableError, match="other"):
        open_store(sentinels.url.replace("/memories/", "/other/") + "&retries=0")
    with pytest.raises(InputError, match="SERVICE"):
        open_store("redis+sentinel://127.0.0.1:1")


def test_no_connection_to_a_sentinel_is_left_for_the_collector(sentinels: Sentinels) -> None:
    def held() -> int:
        here = psutil.Process().net_connections("tcp")
        return sum(
            one.status == "ESTABLISHED" and bool(one.raddr) and one.raddr.port in sentinels.ports for one in here
        )

    for opened in (open_store, open_records):
        with pytest.raises(StoreUnavailableError) as told:
            opened(sentinels.url.replace("/memories/", "/other/") + "&retries=0")
        assert held() == 0 and told.tb is not None, "what the error still refers to is closed"
        one = opened(sentinels.url)
        assert held() > 0
        one.close()
        assert held() == 0


def test_tls_to_a_server_and_to_sentinels_checks_certificates(tmp_path: Path) -> None:
    _certificates(tmp_path)
    files = {"tls_cert_file": "server.pem", "tls_key_file": "server.key", "tls_ca_cert_file": "ca.pem"}
    tls = {name: str(tmp_path / file) for name, file in files.items()} | {"tls_auth_clients": "no"}
    port, sentinel_port = free_port(), free_port()
    redis = RedisProcess(tmp_path / "data", tls_port=str(port), tls_replication="yes", **tls)
    lines = ["port 0", f"tls-port {sentinel_port}", "tls-replication yes", f"dir {tmp_path}"]
    lines += [f"{name.replace('_', '-')} {value}" for name, value in tls.items()]
    lines += [f"sentinel monitor main 127.0.0.1 {port} 1"]
    (tmp_path / "sentinel.conf").write_text("\n".join(lines) + "\n")
    sentinel = subprocess.Popen([program(), str(tmp_path / "sentinel.conf"), "--sentinel"], stdout=subprocess.DEVNULL)
    ca = f"ssl_ca_certs={tmp_path / 'ca.pem'}"
    try:
        for url in (
            f"rediss://127.0.0.1:{port}/0?{ca}",
            f"rediss+sentinel://127.0.0.1:{sentinel_port}/main/0?{ca}",
        ):
            until(lambda url=url: _reached(url))  # type: ignore[misc]
            store, records = open_store(url), open_records(url)
            store.append("s", [turn("sealed")])
            assert [one.text for one in store.turns("s")] == ["sealed"]
            assert records.describe().endswith(", TLS")
            store.close()
            records.close()
        with pytest.raises(StoreUnavailableError, match="ertificate"):
            open_store(f"rediss://127.0.0.1:{port}/0?retries=0")
    finally:
        for process in (sentinel, redis.process):
            process.kill()
            process.wait()


def _reached(url: str) -> bool:
    try:
        open_records(url).close()
    except StoreUnavailableError:
        return False
    return True


def _certificates(folder: Path) -> None:
    """Write ca.pem, and server.pem with server.key for 127.0.0.1 signed by it."""
    now = datetime.datetime.now(datetime.UTC)

    def made(
        name: str, key: ec.EllipticCurvePrivateKey, issuer: str, by: ec.EllipticCurvePrivateKey, ca: bool
    ) -> bytes:
        def named(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        builder = x509.CertificateBuilder().subject_name(named(name)).issuer_name(named(issuer))
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - datetime.timedelta(days=1))
        builder = builder.not_valid_after(now + datetime.timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        return (
            builder.add_extension(here, critical=False)
            .sign(by, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )

    ca, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    (folder / "ca.pem").write_bytes(made("ca", ca, "ca", ca, True))
    (folder / "server.pem").write_bytes(made("server", server, "ca", ca, False))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.key").write_bytes(server.private_bytes(*form))
