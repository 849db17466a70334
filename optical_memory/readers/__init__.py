"""Readers: a page image in, text out. :func:`load_reader` finds them by name.

Other packages join through the entry point group ``optical_memory.readers``: a name, and a callable that takes the
options given to :func:`load_reader` and returns a :class:`Reader`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from optical_memory.readers.base import Doubt, Reader, Reading
from optical_memory.registry import Registry

__all__ = ["Doubt", "Reader", "Reading", "load_reader", "reader_names"]

READERS: Registry[Reader] = Registry(
    "reader",
    "optical_memory.readers",
    {
        "mini": "optical_memory.readers.mini:MiniReader",
        "deepseek-ocr": "optical_memory.readers.deepseek_ocr:DeepseekOcrReader",
        "deepseek-ocr-2": "optical_memory.readers.transformers:DeepseekOcr2Reader",
        "got-ocr2": "optical_memory.readers.transformers:GotOcr2Reader",
        "endpoint": "optical_memory.readers.endpoint:EndpointReader",
        "rapidocr": "optical_memory.readers.rapidocr:RapidOcrReader",
    },
)


def reader_names() -> tuple[str, ...]:
    """Return every name that :func:`load_reader` takes on this machine, sorted."""
    return READERS.names()


def load_reader(name: str = "mini", **options: Any) -> Reader:
    """Return the reader called ``name``; ``options`` go to it as they are (see each reader's class).

    A checkpoint folder, or a repository of the Hugging Face hub ("owner/name"), is a name too. Raises NotFoundError for
    an unknown name, MissingExtraError where the reader's package is not installed.
    """
    is_checkpoint = Path(name).is_dir() or (name.count("/") == 1 and "." != name[0] != "/")
    if is_checkpoint and not READERS.has(name):
        return load_reader(_kind_of(Path(name)), path=name, **options)
    return READERS.maker(name)(**options)


def _kind_of(folder: Path) -> str:
    """Return the reader for a checkpoint folder, by the model type in its config; without one, DeepSeek-OCR's."""
    try:
        model_type = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        return "deepseek-ocr"
    return {"got_ocr2": "got-ocr2", "deepseek_ocr2": "deepseek-ocr-2"}.get(model_type, "deepseek-ocr")
