"""Commands about topics: create, list, grow, copy."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from pipeline.broker.client import wait_for_broker
from pipeline.cli.main import Context, say
from pipeline.settings import Settings, load_settings
from pipeline.topics import create_topics, list_topics, misfit, topic_specs


@click.group()
def topics() -> None:
    """Create, list, enlarge or copy the topics."""


@topics.command("create")
@click.pass_obj
def topics_create(ctx: Context) -> None:
    """Create the topics that are missing; leave the others as they are."""
    created = asyncio.run(create_topics(ctx.settings, say=lambda _: None))
    for name in created:
        click.echo(name)
    say(f"{len(created)} created" if created else "all topics exist")


@topics.command("list")
@click.pass_obj
def topics_list(ctx: Context) -> None:
    """List the topics: partitions, replication, configuration; and what does not fit together."""
    from rich.console import Console
    from rich.table import Table

    settings = ctx.settings
    table = Table("topic", "partitions", "replication", "configuration")
    states = asyncio.run(list_topics(settings))
    for state in states:
        config = ", ".join(f"{k}={v}" for k, v in sorted((state.config or {}).items()))
        if state.exists:
            table.add_row(state.name, str(state.partitions), str(state.replication), config)
        else:
            table.add_row(state.name, "missing", "", "")
    Console().print(table)
    counts = {state.name: state.partitions for state in states}
    if problem := misfit(settings, topic_specs(settings), counts):
        say(problem)


@topics.command("grow")
@click.argument("partitions", type=click.IntRange(2, 1024))
@click.pass_obj
def topics_grow(ctx: Context, partitions: int) -> None:
    """Give the events topic PARTITIONS partitions: twice as many as it has, three times, ...

    More workers can classify then. Pause who sends events and stop the workers first; afterwards
    set kafka.events_partitions. What is known of repeats is brought along, so that everything is
    still counted once.
    """
    from pipeline.cluster import Cluster
    from pipeline.growing import grow

    settings = ctx.settings

    async def go() -> None:
        await wait_for_broker(settings.kafka, say=say, timeout=30)
        async with Cluster(settings) as cluster:
            await grow(cluster, partitions, say=say)

    asyncio.run(go())
    say(
        f"{settings.topic('events')} has {partitions} partitions. Now set "
        f"kafka.events_partitions = {partitions} for all workers and start them, then who sends"
    )


@topics.command("copy")
@click.option("--to", "to", required=True, metavar="FILE",
              type=click.Path(path_type=Path, dir_okay=False, exists=True),
              help="Settings of the new place.")  # fmt: skip
@click.pass_obj
def topics_copy(ctx: Context, to: Path) -> None:
    """Copy the events, and what people and receivers know of alerts, to another place.

    The new place is another cluster, or other topics of this one. Its workers count everything
    anew; receivers are not told again what they were told. Pause who sends events and stop the
    workers first.
    """
    from pipeline.cluster import Cluster
    from pipeline.copying import copy

    old, new = ctx.settings, load_settings(to)

    async def prepare(settings: Settings) -> None:
        await wait_for_broker(settings.kafka, say=say, timeout=30)

    async def go() -> int:
        await prepare(old)
        await prepare(new)
        await create_topics(new, say=say)
        async with Cluster(old) as source, Cluster(new) as target:
            return await copy(source, target, say=say)

    copied = asyncio.run(go())
    say(f"{copied:,} events copied to {new.topic('events')}. Now start its workers, then who sends")


COMMANDS = (topics,)
