"""The page of the HTTP API, from its OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from docs.generators.markdown import cell, table
from docs.generators.records import about, fields
from docs.generators.schema import Schema, accepts, named
from pipeline.web.openapi import document

_HEAD: Final = """# HTTP API

Written by `make docs` from the endpoints themselves: [OpenAPI document](openapi.json), which every
worker serves too, at `/api/openapi.json`. Beside these a worker has `/metrics`
([metrics](metrics.md)), `/healthz` and `/readyz`.

"""


def page() -> str:
    """The page."""
    api = document()
    schemas = api["components"]["schemas"]
    text = [_HEAD, api["info"]["description"], "\n\n", _access(api)]
    overview = [
        (f"[`{method.upper()} {path}`](#{operation['operationId']})", cell(operation["summary"]))
        for path, methods in api["paths"].items()
        for method, operation in methods.items()
    ]
    text.append(table(("request", "what it does"), overview))
    used: dict[str, None] = {}
    for path, methods in api["paths"].items():
        for method, operation in methods.items():
            text.append(_operation(method, path, operation, schemas))
            used |= dict.fromkeys(named(schemas, operation))
    text.append("\n## Structures\n")
    for name in sorted(used):
        text.append(f"\n### {name}\n\n{about(schemas[name])}\n\n{fields(schemas[name], schemas)}")
    return "".join(text)


def _access(api: Mapping[str, Any]) -> str:
    schemes = api["components"].get("securitySchemes", {})
    rows = [(f"`{name}`", cell(each["description"])) for name, each in schemes.items()]
    return table(("bearer token", "set by"), rows) + "\n" if rows else ""


def _operation(
    method: str, path: str, operation: Mapping[str, Any], schemas: Mapping[str, Schema]
) -> str:
    head = (
        f"\n## {operation['operationId']}\n\n`{method.upper()} {path}`: {operation['summary']}.\n"
    )
    if body := operation.get("requestBody"):
        kinds = (
            f"{accepts(content['schema'], schemas)} (`{media}`)"
            for media, content in body["content"].items()
        )
        head += f"\nTakes {', or '.join(kinds)}.\n"
    parameters = [
        (f"`{each['name']}`", each["in"], accepts(each["schema"], schemas, bounds=True),
         cell(each["schema"].get("description", "")))
        for each in operation.get("parameters", ())
    ]  # fmt: skip
    if parameters:
        head += "\n" + table(("parameter", "in", "type", "meaning"), parameters)
    answers = [
        (f"`{status}`", _gives(answer, schemas), cell(answer["description"]))
        for status, answer in operation["responses"].items()
    ]
    return head + "\n" + table(("answer", "gives", "when"), answers)


def _gives(answer: Mapping[str, Any], schemas: Mapping[str, Schema]) -> str:
    kinds = {accepts(each["schema"], schemas) for each in answer.get("content", {}).values()}
    return " or ".join(sorted(kinds)) or "–"
