"""Questions on any text of a page: quotes, gaps, what a sentence says, what occurs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from optical_memory.training.language.conversation import Story
from optical_memory.training.language.layout import PageText

Span = tuple[int, int, int]
"""Page, first character and the one behind the last."""
_SENTENCE = re.compile(r"(?<=[.!?] )[A-Z][^\n.!?]{35,150}[.!?]")
_LAST = re.compile(r"(?<= )[a-z][\w'-]+ [a-z][\w'-]{3,}(?=[.!?]$)")
_MARKED = re.compile(r"(?<=\s)(?:\$?\d[\d,.:%/-]*\d|\$?\d+%?|[A-Z][\w'-]+(?: [A-Z][\w'-]+)*)(?=[\s,;.!?])")
"""Numbers, and names that do not begin the sentence."""
_SMALL = frozenset("I My We Our You Your He She It Its They The This That A An And But So If In On At As".split())
"""Words that are no names, though they may begin with a capital."""
_ABOUT = ("What is said about {} and {}?", "What does it say on {} and {}?", "Which sentence mentions {} and {}?")
_ASKED = ("what", "whom or what", "which")
_SO_MANY = (
    'What are the next # words after "{}"?',
    'Quote the # words that follow "{}".',
    'Which # words come after "{}"?',
)
_TO_THE_END = (
    'How does the sentence go on after "{}"?',
    'Finish the sentence: "{}"',
    'What follows "{}" in its sentence?',
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A question and its answer; ``spans`` are where it stands in the pages, none where it stands nowhere.

    ``near`` are places that look like it: the same said of another subject, or something else of the same.
    """

    kind: str
    question: str
    answer: str
    spans: tuple[Span, ...] = ()
    near: tuple[Span, ...] = ()


class Quoter:
    """Draws tasks on the words of pages, whatever these say."""

    def __init__(self, story: Story, pages: Sequence[PageText]) -> None:
        self.story, self.pages, self.chance = story, pages, story.chance

    def _asked(self, question: str) -> str:
        """Put what people say before a question in front of it, sometimes."""
        if self.chance.random() > 0.2:
            return question
        first = question if question.startswith(("I ", "I'")) else question[0].lower() + question[1:]
        return str(self.chance.choice(self.story.chat["before"])) + first

    def _words(self) -> tuple[int, str, list[re.Match[str]]]:
        number = self.chance.randrange(len(self.pages))
        text = self.pages[number].text
        return number, text, list(re.finditer(r"\S+", text))

    def _cue(self) -> tuple[int, str, list[re.Match[str]], int, int] | None:
        """Return words of a page that stand there once: page, its text, its words, the first and how many."""
        for _ in range(20):
            number, text, words = self._words()
            if len(words) < 60:
                continue
            first, count = self.chance.randrange(len(words) - 45), self.chance.randint(3, 6)
            cue = text[words[first].start() : words[first + count - 1].end()]
            if "\n" not in cue and "  " not in cue and text.count(cue) == 1:
                return number, text, words, first, count
        return None

    def quote(self) -> Task | None:
        """Ask for what follows some words: so many words, or up to the sentence's end."""
        cue = self._cue()
        if cue is None:
            return None
        number, text, words, first, count = cue
        start, many = first + count, self.chance.randint(2, 9)
        given, begin = text[words[first].start() : words[start - 1].end()], words[start].start()
        ends = re.search(r"[.!?](?=\s|$)", text[begin : begin + 150])
        if ends is not None and self.chance.random() < 0.4:
            form, end = self.chance.choice(_TO_THE_END), begin + ends.end()
        else:
            form, end = self.chance.choice(_SO_MANY).replace("#", str(many)), words[start + many - 1].end()
        answer = text[begin:end]
        if "\n" in answer or "  " in answer or len(answer) > 150:
            return None
        span = (number, words[first].start(), end)
        return Task(kind="quote", question=form.format(given), answer=answer, spans=(span,))

    def wonder(self) -> Task | None:
        """Ask after a name, a number or the last words of any sentence, in some of its own words."""
        sentence = self._sentence()
        if sentence is None:
            return None
        number, start, said = sentence
        marked = list(_MARKED.finditer(said))
        if self.story.natural:
            marked = [each for each in marked if each.group().split("'")[0] not in _SMALL]
        marked = marked or list(_LAST.finditer(said))
        if not marked:
            return None
        wanted = self.chance.choice(marked)
        what = self.chance.choice(["which number", "how many"] if wanted.group()[-1:].isdigit() else _ASKED)
        before = self._thinned(said[: wanted.start()].split()[-self.chance.randint(4, 10) :])
        after = self._thinned(said[wanted.end() :].rstrip(".!?").split()[: self.chance.randint(3, 8)])
        if len(before) + len(after) < 4:
            return None
        asked = " ".join([*before, what, *after] if self.chance.random() < 0.6 else [what, *after, *before])
        question = self._asked(asked[0].upper() + asked[1:] + "?")
        return Task(kind="gap", question=question, answer=wanted.group(), spans=((number, start, start + len(said)),))

    def _thinned(self, words: Sequence[str]) -> list[str]:
        """Leave some of the words out."""
        return [word for word in words if self.chance.random() > 0.12]

    def _sentence(self) -> tuple[int, int, str] | None:
        """Draw a sentence: its page, where it begins, and what it says."""
        number = self.chance.randrange(len(self.pages))
        found = list(_SENTENCE.finditer(self.pages[number].text))
        if not found:
            return None
        sentence = self.chance.choice(found)
        return number, sentence.start(), sentence.group()

    def gap(self) -> Task | None:
        """Ask for a word left out."""
        cue = self._cue()
        if cue is None:
            return None
        number, text, words, first, count = cue
        out = first + self.chance.randrange(count)
        low, high = words[first].start(), words[first + count - 1].end()
        shown = text[low : words[out].start()] + "____" + text[words[out].end() : high]
        return Task(
            kind="gap", question=f'Fill in the gap: "{shown}"', answer=words[out].group(), spans=((number, low, high),)
        )

    def said(self) -> Task | None:
        """Ask what is said about two words of a sentence; the answer is the sentence."""
        for _ in range(10):
            drawn = self._sentence()
            if drawn is None:
                continue
            number, start, sentence = drawn
            text = self.pages[number].text
            words = [w for w in re.findall(r"[A-Za-z][\w'-]{4,}", sentence) if text.count(w) <= 3]
            if len(words) < 2:
                continue
            first, second = sorted(self.chance.sample(words, 2), key=sentence.find)
            if first == second:
                continue
            question = self.chance.choice(_ABOUT).format(first, second)
            span = (number, start, start + len(sentence))
            return Task(kind="said", question=question, answer=sentence, spans=(span,))
        return None

    def occurs(self) -> Task | None:
        """Ask whether words occur."""
        cue = self._cue()
        if cue is not None and self.chance.random() < 0.5:
            number, text, words, first, count = cue
            low, high = words[first].start(), words[first + count - 1].end()
            return Task(
                kind="occurs", question=f'Does "{text[low:high]}" occur?', answer="Yes.", spans=((number, low, high),)
            )
        document = self.chance.choice(self.story.documents)
        start = self.chance.randrange(max(1, len(document) - 60))
        words_out = re.sub(r"\s+", " ", document[start : start + 36]).strip()
        if any(words_out in page.text for page in self.pages):
            return None
        return Task(kind="occurs", question=f'Does "{words_out}" occur?', answer="No.")
