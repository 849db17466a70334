"""How the language model answers from vision tokens: held-out facts, real questions, seconds, memory.

    python -m benchmarks.language [--pages 6] [--questions 5] [--only pages|conversations|real|cost]
                                  [--renderers dense chromium] [--device cuda] [--weights FOLDER] [--answers FILE]

Each way of showing a text is asked the same questions: vision tokens alone at several vectors a row, the same with the
lines that matter read first, the newest text in as many tokens, and the whole text. Needs ../shared/data and Faker,
or, without them, tests/data and --names FILE.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.language import cases
from benchmarks.language.ask import contains, is_exact, on_text, on_vision, vectors_of
from benchmarks.language.cost import cost
from optical_memory.model.language.model import ABSENT, LanguageModel, is_refusal, load
from optical_memory.model.language.weights import FOLDER
from optical_memory.renderers.base import Page
from optical_memory.training.language.quotes import Task

POSITIONS = 7_600
"""Tokens of text that fit the language model beside a question."""
RATIOS = (6, 4, 2)
"""Vectors a row that single pages are shown at."""
EXPANDED = (2,)
"""Those at which lines are read, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """A question asked in one way: ``size`` is the number of text tokens for one of the language model's."""

    part: str
    way: str
    question: str
    wanted: str
    answer: str
    right: bool
    size: float
    absence: float | None = None
    doubtful: bool | None = None

    @property
    def refused(self) -> bool:
        """Whether the answer is that it is not there, where it is."""
        return is_refusal(self.answer) and self.wanted != ABSENT


def one_page(model: LanguageModel, options: argparse.Namespace) -> Iterator[Outcome]:
    """Ask about single pages, drawn by the renderers in turn."""
    with tempfile.TemporaryDirectory() as folder:
        for number, case in enumerate(cases.drawn(options.pages, 1, Path(folder), options.seed, options.names)):
            renderer = options.renderers[number % len(options.renderers)]
            pages = cases.shown(case.layouts, ("tiny",), renderer)
            for task in _chosen(case.tasks, options.questions):
                for ratio in EXPANDED if options.brief else RATIOS:
                    yield from _at(model, pages, ratio, f"page {task.kind}", task, case.text, options)
                if not options.brief:
                    answer = on_text(model, case.text, task.question, POSITIONS)
                    yield _exact(f"page {task.kind}", "whole text", task, answer, 1.0)


