"""``optical-memory demo``: the main job on a real conversation, with a table and a report to look at."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from optical_memory.cli import show
from optical_memory.errors import InputError, MissingExtraError, OpticalMemoryError

QUESTIONS = (
    "How much would I pay for the business class upgrades?",
    "How many suitcases am I allowed?",
    "What is the colour of my boat?",
)
"""Asked of the conversation that ships: two that it answers and one that it does not."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("demo")(demo)


def demo(
    file: Annotated[
        Path | None,
        typer.Argument(help="Transcript in OpenAI message format (JSON or JSON lines). Default: one that ships."),
    ] = None,
    profile: Annotated[str, typer.Option(help="Target model.")] = "mini",
    budget: Annotated[int, typer.Option(help="Most tokens of the context.")] = 8_000,
    renderer: Annotated[
        str | None, typer.Option(help="chromium or dense. Default: Chromium where one is found.")
    ] = None,
    reader: Annotated[
        list[str] | None, typer.Option(help="Readers to measure the pages with; repeat for several. 'none': skip.")
    ] = None,
    ask: Annotated[bool, typer.Option(help="Ask the conversation that ships three questions, in this process.")] = True,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the report.")] = Path("demo-report"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Feed a long real conversation to a memory turn by turn, and write a report of what the model would see.

    Example: optical-memory demo my-session.jsonl --profile claude --budget 16000
    """
    from optical_memory.memory import OpticalMemory
    from optical_memory.report.build import write_report
    from optical_memory.report.demo import example, play, read_transcript

    try:
        import_module("jinja2")
    except ImportError as error:
        raise MissingExtraError("jinja2", "demo") from error
    messages = read_transcript(file) if file else example()
    if not messages:
        raise InputError(f"{str(file)!r} has no messages; give a transcript in OpenAI's format (JSON or JSON lines)")
    memory = OpticalMemory(file.stem if file else "airline-shift", profile=profile, budget=budget, renderer=renderer)
    with memory, show.progress() as bars:
        task = bars.add_task("conversation", total=len(messages))
        run = play(memory, messages, lambda: bars.advance(task))
        scores = _scores(memory, reader or ["mini", "rapidocr"], bars)
        answers = _answers(memory, bars) if ask and file is None and profile == "mini" else []
        task = bars.add_task("report", total=None)
        path = write_report(output, memory, run, scores, lambda: bars.advance(task), answers)
        bars.update(task, total=bars.tasks[task].completed)
        figures = memory.stats() | {"seconds": round(run.seconds, 2), "report": str(path)}
    if as_json:
        show.print_json(figures)
        return
    rows: list[tuple[str, object]] = [
        ("turns", f"{figures['turns']:,}"),
        ("text tokens of the whole history", f"{figures['text_tokens']:,}"),
        ("context tokens", f"{figures['context_tokens']:,} of {budget:,}"),
        ("compression", f"{figures['compression']} : 1"),
        *((f"pages at {tier}", count) for tier, count in figures["pages"].items()),
        ("recent turns as text", figures["recent_turns"]),
        ("changes of the prefix (epochs)", figures["epoch"]),
        ("seconds", figures["seconds"]),
    ]
    show.table(f"{memory.session}, profile {profile}, renderer {figures['renderer']}", ("", ""), rows)
    for question, reply in answers:
        notes = "; ".join(filter(None, (f"certainty {reply.certainty:.2f}", reply.caution)))
        show.out.print(f"{question}\n  {reply.text} ({notes})", markup=False, highlight=False)
    show.out.print(f"Report: [link=file://{path.resolve()}]{path}[/link]")


def _answers(memory: Any, bars: Any) -> list[tuple[str, Any]]:
    """Ask the demo's questions, where the language model's weights are found; else say how to get them."""
    answers = []
    task = bars.add_task("questions", total=len(QUESTIONS))
    for question in QUESTIONS:
        try:
            answers.append((question, memory.ask(question)))
        except OpticalMemoryError as error:
            show.err.print(f"no questions are asked: {error}", markup=False, highlight=False)
            break
        bars.advance(task)
    return answers


def _scores(memory: Any, readers: list[str], bars: Any) -> dict[str, Any]:
    """Measure the memory's own pages with each reader; name a reader that is not installed, and leave it out."""
    from optical_memory.readers import load_reader
    from optical_memory.readers.fidelity import score

    found: dict[str, Any] = {}
    for name in readers:
        if name == "none":
            continue
        try:
            reader = load_reader(name)
        except OpticalMemoryError as error:
            show.err.print(f"{name} does not read here: {error}", markup=False, highlight=False)
            continue
        by_tier = memory.pages_by_tier(1 if name == "rapidocr" else 4)
        task = bars.add_task(f"reading with {name}", total=len(by_tier))
        found[name] = {}
        for tier, pages in by_tier.items():
            found[name] |= score({tier: pages}, reader)
            bars.advance(task)
    return found
