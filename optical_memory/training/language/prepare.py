"""Data for the training: text to quote from, pools of names, letters of both renderers, and what each token weighs."""

from __future__ import annotations

import gzip
import html
import json
import lzma
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from optical_memory.training.language.conversation import Story, tidy
from optical_memory.training.language.recipe import Recipe, Source

_SCRIPTS = re.compile(r"<(script|style)[^>]*>.*?</\1>", re.S | re.I)
_TAGS = re.compile(r"<[^>]+>")
_LEAST, _MOST = 1500, 60_000
"""Characters of a document that is kept, and the most taken of one."""
_COMMON, _RARE = 5.0, 12.0
"""Surprise, nats, of a token whose weight is least, and of one whose weight is 1."""
LEAST, DIGIT = 0.08, 0.7
"""Weight of the commonest tokens, and of digits, which cannot be guessed though each is common."""


def prepare(recipe: Recipe, roots: Sequence[Path], out: Path, tokenizer: Any) -> None:
    """Write train.txt.xz, val.txt.xz, pools.json, weights.npy, sheets.npz and manifest.json to ``out``."""
    from optical_memory.training.language.pictures import write_sheets

    out.mkdir(parents=True, exist_ok=True)
    kept, counts = [], {}
    for source in recipe.sources:
        found = list(_documents(source, roots))
        counts[source.name] = sum(map(len, found))
        kept += found
    random.Random(recipe.seed).shuffle(kept)
    held = max(1, len(kept) // 40)
    for name, part in (("val", kept[:held]), ("train", kept[held:])):
        with lzma.open(out / f"{name}.txt.xz", "wt", encoding="utf-8", preset=6) as file:
            file.write("\0".join(part))
    (out / "pools.json").write_text(json.dumps(pools(recipe.seed)))
    np.save(out / "weights.npy", token_weights(kept, out / "pools.json", tokenizer))
    write_sheets(out)
    sources = [{"name": s.name, "licence": s.licence, "characters": counts[s.name]} for s in recipe.sources]
    manifest = {"text": sources, "names": "Faker (MIT)", "templates": "this project", "tokenizer": recipe.model}
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n")


def _documents(source: Source, roots: Sequence[Path]) -> Iterator[str]:
    seen: set[tuple[str, str]] = set()
    total = 0
    paths = sorted(path for root in roots for pattern in source.patterns for path in root.glob(pattern))
    random.Random(source.name).shuffle(paths)
    for path in paths:
        if total > source.most:
            return
        if not path.is_file() or not _LEAST < path.stat().st_size < 2_000_000:
            continue
        text = _plain(path)
        ends = text[:300], text[-300:]
        if len(text) >= _LEAST and ends not in seen:
            seen.add(ends)
            total += len(text)
            yield text


def _plain(path: Path) -> str:
    raw = gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes()
    text = raw.decode(errors="ignore").replace("\r", "").replace("\t", "    ")
    if path.suffix in (".html", ".xhtml"):
        text = html.unescape(_TAGS.sub("", _SCRIPTS.sub("", text)))
    text = re.sub(r"\n\s*\n+", "\n", tidy(text))
    text = re.sub(r" {5,}", "    ", text)
    return re.sub(r"([-=*_.#])\1{5,}", r"\1\1\1\1", text)[:_MOST]


def pools(seed: int) -> dict[str, list[str]]:
    """Draw names, places and the like with the package Faker (MIT)."""
    from faker import Faker

    fake = Faker("en_US")
    fake.seed_instance(seed)
    makers = {
        "first": (fake.first_name, 600), "last": (fake.last_name, 900), "city": (fake.city, 3000),
        "company": (fake.company, 3000), "job": (lambda: fake.job().split(",")[0], 600),
        "street": (fake.street_address, 3000), "domain": (fake.domain_name, 1500), "word": (fake.word, 300),
        "ua": (fake.file_name, 2500),
    }  # fmt: skip
    return {
        name: sorted({str(make()) for _ in range(2 * count)})[: 2 * count] for name, (make, count) in makers.items()
    }


def token_weights(documents: Sequence[str], names: Path, tokenizer: Any) -> npt.NDArray[np.float32]:
    """Return what each token weighs when a page is cut into segments: 0.08 to 1, by how rare it is."""
    counts: Counter[int] = Counter()
    story = Story(random.Random(0), documents, names)
    for number in range(150):
        chats = "\n".join(turn.text for turn in story.turns(7000))
        for text in (documents[number % len(documents)][:7000], chats):
            counts.update(tokenizer.encode(text, add_special_tokens=False).ids)
    total, size = sum(counts.values()), tokenizer.get_vocab_size()
    seen = np.array([counts.get(token, 0) for token in range(size)], np.float64)
    surprise = -np.log((seen + 0.3) / total)
    weights = np.clip((surprise - _COMMON) / (_RARE - _COMMON), LEAST, 1.0)
    for token in range(size):
        if tokenizer.decode([token]).strip().isdigit():
            weights[token] = DIGIT
    return weights.astype(np.float32)
