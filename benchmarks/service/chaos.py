"""What goes wrong in production, done to a service under load: killed, paused, full, failed over, moved."""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
from redis.crc import key_slot

from benchmarks.service.histories import PROBED, SHARED, TENANT, Prober, Writer, checked
from benchmarks.service.load import make_key
from benchmarks.service.process import Service
from benchmarks.service.redis_process import RedisProcess
from benchmarks.service.topologies import Cluster, Sentinels, until
from optical_memory.client import OpticalMemoryClient
from optical_memory.service.records import open_records
from optical_memory.service.tally import Tally
from optical_memory.service.usage import KINDS, Survey
from optical_memory.stores import open_store
from optical_memory.stores.redis_names import DEFAULT_PREFIX, Keys

Report = dict[str, object]
_THINKING_SECONDS = 0.05
"""How long writers pause where services start all the time: else they take the processor from them."""


def crash(store: str, *, kills: int, writers: int, most_seconds: float = 1.0, seed: int = 7) -> Report:
    """Kill the service (SIGKILL) and start it again ``kills`` times; return what was counted."""
    chance, service = random.Random(seed), Service(store)

    def killing(_: Prober) -> None:
        for _ in range(kills):
            time.sleep(chance.uniform(0.2, most_seconds))
            service.kill()
            service.start()

    try:
        return {"kills": kills, **_under_load(store, service, killing, writers)}
    finally:
        service.stop()


def crash_replicas(
    folder: Path, *, kills: int, writers: int, seed: int = 7, count: bool = False, minutes: float = 60.0
) -> Report:
    """Kill one of two replicas at one port ``kills`` times; the other goes on. Each kill is of two that serve.

    The killing ends after so many minutes; the report says how many were killed by then. With ``count``, wait until
    what the tenant keeps is counted right again, and report after how many seconds it was.
    """
    chance, redis = random.Random(seed), RedisProcess(folder)
    service = _serving(redis, workers="2")
    done, end = 0, time.monotonic() + minutes * 60

    def killing(_: Prober) -> None:
        nonlocal done
        while done < kills and time.monotonic() < end:
            until(lambda: len(_workers(service)) == 2)
            time.sleep(chance.uniform(0.05, 0.5))
            killed = chance.choice(_workers(service))
            killed.send_signal(signal.SIGKILL)
            until(lambda killed=killed: killed not in _workers(service))  # type: ignore[misc]
            done += 1

    try:
        told = _under_load(redis.url, service, killing, writers, _THINKING_SECONDS)
        found: Report = {"kills": done, **told}
        return found | ({"counted_right_after_seconds": _counted_after(redis.url)} if count else {})
    finally:
        service.stop()
        redis.close()


def crash_redis(folder: Path, *, kills: int, writers: int, seed: int = 7) -> Report:
    """Kill Redis (appendfsync always) and start it again ``kills`` times."""
    chance, redis = random.Random(seed), RedisProcess(folder, fsync="always")
    service = _serving(redis)

    def killing(_: Prober) -> None:
        for _ in range(kills):
            time.sleep(chance.uniform(0.1, 0.6))
            redis.kill()
            redis.start()

    try:
        return {"kills": kills, **_under_load(redis.url, service, killing, writers)}
    finally:
        service.stop()
        redis.close()


def pause(folder: Path, *, seconds: float, writers: int) -> Report:
    """Stop Redis in its tracks for so many seconds, and until a client was told so."""
    redis = RedisProcess(folder)
    service = _serving(redis)

    def pausing(prober: Prober) -> None:
        time.sleep(2)
        redis.pause()
        time.sleep(seconds)
        until(lambda: prober.statuses[503] > 0)
        redis.go_on()

    try:
        return _under_load(redis.url, service, pausing, writers)
    finally:
        service.stop()
        redis.close()


