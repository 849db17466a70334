"""Text to training data: page images with their labels, in shards that any loader reads.

A shard is a WebDataset tar (``KEY.png`` and ``KEY.json`` for each page) or a Parquet file (the same as columns). The
same text and settings give the same bytes. Shards are written whole or not at all, so an interrupted run continues
where it stopped.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from optical_memory.batch.spread import spread
from optical_memory.errors import InputError, MissingExtraError, NotFoundError

Format = Literal["webdataset", "parquet"]
SHARD_CHARACTERS = 2_000_000
"""Characters of text in a shard: some 500 pages of the DeepSeek-OCR grid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What decides the bytes of the shards; kept in their manifest."""

    profile: str = "deepseek-ocr"
    tier: str | None = None
    renderer: str = "dense"
    format: Format = "webdataset"
    shard_characters: int = SHARD_CHARACTERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A run of text: where it comes from, and the character in that source that it begins at."""

    source: str
    start: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A shard that is done: its file, its pages and their characters. ``kept`` says that an earlier run wrote it."""

    path: str
    pages: int
    characters: int
    kept: bool = False


def write_shards(
    corpus: Sequence[Path | str],
    output: Path | str,
    settings: Settings | None = None,
    *,
    workers: int = 1,
    ray: bool = False,
) -> Iterator[Shard]:
    """Render ``corpus`` into shards in the folder ``output``; yield each shard when it is done.

    ``corpus`` are text files, ``.jsonl`` files (a ``text`` or OpenAI ``messages`` a line) and folders of both.
    ``manifest.json`` is written at the end. Raises NotFoundError for a path that is not there, InputError for a
    broken ``.jsonl`` line or a folder that holds shards of other settings.
    """
    settings = settings or Settings()
    if settings.format == "parquet":
        _pyarrow()
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, settings)
    done: list[Shard] = []
    jobs = enumerate(_groups(passages(corpus), settings.shard_characters))
    for shard in spread(partial(_write, str(folder), settings), jobs, workers=workers, ray=ray):
        done.append(shard)
        yield shard
    _manifest(folder, settings, sorted(done, key=lambda shard: shard.path))


def passages(corpus: Sequence[Path | str]) -> Iterator[Passage]:
    """Yield the texts of files and folders, in the order of their names; files with NUL bytes are left out."""
    for each in corpus:
        path = Path(each)
        if not path.exists():
            raise NotFoundError(f"no file or folder {str(each)!r}")
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file():
                yield from _lines(file) if file.suffix == ".jsonl" else _whole(file)


def _whole(file: Path) -> Iterator[Passage]:
    data = file.read_bytes()
    if data and b"\0" not in data[:8192]:
        yield Passage(source=str(file), start=0, text=data.decode("utf-8", "replace"))


def _lines(file: Path) -> Iterator[Passage]:
    with file.open(encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                text = _text_of(json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise InputError(f"{file}, line {number}: no 'text' and no 'messages' ({error})") from error
            yield Passage(source=f"{file}:{number}", start=0, text=text)


def _text_of(record: dict[str, Any]) -> str:
    if "text" in record:
        return str(record["text"])
    return "\n".join(f"{message['role']}: {message.get('content') or ''}" for message in record["messages"])


def _groups(texts: Iterable[Passage], most: int) -> Iterator[list[Passage]]:
    """Put passages together, and cut long ones, so that each group has at most ``most`` characters."""
    group: list[Passage] = []
    room = most
    for passage in texts:
        for start in range(0, len(passage.text), most):
            piece = passage.text[start : start + most]
            if len(piece) > room:
                yield group
                group, room = [], most
            group.append(Passage(source=passage.source, start=start, text=piece))
            room -= len(piece)
    if group:
        yield group


def _write(folder: str, settings: Settings, job: tuple[int, list[Passage]]) -> Shard:
    number, group = job
    suffix = "tar" if settings.format == "webdataset" else "parquet"
    path = Path(folder) / f"pages-{number:06d}.{suffix}"
    note = path.with_suffix(".json")
    if path.is_file() and note.is_file():
        return Shard(**{**json.loads(note.read_text(encoding="utf-8")), "kept": True})
    records = list(_records(number, group, settings))
    part = path.with_suffix(f".{os.getpid()}.part")
    try:
        (_write_tar if settings.format == "webdataset" else _write_parquet)(part, records)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    shard = Shard(path=path.name, pages=len(records), characters=sum(len(record["text"]) for record in records))
    _write_text(note, json.dumps({"path": shard.path, "pages": shard.pages, "characters": shard.characters}))
    return shard


def _records(number: int, group: Iterable[Passage], settings: Settings) -> Iterator[dict[str, Any]]:
    from optical_memory.pages import render

    count = 0
    for passage in group:
        pages = render(passage.text, tier=settings.tier, profile=settings.profile, renderer=settings.renderer)
        for place, page in enumerate(pages):
            yield {
                "key": f"{number:06d}-{count:06d}",
                "image": page.png,
                "text": page.text.encode("utf-8", "replace").decode(),
                "page_id": page.id,
                "source": passage.source,
                "start": passage.start,
                "page": place,
                "tier": page.tier,
                "width": page.size[0],
                "height": page.size[1],
                "tokens": page.tokens,
            }
            count += 1


def _write_tar(path: Path, records: Iterable[dict[str, Any]]) -> None:
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for record in records:
            label = {key: value for key, value in record.items() if key != "image"}
            data = json.dumps(label, ensure_ascii=False).encode()
            for suffix, content in (("png", record["image"]), ("json", data)):
                entry = tarfile.TarInfo(f"{record['key']}.{suffix}")  # no owner, no time: the same bytes every time
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))


def _write_parquet(path: Path, records: list[dict[str, Any]]) -> None:
    pyarrow, parquet = _pyarrow()
    parquet.write_table(pyarrow.Table.from_pylist(records), path, compression="zstd")


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", "pages") from error
    return pyarrow, pyarrow.parquet


def _claim(folder: Path, settings: Settings) -> None:
    """Write the settings down; refuse them where an earlier run in the folder had others."""
    path = folder / "settings.json"
    wanted = asdict(settings)
    if path.is_file():
        if json.loads(path.read_text(encoding="utf-8")) != wanted:
            raise InputError(f"{str(folder)!r} holds shards of other settings; choose another folder")
        return
    _write_text(path, json.dumps(wanted))


def _manifest(folder: Path, settings: Settings, shards: list[Shard]) -> None:
    files = [{"path": shard.path, "pages": shard.pages, "characters": shard.characters} for shard in shards]
    totals = {"pages": sum(shard.pages for shard in shards), "characters": sum(shard.characters for shard in shards)}
    _write_text(
        folder / "manifest.json", json.dumps({"settings": asdict(settings), **totals, "shards": files}, indent=1)
    )


def _write_text(path: Path, text: str) -> None:
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)
