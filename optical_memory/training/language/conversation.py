"""Conversations and documents with facts in them, drawn fresh: what the pages of training and evaluation say."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optical_memory.training.language.values import Values, data

SUBJECTS = {"they": "who", "svc": "svc", "org": "org", "thing": "thing", "item": "item", "lab": "lab",
            "doing": "doing"}  # fmt: skip
"""The placeholder of each scope's subject; facts of scope "me" have none."""
ABSENT = "That is not in the memory."
_KEEP = re.compile(r"[^\x20-\x7e\n\u00c0-\u017f\u2013\u2014\u2018\u2019\u201c\u201d\u2026]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One fact: its kind and subject, its value, the words that state it and who said them."""

    key: tuple[str, str, str]
    value: str
    words: str
    role: str
    is_update: bool = False

    @property
    def kind(self) -> dict[str, Any]:
        """The entry of ``facts.toml``."""
        found: dict[str, Any] = data("facts")[self.key[0]][self.key[1]]
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What one party says."""

    role: str
    text: str


def tidy(text: str) -> str:
    """Return text with the characters that a page's plain letters cover."""
    return _KEEP.sub("", text)


class Story:
    """Draws conversations. ``documents`` are texts to quote from, ``chance`` all randomness.

    A share ``natural`` of them is made of ``passages``, where there are some; then questions come in more forms, too.
    """

    def __init__(
        self,
        chance: random.Random,
        documents: Sequence[str],
        pools: Path,
        passages: Sequence[str] = (),
        natural: float = 0.0,
    ) -> None:
        self.chance = chance
        self.passages, self.natural = passages, natural
        self.values = Values(chance, pools)
        self.documents = documents
        self.chat = data("chat")
        self.weights = {"me": 46, "they": 10, "svc": 12, "org": 9, "thing": 10, "item": 13}
        if natural:
            self.weights |= {"lab": 7, "doing": 10}
        self.begin()

    def begin(self) -> None:
        """Forget the conversation so far."""
        self.facts: list[Fact] = []
        self.known: dict[tuple[str, str, str], Fact] = {}
        self.subjects: dict[str, list[str]] = {}

    def turns(self, characters: int) -> list[Turn]:
        """Return turns of at least so many characters together, facts among them."""
        self.begin()
        style = self.chance.choices(["chat", "agent", "document", "monologue"], [0.45, 0.25, 0.15, 0.15])[0]
        if self.passages and self.chance.random() < self.natural:
            style = "told"
        out: list[Turn] = []
        total, role = 0, "user"
        while total < characters:
            if style == "chat":
                turn = self._chat(role)
                alone = role == "user" and self.chance.random() < 0.35
                role = "assistant" if role == "user" and not alone else "user"
            elif style == "agent":
                turn = self._agent(role)
                role = self.chance.choice(["assistant", "tool"]) if role != "assistant" else "user"
            elif style == "monologue" or (style == "told" and self.chance.random() < 0.3):
                turn = self._monologue()
            elif style == "told":
                turn = self._told()
            else:
                turn = self._document(role)
                role = "assistant" if role == "user" else "user"
            out.append(turn)
            total += len(turn.text) + 12
        return out

    def _chat(self, role: str) -> Turn:
        count = self.chance.randint(1, 6) if role == "user" else self.chance.randint(1, 4)
        parts = []
        for _ in range(count):
            draw = self.chance.random()
            if draw < (0.5 if role == "user" else 0.18):
                parts.append(self.statement(role))
            elif draw < 0.92:
                parts.append(self.chance.choice(self.chat["user" if role == "user" else "assistant"]))
            else:
                parts.append(self._quoted(220))
        return Turn(role=role, text=tidy(" ".join(parts)))

    def _agent(self, role: str) -> Turn:
        body = self._quoted(900 if role == "tool" else 350)
        parts = [body]
        for _ in range(self.chance.choice([0, 1, 1, 2, 3])):
            parts.insert(self.chance.randint(0, len(parts)), self.statement(role))
        return Turn(role=role, text=tidy(" ".join(parts)))

    def _monologue(self) -> Turn:
        """Return a long turn of a user who is not answered."""
        parts = []
        for _ in range(self.chance.randint(4, 14)):
            draw = self.chance.random()
            if draw < 0.35:
                parts.append(self.statement("user"))
            else:
                parts.append(self.chance.choice(self.chat["user"]) if draw < 0.75 else self._quoted(300))
        return Turn(role="user", text=tidy(" ".join(parts)))

    def _told(self) -> Turn:
        """Return a passage that the language model wrote, with facts between its sentences."""
        text = self.chance.choice(self.passages)
        parts = re.split(r"(?<=[.!?]) ", text)
        for _ in range(len(text) // 300 + self.chance.randint(0, 2)):
            parts.insert(self.chance.randint(0, len(parts)), self.statement("user"))
        return Turn(role="user", text=tidy(" ".join(parts)))

    def _document(self, role: str) -> Turn:
        text = self._quoted(2500)
        parts = re.split(r"(?<=[.\n]) ", text)
        for _ in range(len(text) // 420 + self.chance.randint(0, 2)):
            parts.insert(self.chance.randint(0, len(parts)), self.statement(role))
        return Turn(role=role, text=tidy(" ".join(parts)))

    def _quoted(self, most: int) -> str:
        """Return a stretch of a document that begins and ends at sentences or lines where it can."""
        document = self.chance.choice(self.documents)
        start = self.chance.randrange(max(1, len(document) - most))
        text = document[start : start + self.chance.randint(most // 4, most)]
        text = text[text.find(" ") + 1 :]
        end = max(text.rfind(". "), text.rfind("\n"))
        return (text[: end + 1] if end > 60 else text).strip()

    def statement(self, role: str) -> str:
        """Return a sentence that states one to three new facts, or a new value of an old one."""
        draw = self.chance.random()
        if role == "user" and draw < 0.2:
            return self._clauses(role)
        if draw < 0.32 and self.facts:
            return self._update(role)
        scopes = {name: w for name, w in self.weights.items() if name != "me" or role == "user"}
        scope = self.chance.choices(list(scopes), list(scopes.values()))[0]
        name = self.chance.choice(list(data("facts")[scope]))
        subject = self._subject(scope)
        if (scope, name, subject) in self.known:
            return str(self.chance.choice(self.chat["user" if role == "user" else "assistant"]))
        entry = data("facts")[scope][name]
        sentence = self._state((scope, name, subject), self.chance.choice(entry["say"]), role)
        return self._dressed(sentence)

    def _subject(self, scope: str) -> str:
        if scope == "me":
            return ""
        seen = self.subjects.setdefault(scope, [])
        if seen and self.chance.random() < 0.35:
            return self.chance.choice(seen)
        subject = self.values.draw(SUBJECTS[scope])
        seen.append(subject)
        return subject

    def _state(self, key: tuple[str, str, str], form: str, role: str, *, update: bool = False) -> str:
        value = tidy(self.values.draw(data("facts")[key[0]][key[1]]["value"]))
        words = self.filled(form, key, value)
        fact = Fact(key=key, value=value, words=words.rstrip("."), role=role, is_update=update)
        self.facts.append(fact)
        self.known[key] = fact
        return words

    @staticmethod
    def filled(form: str, key: tuple[str, str, str], value: str = "") -> str:
        """Put the subject, and the value, into a form of words."""
        words = form.replace("{v}", value)
        return tidy(words.replace("{" + SUBJECTS[key[0]] + "}", key[2]) if key[0] in SUBJECTS else words)

    def _clauses(self, role: str) -> str:
        kinds = data("facts")["me"]
        open_ones = [name for name, kind in kinds.items() if "clause" in kind and ("me", name, "") not in self.known]
        chosen = self.chance.sample(open_ones, min(len(open_ones), self.chance.randint(1, 3)))
        if not chosen:
            return str(self.chance.choice(self.chat["user"]))
        said = [self._state(("me", name, ""), self.chance.choice(kinds[name]["clause"]), role) for name in chosen]
        joined = (
            said[0] if len(said) == 1 else ", ".join(said[:-1]) + self.chance.choice([", and ", " and "]) + said[-1]
        )
        more = self.chance.choice(self.chat["and_other"]) if self.chance.random() < 0.3 else ""
        lead = self.chance.choice(self.chat["lead"]) if self.chance.random() < 0.25 else ""
        return f"{lead}I {joined}{more}."

    def _update(self, role: str) -> str:
        old = self.chance.choice(self.facts)
        if "update" not in old.kind or any(each.key == old.key and each.is_update for each in self.facts):
            return str(self.chance.choice(self.chat["user" if role == "user" else "assistant"]))
        return self._state(old.key, self.chance.choice(old.kind["update"]), old.role, update=True)

    def _dressed(self, sentence: str) -> str:
        draw = self.chance.random()
        if draw < 0.15 and sentence.startswith(("I ", "I'", "My ", "The ", "We ", "They ")):
            first = sentence if sentence.startswith(("I ", "I'")) else sentence[0].lower() + sentence[1:]
            return str(self.chance.choice(self.chat["lead"])) + first
        if draw < 0.27 and sentence.endswith("."):
            return sentence[:-1] + str(self.chance.choice(self.chat["tail"])) + "."
        return sentence
