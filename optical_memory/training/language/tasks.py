"""Questions on pages, with their answers and where these stand: facts in many forms, quotes, what is not there."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from optical_memory.model.language.lines import written
from optical_memory.training.language.conversation import ABSENT, SUBJECTS, Fact, Story
from optical_memory.training.language.layout import GRID, PageText
from optical_memory.training.language.quotes import Quoter, Span, Task
from optical_memory.training.language.values import data

KINDS = ("fact", "before", "yes-no", "two", "sentence", "who", "order", "count", "said", "quote", "gap", "absent",
         "occurs", "go on")  # fmt: skip
"""Kinds of tasks, by which they are scored."""
_SPEAKERS = {"user": "The user.", "assistant": "The assistant.", "tool": "A tool."}
NOWHERE: Span = (-1, 0, 0)
"""The place of what is said in recent text, behind the pages."""
_SAME = {"name": "given", "given": "name"}
"""Facts that answer each other's questions."""


_PERSONS = ("user", "customer", "patient", "student", "client", "writer", "speaker")
_HOW = (
    "Answer in a few words.",
    "Give just the value.",
    "Return the answer only.",
    "Answer shortly.",
    "Give me the answer, nothing else.",
)
_AGREES = {"do": "does", "have": "has", "am": "is"}
_OTHERS: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (r"\b(do|did|have|had|was|am) (?:I|we)\b", lambda m: f"{_AGREES.get(m[1], m[1])} the #"),
    (r"\b(?:my|our)\b", lambda _: "the #'s"),
    (r"\b(?:I|we|me|us)\b", lambda _: "the #"),
)


