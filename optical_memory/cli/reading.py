"""``optical-memory bench read``: what the user's own model reads at each tier, written as a profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from optical_memory.budget import Profile, get_profile
from optical_memory.cli import show
from optical_memory.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from optical_memory.readers import legibility

SETTINGS = frozenset({"low", "medium", "high", "ultra_high", "auto", "original"})
"""Settings that an endpoint may know; others (DeepSeek-OCR's "gundam") are the server's own."""
HEADS = ("tier", "kind", "cell, px", "tokens", "right", "ids exact", "ids wrong", "failed")


def run(arguments: Sequence[str]) -> None:
    """Run the command with the arguments behind ``bench read``."""
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command("read")(read)
    typer.main.get_command(app)(args=list(arguments), prog_name="optical-memory bench read", standalone_mode=False)


def read(
    endpoint: Annotated[str, typer.Option(help="Base of an OpenAI-compatible API, such as http://127.0.0.1:8000/v1.")],
    model: Annotated[str, typer.Option(help="The name that the endpoint knows the model by.")],
    profile: Annotated[str | None, typer.Option(help="Profile whose tiers to measure. Default: the model's.")] = None,
    kinds: Annotated[
        str, typer.Option(help="Kinds of text, by commas; 'all' adds scripts.")
    ] = "identifiers,prose,code",
    tiers: Annotated[str | None, typer.Option(help="Tiers, by commas. Default: all of the profile.")] = None,
    cells: Annotated[str, typer.Option(help="Other cells to try at the sharpest tier: 7x12,5x8.")] = "",
    pages: Annotated[int, typer.Option(min=1, help="Pages of each kind at each tier.")] = 1,
    renderer: Annotated[str, typer.Option(help="dense or chromium.")] = "dense",
    timeout: Annotated[float, typer.Option(help="Seconds to wait for one page.")] = 300.0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the profile into this file.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before what it costs is spent.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure what a model reads of identifiers, prose, code and scripts at each tier and cell.

    What it costs is shown first. The table has the share of characters right, of identifiers exact, and of identifiers
    wrong with nothing to show it. The key is taken from OPTICAL_MEMORY_ENDPOINT_KEY.

    Example: optical-memory bench read --endpoint http://127.0.0.1:8000/v1 --model Qwen/Qwen3-VL-8B-Instruct -o my.toml
    """
    from optical_memory.readers import legibility
    from optical_memory.readers.samples import kinds as all_kinds

    target = _target(profile or model)
    planned = legibility.trials(
        target,
        kinds=all_kinds() if kinds == "all" else kinds.split(","),
        tiers=tiers.split(",") if tiers else None,
        cells=[_cell(each) for each in cells.split(",") if each],
        pages=pages,
        renderer=renderer,
    )
    sent, back, dollars = legibility.price_of(planned, target)
    cost = (
        f"about $ {dollars:.2f} at the price of {target.name}" if target.price.fresh else f"{target.name} has no price"
    )
    show.err.print(f"{len(planned)} pages: {sent:,} tokens sent, up to {back:,} back; {cost}", markup=False)
    if not yes:
        typer.confirm("Go on?", abort=True, err=True)
    results = _measured(planned, endpoint, model, timeout)
    worst, reads = legibility.legibility(results, target)
    if as_json:
        show.print_json({"legibility": worst, "reads": reads, "results": [asdict(result) for result in results]})
    else:
        show.table(f"{model}: a full page each", HEADS, [_row(result) for result in results])
    if output is not None:
        host = urlsplit(endpoint).hostname
        source = f"optical-memory bench read: {model} at {host}, {renderer}, {pages} pages each, {date.today()}"
        like = target.base if target.assumed else target.name
        output.write_text(
            legibility.as_toml(model, like=like, worst=worst, reads=reads, source=source), encoding="utf-8"
        )
        show.err.print(f"{output}: get_profile({str(output)!r})", markup=False, highlight=False)


def _measured(
    planned: Sequence[legibility.Trial], endpoint: str, model: str, timeout: float
) -> list[legibility.Result]:
    from optical_memory.readers.endpoint import EndpointReader
    from optical_memory.readers.legibility import measure

    readers: dict[str | None, EndpointReader] = {}

    def reader_for(detail: str | None) -> EndpointReader:
        detail = detail if detail and detail.removeprefix("media_resolution_") in SETTINGS else None
        if detail not in readers:
            readers[detail] = EndpointReader(
                endpoint, model=model, detail=detail, max_tokens=32_768, timeout_seconds=timeout
            )
        return readers[detail]

    try:
        with show.progress() as bars:
            task = bars.add_task("reading", total=len(planned))
            return measure(planned, reader_for, progress=lambda trial: bars.advance(task))
    finally:
        for reader in readers.values():
            reader.close()


def _target(name: str) -> Profile:
    try:
        return get_profile(name)
    except NotFoundError as error:
        raise NotFoundError(f"{error}; name the profile whose tiers to measure with --profile") from None


def _cell(text: str) -> tuple[float, int]:
    width, _, height = text.lower().replace("×", "x").partition("x")
    try:
        return float(width), int(height)
    except ValueError:
        raise InputError(f"a cell is written 7x12, not {text!r}") from None


def _row(result: legibility.Result) -> tuple[object, ...]:
    shares = (result.characters, result.exact, result.silently_wrong)
    told = ("" if share is None else f"{share:.1%}" for share in shares)
    return (result.tier, result.kind, result.cell, f"{result.tokens // result.pages:,}", *told, result.failed[:60])
