"""What is wrong with a request, told as RFC 9457 has it: `application/problem+json`."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import msgspec
from aiohttp import web

MEDIA_TYPE: Final = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A problem (RFC 9457).

    Attributes:
        title: What is wrong, the same for all problems of a kind.
        status: The HTTP status.
        detail: What is wrong with this request, and what to do about it.
        where: The part of the request it lies in: `path.alert`, `query.hours`, `body.author`.
    """

    title: str
    status: int
    detail: str
    where: str | None = None


class ProblemError(Exception):
    """A request cannot be answered; `problem` says why."""

    def __init__(self, status: int, title: str, detail: str, where: str | None = None) -> None:
        super().__init__(detail)
        self.problem = Problem(title, status, detail, where)


def answer(problem: Problem, headers: dict[str, str] | None = None) -> web.Response:
    """The response that tells a problem."""
    return web.Response(
        body=msgspec.json.encode(problem),
        status=problem.status,
        content_type=MEDIA_TYPE,
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


def of_http(error: web.HTTPException, path: str) -> Problem:
    """The problem that one of aiohttp's errors is."""
    title = HTTPStatus(error.status).phrase
    if error.status == HTTPStatus.NOT_FOUND:
        detail = f"There is no {path} here; /api/openapi.json says what there is."
    elif isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        detail = f"{path} takes {allowed}, not {error.method}."
    else:
        detail = error.text or title
    return Problem(title, error.status, detail)
