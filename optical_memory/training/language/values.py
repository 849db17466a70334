"""Values of facts, drawn fresh for every page: names, places, amounts, identifiers."""

from __future__ import annotations

import json
import random
import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

_UPPER = "ABCDEFGHJKLMNPQRSTUVWXYZ"
_WORDS = (
    "two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen"
    " nineteen twenty"
).split()

_UNITS = ("", "", "%", " mg/dL", " ng/mL", " points", " U/L", " bpm", " mmol/L", " kWh", " cm")


@cache
def data(name: str) -> dict[str, Any]:
    """Return one of this package's tables: "facts", "lists", "chat"."""
    return tomllib.loads(files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8"))


class Values:
    """Draws values by the names that ``facts.toml`` uses. ``pools`` holds names, cities, companies and jobs."""

    def __init__(self, chance: random.Random, pools: Path) -> None:
        """Read the pools that ``prepare`` wrote."""
        self.chance = chance
        self.lists: dict[str, list[str]] = {**json.loads(pools.read_text()), **data("lists")}

    def pick(self, name: str) -> str:
        """Draw from a list."""
        return self.chance.choice(self.lists[name])

    def draw(self, name: str) -> str:
        """Draw a value of a kind."""
        made = getattr(self, f"_{name}", None)
        return str(made()) if made is not None else self.pick(name)

    def _number(self, low: int, high: int) -> str:
        return str(self.chance.randint(low, high))

    def _hexadecimal(self, count: int) -> str:
        return "".join(self.chance.choices("0123456789abcdef", k=count))

    def _full(self) -> str:
        return f"{self.pick('first')} {self.pick('last')}"

    def _job(self) -> str:
        job = self.pick("job")
        return job[0].lower() + job[1:] if not job[:2].isupper() else job

    def _age(self) -> str:
        return self._number(18, 90)

    def _few(self) -> str:
        return self.chance.choice([self._number(2, 20), self.chance.choice(_WORDS)])

    def _tests(self) -> str:
        return self.chance.choice([self._number(2, 300), self.chance.choice(_WORDS)])

    def _dose(self) -> str:
        return f"{self.chance.randint(1, 80) * 5} mg"

    def _email(self) -> str:
        return f"{self.pick('first')}.{self.pick('last')}@{self.pick('domain')}".lower()

    def _phone(self) -> str:
        return f"{self._number(200, 999)}-{self._number(200, 999)}-{self._number(1000, 9999)}"

    def _short(self) -> str:
        return self.chance.choice([f"{self._number(200, 999)}-{self._number(1000, 9999)}", self._number(100, 9999)])

    def _date(self) -> str:
        month, day = self.pick("month"), self.chance.randint(1, 28)
        forms = (
            f"{month} {day}",
            f"2024-{self.chance.randint(1, 12):02d}-{day:02d}",
            f"{month} {day}, 20{self.chance.randint(18, 29)}",
            f"the {day}th of {month}" if 3 < day < 21 else f"{day} {month}",
            f"{self.pick('weekday')}, {month} {day}",
        )
        return self.chance.choice(forms)

    def _money(self) -> str:
        whole = self.chance.choice([self._number(12, 999), f"{self._number(1, 99)},{self.chance.randint(0, 999):03d}"])
        form = self.chance.choice(["${}", "${}", "${}", "{} dollars", "${}.{:02d}", "{} euros"])
        return form.format(whole, self.chance.randint(0, 99))

    def _rate(self) -> str:
        return f"{self.chance.randint(0, 19)}.{self.chance.randint(1, 99)}%"

    def _percent(self) -> str:
        return f"{self.chance.randint(3, 60)}{self.chance.choice(['%', ' percent', '%'])}"

    def _time(self) -> str:
        hour, minute = self.chance.randint(1, 12), self.chance.choice(["00", "15", "30", "45", "10", "20"])
        twelve = f"{hour}:{minute} {self.chance.choice(['am', 'pm'])}"
        return self.chance.choice([twelve, f"{self.chance.randint(0, 23):02d}:{minute}", f"{hour} o'clock"])

    def _user(self) -> str:
        return f"{self.pick('first')}_{self.pick('last')}_{self._number(1000, 9999)}".lower()

    def _code(self) -> str:
        return "".join(self.chance.choices(_UPPER + "0123456789", k=self.chance.randint(5, 8)))

    def _flight(self) -> str:
        return self.chance.choice(["UA", "DL", "LH", "KL", "SK", "AF", "BA"]) + self._number(100, 9999)

    def _seat(self) -> str:
        return self._number(1, 40) + self.chance.choice("ABCDEF")

    def _size(self) -> str:
        return f"{self._number(5, 200)} {self.chance.choice(['square feet', 'square metres', 'inches'])}"

    def _span(self) -> str:
        count = self.chance.choice([self._number(2, 40), self.chance.choice(_WORDS)])
        return (
            f"{count} {self.chance.choice(['days', 'weeks', 'business days', 'hours', 'months', 'minutes', 'years'])}"
        )

    def _weight(self) -> str:
        return f"{self._number(50, 260)} {self.chance.choice(['pounds', 'kg', 'lbs'])}"

    def _measure(self) -> str:
        whole = self.chance.choice(
            [self._number(1, 20), self._number(20, 400), f"{self._number(0, 30)}.{self._number(0, 9)}"]
        )
        return whole + self.chance.choice(_UNITS)

    def _pressure(self) -> str:
        return f"{self._number(100, 180)} over {self._number(60, 110)}"

    def _port(self) -> str:
        return self._number(1024, 65000)

    def _version(self) -> str:
        return f"{self._number(0, 9)}.{self._number(0, 40)}.{self._number(0, 30)}"

    def _commit(self) -> str:
        return self._hexadecimal(7)

    def _status(self) -> str:
        return self._number(400, 599)

    def _path(self) -> str:
        return "/".join(self.pick("word") for _ in range(self.chance.randint(1, 3))) + "/" + self.pick("ua")

    def _limit(self) -> str:
        return f"{self._number(2, 900)} {self.pick('unit')}"

    def _ip(self) -> str:
        return f"10.{self._number(0, 255)}.{self._number(0, 255)}.{self._number(1, 254)}"

    def _order(self) -> str:
        return "#" + self._number(10_000, 999_999)

    def _room(self) -> str:
        return f"{self.chance.choice(['room', 'hall', 'lab'])} {self._number(1, 999)}"

    def _who(self) -> str:
        return self._full()

    def _svc(self) -> str:
        return f"{self.pick('service')}-{self.pick('role_word')}"

    def _org(self) -> str:
        return self.pick("company")
