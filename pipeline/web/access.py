"""Who may ask a worker for what.

Without a token everybody who reaches the port may look, so the port is loopback's unless the
settings say otherwise. With one, machines send it (`Authorization: Bearer …`), and people sign in
with it on a page of its own, which leaves a session cookie. `/healthz`, `/readyz` and the page's
own files, which hold no data, are open always.

A session is a time and a keyed hash of it (HMAC-SHA256 with a key made from the token): any worker
knows it, none keeps it, and another token ends all of them.
"""

from __future__ import annotations

import hmac
import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from hashlib import sha256
from html import escape
from math import ceil
from string import Template
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from yarl import URL

from pipeline.settings import WebSettings
from pipeline.web import WebError

log = logging.getLogger(__name__)

LOGIN: Final = "/login"
LOGOUT: Final = "/logout"

FREE_TRIES: Final = 5
"""Wrong tokens until an address has to wait: a second, then twice as long each time."""

LONGEST_WAIT: Final = 60.0
FORGET_AFTER: Final = 900.0
"""Seconds an address waits at most; and so long after the last wrong token all is forgotten."""

ADDRESSES_KEPT: Final = 10_000

_OPEN: Final = frozenset({"/healthz", "/readyz", LOGIN, LOGOUT})
_BEARER: Final = 'Bearer realm="gapwatch"'
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
_COOKIE: Final = "gapwatch-session"
_COOKIE_HTTPS: Final = f"__Host-{_COOKIE}"
"""A browser takes a cookie of that prefix only over HTTPS and only from this host itself."""

LOGIN_HEADERS: Final = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "style-src 'self'",
            "img-src 'self'",
            "form-action 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        )
    ),
    # With `no-referrer`, as elsewhere, a browser would send the form with `Origin: null`.
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_PAGE: Final = Template("""<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>Gapwatch: sign in</title>
    <link rel="icon" href="/static/icon.svg" type="image/svg+xml">
    <link rel="stylesheet" href="/static/login.css">
  </head>
  <body>
    <main>
      <h1><img src="/static/icon.svg" alt="" width="32" height="32"> Gapwatch</h1>
$body
    </main>
  </body>
</html>
""")

# Without an action the form is sent to this page's own address, which says where to go on.
_SIGN_IN: Final = Template("""      <form method="post">
        <label for="token">Token</label>
        <input id="token" name="token" type="password" autocomplete="current-password" required
          autofocus>
        <p role="alert">$trouble</p>
        <button>Sign in</button>
      </form>""")

_GO_ON: Final = Template("""      <meta http-equiv="refresh" content="0; url=$path">
      <p><a href="$path">Sign in</a></p>""")

_SIGN_OUT: Final = f"""      <p>You are signed in. <a href="/">To the live page</a></p>
      <form method="post" action="{LOGOUT}"><button>Sign out</button></form>"""


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine's own, and cannot be another's."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_access(settings: WebSettings) -> str:
    """Who may look, in words.

    Raises:
        WebError: Anybody might, and nobody said that this is meant.
        SettingsError: The token cannot be used.
    """
    if settings.secret() is not None:
        return "token asked for"
    if is_loopback(settings.host):
        return "this machine only"
    if settings.open:
        return "open to whoever reaches it"
    raise WebError(
        f"web.host {settings.host} can be reached from other machines, and no token is asked for: "
        "set web.token_file (or GAPWATCH_WEB__TOKEN), or web.open = true where a network or a "
        "proxy says who may come"
    )


