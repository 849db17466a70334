"""Identifiers of all kinds that sessions hold, drawn at random, and text in which characters are exchanged."""

from __future__ import annotations

import random
import string
from collections.abc import Callable

LOWER, UPPER, DIGITS = string.ascii_lowercase, string.ascii_uppercase, string.digits
SUFFIXES = "py ts js rs json toml md go c h cpp yaml yml txt lock cfg log sh html css sql ini rst jsx tsx java".split()
Record = dict[str, "Record | list[str] | str | int | float | bool | None"]


class Identifiers:
    """Draws from one random generator."""

    def __init__(self, chance: random.Random) -> None:
        """Take the generator."""
        self.chance = chance
        self._kinds: tuple[Callable[[], str], ...] = (
            lambda: self.letters(UPPER, 2, 4) + self.letters(DIGITS, 2, 5),
            lambda: "_".join([self.word(), self.word(), self.letters(DIGITS, 3, 6)]),
            lambda: self.letters(UPPER + DIGITS, 5, 9),
            lambda: f"{self.chance.getrandbits(self.chance.choice((28, 32, 48, 64, 128, 160))):x}",
            self.path,
            lambda: f"20{self.number(10, 29)}-{self.number(1, 12):02}-{self.number(1, 28):02}",
            lambda: f"{self.number(0, 23):02}:{self.number(0, 59):02}:{self.number(0, 59):02}",
            lambda: self.chance.choice((f"${self.number(1, 99_999)}", f"{self.chance.uniform(0, 9999):.2f}")),
            lambda: f"{self.word()}.{self.word()}{self.chance.choice(('', '7', '4821'))}@example.com",
            self.address,
            self.uuid,
            lambda: f"v{self.number(0, 20)}.{self.number(0, 30)}.{self.number(0, 30)}",
            lambda: f"{self.word()}_{self.letters(DIGITS, 7, 7)}",
            lambda: (
                f"{self.word()}.{self.chance.choice(SUFFIXES)}{self.chance.choice(('', f':{self.number(1, 4000)}'))}"
            ),
            lambda: self.letters(UPPER + LOWER + DIGITS, 8, 24),
            lambda: self.chance.choice(("#", "")) + str(self.number(1, 10 ** self.number(1, 9))),
        )

    def any(self) -> str:
        """Return one of any kind."""
        return self.chance.choice(self._kinds)()

    def number(self, least: int, most: int) -> int:
        """Return a number between two."""
        return self.chance.randint(least, most)

    def letters(self, of: str, least: int, most: int) -> str:
        """Return between ``least`` and ``most`` characters."""
        return "".join(self.chance.choices(of, k=self.number(least, most)))

    def word(self) -> str:
        """Return a word that is none."""
        return self.letters(LOWER, 3, 9)

    def path(self) -> str:
        """Return a path to a file."""
        start = self.chance.choice(("/app", "~", "src", "tests", "/usr/lib", "..", "."))
        folders = [self.word() for _ in range(self.number(0, 3))]
        name = self.chance.choice(("", "test_")) + self.word()
        return "/".join([start, *folders, f"{name}.{self.chance.choice(SUFFIXES)}"])

    def address(self) -> str:
        """Return the address of a page."""
        return f"https://{self.word()}.org/{self.word()}/{self.letters(LOWER + DIGITS, 6, 6)}?id={self.number(1, 9999)}"

    def uuid(self) -> str:
        """Return a UUID."""
        digits = f"{self.chance.getrandbits(128):032x}"
        return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))

    def record(self, depth: int = 0) -> Record:
        """Return what a tool takes or gives, as JSON has it."""
        found: Record = {}
        for _ in range(self.number(2, 9)):
            kind = self.chance.random()
            if kind < 0.12 and depth < 2:
                found[self.word()] = self.record(depth + 1)
            elif kind < 0.27:
                found[self.word()] = [self.any() for _ in range(self.number(1, 4))]
            elif kind < 0.7:
                found[self.word()] = self.any()
            else:
                found[self.word()] = self.chance.choice(
                    (self.number(0, 999), True, None, f"{self.word()} {self.word()}")
                )
        return found

    def scrambled(self, text: str, share: float) -> str:
        """Return the text with a share of its letters and digits exchanged, most for others of their kind."""
        return "".join(self._other(one) if self.chance.random() < share else one for one in text)

    def _other(self, character: str) -> str:
        kind = next((each for each in (LOWER, UPPER, DIGITS) if character in each), "")
        if not kind:
            strange = character in string.punctuation and self.chance.random() < 0.5
            return self.chance.choice(string.punctuation) if strange else character
        return self.chance.choice(kind if self.chance.random() < 0.8 else LOWER + UPPER + DIGITS)
