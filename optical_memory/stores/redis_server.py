"""A Redis server or cluster: how to reach it, what its persistence promises, and how to purge its files."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from optical_memory.errors import InputError, MissingExtraError, StoreCorruptError, StoreUnavailableError

try:
    import redis
    from redis.backoff import ExponentialBackoff
    from redis.exceptions import RedisClusterException
    from redis.retry import Retry
except ImportError as error:
    raise MissingExtraError("redis", "redis") from error

_log = logging.getLogger(__name__)
_RETRIES = 3
_FSYNC = {
    "always": "every write is in the append-only file on disk when its method returns (appendfsync always)",
    "everysec": "a crash of the server loses at most the last two seconds (append-only file, appendfsync everysec)",
    "no": "a crash of the machine loses what the system had not written yet (append-only file, appendfsync no)",
}


@contextmanager
def errors(url: str) -> Iterator[None]:
    """Turn Redis's errors into StoreUnavailableError, or StoreCorruptError where a key holds something else."""
    try:
        yield
    except (redis.RedisError, RedisClusterException) as error:
        if "WRONGTYPE" in str(error):
            raise StoreCorruptError(f"a key in {_shown(url)} is no part of a store: {error}") from error
        raise StoreUnavailableError(f"cannot use {_shown(url)}: {error}") from error


def without_prefix(url: str) -> tuple[str, str | None]:
    """Return a URL without the setting ``prefix`` of its query, and that setting or None."""
    parts = urlsplit(url)
    settings = parse_qsl(parts.query, keep_blank_values=True)
    others = urlencode([(name, value) for name, value in settings if name != "prefix"])
    found = [value for name, value in settings if name == "prefix"]
    return urlunsplit(parts._replace(query=others)) if found else url, found[-1] if found else None


def connect(url: str, timeout: float) -> Any:
    """Return a client of the server at ``url``, or of its cluster; ``timeout`` in seconds is for each reply.

    What fails for want of a connection is sent again up to three times.
    """
    settings: dict[str, Any] = {
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "health_check_interval": 30,
        "retry": Retry(ExponentialBackoff(cap=1.0, base=0.05), _RETRIES),
    }
    lost = [redis.ConnectionError, redis.TimeoutError]
    try:
        client: Any = redis.Redis.from_url(url, retry_on_error=lost, **settings)
    except ValueError as error:
        raise InputError(f"not a Redis URL: {_shown(url)}: {error}") from error
    with errors(url):
        client.ping()
        if not _is_cluster(client):
            return client
        disconnect(client)
        return redis.RedisCluster.from_url(url, **settings)


def disconnect(client: Any) -> None:
    """Close all connections of a client; its close() alone leaves some open, which ones depends on the version."""
    if _has_nodes(client):
        client.disconnect_connection_pools()
    else:
        client.connection_pool.disconnect()
    client.close()


def together(client: Any, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Return the replies of commands sent in one round trip, an error of the server in place of a reply it refused."""
    if len(commands) == 1:
        try:
            return [client.execute_command(*commands[0])]
        except redis.ResponseError as error:
            return [error]
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    return list(pipeline.execute(raise_on_error=False))


def durability(client: Any) -> tuple[bool, str]:
    """Return whether writes outlive the server, and what its settings promise, in words for people."""
    try:
        settings = _settings(client, "append*") | _settings(client, "save") | _settings(client, "maxmemory*")
    except redis.ResponseError as error:
        return True, f"unknown: the server does not show its settings ({error})"
    if settings.get("appendonly") == "yes":
        lasts, promise = True, _FSYNC.get(settings.get("appendfsync", ""), "append-only file")
    elif settings.get("save"):
        lasts, promise = (
            True,
            f"a crash loses all since the last snapshot (save {settings['save']}, no append-only file)",
        )
    else:
        lasts, promise = False, "none: a restart of the server loses everything (no append-only file, no snapshots)"
    if settings.get("maxmemory", "0") != "0" and settings.get("maxmemory-policy", "").startswith("allkeys"):
        lasts = False
        promise += f"; a full server evicts turns (maxmemory-policy {settings['maxmemory-policy']}: set noeviction)"
    return lasts, promise


def purge(client: Any, key: str, timeout: float) -> None:
    """Have the server that holds ``key`` write its files anew without what was deleted, in the background.

    Where it refuses, a warning says so: the old files then keep the deleted text until they are next rewritten.
    """
    node = {"target_nodes": client.get_node_from_key(key)} if _has_nodes(client) else {}
    deadline = time.monotonic() + timeout
    try:
        commands = [["BGREWRITEAOF"]] if _settings(client, "appendonly").get("appendonly") == "yes" else []
        commands += [["BGSAVE", "SCHEDULE"]] if _settings(client, "save").get("save") else []
        while commands:
            try:
                client.execute_command(*commands[0], **node)
                commands.pop(0)
            except redis.ResponseError as error:
                # One that began before the deletion may still write what was deleted: wait, then ask again.
                if "in progress" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
    except redis.ResponseError as error:
        _log.warning("deleted from Redis, but its files on disk keep the text until they are rewritten: %s", error)


def _is_cluster(client: Any) -> bool:
    try:
        return bool(client.info("cluster").get("cluster_enabled"))
    except redis.ResponseError:  # INFO is forbidden: then it is not ours to look
        return False


def _has_nodes(client: Any) -> bool:
    return isinstance(client, redis.RedisCluster)


def _settings(client: Any, pattern: str) -> dict[str, str]:
    node = {"target_nodes": client.get_default_node()} if _has_nodes(client) else {}
    return {_text(key): _text(value) for key, value in client.config_get(pattern, **node).items()}


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _shown(url: str) -> str:
    """Return a URL without its password."""
    scheme, separator, rest = url.partition("://")
    return repr(scheme + separator + rest.rpartition("@")[2])
