"""A client that costs little, so that what is measured is the service: prepared bytes out, a status and a body in."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

CONNECTIONS = 64


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Take in bytes of an answer; the last of them ends the waiting."""
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        begin = head.lower().find(b"content-length:")
        length = int(head[begin + 15 :].split(b"\r\n", 1)[0]) if begin >= 0 else 0
        if len(body) >= length and self._answer is not None and not self._answer.done():
            self._buffer = b""
            self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, error: Exception | None) -> None:
        """End the waiting."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the connection was lost"))

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send a request and return the status and the body of its answer."""
        assert self._transport is not None
        if self._transport.is_closing():
            raise ConnectionError("the connection was lost")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def close(self) -> None:
        """Close it."""
        if self._transport is not None:
            self._transport.close()


async def connect(host: str, port: int) -> Connection:
    """Return a new connection."""
    _, connection = await asyncio.get_running_loop().create_connection(Connection, host, port)
    return connection


def post(path: str, key: str, body: object, **headers: str) -> bytes:
    """Return the bytes of a request."""
    data = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: service", f"Authorization: Bearer {key}", "Content-Type: application/json"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, f"Content-Length: {len(data)}", "", ""]).encode() + data


def get(path: str, key: str) -> bytes:
    """Return the bytes of a request."""
    return _bare("GET", path, key)


def delete(path: str, key: str) -> bytes:
    """Return the bytes of a request."""
    return _bare("DELETE", path, key)


def _bare(method: str, path: str, key: str) -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: service\r\nAuthorization: Bearer {key}\r\n\r\n".encode()


@dataclass
class Load:
    """What came of a load: seconds of each answer, how often each status came, the client's processor seconds."""

    times: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    processor_seconds: float = 0.0

    @property
    def refused(self) -> int:
        """How many answers were not 2xx."""
        return sum(count for status, count in self.statuses.items() if status >= 300)


async def closed(port: int, requests: Iterator[bytes], *, seconds: float, connections: int = CONNECTIONS) -> Load:
    """Send as fast as answers come, for so many seconds."""
    load, end = Load(), time.perf_counter() + seconds

    async def one() -> None:
        connection = await connect("127.0.0.1", port)
        while (started := time.perf_counter()) < end:
            status, _ = await connection.ask(next(requests))
            load.times.append(time.perf_counter() - started)
            load.statuses[status] += 1
        connection.close()

    return await _timed(load, [one() for _ in range(connections)])


async def paced(port: int, requests: Iterator[bytes], *, rate: float, seconds: float, connections: int = 32) -> Load:
    """Send ``rate`` requests a second, each at its time, also where answers are late: waiting counts."""
    load, begin = Load(), time.perf_counter() + 0.1
    places = iter(range(int(rate * seconds)))

    async def one() -> None:
        connection = await connect("127.0.0.1", port)
        for place in places:
            due = begin + place / rate
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            status, _ = await connection.ask(next(requests))
            load.times.append(time.perf_counter() - due)
            load.statuses[status] += 1
        connection.close()

    return await _timed(load, [one() for _ in range(connections)])


async def _timed(load: Load, work: list[object]) -> Load:
    started, processor = time.perf_counter(), time.process_time()
    await asyncio.gather(*work)  # type: ignore[call-overload]
    load.seconds, load.processor_seconds = time.perf_counter() - started, time.process_time() - processor
    return load
