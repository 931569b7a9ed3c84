"""A worker of a version to come: `python -m tests.operations.newer CONFIG [--format N]`.

Its records and its state have a field more each, which it fills in. Everything else is the worker
as it is: the fields are there before the rest of the pipeline is loaded.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

from pipeline import records, streaming


class Event(records.Event, frozen=True, omit_defaults=True):
    """Sources may say how sure they are of the author."""

    verified: bool | None = None


class Mention(records.Mention, frozen=True):
    """Mentions say how urgent they are."""

    urgency: int | None = None


class Alert(records.Alert, frozen=True, omit_defaults=False):
    """Alerts say what mood people are in."""

    mood: str = "unknown"


class Score(records.Score, frozen=True):
    """Scores say where they are going."""

    trend: float = 0.0


for name, record in {"Event": Event, "Mention": Mention, "Alert": Alert, "Score": Score}.items():
    setattr(records, name, record)
    topic = next(t for t, kind in records.RECORDS.items() if kind.__name__ == name)
    records.RECORDS[topic] = record

from pipeline.domain import buckets  # noqa: E402 (the records come first)


class Bucket(buckets.Bucket, array_like=True):
    """Buckets count what was urgent."""

    urgent: int = 0

    def apply(self, mention: records.Mention) -> bool:
        """As `buckets.Bucket.apply`."""
        news = super().apply(mention)
        self.urgent += news and getattr(mention, "urgency", None) is not None
        return news


setattr(buckets, "Bucket", Bucket)  # noqa: B010 (mypy takes a class to be for good)

from pipeline.agents import classify  # noqa: E402

setattr(classify, "Mention", partial(Mention, urgency=3))  # noqa: B010

from tests.faults.process import main  # noqa: E402

if __name__ == "__main__":
    if "--format" in sys.argv:
        setattr(streaming, "STATE_FORMAT", int(sys.argv[-1]))  # noqa: B010
    sys.exit(main(Path(sys.argv[1])))
