"""The catalog: profiles and models by name, from the data of this package and from a user's own TOML file."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

from optical_memory.budget.formulas import Formula
from optical_memory.budget.images import image_tokens
from optical_memory.budget.naming import plain, spellings
from optical_memory.budget.profile import Price, Profile
from optical_memory.errors import InputError, NotFoundError
from optical_memory.renderers.base import Grid, Tier

Table = dict[str, Any]


class AssumedProfileWarning(UserWarning):
    """A model is not known; another of its family was taken for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """What an unknown member of a family is taken for, or why it has no profile."""

    match: re.Pattern[str]
    of: str = ""
    like: str = ""
    none: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """Tables by name with all they take from others, the names that lead to them, and the families in order."""

    tables: Mapping[str, Table]
    names: Mapping[str, str]
    families: tuple[Family, ...]


def profiles() -> tuple[str, ...]:
    """Return the names of all profiles, sorted; aliases and models are left out."""
    return tuple(sorted(name for name, table in _catalog().tables.items() if table["base"] == name))


def models() -> tuple[str, ...]:
    """Return the names of all models that have a table of their own, sorted; profiles are left out."""
    return tuple(sorted(name for name, table in _catalog().tables.items() if table["base"] != name))


def get_profile(name: str | Path | Profile) -> Profile:
    """Return the profile of a name, an alias, a model's id or a TOML file; a Profile is returned as it is.

    Ids are taken as clients, gateways and clouds spell them: dated, with a vendor before a slash, in the forms of
    Bedrock and Vertex. A member of a known family that is not known itself is taken for another of it, with an
    :class:`AssumedProfileWarning` that says which. "models.toml" is a file of the user's with one table, and
    "models.toml#name" one of several (see budget/data/README.md).

    Raises NotFoundError, with the names there are, for any other; InputError for a file that is not as it should be.
    """
    if isinstance(name, Profile):
        return name
    path, _, part = str(name).partition("#")
    if isinstance(name, Path) or path.endswith(".toml"):
        return load_profile(Path(path), part or None)
    catalog = _catalog()
    for spelling in spellings(name):
        if spelling in catalog.names:
            return _load(catalog.names[spelling])
    return _assume(name, spelling)


def load_profile(path: Path, name: str | None = None) -> Profile:
    """Return a profile from a user's TOML file: the table ``name``, or the only one there is.

    Raises NotFoundError for no such file or table, InputError for one that is not as it should be.
    """
    import tomllib

    try:
        own = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise NotFoundError(f"no profile file {str(path)!r}: {error.strerror}") from None
    except ValueError as error:
        raise InputError(f"{str(path)!r} is not TOML: {error}") from None
    if name is None:
        if len(own) != 1:
            raise InputError(f"{str(path)!r} has {len(own)} profiles; name one: {path.name}#{next(iter(own), 'name')}")
        name = next(iter(own))
    if name not in own:
        raise NotFoundError(f"no profile {name!r} in {str(path)!r}; there are {', '.join(own)}")
    return make_profile(name, _whole(name, own, _catalog()))


def make_profile(name: str, table: Mapping[str, Any]) -> Profile:
    """Return the profile that a whole table describes. Raises InputError for what is missing or unknown."""
    from optical_memory.budget.formulas.registry import make_formula  # many modules: not before a profile is asked for

    data = {key: value for key, value in table.items() if key != "aliases"}
    known = {each.name for each in fields(Profile)}
    if unknown := sorted(set(data) - known):
        said = ", ".join(map(repr, unknown))
        raise InputError(f"profile {name!r}: unknown {said}; known are {', '.join(sorted(known))}")
    try:
        formula = make_formula(data["formula"])
        rows = [*data["tiers"], {"name": "gist"} | data["gist"]]
        tiers = tuple(_tier(row, formula) for row in rows)
        legibility = {row["name"]: row["legibility"] for row in rows if "legibility" in row}
        return Profile(
            name=name,
            **data
            | {
                "formula": formula,
                "tiers": tiers[:-1],
                "gist": tiers[-1],
                "detail": {row["name"]: row["detail"] for row in rows if "detail" in row},
                "legibility": legibility | data.get("legibility", {}),
                "grid": Grid(**data["grid"]),
                "gist_grid": Grid(**data["gist_grid"]),
                "price": Price(**data["price"]),
                "sides": dict(data["sides"]),
            },
        )
    except (KeyError, TypeError) as error:
        raise InputError(f'profile {name!r} is not whole: {error}; start from another with like = "claude"') from None


