"""URLs of Redis: one server, a cluster, or whatever Sentinels call the master; and what this package adds to them.

``redis://host:6379/0``, ``rediss://…`` (TLS), ``redis+sentinel://sentinel1:26379,sentinel2:26379/service/0`` and
``rediss+sentinel://…`` (TLS to Sentinels and server). A name and password are the server's; ``sentinel_username`` and
``sentinel_password`` in the query are the Sentinels'. The query may hold settings of redis-py too, such as
``ssl_ca_certs=/path/ca.pem``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from optical_memory.errors import InputError

SCHEMES = ("redis", "rediss", "redis+sentinel", "rediss+sentinel")
_SENTINEL = "+sentinel"
_SENTINEL_PORT = 26_379
_SENTINELS_OWN = ("sentinel_username", "sentinel_password")


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisUrl:
    """What a URL says.

    Args:
        url: for redis-py, without what this package adds; of a Sentinel URL one that has the service's settings.
        shown: the URL without its password.
        prefix: what keys begin with (``?prefix=``), or None.
        seconds: how long a reply may take (``?timeout=``), or None.
        retries: how often what fails for want of a connection is sent again (``?retries=``), or None.
        replicas: how many replicas must have a write before it is acknowledged (``?replicas=``).
        sentinels: hosts and ports of Sentinels; empty: none.
        service: what the Sentinels call the master.
        of_sentinels: settings of the connections to the Sentinels.

    """

    url: str
    shown: str
    prefix: str | None = None
    seconds: float | None = None
    retries: int | None = None
    replicas: int = 0
    sentinels: tuple[tuple[str, int], ...] = ()
    service: str = ""
    of_sentinels: Mapping[str, str]


def parse_redis_url(text: str) -> RedisUrl:
    """Return what a URL says. Raises InputError."""
    parts = urlsplit(text)
    shown = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=""))
    if parts.scheme not in SCHEMES:
        raise InputError(f"not the URL of a Redis: {shown!r}; it begins with one of {', '.join(SCHEMES)}")
    settings = dict(parse_qsl(parts.query, keep_blank_values=True))
    own = {name: settings.pop(name, None) for name in ("prefix", "timeout", "retries", "replicas")}
    of_sentinels = {name.removeprefix("sentinel_"): settings.pop(name) for name in _SENTINELS_OWN if name in settings}
    sentinels: tuple[tuple[str, int], ...] = ()
    service = ""
    if parts.scheme.endswith(_SENTINEL):
        login, at, hosts = parts.netloc.rpartition("@")
        sentinels = tuple(_address(host, shown) for host in hosts.split(",") if host)
        service, _, database = parts.path.removeprefix("/").partition("/")
        if not sentinels or not service:
            raise InputError(f"a Sentinel URL is redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB, not {shown!r}")
        host, port = sentinels[0]
        parts = parts._replace(
            scheme=parts.scheme.removesuffix(_SENTINEL), netloc=f"{login}{at}{host}:{port}", path=f"/{database}"
        )
    return RedisUrl(
        url=urlunsplit(parts._replace(query=urlencode(settings))),
        shown=shown,
        prefix=own["prefix"],
        seconds=_number(own["timeout"], "timeout", float, shown),
        retries=_number(own["retries"], "retries", int, shown),
        replicas=_number(own["replicas"], "replicas", int, shown) or 0,
        sentinels=sentinels,
        service=service,
        of_sentinels=of_sentinels,
    )


def with_default(text: str, **settings: object) -> str:
    """Return a URL with settings in its query where it does not have them; what is no URL of a Redis as it is."""
    parts = urlsplit(text)
    if parts.scheme not in SCHEMES:
        return text
    given = parse_qsl(parts.query, keep_blank_values=True)
    names = {name for name, _ in given}
    more = [(name, str(value)) for name, value in settings.items() if name not in names]
    return urlunsplit(parts._replace(query=urlencode([*given, *more])))


def _address(text: str, shown: str) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or text.endswith("]"):
        host, port = text, str(_SENTINEL_PORT)
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise InputError(f"{text!r} in {shown!r} is no HOST:PORT of a Sentinel")
    return host.strip("[]"), int(port)


def _number(text: str | None, name: str, kind: Any, shown: str) -> Any:
    if text is None:
        return None
    try:
        value = kind(text)
    except ValueError:
        value = -1
    if not 0 <= value < 1_000 or (name == "timeout" and not value):
        raise InputError(f"{name}={text!r} in {shown!r} is no number that fits")
    return value