class Throttle:
    """Slows down addresses that send wrong tokens."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures: OrderedDict[str, tuple[int, float]] = OrderedDict()

    def wait(self, address: str) -> float:
        """Seconds until an address may try again; 0 where it may now."""
        count, last = self._failures.get(address, (0, 0.0))
        gone = self._clock() - last
        if count < FREE_TRIES or gone > FORGET_AFTER:
            return 0.0
        return max(0.0, min(2.0 ** (count - FREE_TRIES), LONGEST_WAIT) - gone)

    def failed(self, address: str) -> None:
        """Note a wrong token."""
        now = self._clock()
        count, last = self._failures.pop(address, (0, now))
        count = 1 if now - last > FORGET_AFTER else min(count + 1, 64)
        self._failures[address] = count, now
        if count == FREE_TRIES:
            log.warning("%s has sent %d wrong tokens: slowed down", address, count)
        if len(self._failures) > ADDRESSES_KEPT:
            self._failures.popitem(last=False)


class Tokens:
    """Secrets by the name of who holds them, checked in constant time; who guesses is slowed."""

    def __init__(
        self, secrets: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._digests = {name: _digest(secret) for name, secret in secrets.items()}
        self._throttle = Throttle(clock)

    def bearer(self, request: web.Request) -> str:
        """Who sent a request, by its `Authorization` header.

        Raises:
            HTTPUnauthorized: It has none, or a wrong one.
            HTTPTooManyRequests: The address has sent too many wrong ones; this one was not read.
        """
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        holder = self.check(request, given.strip()) if scheme.lower() == "bearer" else None
        if holder is None:
            raise unauthorized()
        return holder

    def check(self, request: web.Request, given: str) -> str | None:
        """Who holds a token; None where it is nobody's.

        Raises:
            HTTPTooManyRequests: As `bearer`.
        """
        address = _address(request)
        if wait := self._throttle.wait(address):
            raise web.HTTPTooManyRequests(
                text="Too many wrong tokens from this address: wait.",
                headers={"Retry-After": str(ceil(wait))},
            )
        digest = _digest(given)
        holder = None
        for name, known in self._digests.items():
            if hmac.compare_digest(digest, known):
                holder = name
        if holder is None:
            self._throttle.failed(address)
        return holder


class Access:
    """Lets requests in or not, signs people in and out.

    Args:
        settings: Where the page is served, and to whom.
        own_tokens: Paths that ask for tokens of their own.
        wall: Epoch seconds.

    Raises:
        WebError, SettingsError: As `check_access`.
    """

    def __init__(
        self,
        settings: WebSettings,
        *,
        own_tokens: frozenset[str] = frozenset(),
        wall: Callable[[], float] = time.time,
    ) -> None:
        check_access(settings)
        self._open = _OPEN | own_tokens | ({"/metrics"} if settings.open_metrics else set())
        self._loopback = is_loopback(settings.host)
        self._seconds = int(settings.session_hours * 3600)
        self._wall = wall
        token = settings.secret()
        self._tokens = Tokens({"web": token}) if token is not None else None
        # What signs sessions is not what is sent.
        self._key = hmac.digest((token or "").encode(), b"gapwatch session", "sha256")

    @property
    def middlewares(self) -> list[Middleware]:
        """What every request passes, in order."""
        return [*([loopback_only] if self._loopback else []), same_origin, self._guard()]

    def add_routes(self, app: web.Application) -> None:
        """Serve signing in and out."""
        app.router.add_get(LOGIN, self._login_page)
        app.router.add_post(LOGIN, self._login)
        app.router.add_post(LOGOUT, self._logout)

    def _guard(self) -> Middleware:
        @web.middleware
        async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
            if not self._lets_in(request):
                if request.method in ("GET", "HEAD") and "text/html" in request.headers.get(
                    "Accept", ""
                ):
                    return _to_sign_in(request)
                raise unauthorized()
            return await handler(request)

        return guard

    def _lets_in(self, request: web.Request) -> bool:
        if self._tokens is None or request.path in self._open:
            return True
        if request.path.startswith("/static/") or self._is_signed_in(request):
            return True
        return "Authorization" in request.headers and bool(self._tokens.bearer(request))

    def _is_signed_in(self, request: web.Request) -> bool:
        given = request.cookies.get(_COOKIE_HTTPS) or request.cookies.get(_COOKIE, "")
        until, _, _ = given.partition(".")
        if not (until.isascii() and until.isdigit() and len(until) < 16):
            return False
        known = self._session(int(until))
        return hmac.compare_digest(_digest(given), _digest(known)) and self._wall() < int(until)

    def _session(self, until: int) -> str:
        mac = hmac.digest(self._key, str(until).encode(), "sha256").hex()
        return f"{until}.{mac}"

    async def _login_page(self, request: web.Request) -> web.Response:
        if self._tokens is None:
            raise web.HTTPSeeOther(_next(request))
        if self._is_signed_in(request):
            if "next" in request.query:
                raise web.HTTPSeeOther(_next(request))
            return _page(_SIGN_OUT)
        return _page(_SIGN_IN.substitute(trouble=""))

    async def _login(self, request: web.Request) -> web.Response:
        if self._tokens is None:
            raise web.HTTPSeeOther(_next(request))
        given = (await request.post()).get("token")
        try:
            holder = self._tokens.check(request, given.strip() if isinstance(given, str) else "")
        except web.HTTPTooManyRequests as refused:
            wait = refused.headers["Retry-After"]
            trouble = f"Too many wrong tokens from your address: try again in {wait} s."
            return _page(_SIGN_IN.substitute(trouble=trouble), 429, {"Retry-After": wait})
        if holder is None:
            return _page(_SIGN_IN.substitute(trouble="This is not the token."), 403)
        https = _is_https(request)
        answer = web.Response(status=303, headers={"Location": _next(request), **LOGIN_HEADERS})
        answer.set_cookie(
            _COOKIE_HTTPS if https else _COOKIE,
            self._session(int(self._wall()) + self._seconds),
            max_age=self._seconds,
            path="/",
            secure=https,
            httponly=True,
            samesite="Strict",
        )
        return answer

    async def _logout(self, request: web.Request) -> web.Response:
        answer = web.Response(status=303, headers={"Location": LOGIN, **LOGIN_HEADERS})
        answer.del_cookie(_COOKIE, path="/", httponly=True, samesite="Strict")
        answer.del_cookie(_COOKIE_HTTPS, path="/", secure=True, httponly=True, samesite="Strict")
        return answer


@web.middleware
async def loopback_only(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer only requests that name a loopback host.

    Otherwise a web page elsewhere could read this one through a name of its own that points here
    (DNS rebinding).
    """
    if not is_loopback(_host_name(request.headers.get("Host", ""))):
        raise web.HTTPMisdirectedRequest(
            text="Gapwatch listens on a loopback address here and answers to localhost, 127.0.0.1 "
            "and [::1] only; a proxy in front of it must send such a Host header."
        )
    return await handler(request)


