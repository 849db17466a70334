"""Redis as teams run it: a master with replicas under Sentinels, and a cluster whose slots can be moved."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis

from benchmarks.service.ports import free_port
from benchmarks.service.redis_process import RedisProcess, program, wait_until_up

SERVICE = "memories"


class Sentinels:
    """A master, two replicas and three Sentinels."""

    def __init__(self, folder: Path) -> None:
        self.master = RedisProcess(folder / "master", fsync="always", repl_diskless_sync_delay="0")
        master = f"127.0.0.1 {self.master.port}"
        self.replicas = [RedisProcess(folder / f"replica-{n}", fsync="always", replicaof=master) for n in range(2)]
        self._processes, self.ports = [], [free_port() for _ in range(3)]
        for port in self.ports:
            self._processes.append(_sentinel(folder / f"sentinel-{port}.conf", port, self.master.port))
        hosts = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        self.url = f"redis+sentinel://{hosts}/{SERVICE}/0?replicas=1"
        for replica in self.replicas:
            until(lambda replica=replica: replica.client().info("replication")["master_link_status"] == "up")  # type: ignore[misc]
        until(lambda: self._state()["num-slaves"] == 2 and self._state()["num-other-sentinels"] == 2)

    def _state(self) -> dict[str, Any]:
        with redis.Redis(port=self.ports[0], socket_timeout=5) as client:
            found: dict[str, Any] = client.sentinel_master(SERVICE)
            return found

    def master_port(self) -> int:
        """Return the port of the master as the Sentinels know it."""
        return int(self._state()["port"])

    def close(self) -> None:
        """Kill all of it."""
        for process in (*self._processes, *(one.process for one in (self.master, *self.replicas))):
            process.kill()
            process.wait()


class Cluster:
    """Three nodes that share the slots."""

    def __init__(self, folder: Path) -> None:
        ports = [free_port() for _ in range(3)]
        self.nodes = [
            RedisProcess(folder / f"node-{port}", port=port, fsync="always", cluster_enabled="yes") for port in ports
        ]
        self.url = self.nodes[0].url
        step = 16_384 // 3 + 1
        for place, node in enumerate(self.nodes):
            last = min((place + 1) * step, 16_384) - 1
            node.client().execute_command("CLUSTER", "ADDSLOTSRANGE", place * step, last)
            self.nodes[0].client().execute_command("CLUSTER", "MEET", "127.0.0.1", node.port)
        for node in self.nodes:
            until(lambda node=node: b"cluster_state:ok" in _raw(node.client(), "CLUSTER", "INFO"))  # type: ignore[misc]

    def move(self, slot: int) -> int:
        """Move a slot with all its keys to another node; return how many keys that were."""
        with self.moving(slot) as (_, moved):
            return moved

    @contextmanager
    def moving(self, slot: int) -> Iterator[tuple[RedisProcess, int]]:
        """Move a slot as redis-cli does it: its keys first, and where it is at the end of the block.

        Until then its old node sends whoever asks for a key to the new one. Yields that, and how many keys were moved.
        """
        owners = [node for node in self.nodes if _owns(node.client(), slot)]
        source = owners[0]
        target = next(node for node in self.nodes if node is not source)
        ids = {node: _raw(node.client(), "CLUSTER", "MYID").decode() for node in (source, target)}
        target.client().execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[source])
        source.client().execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[target])
        moved = 0
        while keys := _raw(source.client(), "CLUSTER", "GETKEYSINSLOT", slot, 10):
            source.client().execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5_000, "KEYS", *keys)
            moved += len(keys)
        yield target, moved
        for node in (target, source, *self.nodes):
            node.client().execute_command("CLUSTER", "SETSLOT", slot, "NODE", ids[target])

    def close(self) -> None:
        """Kill all of it."""
        for node in self.nodes:
            node.kill()


def until(done: Callable[[], bool], seconds: float = 60.0) -> None:
    """Wait until something is so. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if done():
                return
        except redis.RedisError:
            pass  # not there yet
        time.sleep(0.1)
    raise TimeoutError(f"not within {seconds:g} s")


def _sentinel(file: Path, port: int, master: int) -> subprocess.Popen[bytes]:
    lines = [
        f"port {port}",
        "bind 127.0.0.1",
        f"dir {file.parent}",
        f"sentinel monitor {SERVICE} 127.0.0.1 {master} 2",
        f"sentinel down-after-milliseconds {SERVICE} 1000",
        f"sentinel failover-timeout {SERVICE} 5000",
    ]
    file.write_text("\n".join(lines) + "\n")
    command = [program(), str(file), "--sentinel"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until_up(port, process)
    return process


def _owns(client: Any, slot: int) -> bool:
    mine = _raw(client, "CLUSTER", "MYID")
    return any(first <= slot <= last and node[2] == mine for first, last, node, *_ in _raw(client, "CLUSTER", "SLOTS"))


def _raw(client: Any, *command: Any) -> Any:
    return client.execute_command(*command, NEVER_DECODE=True)