def _chosen(tasks: Sequence[Task], most: int) -> list[Task]:
    facts = [task for task in tasks if task.kind == "fact"][:most]
    return [*facts, *[task for task in tasks if task.kind == "absent"][: max(1, most // 2)]]


def _at(
    model: LanguageModel, pages: list[Page], ratio: int, part: str, task: Task, text: str, options: argparse.Namespace
) -> Iterator[Outcome]:
    model.sight.tiers = {**model.sight.tiers, "tiny": ratio}
    many = vectors_of(model, pages)
    size = len(model.tokenizer.encode(text)) / many
    if not options.expanding:
        yield _exact(part, f"vision {ratio}", task, on_vision(model, pages, task.question, expand=False), size)
    if ratio in EXPANDED:
        yield _expanding(model, pages, part, f"expanding {ratio}", task, size, options)
    if not options.brief:
        yield _exact(part, f"newest text {ratio}", task, on_text(model, text, task.question, many), size)


def _expanding(
    model: LanguageModel, pages: list[Page], part: str, way: str, task: Task, size: float, options: argparse.Namespace
) -> Outcome:
    absence = None if options.expanding else model.absence(pages, task.question)
    return replace(_exact(part, way, task, on_vision(model, pages, task.question, expand=True), size), absence=absence)


def _exact(part: str, way: str, task: Task, answer: str, size: float) -> Outcome:
    return Outcome(
        part=part, way=way, question=task.question, wanted=task.answer, answer=answer,
        right=is_exact(answer, task.answer), size=size,
    )  # fmt: skip


def ten_pages(model: LanguageModel, options: argparse.Namespace) -> Iterator[Outcome]:
    """Ask about conversations of 10 pages, the newest sharpest."""
    tiers, count = ("tiny",) * 5 + ("small",) * 3 + ("base",) * 2, max(1, options.pages // 4)
    with tempfile.TemporaryDirectory() as folder:
        for case in cases.drawn(count, 10, Path(folder), options.seed + 1, options.names):
            pages = cases.shown(case.layouts, tiers, "dense")
            laid = model.answer(pages, "?", expand=False).usage.vision_tokens
            size = len(model.tokenizer.encode(case.text)) / laid
            for task in _chosen(case.tasks, 3 * options.questions):
                part = f"10 pages {task.kind}"
                if not options.expanding:
                    yield _exact(part, "vision", task, on_vision(model, pages, task.question, expand=False), size)
                yield _expanding(model, pages, part, "expanding", task, size, options)
                if not options.brief:
                    answer = on_text(model, case.text, task.question, laid)
                    yield _exact(part, "newest text", task, answer, size)


def real_questions(model: LanguageModel, options: argparse.Namespace) -> Iterator[Outcome]:
    """Ask the questions of BFCL v4 memory over whole conversations; the newest pages are the sharpest."""
    for scenario in options.scenarios:
        layouts, text, asked = cases.real(scenario)
        tiers = (*("tiny" for _ in layouts[:-5]), *("small",) * 3, *("base",) * 2)[-len(layouts) :]
        pages = cases.shown(layouts, tiers, "dense")
        size = len(model.tokenizer.encode(text))
        for each in asked[: options.real or options.questions]:
            expanding = model.answer(pages, each.text)
            many = expanding.usage.vision_tokens
            read = "".join(line.text for line in model.lines(pages, each.text))
            answers = [("expanding", expanding.text, size / many), ("the lines that are read", read, size / many)]
            if not options.expanding:
                answers += [("vision", on_vision(model, pages, each.text, expand=False), size / many)]
            if not options.brief:
                answers += [("newest text", on_text(model, text, each.text, many), size / many)]
                whole = on_text(model, text, each.text, POSITIONS)
                answers += [("whole text, as far as it fits", whole, max(1.0, size / POSITIONS))]
            for way, said, share in answers:
                yield Outcome(
                    part="real", way=way, question=each.text, wanted=" | ".join(each.truths), answer=said,
                    right=contains(said, each.truths), size=share,
                    absence=model.absence(pages, each.text) if way == "expanding" and not options.expanding else None,
                    doubtful=expanding.doubtful if way == "expanding" else None,
                )  # fmt: skip


def table(outcomes: Sequence[Outcome]) -> str:
    """Return a table of shares right and refused, by part and way."""
    rows = ["| what | right | not there, said wrongly | of | text tokens for one |", "|---|---|---|---|---|"]
    for name in dict.fromkeys((each.part, each.way) for each in outcomes):
        own = [each for each in outcomes if (each.part, each.way) == name]
        right, refused, size = (sum(values) / len(own) for values in zip(
            *((each.right, each.refused, each.size) for each in own), strict=True))  # fmt: skip
        rows.append(f"| {': '.join(name)} | {right:.3f} | {refused:.3f} | {len(own)} | {size:.1f} |")
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> None:
    """Run what is asked for and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pages", type=int, default=6)
    parser.add_argument("--questions", type=int, default=5)
    parser.add_argument("--real", type=int, help="real questions of each scenario, by default as many as questions")
    parser.add_argument("--scenarios", nargs="+", default=cases.SCENARIOS, choices=cases.SCENARIOS)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--only", choices=("pages", "conversations", "real", "cost"))
    parser.add_argument("--brief", action="store_true", help="without the ways that read text, which take long on CPUs")
    parser.add_argument("--expanding", action="store_true", help="brief, and with lines read alone")
    parser.add_argument("--renderers", nargs="+", default=["dense", "chromium"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--weights", type=Path, default=FOLDER, help="folder of packed weights")
    parser.add_argument("--names", type=Path, help="names that Faker drew, where it is not installed")
    parser.add_argument("--answers", type=Path, help="file for every question with its answers")
    options = parser.parse_args(arguments)
    options.brief |= options.expanding
    model = load(device=options.device, folder=options.weights)
    outcomes: list[Outcome] = []
    parts = {"pages": one_page, "conversations": ten_pages, "real": real_questions}
    for name, part in parts.items():
        for outcome in part(model, options) if options.only in (None, name) else ():
            outcomes.append(outcome)
            if options.answers:
                with options.answers.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(outcome), ensure_ascii=False) + "\n")
    print(table(outcomes), flush=True)
    if options.only in (None, "cost"):
        for name, value in cost(model, options.seed, options.names).items():
            print(f"{name}: {value:,.2f}")


if __name__ == "__main__":
    main()
