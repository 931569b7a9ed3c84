"""The worker's HTTP side: live page, its data, metrics and health."""

from __future__ import annotations

import asyncio
import errno
import secrets
import time
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from pipeline.settings import WebSettings
from pipeline.web import WebError, openapi, problems
from pipeline.web.access import LOGIN, LOGIN_HEADERS, Access
from pipeline.web.api import Api
from pipeline.web.ingest import Ingest
from pipeline.web.problems import ProblemError
from pipeline.web.view import SECTIONS, LiveView

Health = Callable[[], tuple[bool, dict[str, Any]]]
"""Whether all is well, and what to tell about it."""

STREAM_EVERY: Final = 1.0
"""Seconds between two messages of a stream, at least."""

HEARTBEAT_EVERY: Final = 15.0
"""Seconds of silence after which a stream says that it is alive."""

MAX_WATCHERS: Final = 100

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
            # The page never makes markup of text; with this the browser would not let it.
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "gapwatch",
}

PAGES: Final = {
    "/": "overview",
    "/brands/{brand}": "brand",
    "/alerts/{alert}": "alert",
    "/rivals": "rivals",
}
"""Path of each page to its name: that of its part of the markup and of its script."""

_TOLD: Final = ("Allow", "Retry-After", "WWW-Authenticate")
"""Headers of an error that its problem keeps."""

_STATIC: Final = Path(__file__).parent / "static"
_TYPES: Final = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


class WebServer:
    """Serves the live page and what machines ask a worker for.

    `/`, `/brands/KEY`, `/alerts/ID`, `/rivals` pages; `/api/…` JSON, as `/api/openapi.json` says;
    `/api/state` and `/api/stream` (Server-Sent Events) what the pages show, for themselves;
    `/metrics` Prometheus; `/healthz`, `/readyz` 200 or 503 with reasons.

    Bound to a loopback address it answers only requests that name a loopback host, so that no web
    page elsewhere can read it through a name of its own that points here (DNS rebinding).

    Args:
        settings: Where to listen.
        view: What the page shows.
        registry: The metrics.
        health: For `/healthz`: whether the worker moves.
        ready: For `/readyz`: whether the worker has begun its work.
        api: The JSON API.
        ingest: Takes events.
    """

    def __init__(
        self,
        settings: WebSettings,
        view: LiveView,
        registry: CollectorRegistry,
        health: Health,
        ready: Health,
        api: Api,
        ingest: Ingest | None = None,
    ) -> None:
        self._settings = settings
        self._view = view
        self._registry = registry
        # Revisions begin anew with the process; the tag must not.
        self._instance = secrets.token_hex(6)
        self._closing = asyncio.Event()
        self._port: int | None = None
        access = Access(settings, own_tokens=ingest.paths if ingest else frozenset())
        app = web.Application(middlewares=[_tell_problems, *access.middlewares])
        app.on_response_prepare.append(_secure)
        access.add_routes(app)
        for place, name in PAGES.items():
            app.router.add_get(place, _page(name))
        for path in sorted(_STATIC.iterdir()):
            if path.suffix in _TYPES:
                app.router.add_get(f"/static/{path.name}", _file(path))
        app.router.add_routes(list(api.routes()))
        app.router.add_routes(list(ingest.routes()) if ingest else [])
        app.router.add_get("/api/openapi.json", _document())
        app.router.add_get("/api/state", self._state)
        app.router.add_get("/api/stream", self._stream, allow_head=False)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", _probe(health))
        app.router.add_get("/readyz", _probe(ready))
        # What is compressed is uncompressed where it is known how much may come of it.
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=2.0, auto_decompress=False
        )

    @property
    def port(self) -> int:
        """The port listened on, once started."""
        assert self._port is not None, "start() first"
        return self._port

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the page, once started."""
        host = self._settings.host
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            WebError: The address cannot be listened on.
        """
        host, port = self._settings.host, self._settings.port
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, host, port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise WebError(_why_not(error, host, port)) from error
        self._port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening; open streams end."""
        self._closing.set()
        await self._runner.cleanup()

    async def _state(self, request: web.Request) -> web.Response:
        return _tagged(
            request,
            self._view.snapshot(),
            f"{self._instance}-{self._view.revision}",
            "application/json",
        )

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        headers = {"Content-Type": content_type, "Cache-Control": "no-store"}
        return web.Response(body=encode(self._registry), headers=headers)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        """The whole state, then what changes, at most once a second.

        `?sections=status,alerts` asks for those sections only.
        """
        asked = request.query.get("sections")
        sections = frozenset(asked.split(",") if asked is not None else SECTIONS)
        if self._view.watchers >= MAX_WATCHERS:
            raise web.HTTPServiceUnavailable(
                text=f"{MAX_WATCHERS} pages watch this worker already; close one or ask another.",
                headers={"Retry-After": "30"},
            )
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/event-stream",
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",  # a proxy that gathers the stream would hold it back
            }
        )
        with self._view.watching() if "mentions" in sections else nullcontext():
            await response.prepare(request)
            sent, spoke = 0, time.monotonic()
            while not self._closing.is_set():
                if self._view.revision != sent:
                    message = b"data: " + self._view.snapshot(sent, sections) + b"\n\n"
                    sent = self._view.revision
                elif time.monotonic() - spoke >= HEARTBEAT_EVERY:
                    # The comment is for proxies, the event for the page, which sees no comments.
                    message = b": still here\nevent: beat\ndata: {}\n\n"
                else:
                    message = b""
                if message:
                    try:
                        await response.write(message)
                    except ConnectionError:
                        break
                    spoke = time.monotonic()
                await _wait(self._closing, STREAM_EVERY)
        return response


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def _tell_problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What goes wrong in the API is told as a problem."""
    try:
        return await handler(request)
    except ProblemError as error:
        return problems.answer(error.problem)
    except web.HTTPException as error:
        if not request.path.startswith("/api/"):
            raise
        kept = {name: error.headers[name] for name in _TOLD if name in error.headers}
        return problems.answer(problems.of_http(error, request.path), kept)


