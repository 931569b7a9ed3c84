"""Commands that answer alerts: silence, acknowledge, snooze."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click
import msgspec
from rich.table import Table
from rich.text import Text

from models.labels import TEAM_OF_TOUCHPOINT
from pipeline.broker import BrokerError
from pipeline.broker.allowed import require_rights
from pipeline.broker.client import client_options, wait_for_broker
from pipeline.cli.main import Context, say
from pipeline.cli.tables import print_json, print_table, published, when
from pipeline.domain.silences import in_force, new_silence_id, snooze_of
from pipeline.producer import ProduceError, Producer
from pipeline.records import Acknowledgement, Alert, Silence
from pipeline.rights import Right
from pipeline.settings import Settings
from pipeline.topics import create_topics

TEAMS = sorted(set(TEAM_OF_TOUCHPOINT.values()) - {"none"})
TOUCHPOINTS = [*(name for name in TEAM_OF_TOUCHPOINT if name != "none"), "all"]


_SECONDS: Final = {"d": 86_400, "h": 3600, "m": 60}


class Duration(click.ParamType):
    """`90m`, `2h`, `1d12h`."""

    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> timedelta:
        """The time it says; at most a year."""
        if isinstance(value, timedelta):
            return value
        said = re.fullmatch(r"(\d{1,6}[dhm])+", value) is not None
        parts = re.findall(r"(\d+)([dhm])", value) if said else []
        seconds = sum(int(count) * _SECONDS[unit] for count, unit in parts)
        if not 0 < seconds <= 366 * _SECONDS["d"]:
            self.fail(
                f"{value!r} is no time: say it as 90m, 2h or 1d12h, a year at most", param, ctx
            )
        return timedelta(seconds=seconds)


class Moment(click.ParamType):
    """`2026-03-01T18:00`, local time unless it names a zone."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> datetime:
        """The moment it says."""
        if isinstance(value, datetime):
            return value
        try:
            return datetime.fromisoformat(value).astimezone(UTC)
        except ValueError:
            self.fail(f"{value!r} is no time: say it as 2026-03-01T18:00", param, ctx)


BY = click.option(
    "--by", "author", envvar="USER", required=True, metavar="NAME",
    help="Who you are; shown with the alert. Default: the name you are logged in as.",
)  # fmt: skip
COMMENT = click.option("--comment", default="", metavar="WORDS", help="Why.")


@click.group()
def silence() -> None:
    """Keep alerts from being sent for a while; they are followed on the live page all the same."""


@silence.command("add")
@click.option("--brand", help="Key of the brand; all when left out.")
@click.option("--touchpoint", type=click.Choice(TOUCHPOINTS))
@click.option("--team", type=click.Choice(TEAMS), help="Alerts this team answers for.")
@click.option("--for", "length", type=Duration(), help="How long: 90m, 2h, 1d.")
@click.option("--until", type=Moment(), help="Until when: 2026-03-01T18:00.")
@click.option("--from", "start", type=Moment(), help="From when; now when left out.")
@BY
@COMMENT
@click.pass_obj
def silence_add(ctx: Context, brand: str | None, touchpoint: str | None, team: str | None,
                length: timedelta | None, until: datetime | None, start: datetime | None,
                author: str, comment: str) -> None:  # fmt: skip
    """Silence a brand, a touchpoint or a team; of what is given, all must fit.

    Prints the silence's id. An alert that is open says so where it was sent.
    """
    if not (brand or touchpoint or team):
        raise click.UsageError("say what to silence: --brand, --touchpoint or --team")
    if (length is None) == (until is None):
        raise click.UsageError("say how long: --for 2h or --until 2026-03-01T18:00")
    settings = ctx.settings
    known = [known.key for known in settings.brands]
    if brand and known and brand not in known:
        raise click.BadParameter(f"{brand!r} is no brand's key ({', '.join(known)})",
                                 param_hint="--brand")  # fmt: skip
    begin = start or datetime.now(UTC)
    end = until if until is not None else begin + (length or timedelta())
    if end <= begin:
        raise click.UsageError("it would end before it begins")
    added = Silence(
        new_silence_id(), begin, end, author=author, comment=comment,
        brand=brand, touchpoint=touchpoint, team=team,
    )  # fmt: skip
    _publish(settings, "silences", added.id, added)
    click.echo(added.id)
    say(f"{_about(added)} silenced until {when(end)}")


