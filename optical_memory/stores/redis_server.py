"""A Redis server or cluster: how to reach it, what its persistence promises, and how to purge its files."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from optical_memory.errors import InputError, MissingExtraError, StoreCorruptError, StoreUnavailableError
from optical_memory.stores.redis_url import RedisUrl

try:
    import redis
    from redis.backoff import ExponentialBackoff
    from redis.exceptions import RedisClusterException
    from redis.retry import Retry
except ImportError as error:
    raise MissingExtraError("redis", "redis") from error

_log = logging.getLogger(__name__)
_KEPT = "deleted from Redis, but its files on disk keep the text until they are rewritten: %s"
_RETRIES = 3
_SENTINEL_SECONDS = 1.0
"""How long a Sentinel may take to say who the master is: there are others to ask."""
_FSYNC = {
    "always": "every write is in the append-only file on disk when its method returns (appendfsync always)",
    "everysec": "a crash of the server loses at most the last two seconds (append-only file, appendfsync everysec)",
    "no": "a crash of the machine loses what the system had not written yet (append-only file, appendfsync no)",
}


@contextmanager
def errors(url: RedisUrl) -> Iterator[None]:
    """Turn Redis's errors into StoreUnavailableError, or StoreCorruptError where a key holds something else."""
    try:
        yield
    except (redis.RedisError, RedisClusterException) as error:
        if "WRONGTYPE" in str(error):
            raise StoreCorruptError(f"a key in {url.shown!r} is no part of a store: {error}") from error
        raise StoreUnavailableError(f"cannot use {url.shown!r}: {error}") from error


def connect(url: RedisUrl, timeout: float) -> Any:
    """Return a client of the server at ``url``, of its cluster, or of the master that its Sentinels name.

    ``timeout`` in seconds is for each reply. What fails for want of a connection is sent again up to three times,
    unless the URL says otherwise.
    """
    seconds = timeout if url.seconds is None else url.seconds
    settings: dict[str, Any] = {
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "health_check_interval": 30,
        "retry": Retry(ExponentialBackoff(cap=1.0, base=0.05), _RETRIES if url.retries is None else url.retries),
    }
    lost = [redis.ConnectionError, redis.TimeoutError]
    try:
        given = redis.connection.parse_url(url.url)  # type: ignore[no-untyped-call]
        if url.sentinels:
            return _of_sentinels(url, {**settings, "retry_on_error": lost, **given})
        client: Any = redis.Redis.from_url(url.url, retry_on_error=lost, **settings)
    except (ValueError, TypeError) as error:
        raise InputError(f"not a Redis URL: {url.shown!r}: {error}") from error
    with errors(url), _closed_on_failure(client):
        client.ping()
        if not _is_cluster(client):
            return client
        disconnect(client)
        return redis.RedisCluster.from_url(url.url, **settings)


def _of_sentinels(url: RedisUrl, settings: dict[str, Any]) -> Any:
    secure = settings.pop("connection_class", None) is not None
    tls = {name: value for name, value in settings.items() if name.startswith("ssl_")} | {"ssl": secure}
    settings = {name: value for name, value in settings.items() if name not in ("host", "port")} | {"ssl": secure}
    seconds = min(settings["socket_timeout"], _SENTINEL_SECONDS)
    theirs = {"socket_timeout": seconds, "socket_connect_timeout": seconds, **tls, **url.of_sentinels}
    sentinel = redis.Sentinel(list(url.sentinels), sentinel_kwargs=theirs)  # type: ignore[no-untyped-call]
    client = sentinel.master_for(url.service, **settings)  # type: ignore[no-untyped-call]
    with errors(url), _closed_on_failure(client):
        client.ping()
    return client


@contextmanager
def _closed_on_failure(client: Any) -> Iterator[None]:
    try:
        yield
    except BaseException:
        disconnect(client)
        raise


