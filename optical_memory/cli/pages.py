"""``optical-memory render`` and ``read``: text to page images, and a page image back to text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from optical_memory.cli import show
from optical_memory.errors import InputError, NotFoundError

MAX_FILE_BYTES = 64 * 2**20
"""Largest file that is rendered or read."""


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("render")(render_file)
    app.command("read")(read_page)


def render_file(
    file: Annotated[Path, typer.Argument(help="Text file (UTF-8).")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for pages, manifest and facts.")],
    tier: Annotated[str | None, typer.Option(help="Tier of the pages. Default: the sharpest.")] = None,
    profile: Annotated[str, typer.Option(help="Target model.")] = "deepseek-ocr",
    renderer: Annotated[str, typer.Option(help="chromium or dense.")] = "dense",
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest.")] = False,
) -> None:
    """Render a text file into page images, with a manifest and the facts of each page.

    Example: optical-memory render notes.md -o pages --tier small
    """
    from optical_memory.budget import count_tokens, get_profile
    from optical_memory.facts import extract
    from optical_memory.pages import render

    if output.exists() and not output.is_dir():
        raise InputError(f"{str(output)!r} is a file; name a folder for the pages: -o {output.stem or 'out'}-pages")
    target = get_profile(profile)
    text = _read_bytes(file).decode("utf-8", errors="surrogateescape")
    with show.progress() as bars:
        task = bars.add_task("layout", total=None)
        pages = render(text, tier=tier, profile=target, renderer=renderer)
        bars.update(task, description="drawing", total=len(pages))
        output.mkdir(parents=True, exist_ok=True)
        entries = []
        for number, page in enumerate(pages, 1):
            name = f"page-{number:04d}-{page.tier}.png"
            (output / name).write_bytes(page.png)
            entries.append(
                {
                    "file": name,
                    "id": page.id,
                    "tier": page.tier,
                    "size": page.size,
                    "tokens": page.tokens,
                    "text_tokens": count_tokens(page.text, target),
                    "characters": len(page.text),
                    "facts": [{"kind": fact.kind, "value": fact.value} for fact in extract(page.text)],
                }
            )
            bars.advance(task)
    manifest = {"source": str(file), "profile": target.name, "renderer": renderer, "pages": entries}
    (output / "manifest.json").write_text(json.dumps(manifest, ensure_ascii=False, indent=2), "utf-8")
    if as_json:
        show.print_json(manifest)
        return
    text_tokens, tokens = sum(e["text_tokens"] for e in entries), sum(e["tokens"] for e in entries)  # type: ignore[misc]
    show.out.print(
        f"{len(entries)} pages in {output}: {text_tokens:,} text tokens as {tokens:,} image tokens "
        f"({text_tokens / max(tokens, 1):.1f} to 1)",
        highlight=False,
    )


def read_page(
    page: Annotated[Path, typer.Argument(help="Page image (PNG).")],
    reader: Annotated[str, typer.Option(help="Reader: mini, rapidocr, or a DeepSeek-OCR checkpoint.")] = "mini",
    as_json: Annotated[bool, typer.Option("--json", help="Print text, seconds and doubts as JSON.")] = False,
) -> None:
    """Read a page image back to text. Characters that the reader is not sure of appear as U+FFFD.

    Example: optical-memory read pages/page-0001-tiny.png
    """
    from optical_memory.readers import load_reader

    reading = load_reader(reader).read(_read_bytes(page))
    if as_json:
        doubts = [{"index": doubt.index, "candidates": doubt.candidates} for doubt in reading.doubts]
        show.print_json({"text": reading.text, "seconds": reading.seconds, "doubts": doubts})
        return
    print(reading.text)
    show.err.print(f"{len(reading.text):,} characters, {len(reading.doubts)} in doubt, {reading.seconds:.2f} s")


def _read_bytes(path: Path) -> bytes:
    if not path.is_file():
        raise NotFoundError(f"no file {str(path)!r}")
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(f"{str(path)!r} is larger than {MAX_FILE_BYTES:,} bytes")
    return path.read_bytes()