@silence.command("list")
@click.option("--all", "everything", is_flag=True, help="Those that have ended too.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
@click.pass_obj
def silence_list(ctx: Context, everything: bool, as_json: bool) -> None:
    """List the silences in force, and those to come."""
    found = published(ctx, "silences", Silence)
    now = datetime.now(UTC)
    wanted = sorted(found, key=lambda s: (s.end, s.id)) if everything else in_force(found, now)
    if as_json:
        print_json(wanted)
        return
    table = Table("silence", "what", "from", "until", "by", "comment")
    for each in wanted:
        table.add_row(
            each.id, Text(_about(each)), when(each.start), when(each.end),
            Text(each.author), Text(each.comment),
        )  # fmt: skip
    print_table(table, "no silences" if everything else "no silences in force")


@silence.command("expire")
@click.argument("silence_id", metavar="SILENCE")
@click.pass_obj
def silence_expire(ctx: Context, silence_id: str) -> None:
    """End the silence of this id now. What it kept quiet is told, if it is still so."""
    found = {each.id: each for each in published(ctx, "silences", Silence)}
    ending = found.get(silence_id)
    if ending is None:
        raise click.BadParameter(
            f"no silence {silence_id!r}; `gapwatch silence list` names them", param_hint="SILENCE"
        )
    now = datetime.now(UTC)
    if ending.end <= now:
        say(f"silence {silence_id} ended at {when(ending.end)} already")
        return
    _publish(ctx.settings, "silences", silence_id, msgspec.structs.replace(ending, end=now))
    say(f"silence {silence_id} has ended")


@click.command()
@click.argument("alert_id", metavar="ALERT")
@BY
@COMMENT
@click.pass_obj
def acknowledge(ctx: Context, alert_id: str, author: str, comment: str) -> None:
    """Say that you take the open alert ALERT on.

    It says so wherever it is shown, and escalates only if it becomes much worse.
    """
    alert = _open_alert(ctx, alert_id)
    taken = Acknowledgement(alert.id, author, datetime.now(UTC), comment)
    _publish(ctx.settings, "acknowledgements", alert.id, taken)
    say(f"{alert.id} is taken on by {author}")


@click.command()
@click.argument("alert_id", metavar="ALERT")
@click.option("--for", "length", type=Duration(), required=True, help="How long: 90m, 2h, 1d.")
@BY
@COMMENT
@click.pass_obj
def snooze(ctx: Context, alert_id: str, length: timedelta, author: str, comment: str) -> None:
    """Hear nothing more of the open alert ALERT for a while.

    It is a silence of this one alert; `gapwatch silence expire` ends it early.
    """
    alert = _open_alert(ctx, alert_id)
    added = snooze_of(alert, length, datetime.now(UTC), author=author, comment=comment)
    _publish(ctx.settings, "silences", added.id, added)
    click.echo(added.id)
    say(f"{alert.id} is quiet until {when(added.end)}")


def _about(silence: Silence) -> str:
    """What a silence is about, in words."""
    if silence.alert is not None:
        return f"alert {silence.alert}"
    parts = (silence.brand, silence.touchpoint, silence.team and f"team {silence.team}")
    return ", ".join(part for part in parts if part)


def _open_alert(ctx: Context, alert_id: str) -> Alert:
    still_open = {
        alert.id: alert for alert in published(ctx, "alerts", Alert) if alert.status != "resolved"
    }
    found = still_open.get(alert_id)
    if found is None:
        names = ", ".join(sorted(still_open)) or "none"
        raise click.BadParameter(
            f"no open alert {alert_id!r}; open now: {names}", param_hint="ALERT"
        )
    return found


def _publish(settings: Settings, topic: str, key: str, record: msgspec.Struct) -> None:
    """Write one record; returns when the broker has confirmed it.

    Raises:
        BrokerError: It has not.
    """
    try:
        msgspec.convert(msgspec.to_builtins(record), type(record))
    except msgspec.ValidationError as error:
        raise click.UsageError(f"cannot be written down: {error}") from None

    async def go() -> None:
        await wait_for_broker(settings.kafka, say=say, timeout=30)
        await require_rights(settings, [Right("topic", settings.topic(topic), ("Write",))])
        await create_topics(settings, say=say, only=(topic,))
        producer = Producer(client_options(settings.kafka), idempotent=settings.kafka.idempotent)
        await producer.start()
        try:
            await producer.send_keyed(
                settings.topic(topic),
                settings.kafka.partitions,
                [(key.encode(), msgspec.json.encode(record))],
            )
        finally:
            await producer.stop()

    try:
        asyncio.run(go())
    except ProduceError as error:
        raise BrokerError(str(error)) from error


COMMANDS = (silence, acknowledge, snooze)