def of_another(question: str, person: str) -> str:
    """Return a question of oneself as one of another person: "Where do I live?", "Where does the user live?"."""
    for pattern, put in _OTHERS:
        question = re.sub(pattern, put, question)
    return question.replace("#", person)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A fact and where the pages state it."""

    fact: Fact
    span: Span


class Asker(Quoter):
    """Draws tasks on the pages of a story: on its facts, and on the words around them."""

    def __init__(self, story: Story, pages: Sequence[PageText], recent: str = "") -> None:
        super().__init__(story, pages)
        self.recent = recent
        self.found = [found for fact in story.facts if (found := self._find(fact)) is not None]
        by_key: dict[tuple[str, str, str], list[Found]] = {}
        for found in self.found:
            by_key.setdefault(found.fact.key, []).append(found)
        self.by_key = by_key

    def _find(self, fact: Fact) -> Found | None:
        for number, page in enumerate(self.pages):
            at = page.text.find(fact.words)
            if at >= 0:
                return Found(fact=fact, span=(number, at, at + len(fact.words)))
        return Found(fact=fact, span=NOWHERE) if fact.words in self.recent else None

    def tasks(self, facts: int, others: int) -> list[Task]:
        """Return tasks in random order: about so many on facts, and so many of the other kinds."""
        out: list[Task] = []
        keys = list(self.by_key)
        self.chance.shuffle(keys)
        for key in keys[:facts]:
            out.append(self._on_fact(self.by_key[key]))
        makers: list[tuple[Callable[[], Task | None], float]] = [
            (self.quote, 2.2), (self.gap, 0.6), (self.wonder, 2.4), (self.said, 1.5), (self.absent, 4.2),
            (self.occurs, 0.8), (self.two, 1.5), (self.order, 0.5), (self.count, 0.4),
        ]  # fmt: skip
        for make in self.chance.choices([m for m, _ in makers], [w for _, w in makers], k=others):
            task = make()
            if task is not None:
                out.append(task)
        if self.story.natural and len(self.pages) > 2:  # the more pages, the more looks like what is not there
            out += filter(None, (self.absent(), self.absent()))
        self.chance.shuffle(out)
        return out

    def ask(self, fact: Fact, form: str = "ask") -> str:
        """Return one of the questions after a fact."""
        question = self.story.filled(self.chance.choice(fact.kind[form]), fact.key)
        return self._asked(self._formed(question))

    def _formed(self, question: str) -> str:
        """Ask of somebody else, or say how to answer, sometimes, where the story's questions come in more forms."""
        if not self.story.natural:
            return question
        if self.chance.random() < 0.3:
            question = of_another(question, self.chance.choice(_PERSONS))
        return f"{question} {self.chance.choice(_HOW)}" if self.chance.random() < 0.15 else question

    def _choosing(self, task: Task, fact: Fact) -> Task:
        """Offer the answer among others."""
        values = [fact.value, *(self.story.values.draw(fact.kind["value"]) for _ in range(self.chance.randint(1, 3)))]
        self.chance.shuffle(values)
        last, rest = values[-1], ", ".join(values[:-1])
        form = self.chance.choice(("Is it {0}, or {1}?", "Pick from one of: {0}, {1}.", "{0} or {1}?"))
        return replace(task, question=f"{task.question} {form.format(rest, last)}")

    def _near(self, key: tuple[str, str, str]) -> tuple[Span, ...]:
        """Return where the same is said of other subjects, or something else of this one; at most four."""
        scope, name, subject = key
        like = [
            found.span
            for other, each in self.by_key.items()
            if other != key and other[0] == scope and (other[1] == name or (subject and other[2] == subject))
            for found in each
            if found.span != NOWHERE
        ]
        return tuple(self.chance.sample(like, min(4, len(like))))

    def tell(self, fact: Fact, value: str | None = None) -> str:
        """Return a fact, or the same with another value, as the answer in a sentence."""
        told = self.story.filled(fact.kind["tell"], fact.key, fact.value if value is None else value)
        return told[0].upper() + told[1:]

    def _on_fact(self, found: list[Found]) -> Task:
        last, draw = found[-1].fact, self.chance.random()
        spans = tuple(each.span for each in found)
        near = self._near(last.key)
        if len(found) > 1 and "before" in last.kind and draw < 0.35:
            question, answer = self.ask(last, "before"), found[0].fact.value
            return Task(kind="before", question=question, answer=answer, spans=spans, near=near)
        plain = Task(kind="fact", question=self.ask(last), answer=last.value, spans=spans, near=near)
        if draw > 0.92:
            return self._yes_no(plain, last)
        if draw > 0.85:
            how = self.chance.choice(
                ["Answer in a sentence.", "Please answer in a full sentence.", "Tell me in one sentence."]
            )
            return replace(plain, kind="sentence", question=f"{plain.question} {how}", answer=self.tell(last))
        if draw > 0.82:
            words = last.words.split()
            if len(words) >= 4:
                quoted = " ".join(words[:7])
                form = self.chance.choice(['Who said "{}"?', 'Who wrote "{}"?', 'Whose words are "{}"?'])
                return replace(plain, kind="who", question=form.format(quoted), answer=_SPEAKERS[last.role])
        if self.story.natural and draw > 0.74:
            return self._choosing(plain, last)
        return plain

    def _yes_no(self, task: Task, fact: Fact) -> Task:
        true = self.chance.random() < 0.5
        value = fact.value if true else self.story.values.draw(fact.kind["value"])
        form = self.chance.choice(["Is this right: {}", "True or not: {}", "Is it correct that this holds: {}"])
        answer = "Yes." if true or value == fact.value else f"No. {self.tell(fact)}"
        return replace(task, kind="yes-no", question=form.format(self.tell(fact, value)), answer=answer)

    def two(self) -> Task | None:
        """Ask for two facts at once."""
        if len(self.by_key) < 2:
            return None
        pair = [self.by_key[key] for key in self.chance.sample(list(self.by_key), 2)]
        first, second = (found[-1].fact for found in pair)
        question = self.ask(second)
        joined = f"{self.ask(first)} And {question[0].lower() + question[1:] if question[:2] != 'I ' else question}"
        spans = tuple(each.span for found in pair for each in found)
        return Task(kind="two", question=joined, answer=f"{self.tell(first)} {self.tell(second)}", spans=spans)

    def order(self) -> Task | None:
        """Ask which of two values was mentioned first."""
        if len(self.found) < 4:
            return None
        on_pages = [found for found in self.found if found.span != NOWHERE]
        if len(on_pages) < 2:
            return None
        first, second = sorted(self.chance.sample(on_pages, 2), key=lambda each: each.span)
        if first.fact.value == second.fact.value:
            return None
        shown = [first.fact.value, second.fact.value]
        self.chance.shuffle(shown)
        late = self.chance.random() < 0.3
        question = f"What was mentioned {'last' if late else 'first'}, {shown[0]} or {shown[1]}?"
        return Task(kind="order", question=question, answer=(second if late else first).fact.value,
                    spans=(first.span, second.span))  # fmt: skip

    def count(self) -> Task | None:
        """Ask how many subjects of a kind there are."""
        nouns = {"svc": "services", "thing": "projects", "org": "companies we deal with"}
        scope = self.chance.choice(list(nouns))
        subjects = {key[2]: found for key, found in self.by_key.items() if key[0] == scope}
        if not 1 <= len(subjects) <= 6:
            return None
        spans = tuple(found[0].span for found in subjects.values())
        return Task(
            kind="count", question=f"How many {nouns[scope]} did we talk about?", answer=str(len(subjects)), spans=spans
        )

    def absent(self) -> Task | None:
        """Ask for a fact that was never stated, often one close to what was."""
        key = self._unstated()
        if key in self.story.known or (key[0], _SAME.get(key[1], key[1]), key[2]) in self.story.known:
            return None
        question = self.story.filled(self.chance.choice(data("facts")[key[0]][key[1]]["ask"]), key)
        question = self._asked(self._formed(question))
        return Task(kind="absent", question=question, answer=ABSENT, near=self._near(key))

    def _unstated(self) -> tuple[str, str, str]:
        """Draw a key: of a known subject what was said of another or never, of a new one what was said, or any."""
        draw = self.chance.random()
        others = [key for key in self.by_key if key[0] != "me"]
        if others and draw < 0.7:
            scope, name, subject = self.chance.choice(others)
            kinds = list(data("facts")[scope])
            said = sorted({key[1] for key in others if key[0] == scope})
            if draw < 0.45:
                return scope, self.chance.choice(said if len(said) > 1 and draw < 0.22 else kinds), subject
            return scope, name, self.story.values.draw(SUBJECTS[scope])
        scope = self.chance.choices(list(self.story.weights), list(self.story.weights.values()))[0]
        name = self.chance.choice(list(data("facts")[scope]))
        return scope, name, "" if scope == "me" else self.story.values.draw(SUBJECTS[scope])


def lines_for(
    task: Task, pages: Sequence[PageText], chance: random.Random, others: Sequence[Span], most: int = 4
) -> str:
    """Return the lines that are expanded before a task: those that matter, most of the time, and some that do not.

    Those that do not are near it, where ``most`` and chance allow, of ``others``, or any.
    """
    wanted: set[tuple[int, int]] = set()
    if chance.random() < 0.92:
        for number, start, end in [span for span in task.spans if span != NOWHERE][:4]:
            rows = pages[number].rows_of(start, end)
            wanted |= {(number, row) for row in range(rows.start - 1, rows.stop + 1)}
    near = list(task.near) if chance.random() < 0.8 else []
    for _ in range(chance.randint(1 if wanted else 2, max(2, most))):
        if near or (others and chance.random() < 0.6):
            number, start, end = near.pop() if near else chance.choice(others)
            middle = pages[number].rows_of(start, end).start
        else:
            number, middle = chance.randrange(len(pages)), chance.randrange(64)
        wanted |= {(number, row) for row in range(middle - 1, middle + 2)}
    inside = [each for each in wanted if 0 <= each[1] < GRID.rows]
    return written(inside, lambda number, first, last: pages[number].row_text(first, last))
