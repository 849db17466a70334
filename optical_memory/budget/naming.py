"""Ids of models as clients, gateways and clouds spell them, brought to the one spelling that the data has. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator

_REGION = re.compile(r"^(?:us|eu|ap|apac|au|jp|ca|sa|me|af|uk|in|global|us-gov|us-gov-\w+|eu-\w+-\d)\.(?=[a-z])")
_VENDOR = re.compile(
    r"^(?:anthropic|openai|google|meta|mistral|deepseek|qwen|moonshot|moonshotai|zai|xai|x-ai|amazon)\.(?=[a-z])"
)
_PREFIX = re.compile(r"^(?:databricks|openai|zai-org|zai)-(?=[a-z])")
"""A gateway or vendor before a dash, as Databricks and some resellers write it."""
_POINT = re.compile(r"(?<=\d)p(?=\d)")
_BEDROCK = re.compile(r"-v\d+(?::\d+)?(?::\d+k)?$")
_FLAGS = re.compile(r"(?:\[[^\]]*\]|:[a-z][\w.-]*|@[\w.-]*)$")
_DATE = re.compile(r"-(?:20\d{6}|20\d\d-\d\d-\d\d|\d\d-20\d\d|\d\d-\d\d|\d{4}|00\d)$")
"""As in 20251101, 2026-03-05, 09-2025, 05-20, 0709 and 001."""
_WORDS = "latest preview exp experimental beta thinking reasoning non-reasoning instruct it fast highspeed".split()
_WORD = re.compile(rf"-(?:{'|'.join(_WORDS)})$")


def plain(name: str) -> str:
    """Return the spelling that names are compared in: lower case, one dash for each run of ``. _ -`` and spaces."""
    return re.sub(r"[\s._-]+", "-", name.strip().lower()).strip("-")


def spellings(name: str) -> Iterator[str]:
    """Yield what a name may mean, from the name itself to the barest form; the first that is known counts.

    Taken off, in this order: flags at the end (``[1m]``, ``:free``, ``@20251101``), a path or vendor before the last
    slash (``openrouter/anthropic/…``, ``models/…``, ARNs), region and vendor of Bedrock and its version (``us.``,
    ``anthropic.``, ``-v1:0``), a gateway's prefix (``databricks-``; ``5p3`` is 5.3 and ``qwen-3`` qwen3), then dates
    and words such as ``-preview`` from the end, one by one. ``ft:`` and the name behind it are a fine-tuned model of
    what stands between.
    """
    name = name.strip()
    yield plain(name)
    lower = name.lower()
    if lower.startswith("ft:"):
        lower = lower.split(":")[1]
    lower = lower.rpartition("/")[2]
    lower = _BEDROCK.sub("", lower)
    while (bare := _FLAGS.sub("", lower)) != lower and bare:
        lower = bare
    lower = _VENDOR.sub("", _REGION.sub("", lower))
    lower = _BEDROCK.sub("", lower)
    yield plain(lower)
    lower = _PREFIX.sub("", plain(_POINT.sub(".", lower))).replace("qwen-3", "qwen3")
    yield lower
    while (bare := _WORD.sub("", _DATE.sub("", plain(lower)))) != plain(lower) and bare:
        lower = bare
        yield lower
