"""Readers: a page image in, text out. :func:`load_reader` finds them by name.

Other packages join through the entry point group ``optical_memory.readers``: a name, and a callable that takes the
options given to :func:`load_reader` and returns a :class:`Reader`.
"""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any, cast

from optical_memory.errors import NotFoundError
from optical_memory.readers.base import Doubt, Reader, Reading

__all__ = ["Doubt", "Reader", "Reading", "load_reader", "reader_names"]

GROUP = "optical_memory.readers"
_BUILT_IN = {
    "mini": "optical_memory.readers.mini:MiniReader",
    "deepseek-ocr": "optical_memory.readers.deepseek_ocr:DeepseekOcrReader",
    "deepseek-ocr-2": "optical_memory.readers.transformers:DeepseekOcr2Reader",
    "got-ocr2": "optical_memory.readers.transformers:GotOcr2Reader",
    "endpoint": "optical_memory.readers.endpoint:EndpointReader",
    "rapidocr": "optical_memory.readers.rapidocr:RapidOcrReader",
}


def reader_names() -> tuple[str, ...]:
    """Return every name that :func:`load_reader` takes on this machine, sorted."""
    from importlib.metadata import entry_points  # slow to import, and seldom needed

    return tuple(sorted({*_BUILT_IN, *(point.name for point in entry_points(group=GROUP))}))


def load_reader(name: str = "mini", **options: Any) -> Reader:
    """Return the reader called ``name``; ``options`` go to it as they are (see each reader's class).

    A checkpoint folder, or a repository of the Hugging Face hub ("owner/name"), is a name too. Raises NotFoundError
    for a name that no one has, MissingExtraError where the reader's package is not installed.
    """
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        return cast(Reader, getattr(import_module(module), attribute)(**options))
    from importlib.metadata import entry_points

    for point in entry_points(group=GROUP, name=name):
        return cast(Reader, point.load()(**options))
    if Path(name).is_dir() or (name.count("/") == 1 and "." != name[0] != "/"):
        return load_reader(_kind_of(Path(name)), path=name, **options)
    raise NotFoundError(f"no reader {name!r}; there are {', '.join(reader_names())}")


def _kind_of(folder: Path) -> str:
    """Return the reader for a checkpoint folder, by the model type in its config; DeepSeek-OCR where it says none."""
    try:
        model_type = json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError):
        return "deepseek-ocr"
    return {"got_ocr2": "got-ocr2", "deepseek_ocr2": "deepseek-ocr-2"}.get(model_type, "deepseek-ocr")
