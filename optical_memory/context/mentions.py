"""Mentions: the exact values in a turn. Not names of arguments and fields, halves of escapes, options or line numbers.

What came as JSON is taken apart first: its texts are looked through, its names are not values. A name that someone also
says or asks for is one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optical_memory import wording
from optical_memory.facts import WEIGHTS, Fact, extract
from optical_memory.renderers.visible import HEADER_MARK
from optical_memory.turns import CALL_MARK, Turn, join_text

LEAST_LENGTH, MOST_LENGTH = 4, 120
"""Characters of a value worth a place: shorter ones are easily told as pixels or found by chance."""
MOST_PARSED = 400_000
"""Characters of JSON up to which it is taken apart."""
NAME_WEIGHT = 0.5
"""What a name of code is worth; an id is worth 1."""
NUMBERED = 3
"""Lines that begin with a number from which on these count as numbers of lines, and are no values."""
_NAME = re.compile(r"(?<![\w.])(?:[A-Za-z]\w*_\w+|[a-z]+[A-Z]\w+|[A-Z][a-z0-9]+[A-Z]\w+)(?!\w)", re.ASCII)
_FIELD = re.compile(r"[\"']\s{0,2}:")
"""What stands behind the name of a field in JSON, which is no value."""
_DEFINED = re.compile(
    r"\b(?:def|class|fn|func|function|struct|enum|trait|interface|macro_rules!)[ \t]{1,4}"
    r"(?:\([^)\n]{0,60}\)[ \t]{0,4})?([A-Za-z_]\w{3,60})",
    re.ASCII,
)
_WORD = re.compile(r"\w+", re.ASCII)
_ARGUMENT = re.compile(r"^(\w{1,60}):", re.ASCII | re.MULTILINE)
"""What a page of a call or a result calls an argument, or a field."""
_HEADER = re.compile(rf"\A{HEADER_MARK}[^:\n]{{0,64}}:")
_JUNK = re.compile(
    r"""[\\/*#.\-_\s"'<>|=:;,()\[\]{}]*|.*\\[nrt].*|[*#/]{2,}.*|.*[\n\t].*   # marks, escapes
    |[\d,$]+[pdq]|c\d+-\d*|[^@]*\w\+\w.*                                  # addresses of sed, columns of cut, sums
    |/[^/]*/?|/.*[+*^$?\\].*|/dev/(?:null|std\w+)|[ab]/.+/.+                # patterns, names in a diff""",
    re.ASCII | re.VERBOSE,
)
_GIVEN = re.compile(r"(\w[\w.-]{1,30})(?:[ \t]*[:=][ \t]*|[ ](?:is now|changed to)[ ])[\"'`]?([^\s,;\"'`]{4,120})")
"""A name and a value that the user gives it."""
_OPTION = re.compile(r"(?<!\S)--?([A-Za-z][\w-]*)", re.ASCII)
_ESCAPE = re.compile(r"\\(?:[nrt]|u[0-9a-fA-F]{4}|x[0-9a-fA-F]{2})")
_DRIVE = re.compile(r"\b[A-Za-z]:\\")
_LINE_NUMBER = re.compile(r"^[ \t]*\d{1,6}(?:[:\t→|]|-(?=\D))", re.MULTILINE)
_PLACE = re.compile(r"(?::|(?<=\.[a-z])-|(?<=\.[a-z]{2})-|(?<=\.[a-z]{3})-)\d{1,6}-?\Z")
"""The number of a line behind a file, as ``grep -n`` writes it for a line that is found and for one beside it."""


@dataclass(frozen=True, slots=True)
class Mention:
    """A value in a turn: what it is ``worth`` by its kind, and the ``key`` that the user calls it."""

    worth: float
    key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """What is looked through of a turn: its own text, and what its calls ask for. ``names`` are those of fields."""

    own: str
    asked: str
    names: frozenset[str]
    leaves: frozenset[str]

    @property
    def all(self) -> str:
        """Both."""
        return f"{self.own}\n{self.asked}"


