"""Which models are compressed for: those whose images are known, and that the settings allow."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import lru_cache

from optical_memory.budget import Profile, get_profile
from optical_memory.budget.catalog import AssumedProfileWarning
from optical_memory.errors import NotFoundError


class Models:
    """The allow list: patterns such as ``claude-*``. A model whose images are assumed needs another one than ``*``."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self._patterns = [pattern.lower() for pattern in patterns]

    def profile(self, model: str) -> tuple[Profile | None, str]:
        """Return the profile of a model, or None and why there is none for it."""
        name = model.lower()
        allowed = [pattern for pattern in self._patterns if fnmatchcase(name, pattern)]
        if not allowed:
            return None, "model-not-allowed"
        found = _known(model)
        if found is None or (found.assumed and set(allowed) <= {"*"}):
            return None, "model-unknown"
        return found, ""

    def why_none(self, body: bytes) -> str:
        """Return why there is surely no profile for a request, told without reading it, or "" where there may be one.

        Its model is among all that is written as a model anywhere in it.
        """
        named = {name.decode("utf-8", "replace") for name in _MODEL.findall(body)}
        reasons = {self.profile(name)[1] for name in named}
        return reasons.pop() if len(reasons) == 1 else ""


_MODEL = re.compile(rb'"model"\s*:\s*"([^"\\]{1,200})"')


@lru_cache(maxsize=1_024)
def _known(model: str) -> Profile | None:
    if not model or len(model) > 200 or ".toml" in model.lower():
        return None
    try:
        return get_profile(model)
    except (NotFoundError, AssumedProfileWarning):
        return None
