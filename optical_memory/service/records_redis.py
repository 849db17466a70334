"""The service's records on a Redis server or cluster: one key each, and a sorted list of those that last."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from optical_memory.errors import StoreUnavailableError
from optical_memory.service.tally import ClosedError
from optical_memory.stores import record, redis_server
from optical_memory.stores.redis_names import DEFAULT_PREFIX, Keys
from optical_memory.stores.redis_url import parse_redis_url

SWAP = """
local held = redis.call('GET', KEYS[1])
if (ARGV[1] == '') ~= (held == false) or (held and '=' .. held ~= ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
"""
"""Sets KEYS[1] to ARGV[2] where it holds what follows the "=" of ARGV[1] ("": nothing)."""
COUNT = """
local total = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return total
"""

TALLY = """
-- KEYS: a tally; ARGV: 'begin' or 'end', the operation, how many counters there are, then what to add to each, then the
-- most of each ('': no limit). What a tally is, optical_memory.service.tally says.
-- Reply: 1 done, 0 not, 2 closed; then the counters.
local operation, count = ARGV[2], tonumber(ARGV[3])
local before, begun, rest, there, closed = {}, 0, {}, false, ''
for word in string.gmatch(redis.call('GET', KEYS[1]) or '', '%S+') do
  if #before < count then before[#before + 1] = tonumber(word)
  elseif string.match(word, '^%d+$') then begun = tonumber(word)
  elseif string.sub(word, 1, 1) == '!' then closed = word
  elseif word == operation then there = true
  else rest[#rest + 1] = word end
end
for i = #before + 1, count do before[i] = 0 end
local sums, refused = {}, false
for i = 1, count do
  local more, most = tonumber(ARGV[3 + i]), tonumber(ARGV[3 + count + i])
  sums[i] = math.max(before[i] + more, 0)
  if most and more > 0 and sums[i] > most then refused = true end
end
if ARGV[1] == 'begin' then
  if there then return {1, unpack(before)} end -- sent again: the reply was lost
  local now = redis.call('TIME')
  local is_closed = closed ~= '' and tonumber(string.sub(closed, 2)) > now[1] * 1000 + now[2] / 1000
  if is_closed then return {2, unpack(before)} end
  if refused then return {0, unpack(before)} end
  begun, closed, rest[#rest + 1] = begun + 1, '', operation
elseif not there then return {0, unpack(before)} end
local words = {}
for i = 1, count do words[i] = string.format('%.0f', sums[i]) end
words[#words + 1] = string.format('%.0f', begun)
for i = 1, #rest do words[#words + 1] = rest[i] end
if closed ~= '' then words[#words + 1] = closed end
redis.call('SET', KEYS[1], table.concat(words, ' '))
return {1, unpack(sums)}
"""

REMOVE = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
"""


_SHUT = 2
"""The reply of TALLY for one that is closed."""


class RedisRecords:
    """Records on the server at ``url``, under the store's prefix; ``timeout`` in seconds is for each reply."""

    def __init__(self, url: str, *, timeout: float = 10.0) -> None:
        self._url = parse_redis_url(url)
        prefix = self._url.prefix
        self._prefix = Keys(DEFAULT_PREFIX if prefix is None else prefix).prefix
        self._names = f"{self._prefix}:records"
        self._timeout = timeout
        self._listed: set[str] = set()
        self._client: Any = redis_server.connect(self._url, timeout)

    def get(self, name: str) -> bytes | None:
        """Return a record, or None."""
        with self._use() as client:
            found = client.get(self._key(name))
        return None if found is None else record.whole(found)

    def put(self, name: str, data: bytes, *, seconds: float, durable: bool = True) -> None:
        """Keep a record for so many seconds, as durably as the server is set to."""
        with self._use() as client:
            self._write(client, "SET", self._key(name), data, "PX", max(int(seconds * 1000), 1))

    def swap(self, name: str, data: bytes, *, expected: bytes | None) -> bool:
        """Keep a lasting record where the one there is ``expected``; else return False.

        Its name is listed before it is there: a crash in between leaves a name without a record, not the reverse.
        """
        before = b"" if expected is None else b"=" + expected
        with self._use() as client:
            client.zadd(self._names, {record.pack(name): 0})
            return bool(self._write(client, "EVAL", SWAP, 1, self._key(name), before, data))

    def count(self, name: str, amount: int, *, seconds: float) -> int:
        """Add to a counter and return the sum."""
        with self._use() as client:
            return int(client.eval(COUNT, 1, self._key(name), amount, max(int(seconds * 1000), 1)))

    def begin(
        self, name: str, operation: str, amounts: Sequence[int], most: Sequence[int | None]
    ) -> tuple[bool, tuple[int, ...]]:
        """Begin an operation on counters; return whether it began, and what they are now."""
        with self._use() as client:
            if name not in self._listed:
                client.zadd(self._names, {record.pack(name): 0})
                self._listed.add(name)
        done, sums = self._tally("begin", name, operation, amounts, ["" if limit is None else limit for limit in most])
        if done == _SHUT:
            raise ClosedError
        return done == 1, sums

    def end(self, name: str, operation: str, amounts: Sequence[int]) -> tuple[bool, tuple[int, ...]]:
        """End an operation; return whether it was under way, and what the counters are now."""
        done, sums = self._tally("end", name, operation, amounts, [""] * len(amounts))
        return done == 1, sums

    def remove(self, name: str, *, expected: bytes) -> bool:
        """Remove a lasting record where it is ``expected``; else return False."""
        with self._use() as client:
            removed = bool(self._write(client, "EVAL", REMOVE, 1, self._key(name), expected))
            if removed:
                client.zrem(self._names, record.pack(name))
        return removed

    def names(self, prefix: str) -> list[str]:
        """Return the names of lasting records, sorted."""
        span = record.span(prefix, "")
        end = b"+" if span.end is None else b"(" + span.end
        with self._use() as client:
            found = client.zrangebylex(self._names, b"[" + span.first if span.first else b"-", end)
            listed = [record.unpack(name) for name in found]
            pipeline = client.pipeline(transaction=False)
            for name in listed:
                pipeline.exists(self._key(name))
            return [name for name, there in zip(listed, pipeline.execute(), strict=True) if there]

    def scrub(self, name: str) -> None:
        """Have the server write its files anew, in the background."""
        with self._use() as client:
            redis_server.purge_within(client, self._key(name), self._timeout)

    def clock(self) -> float:
        """Return the time by the server's clock."""
        with self._use() as client:
            seconds, microseconds = client.time()
        return float(seconds) + float(microseconds) / 1e6

    def describe(self) -> str:
        """Return what is reached, in words for people."""
        with self._use() as client:
            return redis_server.describe(client, self._url)

    def close(self) -> None:
        """Release connections."""
        client, self._client = self._client, None
        if client is not None:
            redis_server.disconnect(client)

    def _key(self, name: str) -> str:
        return f"{self._prefix}:record:{{{quote(record.name('name of a record', name), safe='')}}}"

    def _tally(
        self, verb: str, name: str, operation: str, amounts: Sequence[int], most: Sequence[int | str]
    ) -> tuple[int, tuple[int, ...]]:
        with self._use() as client:
            given = (verb, operation, len(amounts), *amounts, *most)
            done, *sums = self._write(client, "EVAL", TALLY, 1, self._key(name), *given)
        return int(done), tuple(sums)

    def _write(self, client: Any, *command: Any) -> Any:
        return redis_server.written(client, command, replicas=self._url.replicas)

    @contextmanager
    def _use(self) -> Iterator[Any]:
        if self._client is None:
            raise StoreUnavailableError("the records are closed")
        with redis_server.errors(self._url):
            yield self._client
