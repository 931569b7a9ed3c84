"""JSON Schemas in words, as settings, records and the API have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from docs.generators.markdown import cell

Schema = Mapping[str, Any]


def resolved(schema: Schema, defs: Mapping[str, Schema]) -> Schema:
    """The schema itself, where it only refers to one of `defs`."""
    ref = schema.get("$ref")
    return defs[ref.rpartition("/")[2]] if ref else schema


def name_of(schema: Schema) -> str | None:
    """Name of the schema that it refers to, if it does."""
    ref = schema.get("$ref")
    return ref.rpartition("/")[2] if ref else None


def accepts(field: Schema, defs: Mapping[str, Schema], *, bounds: bool = False) -> str:
    """What a field may be, in words: structures by their name.

    Args:
        bounds: Say between what bounds, and leave out null, as for what people give.
    """

    def within(inner: Schema) -> str:
        return accepts(inner, defs, bounds=bounds)

    if (name := name_of(field)) is not None:
        return f"`{name}`" if "properties" in defs[name] else within(defs[name])
    if options := field.get("anyOf") or field.get("oneOf"):
        kinds = [each for each in options if not bounds or each.get("type") != "null"]
        return " or ".join(within(each) for each in kinds)
    if values := field.get("enum"):
        return "one of " + ", ".join(f"`{value}`" for value in values)
    match field.get("type"), field.get("format"):
        case "array", _:
            items = field.get("items")
            return "list of " + (within(items) if isinstance(items, dict) else "numbers")
        case "object", _:
            inner = field.get("additionalProperties")
            return ("table" if bounds else "object") + (
                f" of {within(inner)}" if isinstance(inner, dict) else ""
            )
        case "string", "path":
            return "path"
        case "string", "password":
            return "secret"
        case "string", "date-time":
            return "time"
        case "boolean", _:
            return "`true` or `false`"
        case "string", _:
            pattern = field.get("pattern") if bounds else None
            return "text" + (f" like {cell(f'`{pattern}`')}" if pattern else "")
        case kind, _:
            words = {"integer": "whole number", "null": "null"}.get(kind or "", "number")
            return words + (_bounds(field) if bounds else "")


def _bounds(field: Schema) -> str:
    low, above, high = (field.get(name) for name in ("minimum", "exclusiveMinimum", "maximum"))
    if low is not None and high is not None:
        return f", {low:,} to {high:,}"
    return "".join(
        f", {word} {bound:,}"
        for word, bound in (("at least", low), ("above", above), ("at most", high))
        if bound is not None
    )


def named(schemas: Mapping[str, Schema], start: Schema) -> Iterator[str]:
    """Names of the structures that a schema refers to, and those refer to, each once."""
    waiting, seen = [start], set()
    while waiting:
        schema = waiting.pop(0)
        if isinstance(schema, dict):
            name = name_of(schema)
            if name is not None and name not in seen:
                seen.add(name)
                waiting.append(schemas[name])
                if "properties" in schemas[name]:
                    yield name
            waiting += schema.values()
        elif isinstance(schema, list):
            waiting += schema
