"""Run a function over many items: here, in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any, TypeVar

from optical_memory.errors import InputError, MissingExtraError

Item = TypeVar("Item")
Result = TypeVar("Result")


def spread(
    work: Callable[[Item], Result], items: Iterable[Item], *, workers: int = 1, ray: bool = False
) -> Iterator[Result]:
    """Yield ``work(item)`` for each item as it is done.

    ``workers`` is the number of processes; 1 works in this process. ``ray`` runs on the Ray cluster that this machine
    belongs to (or a local one), through Ray Data; files must then lie where every node sees them. ``work`` and items
    must be picklable unless both are the default. At most two items for each worker are in memory. Raises
    MissingExtraError, InputError.
    """
    if workers < 1:
        raise InputError(f"workers must be at least 1, not {workers!r}")
    if ray:
        yield from _on_ray(work, items)
    elif workers == 1:
        yield from map(work, items)
    else:
        yield from _in_processes(work, items, workers)


def _in_processes(work: Callable[[Item], Result], items: Iterable[Item], workers: int) -> Iterator[Result]:
    # Spawned, not forked: what runs threads here (a model, a browser) must not be copied half-way.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        waiting: set[Future[Result]] = set()
        try:
            for item in items:
                waiting.add(pool.submit(work, item))
                if len(waiting) >= 2 * workers:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        finally:
            for future in waiting:
                future.cancel()


def _on_ray(work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    try:
        import ray.data
    except ImportError as error:
        raise MissingExtraError("ray", "ray") from error

    def call(row: dict[str, Any]) -> dict[str, Any]:
        return {"result": work(row["item"])}

    listed = list(items)
    if listed:
        for row in ray.data.from_items([{"item": item} for item in listed]).map(call).iter_rows():
            yield row["result"]
