"""``optical-memory pages`` and ``transcribe``: training data from text, and text from folders of scans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from optical_memory.cli import show
from optical_memory.errors import InputError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("pages")(make_pages)
    app.command("transcribe")(transcribe_folder)


def make_pages(
    corpus: Annotated[list[Path], typer.Argument(help="Text files, .jsonl files (text or messages), folders.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the shards.")],
    tier: Annotated[str | None, typer.Option(help="Tier of the pages. Default: the sharpest.")] = None,
    profile: Annotated[str, typer.Option(help="Target model.")] = "deepseek-ocr",
    renderer: Annotated[str, typer.Option(help="chromium or dense.")] = "dense",
    kind: Annotated[str, typer.Option("--format", help="webdataset (tar) or parquet.")] = "webdataset",
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    ray: Annotated[bool, typer.Option("--ray", help="Run on a Ray cluster.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line a shard as JSON.")] = False,
) -> None:
    """Render text into page images with labels, in shards for training. An interrupted run continues where it stopped.

    Example: optical-memory pages notes/ -o shards --tier tiny --workers 4
    """
    from optical_memory.training.shards import Format, Settings, write_shards

    _one_of(kind, "webdataset", "parquet")
    settings = Settings(profile=profile, tier=tier, renderer=renderer, format=cast(Format, kind))
    shards = pages = characters = 0
    with show.progress() as bars:
        task = bars.add_task("pages", total=None)
        for shard in write_shards(corpus, output, settings, workers=workers, ray=ray):
            shards, pages, characters = shards + 1, pages + shard.pages, characters + shard.characters
            bars.update(task, description=f"{pages:,} pages in {shards:,} shards", advance=1)
            if as_json:
                print(json.dumps({"path": shard.path, "pages": shard.pages, "kept": shard.kept}), flush=True)
    if not as_json:
        show.out.print(f"{pages:,} pages of {characters:,} characters in {shards:,} shards: {output}", highlight=False)


def transcribe_folder(
    folder: Annotated[Path, typer.Argument(help="Folder of images and PDFs; its subfolders too.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the transcripts.")],
    reader: Annotated[str, typer.Option(help="mini, rapidocr, endpoint, or a DeepSeek-OCR checkpoint.")] = "mini",
    option: Annotated[list[str] | None, typer.Option(help="KEY=VALUE for the reader; may be repeated.")] = None,
    kind: Annotated[str, typer.Option("--format", help="text, or jsonl (a line a page).")] = "text",
    workers: Annotated[int, typer.Option(min=1, help="Processes; each loads the reader.")] = 1,
    ray: Annotated[bool, typer.Option("--ray", help="Run on a Ray cluster.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line a source as JSON.")] = False,
) -> None:
    """Read images and PDFs to text. What has been read is not read again; one bad file does not stop the rest.

    Example: optical-memory transcribe scans/ -o texts --reader rapidocr
    """
    from optical_memory.batch.transcribe import Format, sources, transcribe

    _one_of(kind, "text", "jsonl")
    failed = 0
    with show.progress() as bars:
        task = bars.add_task("transcribing", total=len(sources(folder)))
        for done in transcribe(
            folder, output, reader=reader, options=_options(option), format=cast(Format, kind), workers=workers, ray=ray
        ):
            bars.advance(task)
            failed += bool(done.error)
            if as_json:
                fields = ("source", "pages", "characters", "seconds", "kept", "error")
                print(json.dumps({field: getattr(done, field) for field in fields}), flush=True)
            elif done.error:
                show.err.print(f"{done.source}: {done.error}", markup=False, highlight=False)
    if failed:
        show.err.print(f"{failed} could not be read; run again to try them again")
        raise typer.Exit(1)


def _one_of(value: str, *allowed: str) -> None:
    if value not in allowed:
        raise InputError(f"--format must be {' or '.join(allowed)}, not {value!r}")


def _options(pairs: list[str] | None) -> dict[str, Any]:
    """Read KEY=VALUE pairs; a value that is valid JSON is read as JSON, any other as text."""
    out: dict[str, Any] = {}
    for pair in pairs or []:
        key, sign, value = pair.partition("=")
        if not sign or not key.isidentifier():
            raise InputError(f"--option must be KEY=VALUE, not {pair!r}")
        try:
            out[key] = json.loads(value)
        except ValueError:
            out[key] = value
    return out
