"""Tables of the fields of structures, with the meanings that their docstrings give."""

from __future__ import annotations

import re
from collections.abc import Mapping

from docs.generators.markdown import cell, table
from docs.generators.schema import Schema, accepts, named

_FIELD = re.compile(r"^ {4,8}(\w+(?:, \w+)*): (.+?)(?=^ {4,8}\w+(?:, \w+)*: |\Z)", re.S | re.M)


def about(schema: Schema) -> str:
    """What a structure is, without what is said of its fields."""
    return " ".join(schema.get("description", "").partition("Attributes:")[0].split())


def fields(schema: Schema, defs: Mapping[str, Schema]) -> str:
    """A table of its fields; those that may be absent have a question mark."""
    meanings = _meanings(schema.get("description", ""))
    required = schema.get("required", ())
    rows = [
        (
            f"`{name}`" + ("" if name in required else " ?"),
            accepts(field, defs),
            cell(field.get("description", "")) or meanings.get(name, ""),
        )
        for name, field in schema["properties"].items()
    ]
    return table(("field", "type", "meaning"), rows)


def with_parts(schema: Schema, defs: Mapping[str, Schema]) -> str:
    """Its fields, and those of the structures in them."""
    text = [fields(schema, defs)]
    for name in named(defs, schema):
        inner = defs[name]
        if inner is not schema:
            text.append(f"\n`{name}`: {about(inner)}\n\n{fields(inner, defs)}")
    return "".join(text)


def _meanings(description: str) -> dict[str, str]:
    """What a docstring says of fields, under `Attributes:`."""
    text = description.partition("Attributes:")[2].strip("\n")
    return {
        name: cell(words) for names, words in _FIELD.findall(text) for name in names.split(", ")
    }