def texts_of(turn: Turn) -> Texts:
    """Return what is looked through of a turn."""
    text = join_text(turn.role, turn.content, labels=True)
    names: set[str] = set()
    own, leaves = text, list[str]()
    if turn.role == "tool":
        leaves = _taken_apart(text, names)
        own = "\n".join(leaves) if leaves else _without_marks(text)
    asked = [leaf for call in turn.tool_calls for leaf in _taken_apart(call.arguments, names) or [call.arguments]]
    return Texts(own=own, asked=_without_escapes("\n".join(asked)), names=frozenset(names), leaves=frozenset(leaves))


def mentions(turn: Turn, texts: Texts) -> dict[str, Mention]:
    """Return the exact values in a turn."""
    said = texts.own if turn.role == "user" else ""
    used = said or texts.asked
    options = {*_OPTION.findall(texts.asked)}
    given = {match[2].rstrip(".!?"): match[1] for match in _GIVEN.finditer(said)}
    found: dict[str, Mention] = {}
    for fact in extract(texts.all):
        value = _PLACE.sub("", fact.value) if fact.kind == "path" else fact.value
        keyed = fact.kind == "pair"
        if (keyed and not said) or (value in options and value not in said) or not _is_sure(fact, texts, said, used):
            continue
        worth = WEIGHTS[fact.kind] / 10 * (1.0 if fact.certain else 0.5)
        found[value] = Mention(worth, fact.key if keyed else given.get(value, ""))
    for name in _NAME.findall(used):
        found.setdefault(name, Mention(NAME_WEIGHT))
    return {
        value: mention
        for value, mention in found.items()
        if _is_worth_a_place(value) and (value not in texts.names or value in used)
    }


def _is_worth_a_place(value: str) -> bool:
    has_room = LEAST_LENGTH <= len(value) <= MOST_LENGTH and wording.BETWEEN not in value
    return has_room and not _JUNK.fullmatch(value)


def values_on(text: str) -> list[Fact]:
    """Return the exact values on a page of a large result, as often as they occur, names of code among them.

    What is defined on the page is worth most: it is asked for most often. What only looks like a value is left out.
    """
    plain = CALL_MARK.sub("", _HEADER.sub("", text))
    arguments = {*_ARGUMENT.findall(plain)} if plain != text else set[str]()
    text = _without_marks(plain)
    found = []
    for fact in extract(text):
        value = _PLACE.sub("", fact.value) if fact.kind == "path" else fact.value
        if fact.kind != "pair" and fact.certain and _is_worth_a_place(value):
            found.append(Fact(fact.kind, value))
    defined = {*_DEFINED.findall(text)}
    found += [Fact("definition", word) for word in _WORD.findall(text) if word in defined]
    names = (match.group() for match in _NAME.finditer(text) if not _FIELD.match(text, match.end()))
    return found + [Fact("name", name) for name in names if name not in defined and name not in arguments]


def names_in(text: str) -> set[str]:
    """Return the names of code in a text."""
    return {*_NAME.findall(text)}


def _is_sure(fact: Fact, texts: Texts, said: str, used: str) -> bool:
    """Tell whether a fact is one, or is used as one: what only looks like it in a result is seldom asked for.

    A short number in a call is a limit or a time.
    """
    asked = used if not fact.value.isdigit() else said
    return fact.certain or fact.value in asked or fact.value in texts.leaves


def _without_marks(text: str) -> str:
    """Return a result without the numbers of its lines, and without escapes."""
    if len(_LINE_NUMBER.findall(text)) >= NUMBERED:
        text = _LINE_NUMBER.sub("", text)
    return _without_escapes(text)


def _without_escapes(text: str) -> str:
    """Return code without the escapes of its strings, so that no name begins with the letter of one."""
    return text if _DRIVE.search(text) else _ESCAPE.sub(" ", text)


def _taken_apart(text: str, names: set[str]) -> list[str]:
    """Return the texts in JSON, and add its names; empty where it is no object or list."""
    text = text.strip()
    if text[:1] not in ("{", "[") or len(text) > MOST_PARSED:
        return []
    try:
        value = json.loads(text, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError):
        return []
    return [str(leaf) for leaf in _leaves(value, names)]


def _leaves(value: Any, names: set[str]) -> Iterator[Any]:
    waiting = [value]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, Mapping):
            names.update(map(str, inner))
            waiting.extend(reversed([*inner.values()]))
        elif isinstance(inner, Sequence) and not isinstance(inner, str):
            waiting.extend(reversed(inner))
        else:
            yield inner