async def _secure(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(SECURITY_HEADERS)
    if request.path == LOGIN:
        response.headers.update(LOGIN_HEADERS)


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"web.port {port} on {host} is taken by another program: set web.port "
            "(GAPWATCH_WEB__PORT) to another, or 0 for any free port"
        )
    if error.errno == errno.EACCES:
        return (
            f"web.port {port} on {host} is not allowed to this user: set web.port "
            "(GAPWATCH_WEB__PORT) to one above 1023"
        )
    return (
        f"web.host {host} cannot be listened on ({error.strerror or error}): "
        "set web.host (GAPWATCH_WEB__HOST) to an address of this machine, or 0.0.0.0 for all"
    )


async def _wait(event: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(value),
        status=status,
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _tagged(request: web.Request, body: bytes, tag: str, content_type: str) -> web.Response:
    """The body, or 304 where the client has it already."""
    headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache"}
    if any(etag.value in (tag, "*") for etag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers={**headers, "Content-Type": content_type})


def _file(path: Path) -> Handler:
    return _fixed(path.read_bytes(), _TYPES[path.suffix])


def _page(name: str) -> Handler:
    """A page: its own part in the shell that all have."""
    shell, main = (
        (_STATIC / f"{part}.html").read_text(encoding="utf-8") for part in ("shell", name)
    )
    whole = shell.replace("<!-- main -->", main).replace("PAGE", name)
    return _fixed(whole.encode(), "text/html; charset=utf-8")


def _document() -> Handler:
    return _fixed(msgspec.json.encode(openapi.document()), "application/json")


def _fixed(body: bytes, content_type: str) -> Handler:
    tag = sha256(body).hexdigest()[:16]

    async def answer(request: web.Request) -> web.Response:
        return _tagged(request, body, tag, content_type)

    return answer


def _probe(check: Health) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        fine, told = check()
        return _json({"ok": fine, **told}, status=200 if fine else 503)

    return answer
