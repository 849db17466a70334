"""Held-out text: conversations with facts that no training saw, on pages, and the real ones of ../shared/data."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from optical_memory.budget import get_profile
from optical_memory.pages import page_of
from optical_memory.renderers import get_renderer
from optical_memory.renderers.base import Layout, Page
from optical_memory.renderers.layout import Run, lay_out
from optical_memory.training.language.conversation import Story
from optical_memory.training.language.layout import PageText, page_text, pages_of
from optical_memory.training.language.prepare import pools
from optical_memory.training.language.quotes import Task
from optical_memory.training.language.tasks import Asker

TESTS = Path(__file__).resolve().parents[2] / "tests" / "data"
SEED = 77
"""Seed of the names and values: training's is another."""
SCENARIOS = ("customer", "finance", "healthcare", "notetaker", "student")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Layouts of a conversation, oldest first, its text as a language model reads it, and tasks on it."""

    layouts: tuple[Layout, ...]
    text: str
    tasks: tuple[Task, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A real question and what a right answer contains."""

    text: str
    truths: tuple[str, ...]


def documents() -> list[str]:
    """Return held-out text to quote from: transcripts of airline service and of coding agents."""
    out = []
    for file in (TESTS / "airline.jsonl", TESTS / "coding.jsonl"):
        for line in file.read_text().splitlines():
            said = [str(m.get("content") or "") for m in json.loads(line)["messages"] if m["role"] != "system"]
            out.append("\n".join(said)[:60_000])
    return [text for text in out if len(text) > 3000]


def drawn(count: int, pages: int, folder: Path, seed: int, names: Path | None = None) -> Iterator[Case]:
    """Yield conversations of so many full pages with questions on their facts, and on some that are not there.

    ``names`` is a file of names, which are drawn here where there is none.
    """
    if names is None:
        names = folder / "pools.json"
        names.write_text(json.dumps(pools(SEED)))
    story = Story(random.Random(seed), documents(), names)
    while count:
        turns = story.turns(pages * 6700 + 1500)
        runs = [
            Run(
                turn_id=str(n),
                role=turn.role,
                text=turn.text,
                header=f"{'tool result' if turn.role == 'tool' else turn.role}:",
            )
            for n, turn in enumerate(turns)
        ]
        layouts = lay_out(runs, get_profile("mini").grid, renderer_key="bench")[:pages]
        texts = pages_of(turns)[:pages]
        if len(texts) == pages:
            count -= 1
            yield Case(layouts=tuple(layouts), text="".join(page.text for page in texts), tasks=_tasks(story, texts))


def _tasks(story: Story, texts: list[PageText]) -> tuple[Task, ...]:
    asker = Asker(story, texts)
    facts = [
        Task(kind="fact", question=asker.ask(found[-1].fact), answer=found[-1].fact.value, spans=(found[-1].span,))
        for found in asker.by_key.values()
    ]
    story.chance.shuffle(facts)
    missing = [task for _ in range(16) if (task := asker.absent()) is not None]
    return (*facts, *missing)


def shown(layouts: tuple[Layout, ...], tiers: tuple[str, ...], renderer: str) -> list[Page]:
    """Return layouts as pages, each at a tier."""
    painter, profile = get_renderer(renderer), get_profile("mini")
    return [page_of(layout, profile.tier(tier), painter) for layout, tier in zip(layouts, tiers, strict=True)]


def real(scenario: str) -> tuple[tuple[Layout, ...], str, list[Question]]:
    """Return a scenario's conversations on pages, their text, and its questions (BFCL v4 memory)."""
    folder = TESTS / "bfcl_memory"
    answers = {each["id"]: each["ground_truth"] for each in map(json.loads, (folder / "answers.jsonl").open())}
    runs: list[Run] = []
    for line in (folder / f"conversation_{scenario}.jsonl").open():
        for turn in json.loads(line)["question"]:
            for number, message in enumerate(turn):
                run_id = f"{len(runs)}-{number}"
                runs.append(Run(turn_id=run_id, role="user", text=message["content"], header="user:"))
    layouts = tuple(lay_out(runs, get_profile("mini").grid, renderer_key="bench"))
    text = "".join(page_text(layout.cells).text for layout in layouts)
    questions = []
    for each in map(json.loads, (folder / "questions.jsonl").open()):
        if each["scenario"] == scenario:
            asked = each["question"][0][0]["content"]
            questions.append(Question(text=asked, truths=tuple(answers[each["id"]])))
    return layouts, text, questions
