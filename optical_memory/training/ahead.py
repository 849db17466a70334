"""The next training batch is drawn while the last one is trained on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

import torch

from optical_memory.training.pages import Batch


class Ahead:
    """Calls ``draw`` with the stage's progress, one batch ahead, in a thread and on a stream of a device of its own."""

    def __init__(self, draw: Callable[[float], Batch], device: torch.device) -> None:
        self.draw = draw
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self.thread = ThreadPoolExecutor(1, "draw")
        self.coming: Future[tuple[Batch, torch.cuda.Event | None]] | None = None

    def take(self, progress: float) -> Batch:
        """Return the next batch, once it is drawn, and begin to draw the one after it."""
        batch, drawn = (self.coming or self.thread.submit(self._draw, progress)).result()
        self.coming = self.thread.submit(self._draw, progress)
        if drawn is not None:
            here = torch.cuda.current_stream()
            here.wait_event(drawn)
            for part in (batch.ink, batch.points, batch.codes):
                part.record_stream(here)  # its memory is not used anew before this stream is done with it
        return batch

    def rest(self) -> None:
        """Wait until nothing is being drawn; drawing begins again with the next ``take``."""
        wait([self.coming] if self.coming else [])

    def close(self) -> None:
        """End the thread."""
        self.thread.shutdown()

    def _draw(self, progress: float) -> tuple[Batch, torch.cuda.Event | None]:
        if self.stream is None:
            return self.draw(progress), None
        with torch.cuda.stream(self.stream):
            batch = self.draw(progress)
            return batch, self.stream.record_event()