def disconnect(client: Any) -> None:
    """Close all connections of a client, and those to its Sentinels.

    Its close() alone leaves some open; which ones depends on the version.
    """
    if _has_nodes(client):
        client.disconnect_connection_pools()
    else:
        client.connection_pool.disconnect()
        sentinels = getattr(client.connection_pool, "sentinel_manager", None)
        for each in sentinels.sentinels if sentinels is not None else ():
            disconnect(each)
    client.close()


def together(client: Any, commands: Sequence[tuple[Any, ...]], *, replicas: int = 0, seconds: float = 1.0) -> list[Any]:
    """Return the replies of commands sent in one round trip, an error of the server in place of a reply it refused.

    With ``replicas`` they are acknowledged once so many replicas have them, else a StoreUnavailableError after
    ``seconds``: what was written stands and may be lost, and sending it again is right.
    """
    if len(commands) == 1 and not replicas:
        try:
            return [client.execute_command(*commands[0])]
        except redis.ResponseError as error:
            return [error]
    pipeline = client.pipeline(transaction=False)
    for command in commands:
        pipeline.execute_command(*command)
    if replicas:
        pipeline.execute_command("WAIT", replicas, int(seconds * 1_000))
    replies = list(pipeline.execute(raise_on_error=False))
    if replicas:
        reached = replies.pop()
        if isinstance(reached, Exception) or int(reached) < replicas:
            raise StoreUnavailableError(f"{reached!r} of {replicas} replicas had a write within {seconds:g} s; repeat")
    return replies


def written(client: Any, command: tuple[Any, ...], *, replicas: int) -> Any:
    """Return the reply of a command that writes, once so many replicas have it; see :func:`together`."""
    (reply,) = together(client, [command], replicas=replicas)
    if isinstance(reply, Exception):
        raise reply
    return reply


def describe(client: Any, url: RedisUrl) -> str:
    """Return what is reached at a URL, in words for people: its version and kind, and whether TLS is used."""
    info = client.info("server", **({"target_nodes": client.get_default_node()} if _has_nodes(client) else {}))
    version = next(iter(info.values()))["redis_version"] if "redis_version" not in info else info["redis_version"]
    kind = "a cluster" if _has_nodes(client) else "one server"
    if url.sentinels:
        host, port = client.connection_pool.get_master_address()
        replicas = client.info("replication").get("connected_slaves", 0)
        kind = f"master of {url.service!r} at {host}:{port} by {len(url.sentinels)} Sentinels, {replicas} replicas"
    return f"Redis {version}, {kind}, {'TLS' if url.url.startswith('rediss') else 'without TLS'}"


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


def purge(client: Any, key: str) -> bool:
    """Have the server that holds ``key`` write its files anew without what was deleted, in the background.

    False where it still writes them for what came before: it may write what was deleted, so it must be asked again.
    Where it refuses, a warning says so: the old files then keep the deleted text until they are next rewritten.
    """
    node = {"target_nodes": client.get_node_from_key(key)} if _has_nodes(client) else {}
    try:
        commands = [["BGREWRITEAOF"]] if _settings(client, "appendonly").get("appendonly") == "yes" else []
        commands += [["BGSAVE", "SCHEDULE"]] if _settings(client, "save").get("save") else []
        for command in commands:
            client.execute_command(*command, **node)
    except redis.ResponseError as error:
        if "in progress" in str(error):
            return False
        _log.warning(_KEPT, error)
    return True


def purge_within(client: Any, key: str, seconds: float) -> None:
    """Have the server write its files anew, and wait so long for what it still writes; then a warning says so."""
    deadline = time.monotonic() + seconds
    while not purge(client, key):
        if time.monotonic() > deadline:
            _log.warning(_KEPT, "it still writes them for what came before")
            return
        time.sleep(0.05)


def by_node(client: Any, keys: Mapping[str, str]) -> list[list[str]]:
    """Return the names of keys in groups: those of one group are held by the same server."""
    groups: dict[str, list[str]] = {}
    for name, key in keys.items():
        groups.setdefault(client.get_node_from_key(key).name if _has_nodes(client) else "", []).append(name)
    return list(groups.values())


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
