"""The OpenAPI document of the JSON API, made from its endpoints."""

from __future__ import annotations

import re
from http import HTTPStatus
from inspect import cleandoc
from typing import Any

import msgspec

from pipeline import __version__
from pipeline.records import Event
from pipeline.web.api import ENDPOINTS, Endpoint
from pipeline.web.ingest import PATH, Receipt
from pipeline.web.problems import MEDIA_TYPE, Problem

_ABOUT = """
What the live page shows, and what people ask of alerts.

The page itself lives on it. Fields are added over time, so ignore those you do not know; none is
taken away or changes its meaning while the path stays. Times are RFC 3339. What authors wrote
(`text`, `author`, `url`, `terms`) is theirs: escape it before you show it. A problem is told as
RFC 9457 has it. `GET` answers carry an `ETag`.
"""


def document() -> dict[str, Any]:
    """The document, OpenAPI 3.1."""
    types = list(
        {
            kind: None
            for endpoint in ENDPOINTS
            for kind in (endpoint.gives, endpoint.takes, endpoint.query, Problem, Event, Receipt)
            if kind is not None
        }
    )
    schemas, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    schema_of = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(
            endpoint, schema_of, components
        )
    paths[PATH] = {"post": _events(schema_of)}
    for schema in components.values():
        if "description" in schema:
            schema["description"] = cleandoc(schema["description"])
    queries = {endpoint.query.__name__ for endpoint in ENDPOINTS if endpoint.query is not None}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Gapwatch",
            "version": __version__,
            "description": _ABOUT.strip(),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        # A worker asks for a token only where the settings have one.
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": {name: each for name, each in components.items() if name not in queries},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "`web.token`"},
                "sender": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "One of `ingest.tokens`; without any, events are not taken.",
                },
            },
        },
    }


def _operation(
    endpoint: Endpoint, schema_of: dict[Any, Any], components: dict[str, Any]
) -> dict[str, Any]:
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", endpoint.path)
    ]
    if endpoint.query is not None:
        fields = components[endpoint.query.__name__]["properties"]
        parameters += [
            {"name": name, "in": "query", "required": False, "schema": schema}
            for name, schema in fields.items()
        ]
    operation: dict[str, Any] = {"operationId": endpoint.name, "summary": endpoint.summary}
    if parameters:
        operation["parameters"] = parameters
    if endpoint.takes is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema_of[endpoint.takes]}},
        }
    operation["responses"] = {
        str(endpoint.status): {
            "description": HTTPStatus(endpoint.status).phrase,
            "content": {"application/json": {"schema": schema_of[endpoint.gives]}},
        },
        **_problems(schema_of, *endpoint.problems),
    }
    return operation


def _events(schema_of: dict[Any, Any]) -> dict[str, Any]:
    event, receipt = schema_of[Event], {"application/json": {"schema": schema_of[Receipt]}}
    return {
        "operationId": "send",
        "summary": "Send events: one, an array or NDJSON; gzipped if you like",
        "security": [{"sender": []}],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"oneOf": [event, {"type": "array", "items": event}]}
                },
                "application/x-ndjson": {"schema": {"type": "string"}},
            },
        },
        "responses": {
            "202": {"description": "Confirmed by the brokers.", "content": receipt},
            "422": {"description": "None of the events can be used.", "content": receipt},
            **_problems(schema_of, (401, "No token, or a wrong one."), (413, "Too large.")),
        },
    }


def _problems(schema_of: dict[Any, Any], *which: tuple[int, str]) -> dict[str, Any]:
    content = {MEDIA_TYPE: {"schema": schema_of[Problem]}}
    return {
        str(status): {"description": when, "content": content}
        for status, when in (*which, ("default", "Any other problem."))
    }