def _tier(row: Mapping[str, Any], formula: Formula) -> Tier:
    width, height = row["size"]
    tokens = image_tokens(formula, width, height, row.get("detail"))
    return Tier(name=row["name"], width=width, height=height, tokens=tokens)


@cache
def _catalog() -> Catalog:
    import tomllib
    from importlib import resources  # slow to import: not before a profile is asked for

    raw: Table = {}
    families: list[Family] = []
    for file in sorted(resources.files("optical_memory.budget").joinpath("data").iterdir(), key=lambda file: file.name):
        if file.name.endswith(".toml"):
            read = tomllib.loads(file.read_text("utf-8"))
            families += [Family(**row | {"match": re.compile(row["match"])}) for row in read.pop("families", ())]
            raw |= read
    tables = {name: _whole(name, raw) for name in raw}
    names: dict[str, str] = {}
    for name, table in tables.items():
        names |= {plain(spelling): name for spelling in (name, *table["aliases"])}
    return Catalog(tables=tables, names=names, families=tuple(families))


def _whole(
    name: str, raw: Mapping[str, Table], packaged: Catalog | None = None, taken: frozenset[str] = frozenset()
) -> Table:
    """Return a table with what it takes from others, in ``raw`` and then ``packaged``; ``taken`` leads to it.

    Its shares of legibility by tier are added to theirs. Errors: NotFoundError for another that is not known.
    """
    table = dict(raw[name])
    of, like = table.pop("of", ""), table.pop("like", "")
    if not (of or like):
        return {"aliases": []} | table | {"base": name}
    other = dict(_other(name, of or like, raw, packaged, taken | {name}))
    if "tiers" in table and not of:
        other.pop("legibility", None)
    if "legibility" in table:
        table["legibility"] = other.get("legibility", {}) | table["legibility"]
    return other | {"aliases": []} | table | {"base": other["base"] if of else name}


def _other(name: str, wanted: str, raw: Mapping[str, Table], packaged: Catalog | None, taken: frozenset[str]) -> Table:
    own = {plain(each): each for each in raw if each not in taken}
    for spelling in spellings(wanted):
        if spelling in own:
            return _whole(own[spelling], raw, packaged, taken)
        if packaged is not None and spelling in packaged.names:
            return packaged.tables[packaged.names[spelling]]
    raise NotFoundError(f"profile {name!r} is like {wanted!r}, which is not known, or like it in turn")


@cache
def _load(name: str) -> Profile:
    return make_profile(name, _catalog().tables[name])


def _assume(name: str, spelling: str) -> Profile:
    """Return the profile of the family that the id belongs to, with a warning. Errors: NotFoundError."""
    for family in _catalog().families:
        if not family.match.match(spelling):
            continue
        if family.none:
            raise NotFoundError(f"no profile for {name!r}: {family.none}; give profile=Profile(…) if it does now")
        base, like = _load(family.of), _load(family.like)
        assumed = f"images, tokens and legibility as {base.name}, price and context as {like.name} ({like.date})"
        warnings.warn(f"{name!r} is not known; assumed are {assumed}", AssumedProfileWarning, stacklevel=3)
        return replace(
            base, name=name, price=like.price, context_tokens=like.context_tokens, confirmed=False, assumed=assumed
        )
    raise NotFoundError(
        f"no profile {name!r}; there are {', '.join(profiles())} and their models: optical-memory profiles"
    )
