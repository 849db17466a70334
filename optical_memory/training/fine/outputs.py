"""What tools of coding agents are given and give back, made of lines of files: listings, changes, tests' results."""

from __future__ import annotations

import json
import random
from collections.abc import Callable

from optical_memory.training.fine.identifiers import LOWER, SUFFIXES, Identifiers, Record

_BRANCHES = ("├── ", "└── ", "│   ├── ", "│   └── ", "|-- ", "`-- ")
_PASSED = ("✓", "✓", "✔", "✗", "×", "√", "PASS", "FAIL", "ok", "not ok", "PASSED", "---", "•", "●", "○")
_LEVELS = ("error", "warning", "note", "INFO", "WARN", "E", "TypeError", "AssertionError", "ts(2322)")
_EMPTY = '[metadata] {"noOutputExpected": false}'


class Outputs:
    """Draws from one random generator; ``part`` gives so many characters of some file of code."""

    def __init__(self, chance: random.Random, drawn: Identifiers, part: Callable[[int], str]) -> None:
        """Take the generator, what draws identifiers from it, and where code comes from."""
        self.chance, self.drawn, self.part = chance, drawn, part
        self._results = (
            *(self._numbered, self._plain, self._found, self._change, self._tree, self._tests, self._table),
            self._dots,
        )

    def call(self) -> tuple[str, Record]:
        """Return a tool's name and what it is given."""
        kind, path = self.chance.random(), self.drawn.path()
        if kind < 0.35:
            return "Bash", {"command": self._command(), "timeout": self.drawn.number(1, 600) * 1000}
        if kind < 0.55:
            return "Read", {"file_path": path, "offset": self.drawn.number(1, 5000), "limit": self.drawn.number(1, 400)}
        if kind < 0.8:
            return "Edit", {"file_path": path, "old_string": self._code(60, 600), "new_string": self._code(60, 900)}
        return "Write", {"file_path": path, "content": self._code(300, 2500)}

    def result(self) -> str:
        """Return what a tool gives back."""
        text = self.chance.choice(self._results)()
        return text + "\n" + _EMPTY if self.chance.random() < 0.3 else text

    def _code(self, least: int, most: int) -> str:
        return self.part(self.drawn.number(least, most))

    def _command(self) -> str:
        path, other, word = self.drawn.path(), self.drawn.path(), self.drawn.word()
        first, last = self.drawn.number(1, 900), self.drawn.number(900, 4000)
        return self.chance.choice(
            (
                f'cd /app && grep -rn "{word}\\|{self.drawn.word()}" {path} | head -{self.drawn.number(5, 80)}',
                f"sed -n '{first},{last}p' {path}",
                f"git diff --stat HEAD~{self.drawn.number(1, 9)} -- {path} && cat {other}",
                f"npx {word} run {path} --{self.drawn.word()}={self.drawn.any()} 2>&1 | tail -{first}",
                f"python -m pytest {path}::test_{word} -x -q",
                f'find . -name "*.{self.chance.choice(SUFFIXES)}" -path "*{word}*" && wc -l {path} {other}',
                f"cat > {path} <<'EOF'\n{self._code(100, 900)}\nEOF",
            )
        )

    def _numbered(self) -> str:
        start, form = self.drawn.number(1, 3000), self.chance.choice(("{}\t{}", "{:6}\t{}", "{:5}→{}", "{}: {}"))
        return "\n".join(form.format(start + n, line) for n, line in enumerate(self._code(400, 3000).split("\n")))

    def _plain(self) -> str:
        return self._code(300, 3000)

    def _found(self) -> str:
        number, path = self.drawn.number(1, 900), self.drawn.path()
        lines = []
        for line in self._code(300, 2500).split("\n"):
            number += self.drawn.number(1, self.chance.choice((1, 40)))
            path = self.drawn.path() if self.chance.random() < 0.2 else path
            sign = self.chance.choice("::-")
            lines.append(f"{path}{sign}{number}{sign}{line}" if self.chance.random() < 0.95 else "--")
        return "\n".join(lines)

    def _change(self) -> str:
        path, number = self.drawn.path().lstrip("/~."), self.drawn.number(1, 900)
        head = f"diff --git a/{path} b/{path}\nindex {self._hash()}..{self._hash()} 100644\n--- a/{path}\n+++ b/{path}"
        sign, lines = " ", [head, f"@@ -{number},{self.drawn.number(1, 40)} +{number},{self.drawn.number(1, 40)} @@"]
        for line in self._code(300, 2500).split("\n"):
            sign = self.chance.choice("+- ") if self.chance.random() < 0.4 else sign
            lines.append(sign + line)
        tail = f" {path} | {self.drawn.number(1, 99)} {'+' * self.drawn.number(0, 40)}{'-' * self.drawn.number(0, 20)}"
        return "\n".join([*lines, tail])

    def _hash(self) -> str:
        return self.drawn.letters(LOWER[:6] + "0123456789", 7, 7)

    def _tree(self) -> str:
        branches = self.chance.choice((_BRANCHES, ("",), ("./",), ("drwxr-xr-x  2 root root  4096 ", "M ", "?? ")))
        return "\n".join(self.chance.choice(branches) + self._name() for _ in range(self.drawn.number(6, 40)))

    def _name(self) -> str:
        stem = self.chance.choice(("README", "LICENSE", "CHANGELOG", "Makefile", "__init__", "index", "test_", "", ""))
        joined = self.chance.choice("-_.").join(self.drawn.word() for _ in range(self.drawn.number(1, 4)))
        folder = self.chance.choice(("", "", f"{self.drawn.word()}/", "src/", "__tests__/"))
        return f"{folder}{stem or joined}.{self.chance.choice(SUFFIXES)}"

    def _tests(self) -> str:
        return "\n".join(self._line() for _ in range(self.drawn.number(4, 40)))

    def _line(self) -> str:
        """Return a line of what tests, compilers and tracebacks print."""
        name, word, path = self._name(), self.drawn.word(), self.drawn.path()
        number, mark, level = self.drawn.number(1, 900), self.chance.choice(_PASSED), self.chance.choice(_LEVELS)
        return self.chance.choice(
            (
                f" {mark} {name} > {word} {self.drawn.word()} ({number} ms)",
                f"{mark} {name}",
                f"{name} {self.drawn.letters('.........................sFxE', 3, 90)} [{number % 101:3d}%]",
                f"{name}({number},{number % 90}): {level}: {word}",
                f"{name}:{number}:{number % 90} - {level} {self.drawn.any()}",
                f"    at {word}.{self.drawn.word()} ({path}:{number})",
                f'  File "{path}", line {number}, in {word}',
                self.chance.choice("=-─━_*#+~.") * self.drawn.number(3, 80),
            )
        )

    def _dots(self) -> str:
        """Return what a run of many tests prints: rows of dots, with a letter where one failed."""
        size, often = self.chance.choice((72, 72, 60, 80)), self.chance.choice((2, 40))
        rows = ["".join(self.chance.choice("." * often * 20 + "sFxE") for _ in range(size)) for _ in range(8)]
        rows[-1] = rows[-1][: self.drawn.number(1, size)].ljust(size)
        return "\n".join(f"{row} [{self.drawn.number(1, 100):3d}%]" for row in rows) + f"\n{self.drawn.any()} passed"

    def _table(self) -> str:
        columns = self.drawn.number(2, 5)
        rows = [[self.chance.choice((self.drawn.any, self.drawn.word))() for _ in range(columns)] for _ in range(9)]
        kind = self.chance.random()
        if kind < 0.4:
            lines = ["| " + " | ".join(row) + " |" for row in rows]
            return "\n".join([lines[0], "|" + " --- |" * columns, *lines[1:]])
        if kind < 0.7:
            links = (f"[![{a}]({self.drawn.address()})]({self.drawn.address()})" for a, *_ in rows)
            return "\n".join(f"- **{self.drawn.word()}** {link} — {self.drawn.word()}" for link in links)
        return json.dumps(self.drawn.record(), indent=self.chance.choice((None, 2, 4)), ensure_ascii=False)
