"""``optical-memory inspect``: what the model sees of a session, now and at any earlier age."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optical_memory.cli import show
from optical_memory.context.base import Piece
from optical_memory.errors import NotFoundError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("inspect")(inspect)


def inspect(
    session: Annotated[str, typer.Argument(help="Id of the session.")],
    store: Annotated[str, typer.Option(help="Where it is kept.")] = "sqlite:///memory.db",
    profile: Annotated[str, typer.Option(help="Target model.")] = "deepseek-ocr",
    budget: Annotated[int, typer.Option(help="Most tokens of the context.")] = 8_000,
    renderer: Annotated[
        str | None, typer.Option(help="chromium or dense. Default: Chromium where one is found.")
    ] = None,
    at: Annotated[int | None, typer.Option(min=1, help="Look at the age of this many turns. Default: now.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the pages into this folder.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the messages as JSON.")] = False,
) -> None:
    """Show what the model sees: the past page by page, then the recent turns. Changes nothing in the session.

    Example: optical-memory inspect trip-planning --store sqlite:///memory.db --at 200 -o seen
    """
    from optical_memory.memory import OpticalMemory
    from optical_memory.stores import open_store

    path = store.removeprefix("sqlite:///")
    if path != store and not Path(path).is_file():  # opening it would make it
        raise NotFoundError(f"no database {path!r}")
    kept = open_store(store)
    if not kept.head(session).birth:
        raise NotFoundError(
            f"no session {session!r} in {store}; there are: {', '.join(kept.sessions(limit=20)) or 'none'}"
        )
    with OpticalMemory(session, profile=profile, budget=budget, renderer=renderer) as memory:
        turns = kept.turns(session, limit=at)
        kept.close()
        with show.progress() as bars:
            task = bars.add_task("replaying", total=len(turns))
            for turn in turns:
                memory.store.append(session, [turn])
                memory.context()
                bars.advance(task)
        if as_json:
            show.print_json(memory.messages())
            return
        context = memory.context()
        show.out.print(context.explain(), markup=False, highlight=False)
        pieces = list(context.pieces())
        rows = [_row(number, piece) for number, piece in enumerate(pieces, 1) if piece.kind in ("page", "record")]
        show.table("pages and records, oldest first", ("what", "tier", "tokens", "turns", "facts"), rows)
        for piece in [piece for piece in pieces if piece.kind == "turn"][-10:]:
            show.out.print(repr(piece.text[:200]), markup=False, highlight=False)
        if output is not None:
            output.mkdir(parents=True, exist_ok=True)
            for number, page in enumerate(context.pages, 1):
                (output / f"{number:03d}-{page.tier}-{page.id[:12]}.png").write_bytes(page.png)
            show.out.print(f"{len(context.pages)} pages in {output}", highlight=False)


def _row(number: int, piece: Piece) -> tuple[object, ...]:
    if piece.page is None:
        return (f"{number}. {piece.text.splitlines()[0]}", "text", piece.tokens, len(piece.turn_ids), "")
    page = piece.page
    return (f"{number}. {page.id[:12]}", page.tier, piece.tokens, len(page.turn_ids), page.facts[:60])