def full(folder: Path, *, seconds: float, writers: int) -> Report:
    """Let Redis have no more memory than it uses (noeviction) for so many seconds, and until a client was told so."""
    redis = RedisProcess(folder, maxmemory_policy="noeviction")
    service = _serving(redis)

    def filling(prober: Prober) -> None:
        time.sleep(2)
        redis.client().config_set("maxmemory", redis.client().info("memory")["used_memory"] // 2)
        time.sleep(seconds)
        until(lambda: prober.statuses[503] > 0)
        redis.client().config_set("maxmemory", 0)

    try:
        return _under_load(redis.url, service, filling, writers)
    finally:
        service.stop()
        redis.close()


def failover(folder: Path, *, writers: int) -> Report:
    """Kill the master of three; Sentinels make a replica the master. Writes wait for a replica before their answer."""
    setup = Sentinels(folder)
    service = _serving(setup)

    def failing(_: Prober) -> None:
        time.sleep(2)
        before = setup.master_port()
        setup.master.kill()
        until(lambda: setup.master_port() != before)
        time.sleep(3)
        setup.master.start()  # it comes back as a replica
        time.sleep(2)

    try:
        return _under_load(setup.url, service, failing, writers)
    finally:
        service.stop()
        setup.close()


def move_slots(folder: Path, *, moves: int, writers: int) -> Report:
    """Move the slots of sessions that are written to, with their keys, from node to node of a cluster.

    The slot of the prober's session moves last, to a node that is stopped in its tracks until the prober was told 503.
    """
    setup = Cluster(folder)
    service, keys, moved = _serving(setup), Keys(DEFAULT_PREFIX), 0

    def slot_of(session: str) -> int:
        return int(key_slot(keys.of(f"{TENANT}/{session}")["meta"].encode()))

    def moving(prober: Prober) -> None:
        nonlocal moved
        for number in range(moves):
            time.sleep(1)
            moved += setup.move(slot_of(SHARED if number % 2 else f"writer-{number % writers}"))
        until(lambda: prober.last == 201)
        with setup.moving(slot_of(PROBED)) as (target, count):
            moved += count
            target.pause()
            told = prober.statuses[503]
            until(lambda: prober.statuses[503] > told)
            target.go_on()

    try:
        found = _under_load(setup.url, service, moving, writers)
        return {"moves": moves + 1, "keys_moved": moved, **found}
    finally:
        service.stop()
        setup.close()


def _serving(store: RedisProcess | Sentinels | Cluster, **settings: str) -> Service:
    """Return a service on a store, which is closed where the service does not start."""
    try:
        return Service(store.url, **settings)
    except Exception:
        store.close()
        raise


def _under_load(
    store: str, service: Service, harm: Callable[[Prober], None], writers: int, pause_seconds: float = 0.0
) -> Report:
    """Do harm as soon as all clients work, let them go on for a while, and return what was counted."""
    key = make_key(store, TENANT)
    with _working(service.url, key, writers, pause_seconds) as (running, prober):
        until(lambda: all(writer.shared for writer in running))
        harm(prober)
        after = [len(writer.own) + len(writer.shared) for writer in running]
        until(lambda: prober.last == 201)
        until(lambda: all(len(w.own) + len(w.shared) > n for w, n in zip(running, after, strict=True)), 120)
    statuses = {str(status or "no answer"): count for status, count in sorted(prober.statuses.items())}
    told = {"statuses": statuses, "503_without_retry_after": prober.without_retry_after}
    return {**checked(store, running), **told}


@contextmanager
def _working(url: str, key: str, writers: int, pause_seconds: float) -> Iterator[tuple[list[Writer], Prober]]:
    stop = threading.Event()
    clients = [OpticalMemoryClient(url, key, timeout_seconds=60, retries=300) for _ in range(writers)]
    running = [
        Writer(client, f"writer-{place}", stop, pause_seconds=pause_seconds) for place, client in enumerate(clients)
    ]
    prober = Prober(url, key, stop)
    threads = [threading.Thread(target=one.run) for one in (*running, prober)]
    for thread in threads:
        thread.start()
    try:
        yield running, prober
    except BaseException:
        for client in clients:
            client.close()  # else they would go on trying
        raise
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        for client in clients:
            client.close()


def _counted_after(store: str) -> float:
    """Wait until the count of what the tenant keeps is what it keeps; return the seconds. Raises TimeoutError."""
    begun = time.monotonic()
    with closing(open_records(store)) as records, closing(open_store(store)) as opened:
        survey = Survey(opened, TENANT)
        until(lambda: Tally.parse(records.get(f"usage/{TENANT}"), len(KINDS)).sums == survey.total().amounts, 120)
    return round(time.monotonic() - begun, 1)


def _workers(service: Service) -> list[psutil.Process]:
    """Return the processes that listen at a service's port."""
    return [child for child in psutil.Process(service.process.pid).children() if _serves(child, service.port)]


def _serves(process: psutil.Process, port: int) -> bool:
    try:
        found = process.net_connections("tcp")
    except psutil.Error:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in found)
