"""URLs of Redis as they are read: Sentinels, TLS, and the settings that this package adds."""

from __future__ import annotations

import pytest

from optical_memory.errors import InputError
from optical_memory.stores.redis_url import parse_redis_url, with_default


def test_a_sentinel_url_names_sentinels_service_and_database() -> None:
    found = parse_redis_url(
        "rediss+sentinel://me:p%40ss@h1:26380,h2,[::1]:7/main/3?replicas=1&prefix=x&sentinel_password=s&ssl_ca_certs=/ca"
    )
    assert found.sentinels == (("h1", 26380), ("h2", 26379), ("::1", 7))
    assert (found.service, found.replicas, found.prefix, found.of_sentinels) == ("main", 1, "x", {"password": "s"})
    assert found.url == "rediss://me:p%40ss@h1:26380/3?ssl_ca_certs=%2Fca"
    assert "p%40ss" not in found.shown and "sentinel_password" not in found.shown


def test_a_plain_url_keeps_what_is_redis_own() -> None:
    found = parse_redis_url("redis://h:6379/2?timeout=1.5&retries=0&protocol=3")
    assert (found.url, found.seconds, found.retries) == ("redis://h:6379/2?protocol=3", 1.5, 0)
    assert found.sentinels == () and found.replicas == 0


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://h1:26379",
        "redis+sentinel:///main/0",
        "redis+sentinel://h1:x/main/0",
        "redis+sentinel://h1:99999/main",
        "redis://h?timeout=0",
        "redis://h?replicas=-1",
        "redis://h?retries=many",
        "http://h",
    ],
)
def test_what_is_no_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(InputError) as error:
        parse_redis_url(url.replace("//", "//me:secret@"))
    assert "secret" not in str(error.value)


def test_defaults_do_not_replace_what_a_url_says() -> None:
    assert with_default("redis://h/0?timeout=9", timeout=2, retries=1) == "redis://h/0?timeout=9&retries=1"
    assert with_default("sqlite:///memory.db", timeout=2) == "sqlite:///memory.db"
