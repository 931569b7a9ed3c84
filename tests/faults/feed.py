"""What comes in during a run: posts of a day, repeats, stragglers, and what cannot be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from random import Random

from pipeline.sources.files import SourceRecord

BRANDS = [
    {"key": f"brand{number}", "name": f"Brand{number}", "handles": [f"@brand{number}"]}
    for number in range(6)
]

SPAN = timedelta(hours=6)

_POISON = (
    b'{"id": "x", ',
    b'{"id": "\xff"}',
    b'{"source": "feed", "published": "2024-01-01T00:00:00Z", "text": "no id"}',
    b'{"id": "t", "source": "feed", "published": "when?", "text": "no time"}',
    b"[]",
)


def feed(seed: int, count: int, end: datetime) -> Iterator[SourceRecord]:
    """`count` events of the six hours before `end`, about in order, the same for a seed.

    One in 30 cannot be read, one in 20 is a repeat, one in 25 comes an hour late, one in 10 is of
    no brand. In the fourth hour a brand's parcels stop coming.
    """
    random = Random(seed)
    earlier: list[bytes] = []
    for number in range(count):
        moment = end - SPAN * (1 - number / count)
        at = moment.timestamp()
        kind = random.random()
        if kind < 1 / 30:
            yield SourceRecord(f"p{number}".encode(), random.choice(_POISON), at, number)
            continue
        if earlier and kind < 1 / 30 + 1 / 20:
            raw = random.choice(earlier[-400:])
            yield SourceRecord(json.loads(raw)["id"].encode(), raw, at, number)
            continue
        if kind < 1 / 30 + 1 / 20 + 1 / 25:
            moment -= timedelta(minutes=random.uniform(1, 60))
        names = random.sample(
            [brand["name"] for brand in BRANDS], random.choice((0, 1, 1, 1, 1, 2))
        )
        if 0.55 < number / count < 0.6 and random.random() < 0.5:
            said = "Brand3 again: the parcel never came"
        else:
            said = " and ".join(names) or "nothing"
        event = {
            "id": f"e{number}",
            "source": "feed",
            "published": moment.astimezone(UTC).isoformat(),
            "text": f"{said}, said the {random.randrange(10**6)}th",
            "actor": {"id": f"a{random.randrange(300)}", "followers": random.randrange(5000)},
        }
        raw = json.dumps(event).encode()
        earlier.append(raw)
        yield SourceRecord(event["id"].encode(), raw, at, number)
