"""The recipe as data: what a run reads, trains and for how long. ``language.toml`` is the bundled one."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from optical_memory.errors import InputError
from optical_memory.model.language.adapter import RATIOS, AdapterConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Files of text: a name, their licence, globs below the roots, and the most characters taken."""

    name: str
    licence: str
    patterns: tuple[str, ...]
    most: int = 12_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Mode:
    """One way a sample is shown: vectors a row of each of its pages, oldest first, or as text; and how often."""

    weight: float
    ratios: tuple[int, ...] = ()

    @property
    def pages(self) -> int:
        """Pages of a sample."""
        return max(1, len(self.ratios))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One run. Rates are for AdamW and Muon; shares are of the run's time.

    ``natural`` is the share of conversations with passages that the language model wrote; ``teach`` that of the loss
    that compares answers' probabilities with those of the same model where it reads the page as text; ``pooled`` shows
    true tokens averaged, without a look at the page.
    """

    model: str
    seed: int
    batch: int
    rate: float
    update_rate: float
    rank: int
    true_tokens: float
    mixed_tokens: float
    level: float
    pointer: float
    asked: int
    expand: float
    natural: float = 0.0
    teach: float = 0.0
    pooled: bool = False
    modes: tuple[Mode, ...]
    sources: tuple[Source, ...]
    adapter: AdapterConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Where a run reads and writes, and for how many seconds it trains, or for how many ``steps`` of these.

    ``start`` is where its weights come from: a ``language.pt``, or a folder of packed weights. ``keep`` is a step whose
    weights are kept, too, as ``step-N.pt``.
    """

    data: Path
    out: Path
    seconds: float
    processes: int = 1
    start: Path | None = None
    steps: int | None = None
    keep: int | None = None
    save_every: float = 120.0
    evaluated: int = 2
    batches: tuple[int, ...] = ()


def load(path: Path | None = None) -> Recipe:
    """Read a recipe, by default the bundled one. Errors: InputError for what it does not say or says wrongly.

    One that says ``like = "language.toml"`` says only what differs from the bundled one.
    """
    data: dict[str, Any] = _bundled("language.toml")
    if path is not None:
        own = tomllib.loads(path.read_text(encoding="utf-8"))
        data = {**data, **own} if own.pop("like", "") == "language.toml" else own
    try:
        modes = tuple(Mode(weight=m["weight"], ratios=tuple(m.get("ratios", ()))) for m in data.pop("modes"))
        sources = tuple(Source(**{**s, "patterns": tuple(s["patterns"])}) for s in data.pop("sources"))
        adapter = AdapterConfig(**data.pop("adapter", {}))
        recipe = Recipe(**data, modes=modes, sources=sources, adapter=adapter)
    except (KeyError, TypeError) as error:
        raise InputError(f"the recipe does not say what a run needs, or says something unknown: {error}") from error
    unknown = {ratio for mode in modes for ratio in mode.ratios} - set(RATIOS)
    if unknown:
        raise InputError(f"ratios {sorted(unknown)} are not among {RATIOS}")
    return recipe


def _bundled(name: str) -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath(name).read_text(encoding="utf-8"))
