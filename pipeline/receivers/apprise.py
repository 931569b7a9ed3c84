"""Any of the services that Apprise knows, by its URL (https://github.com/caronc/apprise).

Apprise lays the text out, sends it and says whether it got through, not why. It makes its own
connections in threads: they run in a pool of the receiver's own, so that one that hangs holds up
nothing else. What a service takes for markup is not known here, so what is markup anywhere is shown
by look-alikes that are markup nowhere.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from pipeline.receivers import Notice, Outcome, Rate
from pipeline.receivers.links import LinkTemplates
from pipeline.receivers.settings import AppriseReceiver
from pipeline.receivers.story import Story, moment, story_of

RATE: Final = Rate(per_second=0.5, burst=3)
"""What the slowest of the common services take."""

LOOK_ALIKES: Final = str.maketrans("*_~`[]<>|\\&", "＊＿～｀［］＜＞｜＼＆")


class Apprise:
    """Receiver for a service by way of Apprise."""

    rate = RATE
    refreshes = False
    folds = True

    def __init__(self, settings: AppriseReceiver, links: LinkTemplates) -> None:
        self._settings = settings
        self._links = links
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=f"apprise-{settings.name}")

    async def send(self, notice: Notice) -> Outcome:
        """As `Receiver.send`."""
        try:
            url = self._settings.target()
        except OSError as error:
            return Outcome("retry", f"url_file cannot be read: {error.strerror}")
        except ValueError as error:
            return Outcome("retry", str(error))
        title, body = message(story_of(notice, self._links))
        work = asyncio.get_running_loop().run_in_executor(self._pool, _notify, url, title, body)
        try:
            return await asyncio.wait_for(work, self._settings.timeout)
        except TimeoutError:
            return Outcome("retry", f"Apprise was not done within {self._settings.timeout:g} s")

    async def close(self) -> None:
        """As `Receiver.close`; does not wait for an attempt that hangs."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _notify(url: str, title: str, body: str) -> Outcome:
    try:
        apprise: Any = importlib.import_module("apprise")
    except ImportError:
        return Outcome("retry", "Apprise is not installed: pip install 'gapwatch[apprise]'")
    # Both tell addresses with the tokens in them.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    logging.getLogger("urllib3").setLevel(logging.WARNING)
    service = apprise.Apprise()
    if not service.add(url):
        return Outcome("retry", "url is none that Apprise knows")
    if service.notify(title=title, body=body, body_format=apprise.NotifyFormat.TEXT):
        return Outcome("delivered", "Apprise got it through")
    return Outcome("retry", "Apprise did not get it through")


def message(story: Story) -> tuple[str, str]:
    """Title and text; Apprise cuts them to what the service takes, from the end."""
    lines = [*story.lead, ""]
    lines += [f"{name}: {value}" for name, value in story.facts]
    if story.said:
        lines += ["", f"What sets it apart: {story.said}"]
    if story.curve:
        lines += ["", story.curve]
    for quote in story.quotes:
        by = ", ".join(filter(None, (quote.author, moment(quote.published), quote.alike)))
        lines += ["", f"“{quote.text}”", f"— {by}"]
    lines += ["", *story.notes] if story.notes else []
    safe = [line.translate(LOOK_ALIKES) for line in lines]
    # Addresses are plain and whole, so that whatever links them shows where to.
    if links := story.links.named():
        safe += ["", *(f"{words}: {link.url}" for words, link in links)]
    return story.title.translate(LOOK_ALIKES), "\n".join(safe)
