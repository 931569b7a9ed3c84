"""`python -m benchmarks.model_language`: is the language of short posts told right?

The distinct texts of the sample day, each of which knows its language; and their first few words
alone, for what is left to go by in a short reply.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from models.language import LanguageDetector
from pipeline.sample import sample_day

EVENTS: Final = 20_000
CUTS: Final = (3, 5, 8, None)
"""Words a text is cut to."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Count what is told of English posts and of others; about ten seconds."""
    day = sample_day(end=datetime.now(UTC), events=EVENTS)
    known = {event["text"]: event["lang"] for event in day if event.get("text")}
    table = Table("words", "English", "told English", "told another", "others", "told not English",
                  "told right", "µs a post")  # fmt: skip
    for cut in CUTS:
        detector = LanguageDetector({"en"})
        english: list[str | None] = []
        others: list[tuple[str, str | None]] = []
        posts = list({" ".join(text.split()[:cut]): lang for text, lang in known.items()}.items())
        began = time.process_time()
        for text, lang in posts:
            told = detector.detect(text)
            if lang == "en":
                english.append(told)
            else:
                others.append((lang, told))
        taken = time.process_time() - began
        foreign = sum(map(detector.is_foreign, english))
        table.add_row(
            "all" if cut is None else f"first {cut}",
            f"{len(english):,}",
            f"{english.count('en') / len(english):.1%}",
            f"{foreign:,} ({foreign / len(english):.2%})",
            f"{len(others):,}",
            f"{sum(detector.is_foreign(told) for _, told in others) / len(others):.1%}",
            f"{sum(lang == told for lang, told in others) / len(others):.1%}",
            f"{taken / len(posts) * 1e6:.0f}",
        )
    console = Console()
    console.print(table, width=None if console.is_terminal else 120)


if __name__ == "__main__":
    main()
