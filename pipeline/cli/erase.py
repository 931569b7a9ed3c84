"""Commands about who is forgotten: erase, erasures."""

from __future__ import annotations

import asyncio
import re
import sys
from datetime import UTC, datetime, timedelta

import click
from rich.table import Table
from rich.text import Text

from pipeline.broker.client import wait_for_broker
from pipeline.cli.main import Context, say
from pipeline.cli.silences import BY
from pipeline.cli.tables import print_json, print_table, published, when
from pipeline.erasing import Left, erase, erasure_of
from pipeline.records import Erasure
from pipeline.settings import Settings
from pipeline.topics import create_topics, topic_specs


@click.command("erase")
@click.argument("whom", metavar="SOURCE:AUTHOR")
@BY
@click.pass_obj
def erase_command(ctx: Context, whom: str, author: str) -> None:
    """Forget an author: what is held of the author's posts goes, and later ones are not taken in.

    SOURCE is the event's `source`, AUTHOR the id its `actor` has there, or the name where the
    source gives no ids: `bluesky:did:plc:x1`. Counts stay: they say how many spoke, not who.
    Events and mentions in Kafka go with time (kafka.retention_hours); the command says when.

    `gapwatch erasures` lists since when how many are forgotten; it does not know their names. Ends
    with exit code 1 where workers have yet to start for all to be gone; run it again then.
    """
    source, _, identity = whom.partition(":")
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,64}", source) or not identity:
        raise click.UsageError("say whom to forget as SOURCE:AUTHOR, as in bluesky:did:plc:x1")
    settings = ctx.settings
    erasure = erasure_of(settings, source, identity, by=author)

    async def go() -> Left:
        await wait_for_broker(settings.kafka, say=say, timeout=30)
        await create_topics(settings, say=say, only=("erasures",))
        return await erase(settings, erasure, say=say)

    left = asyncio.run(go())
    gone = when(datetime.now(UTC) + _kept_in_kafka(settings))
    say(f"events, mentions and what was overwritten are gone from Kafka's files by {gone}")
    if left:
        say(
            f"{len(left.alerts)} alerts and {left.state} values of the workers' state still hold "
            "posts: start the workers, then run this again"
        )
        sys.exit(1)
    say("nothing is left in alerts, state and on the page, and nothing more is taken in")


def _kept_in_kafka(settings: Settings) -> timedelta:
    """How long Kafka may keep what was posted or overwritten a moment ago."""
    longest = 0
    for spec in topic_specs(settings):
        compacted = "compact" in spec.config["cleanup.policy"]
        kept = "max.compaction.lag.ms" if compacted else "retention.ms"
        # Segments are deleted and compacted whole.
        longest = max(longest, int(spec.config[kept]) + int(spec.config["segment.ms"]))
    return timedelta(milliseconds=longest)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_obj
def erasures(ctx: Context, as_json: bool) -> None:
    """List who is forgotten: not by name, but since when, and who saw to it."""
    found = sorted(published(ctx, "erasures", Erasure), key=lambda erasure: erasure.at)
    if as_json:
        print_json(found)
        return
    table = Table("erasure", "since", "by")
    for erasure in found:
        table.add_row(erasure.id, when(erasure.at), Text(erasure.by))
    print_table(table, "nobody is forgotten")


COMMANDS = (erase_command, erasures)
