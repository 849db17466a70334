"""Sessions of agents for training pages: prose and code from files, identifiers and records between them."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optical_memory.training.fine.identifiers import DIGITS, LOWER, SUFFIXES, UPPER, Identifiers
from optical_memory.training.fine.outputs import Outputs

_TYPOGRAPHY = (" —", " –", "…", "’s", " •", " →", " ×", "\t", " +", " <=", " >=", " !=", " ==", " ~")
_EXCHANGED = (("'", "’"), (' "', " “"), ('" ', "” "), ("--", "—"), ("...", "…"), (" - ", " – "))
_STREWN = ("%s", "%s", "`%s`", "**%s**", "(%s)", "%s,", "%s.", '"%s"')


_WORK = 0.6
"""Share of sessions that are work on code."""


def _by_suffix(files: Sequence[Path]) -> list[list[Path]]:
    """Return files of each kind, so that all kinds are drawn as often."""
    kinds: dict[str, list[Path]] = {}
    for file in files:
        kinds.setdefault(file.suffix, []).append(file)
    return list(kinds.values())


class Sessions:
    """Draws messages; ``prose`` and ``code`` are files that may be read."""

    def __init__(self, prose: Sequence[Path], code: Sequence[Path], seed: int) -> None:
        """Take the files and a seed."""
        self.chance = random.Random(seed)
        self.prose, self.code, self.drawn = _by_suffix(prose), _by_suffix(code), Identifiers(self.chance)
        self.outputs = Outputs(self.chance, self.drawn, lambda length: self._part(self.code, length))

    def messages(self) -> list[dict[str, Any]]:
        """Return the messages of a session of a few turns, as OpenAI's API has them: of talk, or of work on code."""
        return self._work() if self.chance.random() < _WORK else self._talk()

    def _work(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = [{"role": "user", "content": self._part(self.prose, 900)}]
        for _ in range(self.chance.randint(3, 9)):
            call, (name, given) = f"toolu_{self.drawn.letters(LOWER + UPPER + DIGITS, 24, 24)}", self.outputs.call()
            said = self._strewn(self._part(self.prose, self.chance.randint(30, 400)))
            function = {"name": name, "arguments": json.dumps(given, ensure_ascii=False)}
            calls = [{"id": call, "type": "function", "function": function}]
            found.append({"role": "assistant", "content": self.chance.choice((None, said)), "tool_calls": calls})
            result = self._scrambled(self.outputs.result(), 0.25)
            found.append({"role": "tool", "tool_call_id": call, "content": result})
        return [*found, {"role": "assistant", "content": self._answer()}]

    def _talk(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for _ in range(self.chance.randint(4, 10)):
            text = self._strewn(self._part(self.prose, self.chance.randint(100, 1800)))
            found.append({"role": "user", "content": self._signed(self._scrambled(text, 0.35))})
            answer: dict[str, Any] = {"role": "assistant", "content": self._answer()}
            found.append(answer)
            if self.chance.random() < 0.7:
                call = f"call_{self.drawn.word()}"
                function = {"name": self.drawn.word(), "arguments": json.dumps(self.drawn.record())}
                answer["tool_calls"] = [{"id": call, "type": "function", "function": function}]
                found.append({"role": "tool", "tool_call_id": call, "content": self._scrambled(self._result(), 0.25)})
        return found

    def _answer(self) -> str:
        text = self._strewn(self._part(self.prose, self.chance.randint(50, 900)))
        if self.chance.random() < 0.5:
            text += f"\n```python\n{self._part(self.code, self.chance.randint(200, 1200))}\n```\n"
        if self.chance.random() < 0.4:
            text += "\n" + self._listing()
        if self.chance.random() < 0.5:
            text = self._signed(text)
        return text + ("\n" + self._repeats() if self.chance.random() < 0.3 else "")

    def _result(self) -> str:
        kind = self.chance.random()
        if kind < 0.45:
            return json.dumps([self.drawn.record() for _ in range(self.chance.randint(1, 4))])
        if kind < 0.8:
            return self._part(self.code, self.chance.randint(400, 3000))
        return self._listing() if kind < 0.88 else self._repeats()

    def _part(self, files: Sequence[Sequence[Path]], length: int) -> str:
        text = self.chance.choice(self.chance.choice(files)).read_text("utf-8", "ignore")
        start = self.chance.randrange(max(1, len(text) - length))
        start = text.rfind("\n", 0, start) + 1
        return text[start : start + length]

    def _scrambled(self, text: str, often: float) -> str:
        share = self.chance.choice((0.1, 0.3, 0.6)) if self.chance.random() < often else 0.0
        return self.drawn.scrambled(text, share)

    def _strewn(self, text: str) -> str:
        words = text.split(" ")
        return " ".join(
            self.chance.choice(_STREWN) % self.drawn.any() if self.chance.random() < 0.06 else word for word in words
        )

    def _signed(self, text: str) -> str:
        """Return the text with the signs of typography that writers and models use."""
        if self.chance.random() < 0.5:
            for plain, sign in _EXCHANGED:
                text = text.replace(plain, sign)
        words = text.split(" ")
        return " ".join(
            word + self.chance.choice(_TYPOGRAPHY) if self.chance.random() < 0.03 else word for word in words
        )

    def _listing(self) -> str:
        forms = ("%s", "- %s", "* `%s`", f"| %s | {self.drawn.word()} |", f"**{self.drawn.word()}**: %s")
        return "\n".join(self.chance.choice(forms) % self.drawn.any() for _ in range(self.chance.randint(4, 24)))

    def _repeats(self) -> str:
        """Return what repeats: results of tests, rules, a change of code, comparisons, or names of files."""
        drawn, chance = self.drawn, self.chance
        lines = range(chance.randint(2, 12))
        kind = chance.randrange(5)
        if kind == 0:
            dots = (drawn.letters("....................sFxE", 3, 80) for _ in lines)
            return "\n".join(f"tests/test_{drawn.word()}.py {each} [{chance.randint(1, 100):3d}%]" for each in dots)
        if kind == 1:
            return "\n".join(chance.choice("=-*#_~.+<>|/") * chance.randint(3, 100) for _ in lines)
        if kind == 2:
            return "\n".join(chance.choice("+- ") + line for line in self._part(self.code, 500).split("\n"))
        if kind == 3:
            signs = ("<=", ">=", "==", "<", ">", "=", "+=", "->", "=>", "%")
            return "\n".join(f"  {drawn.word()} {chance.choice(signs)} {drawn.any()}" for _ in lines)
        tails = ("", f":{chance.randint(1, 5000)}:", "  ")
        return "\n".join(
            f"./{drawn.word()}/{drawn.word()}.{chance.choice(SUFFIXES)}{chance.choice(tails)}" for _ in lines
        )
