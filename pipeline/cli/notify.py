"""Commands that look after receivers: notify test; and what they have not been given."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime

import click
from rich.table import Table

from pipeline.cli.main import Context, say
from pipeline.domain.deliveries import Delivery, merged
from pipeline.receivers import Outcome, receiver_from
from pipeline.receivers.sample import sample_notice
from pipeline.records import AlertStatus
from pipeline.settings import Settings, SettingsError
from pipeline.snapshot import read_state

STATUSES = click.Choice(["firing", "escalated", "resolved"])


@click.group()
def notify() -> None:
    """Try out receivers."""


@notify.command("test")
@click.argument("receiver")
@click.option("--status", type=STATUSES, default="firing", show_default=True)
@click.pass_obj
def notify_test(ctx: Context, receiver: str, status: AlertStatus) -> None:
    """Send RECEIVER a sample alert, marked as a test, the way real ones go.

    It goes at once, whatever the receiver's brands and hours. Exit code 1 if it did not arrive.
    """
    outcome = asyncio.run(_send(ctx.settings, receiver, status))
    if outcome.kind != "delivered":
        say(f"{receiver}: not delivered: {outcome.detail}")
        sys.exit(1)
    click.echo(f"{receiver}: delivered ({outcome.detail})")


async def _send(settings: Settings, name: str, status: AlertStatus) -> Outcome:
    found = next((each for each in settings.receivers if each.name == name), None)
    if found is None:
        known = ", ".join(each.name for each in settings.receivers) or "none"
        raise SettingsError(f"no receiver is named {name!r} (receivers: {known})")
    receiver = receiver_from(found, settings.alerts.links)
    try:
        return await receiver.send(sample_notice(status, datetime.now(UTC)))
    finally:
        await receiver.close()


def undelivered(settings: Settings) -> Table:
    """Notifications that wait, and those given up in the last day or so, as a table.

    Raises:
        BrokerError: The state of the workers cannot be read.
    """
    table = Table("not delivered", "to", "since", "state")
    found = asyncio.run(read_state(settings, "deliveries", Delivery, merged))
    rows = [
        (owed.since, owed.notification, owed.receiver, f"waiting: {owed.trouble}".rstrip(": "))
        for delivery in found
        for owed in delivery.owed
        if not owed.quiet
    ]
    rows += [
        (lost.at, lost.notification, lost.receiver, f"given up: {lost.why}")
        for delivery in found
        for lost in delivery.lost
    ]
    for at, notification, receiver, state in sorted(rows):
        since = datetime.fromtimestamp(at).astimezone()
        table.add_row(notification, receiver, f"{since:%Y-%m-%d %H:%M}", state)
    return table


COMMANDS = (notify,)
