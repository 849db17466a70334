from __future__ import annotations

import threading

import pytest
import torch

from optical_memory.training.ahead import Ahead
from optical_memory.training.pages import Batch


def batch_of(number: float) -> Batch:
    return Batch(ink=torch.full((1, 1, 2, 2), number), points=torch.zeros(1, 1), codes=torch.zeros(1, 1))


def test_batches_keep_their_order_and_one_is_drawn_ahead() -> None:
    drawn: list[tuple[float, str]] = []

    def draw(progress: float) -> Batch:
        drawn.append((progress, threading.current_thread().name))
        return batch_of(progress)

    ahead = Ahead(draw, torch.device("cpu"))
    taken = [ahead.take(progress).ink[0, 0, 0, 0].item() for progress in (0.0, 0.25, 0.5)]
    ahead.rest()
    assert taken == [0.0, 0.0, 0.25]  # the second was drawn while the first was used
    assert [progress for progress, _ in drawn] == [0.0, 0.0, 0.25, 0.5]
    assert all(name.startswith("draw") for _, name in drawn)
    ahead.close()


def test_nothing_is_drawn_after_rest_until_the_next_is_taken() -> None:
    drawing = threading.Semaphore(0)
    count = 0

    def draw(progress: float) -> Batch:
        nonlocal count
        drawing.acquire()
        count += 1
        return batch_of(progress)

    ahead = Ahead(draw, torch.device("cpu"))
    ahead.rest()
    assert count == 0
    drawing.release(2)
    ahead.take(0.0)
    ahead.rest()
    assert count == 2
    ahead.close()


def test_an_error_while_drawing_is_raised_by_take() -> None:
    ahead = Ahead(lambda progress: batch_of(1 / progress), torch.device("cpu"))
    with pytest.raises(ZeroDivisionError):
        ahead.take(0.0)
    ahead.close()
