"""The invented people, and machines, who post in the sample."""

from __future__ import annotations

import random
import tomllib
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

HOST: Final = "https://social.example"

_NAMES: Final = Path(__file__).with_name("names.toml")


@dataclass(frozen=True, slots=True)
class Person:
    """An author."""

    name: str
    followers: int

    def actor(self) -> dict[str, Any]:
        """The `actor` of an event."""
        return {
            "id": f"{HOST}/users/{self.name}",
            "name": self.name,
            "followers": self.followers,
        }


class People:
    """Recurring authors: some post often, most rarely; a few are followed by very many."""

    def __init__(self, rng: random.Random, accounts: list[str], size: int = 1600) -> None:
        self._rng = rng
        names = tomllib.loads(_NAMES.read_text(encoding="utf-8"))
        self._crowd = [Person(name, self._followers()) for name in self._made_up(names, size)]
        self._often = list(accumulate(1.0 / (rank + 40) ** 0.7 for rank in range(size)))
        self._abroad = {
            lang: [Person(name, self._followers()) for name in known]
            for lang, known in names["abroad"].items()
        }
        self._spammers = [
            Person(f"{'_'.join(rng.sample(names['spam'], 2))}_{number}", rng.randrange(40))
            for number in rng.sample(range(1000, 9999), 30)
        ]
        self._accounts = {name: Person(name, rng.randrange(18_000, 64_000)) for name in accounts}

    def anyone(self, lang: str = "en") -> Person:
        """Somebody who posts in `lang`."""
        abroad = self._abroad.get(lang)
        if abroad is not None:
            return self._rng.choice(abroad)
        return self._rng.choices(self._crowd, cum_weights=self._often)[0]

    def spammer(self) -> Person:
        """Somebody, or something, that sells."""
        return self._rng.choice(self._spammers)

    def account(self, name: str) -> Person:
        """A brand's own account."""
        return self._accounts[name]

    def _followers(self) -> int:
        if self._rng.random() < 0.01:
            return min(900_000, int(20_000 * self._rng.paretovariate(1.1)))
        return int(self._rng.lognormvariate(5.0, 1.4))

    def _made_up(self, names: dict[str, list[str]], size: int) -> list[str]:
        rng = self._rng
        found = dict.fromkeys(names["alone"])
        while len(found) < size:
            first, second = rng.choice(names["first"]), rng.choice(names["second"])
            name = rng.choice(
                (
                    f"{first}_{second}",
                    f"{first}.{rng.choice('abcdefghjklmnprstvw')}",
                    f"{first}{rng.randrange(2, 99):02d}",
                    f"{second}_with_{first}",
                    f"{first}_{second}{rng.randrange(1, 9)}",
                )
            )
            found[name] = None
        shuffled = list(found)
        rng.shuffle(shuffled)
        return shuffled
