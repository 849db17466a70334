"""The one config file of training, as dataclasses: what is read, drawn, trained and measured."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optical_memory.errors import InputError
from optical_memory.training.corpus import Source

DEFAULT = Path(__file__).with_name("mini.toml")
"""The config the shipped weights were trained with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One way to make training pages.

    A page is drawn from one of ``sheets`` so that its cells are one of ``widths`` px wide (or, with two widths and
    ``between``, any width between them; without widths, as wide as the sheet's). ``text`` is "latin",
    "confusable" or "scripts"; ``rough`` from 0 to 1 bounds what
    :func:`~optical_memory.training.augment.roughened` does; ``stretch`` is the largest random change of a cell's
    proportions; with ``styled``, fonts and colours change within a page; the recipe starts at the share ``after`` of
    the stage.
    """

    name: str
    sheets: tuple[str, ...]
    widths: tuple[float, ...]
    weight: float
    between: bool = False
    text: str = "latin"
    rough: float = 0.0
    stretch: float = 0.0
    styled: bool = False
    after: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stretch of training that ends with weights worth keeping: its seconds, and the full learning rate."""

    name: str
    seconds: float
    rate: float
    recipes: tuple[Recipe, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DecoderStage:
    """How the decoder is trained: pages and tokens a step, full learning rate, and (sheet, cell width) of its pages."""

    seconds: float
    rate: float
    batch: int
    tokens: int
    pages: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """A row of the evaluation table: pages of one sheet at one cell width and size, perhaps damaged.

    ``watched`` is the kind of text that the training log follows on such pages, if any.
    """

    name: str
    sheet: str
    width: float
    side: int
    text: tuple[str, ...] = ("natural", "random", "hex")
    damage: str = ""
    amount: float = 0.0
    watched: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Font:
    """A font file: trained on, or held out for evaluation."""

    name: str
    pattern: str
    licence: str
    held_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingConfig:
    """Everything :mod:`optical_memory.training` needs to know. ``batch`` pages of ``side`` px in ``groups`` alike."""

    seed: int
    side: int
    batch: int
    groups: int
    points: int
    sources: tuple[Source, ...]
    fonts: tuple[Font, ...]
    stages: tuple[Stage, ...]
    decoder: DecoderStage
    measures: tuple[Measure, ...]

    def stage(self, name: str) -> Stage:
        """Return the stage of that name. Errors: InputError."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise InputError(f"no stage {name!r}; the config has {', '.join(repr(stage.name) for stage in self.stages)}")


def load(path: Path = DEFAULT) -> TrainingConfig:
    """Read a config file. A stage's recipes are named in it and described once, under ``[[recipes]]``."""
    data = tomllib.loads(path.read_text())
    recipes = {entry["name"]: Recipe(**_tuples(entry)) for entry in data["recipes"]}
    stages = []
    for entry in data["stages"]:
        chosen = tuple(_weighed(recipes[name], weight) for name, weight in entry.pop("recipes").items())
        stages.append(Stage(recipes=chosen, **entry))
    return TrainingConfig(
        sources=tuple(Source(**_tuples(entry)) for entry in data["sources"]),
        fonts=tuple(Font(**entry) for entry in data["fonts"]),
        measures=tuple(Measure(**_tuples(entry)) for entry in data["measures"]),
        stages=tuple(stages),
        decoder=_decoder(data["decoder"]),
        **data["training"],
    )


def _decoder(entry: dict[str, Any]) -> DecoderStage:
    pages = tuple((str(sheet), float(width)) for sheet, width in entry.pop("pages"))
    return DecoderStage(pages=pages, **entry)


def _weighed(recipe: Recipe, weight: float) -> Recipe:
    fields = {name: getattr(recipe, name) for name in Recipe.__slots__}
    return Recipe(**{**fields, "weight": weight})


def _tuples(entry: dict[str, Any]) -> dict[str, Any]:
    converted = {key: tuple(value) if isinstance(value, list) else value for key, value in entry.items()}
    return {"weight": 1.0, **converted} if "sheets" in converted else converted
