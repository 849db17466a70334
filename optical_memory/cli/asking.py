"""``optical-memory ask``: a question to a remembered session, answered with the turns that the answer rests on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from optical_memory.cli import show
from optical_memory.errors import InputError, NotFoundError


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ask")(ask)


def ask(
    session: Annotated[str, typer.Argument(help="Id of the session.")],
    question: Annotated[str, typer.Argument(help="What to ask, at most 8,000 characters.")],
    store: Annotated[str, typer.Option(help="Where the session is kept.")] = "sqlite:///memory.db",
    url: Annotated[
        str | None, typer.Option(help="Base of an OpenAI-compatible API; its key is read from the environment.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Name that the API knows, or a model in this process. Default: smollm2.")
    ] = None,
    profile: Annotated[str, typer.Option(help="Target model; 'mini' for a model in this process.")] = "mini",
    budget: Annotated[int, typer.Option(help="Most tokens of the context.")] = 8_000,
    renderer: Annotated[
        str | None, typer.Option(help="chromium or dense. Default: Chromium where one is found.")
    ] = None,
    expand: Annotated[bool, typer.Option(help="Look lines up before answering, in this process.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print answer, sources and usage as JSON.")] = False,
) -> None:
    """Ask a session a question. Says where the answer stands, how sure it is, and what it cost.

    Example: optical-memory ask trip-planning "Which seat did I get?"

    Example: optical-memory ask trip-planning "Which seat?" --url http://127.0.0.1:8000/v1 --model qwen3-vl
    """
    from optical_memory.endpoint import Endpoint
    from optical_memory.memory import OpticalMemory

    if url is not None and model is None:
        raise InputError("say which model the API shall use: --model NAME")
    path = store.removeprefix("sqlite:///")
    if path != store and not Path(path).is_file():  # opening it would make it
        raise NotFoundError(f"no database {path!r}")
    with (
        OpticalMemory(session, store=store, profile=profile, budget=budget, renderer=renderer) as memory,
        show.progress() as bars,
    ):
        if not memory.store.head(session).length:
            raise NotFoundError(f"no session {session!r} in {store}")
        task = bars.add_task("asking", total=None)
        reply = memory.ask(question, model=Endpoint(url, model=model or "") if url else model, expand=expand)
        bars.update(task, total=1, completed=1)
    if as_json:
        show.print_json(asdict(reply))
        return
    show.out.print(reply.text, markup=False, highlight=False)
    for source in reply.sources:
        page = f", page {source.page[:12]} line {source.line}" if source.page else ""
        show.out.print(f"  from turn {source.turn_id}{page}", markup=False, highlight=False)
    if reply.caution:
        show.out.print(f"  {reply.caution}", markup=False, highlight=False)
    usage = reply.usage
    show.out.print(
        f"  certainty {reply.certainty:.2f}; {usage.input_tokens:,} + {usage.output_tokens:,} tokens,"
        f" {usage.requests} requests, {usage.seconds:.1f} s",
        highlight=False,
    )