@web.middleware
async def same_origin(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what another site's page would have the browser change here."""
    if request.method not in _SAFE and not is_same_origin(request):
        raise web.HTTPForbidden(text="Sent by a page of another site.")
    return await handler(request)


def is_same_origin(request: web.Request) -> bool:
    """Whether a request comes from our own page, or from no browser at all.

    Browsers say where it comes from (`Sec-Fetch-Site`; the older ones, and all over plain HTTP,
    `Origin`), and no page can make them say otherwise. What says neither is no browser: it has no
    cookies of somebody else's to misuse. As Go's `http.CrossOriginProtection` does.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    return origin is None or _authority(origin) == request.headers.get("Host", "").lower()


def unauthorized() -> web.HTTPUnauthorized:
    """The answer to a request without the right token."""
    return web.HTTPUnauthorized(
        text="Send the token: `Authorization: Bearer …`.",
        headers={"WWW-Authenticate": _BEARER},
    )


def _to_sign_in(request: web.Request) -> web.Response:
    """A page that leads to the one for signing in, and from there back.

    It is no redirect: who follows a link from a chat comes from another site, so the browser keeps
    the session's cookie back. Of a page of ours it does not, and who is signed in gets through.
    """
    path = str(URL(LOGIN).with_query(next=str(request.rel_url)))
    answer = _page(_GO_ON.substitute(path=escape(path)), 401)
    answer.headers["WWW-Authenticate"] = _BEARER
    return answer


def _page(body: str, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(
        text=_PAGE.substitute(body=body),
        status=status,
        content_type="text/html",
        headers={**LOGIN_HEADERS, **(headers or {})},
    )


def _next(request: web.Request) -> str:
    """Where to go on after signing in: the page first asked for, never another site."""
    wanted = request.query.get("next", "")
    try:
        url = URL(wanted)
    except ValueError:
        return "/"
    # `//host` and, to browsers, `/\\host` are other sites.
    if url.absolute or not wanted.startswith("/") or wanted[1:2] in ("/", "\\"):
        return "/"
    return str(url)


def _digest(secret: str) -> bytes:
    """Secrets of any length become equally long: a comparison tells nothing of it."""
    return sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _address(request: web.Request) -> str:
    """Whose tries count together: of IPv6 a whole /64, which one customer is given."""
    try:
        address = ipaddress.ip_address(request.remote or "")
    except ValueError:
        return request.remote or ""
    if address.version == 4 or address.ipv4_mapped:
        return str(address)
    return str(ipaddress.ip_network((address, 64), strict=False))


def _is_https(request: web.Request) -> bool:
    """Whether the browser came over HTTPS, as a proxy in front says it did."""
    return request.secure or request.headers.get("X-Forwarded-Proto", "").lower() == "https"


def _authority(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _host_name(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""
