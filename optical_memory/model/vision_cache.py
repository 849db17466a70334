"""Vision tokens kept between calls: in memory, and on disk where a folder is given. Both bounded; both only caches."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from optical_memory.policies.ladder import LADDER


class VisionCache:
    """Least recently used first out, in memory (``max_bytes``) and in ``folder`` (``max_disk_bytes``).

    Keys are hashes of (model, page id, tier, type), so one folder may serve several models and processes. A Tiny page
    takes 187 kB, a Base page 699 kB at the published sizes in bfloat16. A damaged file counts as absent and is
    removed; a full disk only means that nothing new is kept there.
    """

    def __init__(
        self,
        *,
        max_bytes: int = 512 << 20,
        folder: Path | str | None = None,
        max_disk_bytes: int = 4 << 30,
    ) -> None:
        """Create ``folder`` when it is not there."""
        self.max_bytes = max_bytes
        self.max_disk_bytes = max_disk_bytes
        self.folder = None if folder is None else Path(folder)
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
        self._held: OrderedDict[str, Tensor] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Pages held in memory."""
        return len(self._held)

    def get(self, key: str, device: torch.device) -> Tensor | None:
        """Return the tokens (N, D) under ``key``, or None."""
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
                return found
        found = self._read(key)
        if found is None:
            return None
        found = found.to(device)
        self._hold(key, found)
        return found

    def put(self, key: str, tokens: Tensor) -> None:
        """Keep ``tokens`` (N, D) under ``key``."""
        self._hold(key, tokens)
        if self.folder is not None:
            self._write(self.folder, key, tokens)

    def drop(self, key: str) -> None:
        """Drop what is kept under ``key``, on disk too."""
        with self._lock:
            old = self._held.pop(key, None)
            self._bytes -= 0 if old is None else old.nbytes
        if self.folder is not None:
            (self.folder / f"{key}.safetensors").unlink(missing_ok=True)

    def drop_page(self, model_key: str, page_id: str) -> None:
        """Drop a page at every tier, as a model of this key kept it."""
        for tier in LADDER:
            self.drop(vision_key(model_key, page_id, tier))

    def clear(self) -> None:
        """Drop everything, on disk too."""
        with self._lock:
            self._held.clear()
            self._bytes = 0
        for path in self._files():
            path.unlink(missing_ok=True)

    def _hold(self, key: str, tokens: Tensor) -> None:
        with self._lock:
            old = self._held.pop(key, None)
            self._bytes += tokens.nbytes - (0 if old is None else old.nbytes)
            self._held[key] = tokens
            while self._bytes > self.max_bytes and self._held:
                _, dropped = self._held.popitem(last=False)
                self._bytes -= dropped.nbytes

    def _read(self, key: str) -> Tensor | None:
        if self.folder is None:
            return None
        path = self.folder / f"{key}.safetensors"
        try:
            tokens = load_file(path)["tokens"]
            os.utime(path)  # the time of last use, for eviction
        except (FileNotFoundError, PermissionError):
            return None
        except (SafetensorError, KeyError, OSError):
            path.unlink(missing_ok=True)
            return None
        return tokens

    def _write(self, folder: Path, key: str, tokens: Tensor) -> None:
        try:
            with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as file:
                part = Path(file.name)
            try:
                save_file({"tokens": tokens.detach().cpu().contiguous()}, part)
                part.replace(folder / f"{key}.safetensors")
            finally:
                part.unlink(missing_ok=True)
            self._evict()
        except (OSError, SafetensorError):
            return  # a cache that cannot be written is only slower

    def _evict(self) -> None:
        sizes = []
        for path in self._files():
            try:
                status = path.stat()
            except FileNotFoundError:  # another process was first
                continue
            sizes.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in sizes)
        for _, size, path in sorted(sizes):
            if total <= self.max_disk_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size

    def _files(self) -> list[Path]:
        return [] if self.folder is None else list(self.folder.glob("*.safetensors"))


def vision_key(model_key: str, page_id: str, tier: str) -> str:
    """Return the key (hex) of a page at a tier under a model; ``model_key`` names its weights and type."""
    return hashlib.sha256("\0".join((model_key, page_id, tier)).encode("utf-8", "surrogatepass")).hexdigest()
