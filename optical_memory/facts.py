"""Facts: exact values that no reader can be trusted with as pixels, as one bounded line of text beside a page.

Misread ids, hashes, amounts and paths look plausible, so they are silently wrong. Every pattern here consumes what it
looked at or is bounded in length: time grows linearly with the text, whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from math import log2
from operator import itemgetter
from typing import Literal, NamedTuple, cast

from optical_memory.turns import CALL_MARK

Kind = Literal["id", "hash", "amount", "url", "email", "phone", "path", "date", "version", "pair", "definition", "name"]
"""``extract`` finds all but the last two, names of code, which are facts where a page shows code."""


MAX_LENGTH = 200
"""Longest value in characters: a longer one would fill the line alone."""
WEIGHTS: dict[Kind, float] = {
    "id": 10,
    "hash": 10,
    "amount": 7,
    "url": 6,
    "email": 7,
    "phone": 7,
    "path": 6,
    "date": 4,
    "version": 4,
    "pair": 3,
    "definition": 9,
    "name": 3,
}
"""How much is lost by one wrong character: an id points elsewhere, a misread date often shows."""


class Fact(NamedTuple):
    """A value exactly as it stands in the text of a turn; ``key`` is what a pair calls it.

    ``certain`` is False for what only looks like a fact, such as a word in capitals.
    """

    kind: Kind
    value: str
    turn_id: str = ""
    key: str = ""
    certain: bool = True

    def __str__(self) -> str:
        """Return the fact as it stands in a line."""
        return f"{self.key}: {self.value}" if self.key else self.value


_UNITS = (
    "USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD|dollars?|euros?|pounds?|cents?|%|°[CF]|kg|mg|lbs?|km|cm|mm|miles?|mph|"
    "[KMGT]i?B|bytes?|ms|µs|ns|seconds?|minutes?|mins?|hours?|hrs?|days?|weeks?|months?|years?|px|tokens?|[€£¥₹元円원]"
)
_MONTH = "[JFMASOND](?:an|eb|ar|pr|ay|un|ul|ug|ep|ct|ov|ec)[a-z]{0,6}+"
_CJK = "。，、；：？！「」）"
_PATH = rf"[^\s\"'`<>|:;,(){{}}\[\]*?=&#{_CJK}]"
_TOKEN = r"[\w.@/\\+-]*+(?::\d{1,6}(?!\w))?"
# One pass for speed: places are sorted by their first character, every branch begins with a set of characters (which
# the engine tests first), and the empty group at a branch's end names the kind.
_FACT = re.compile(
    rf"""(?=[A-Za-z0-9~./_@+-]|[$€£¥₹₩(][ ]?\d)(?<![A-Za-z0-9_])(?:
    (?=[A-Za-z])(?:
        [A-Za-z][a-z0-9+]{{1,11}}+://[^\s<>"'`{{}}|\\^{_CJK}]++(?P<url>)
      | [w]ww\.[\w.-]++{_PATH}*+(?P<url_bare>)
      | [A-Za-z]:\\(?:[^\\/:*?"<>|\r\n\t]{{1,60}}\\){{0,20}}[^\s\\/:*?"<>|,;){_CJK}]{{1,80}}+(?P<path_windows>)
      | {_MONTH}\.?[ ]\d{{1,2}}(?:st|nd|rd|th)?(?:,?[ ]\d{{4}})?(?!\w)(?P<date_named>)
      | [UEGCJI](?:S[$]|(?:SD|UR|BP|HF|PY|NY|NR)[ ]?)\d[\d,.]{{0,20}}+[kKmM]?(?P<amount_coded>)
      | [A-Z]{{6}}(?![\w@/+-]|\.\w)(?P<capitals>)
      | [A-Za-z]++[0-9_@./\\+-]{_TOKEN}(?P<token>))
  | (?=\d)(?:
        \d{{4}}-\d{{2}}(?:-\d{{2}}(?:[T ]\d{{2}}:\d{{2}}(?::\d{{2}}(?:\.\d{{1,9}})?)?(?:Z|[+-]\d{{2}}:?\d{{2}})?)?)?
            (?![\w-])(?P<date>)
      | \d{{1,4}}/\d{{1,2}}/\d{{2,4}}(?![\w/])(?P<date_slashed>)
      | \d{{1,2}}(?:st|nd|rd|th)?[ ](?:of[ ])?{_MONTH}\.?(?:,?[ ]\d{{4}})?(?!\w)(?P<date_day_first>)
      | \d{{1,4}}年(?:\d{{1,2}}月(?:\d{{1,2}}日)?)?(?P<date_cjk>)
      | \d{{1,2}}:\d{{2}}(?::\d{{2}}(?:\.\d{{1,6}})?)?(?:[ ]?[AaPp]\.?[Mm]\b)?(?![\w:])(?P<date_time>)
      | \d[\d,.]{{0,20}}+[ ]?(?:{_UNITS})(?![A-Za-z0-9])(?P<amount>)
      | \d{{3}}[ .-]\d{{3}}[ .-]\d{{4}}(?!\w)(?P<phone>)
      | \d(?=[\w.@/\\+-]{{3}}){_TOKEN}(?P<token_numbered>))
  | [~]/{_PATH}++(?P<path_home>)
  | [/.](?:(?<=\.)\.?/|(?<=/)){_PATH}++(?::\d{{1,6}})?(?P<path>)
  | [$€£¥₹₩][ ]?\d[\d,.]{{0,20}}+[kKmM]?(?P<amount_marked>)
  | [-+](?:[$€£¥₹₩][ ]?\d[\d,.]{{0,20}}+[kKmM]?|\d[\d,.]{{0,20}}+[ ]?(?:{_UNITS})(?![A-Za-z0-9]))(?P<amount_signed>)
  | [+]\d(?:[ ()./-]{{0,2}}\d){{6,14}}(?!\w)(?P<phone_marked>)
  | [(]\d{{3}}\)[ .-]?\d{{3}}[ .-]\d{{4}}(?!\w)(?P<phone_bracketed>)
  | [_@.+-]\w{_TOKEN}(?P<token_marked>)
    )""",
    re.VERBOSE | re.ASCII,
)
_WORD = r"[^\s\"'*`,;:={}\[\]()<>|\\]"
_PAIR = re.compile(
    rf"""(?<![\w-])(?P<key>[A-Za-z_][\w.-]{{0,31}}+(?:[ ][A-Z0-9][A-Za-z0-9_-]{{0,20}}+){{0,2}}+)["'*`]{{0,3}}+
    [ \t]{{0,2}}+[:=]["'*`]{{0,2}}+[ \t]{{0,2}}+["'*`]{{0,3}}+(?P<value>{_WORD}{{1,40}}+(?:[ ]{_WORD}{{1,24}}+){{0,3}}+)
    (?=["'*`,;}}\])|<\r\n]|$)""",
    re.VERBOSE | re.ASCII,
)
_HEX = re.compile(r"(?:0x)?[0-9a-fA-F]{7,128}")
_MEASURE = re.compile(r"(?:%|[a-zµ]s?|px|[KMGT]i?B)$")
_SPEAKERS = frozenset({"system", "developer", "user", "assistant", "tool result"})
_NUMBER = re.compile(r"[-+]?[\d_]*\.?\d+(?:[eE][-+]?\d+)?", re.ASCII)
_NO_DIGITS = {ord(digit): None for digit in "0123456789"}
_EMAIL = re.compile(r"[\w.+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+", re.ASCII)
_VERSION = re.compile(r"[vV]?\d{1,5}(?:\.\d{1,5}){2,3}(?:[-+][\w.-]{1,30})?|[vV]\d{1,5}(?:\.\d{1,5})?", re.ASCII)
_SUFFIX = re.compile(
    r"\.(?:[chm]|cc|[ch]pp|cs|css|csv|cfg|conf|db|docx?|env|gif|go|gz|html?|ini|ipynb|jar|java|jpe?g|js|json[lc]?|jsx|"
    r"kt|lock|log|lua|md|mjs|mov|mp[34]|odt|parquet|pdf|php|png|pptx?|proto|ps1|pyi?|rb|rs|rst|scss|sh|sql|sqlite3?|"
    r"svg|swift|tar|toml|tsx?|ttf|txt|wav|webp|whl|xlsx?|xml|ya?ml|zip|zig)(?::\d{1,6})?$",
    re.IGNORECASE,
)
_COMMON_CAPITALS = frozenset(
    "ACCEPT ACTION ALWAYS AMOUNT ASSERT BEFORE BINARY BUFFER CANCEL CHANGE CLIENT CLOSED COLUMN COMMIT CONFIG CREATE "
    "CURSOR DEFINE DELETE DENIED DEVICE DOMAIN DOUBLE DURING EDITOR ENABLE ENDING ENTITY ERRORS ESCAPE EXCEPT EXISTS "
    "EXPORT FAILED FILTER FINISH FOLDER FORMAT GLOBAL HEADER HELPER HIDDEN IGNORE IMPORT INLINE INSERT INVITE ISSUES "
    "LATEST LENGTH LEVELS LIMITS LISTEN LOCKED MASTER MEMORY METHOD MODULE NORMAL NOTICE NUMBER OBJECT OPTION OUTPUT "
    "PARAMS PARENT PASSED PLEASE POLICY PREFIX PUBLIC PYTHON RANDOM README RECORD REGION REMOVE RENAME REPORT RESULT "
    "RETURN REVIEW REVOKE SCHEMA SCRIPT SEARCH SECRET SELECT SERVER SHOULD SIGNAL SIMPLE SINGLE SOURCE STATIC STATUS "
    "STREAM STRICT STRING STRUCT SUFFIX SWITCH SYMBOL SYSTEM TARGET TOKENS UNIQUE UNPACK UPDATE VALUES VECTOR VERIFY "
    "WINDOW".split()
)


def extract(text: str, turn_id: str = "") -> list[Fact]:
    """Return the facts of a text in order, each as often as it occurs. Time is linear in the text's length."""
    found: list[tuple[int, Fact]] = []
    taken = bytearray(len(text))
    text = CALL_MARK.sub(lambda mark: " " * len(mark.group()), text)
    known: dict[str, Fact | None] = {}
    for match in _FACT.finditer(text):
        value = match.group()
        if value not in known:
            known[value] = _fact(match.lastgroup or "", value, turn_id)
        if fact := known[value]:
            start, end = match.span()
            found.append((start, fact))
            taken[start:end] = b"\1" * (end - start)
    for match in _PAIR.finditer(text):
        start, value = match.start("value"), match["value"].rstrip(".!?")
        if not taken[start] and _worth_keeping(match["key"], value):
            found.append((start, Fact("pair", value, turn_id, match["key"])))
    found.sort(key=itemgetter(0))
    return [fact for _, fact in found]


def facts_line(
    facts: Sequence[Fact], max_tokens: int, count: Callable[[str], int], *, seen: Collection[str] = frozenset()
) -> str:
    """Return the most useful facts as one line of at most ``max_tokens`` by ``count``, e.g. ``A1B2C3 | $42 (+3 more)``.

    Each value stands once; values in ``seen`` (on other pages' lines) are left out and not counted. The most useful
    come first: those where a wrong character would cost most, that occur often and in many turns, and that few in their
    turn are like. Empty where there are none, or where not even one fits.
    """
    ranked = [fact for fact in _ranked(facts) if str(fact) not in seen and fact.value not in seen]
    line, misses = "", 0
    chosen: list[str] = []
    for fact in ranked:
        longer = SEPARATOR.join([*chosen, str(fact)]) + _more(len(ranked) - len(chosen) - 1)
        if count(longer) <= max_tokens:
            line = longer
            chosen.append(str(fact))
            continue
        misses += 1
        if misses > MAX_MISSES:
            break
    return line


def listed(line: str) -> list[str]:
    """Return the facts of a line, as :func:`facts_line` takes them for ``seen``."""
    facts = _MORE.sub("", line)
    return facts.split(SEPARATOR) if facts else []


SEPARATOR = " | "
_MORE = re.compile(r" \(\+\d+ more\)$")
MAX_MISSES = 12
"""How many facts that are too long for the rest of a line are skipped in favour of shorter ones."""


def _more(number: int) -> str:
    return f" (+{number} more)" if number else ""


def _ranked(facts: Sequence[Fact]) -> list[Fact]:
    first: dict[str, Fact] = {}
    turns: dict[str, set[str]] = {}
    times: dict[str, int] = {}
    alike: dict[tuple[str, str], set[str]] = {}
    for fact in facts:
        value = str(fact)
        first.setdefault(value, fact)
        turns.setdefault(value, set()).add(fact.turn_id)
        times[value] = times.get(value, 0) + 1
        alike.setdefault((fact.kind, fact.turn_id), set()).add(value)

    def score(fact: Fact) -> float:
        value = str(fact)
        spread = 1 + log2(len(turns[value])) + log2(times[value]) / 2
        crowd = 1 + log2(len(alike[fact.kind, fact.turn_id])) / 4
        return WEIGHTS[fact.kind] * (1 if fact.certain else 0.5) * spread / crowd

    return sorted(first.values(), key=score, reverse=True)


def _fact(group: str, value: str, turn_id: str) -> Fact | None:
    group = group.partition("_")[0]
    if len(value) > MAX_LENGTH:
        return None
    kind: Kind | None
    certain = True
    if group == "token":
        value = value.strip("-+").rstrip(".\\/") if value[0] in "-+" else value.rstrip(".\\/-+")
        kind, certain = _token_kind(value)
    elif group == "capitals":
        kind, certain = (None if value in _COMMON_CAPITALS else "id"), False
    elif group == "path":
        value = value.rstrip(".!")
        kind = "path" if "\\" in value or _is_path(value) else None
    elif group == "url":
        kind, value = "url", _balanced(value.rstrip(".,;:!?*_'"))
    else:
        kind = cast(Kind, group)
        value = value.rstrip(".,")
        certain = group != "amount" or not _MEASURE.search(value)
    return Fact(kind, value, turn_id, certain=certain) if kind and value.isprintable() else None


def _balanced(url: str) -> str:
    """Drop a closing bracket that belongs to the sentence around a URL."""
    for left, right in ("()", "[]"):
        if url.endswith(right) and url.count(left) < url.count(right):
            return url[:-1]
    return url


def _is_path(value: str) -> bool:
    return value.count("/") > 1 or bool(_SUFFIX.search(value))


def _token_kind(value: str) -> tuple[Kind | None, bool]:
    """Return the kind of a run of letters, digits and marks, and whether it is surely one."""
    if "@" in value:
        return ("email", True) if _EMAIL.fullmatch(value) else (None, False)
    if "." in value or "/" in value:
        if _VERSION.fullmatch(value):
            return "version", True
        if _SUFFIX.search(value) or _looks_like_path(value):
            return "path", True
    digits = len(value) - len(value.translate(_NO_DIGITS))
    if not digits or len(value) < 4 or "/" in value or "\\" in value:
        return None, False
    if digits == len(value):
        return ("id", digits >= 7) if digits >= 6 else (None, False)
    if _HEX.fullmatch(value):
        return "hash", True
    return _id_kind(value, digits)


def _looks_like_path(value: str) -> bool:
    return value.count("/") > 1 and not value.replace("/", "").replace(".", "").isdigit()


def _id_kind(value: str, digits: int) -> tuple[Kind | None, bool]:
    """Tell ids (HAT190, liam_khan_2521, call_QCD2Ty…) from names with a number in them (utf8, layer_2)."""
    if _NUMBER.fullmatch(value) or value.count(".") > 1:
        return None, False
    if digits >= 4 or (value.isupper() and len(value) >= 5 and "." not in value):
        return "id", True
    if len(value) >= 12 and digits >= 2 and not value.islower():
        return "id", True
    return ("id", False) if len(value) >= 6 and digits >= 2 else (None, False)


def _worth_keeping(key: str, value: str) -> bool:
    """Leave out code (``x: str``), prose that happens to hold a colon, and who speaks."""
    return (
        key not in _SPEAKERS
        and len(key) > 1
        and len(value) > 1
        and value.isprintable()
        and not value.startswith(("//", "-", "."))
    )
