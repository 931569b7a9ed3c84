"""The page of all settings, from the settings' own schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from docs.generators.markdown import cell, table
from docs.generators.schema import accepts
from pipeline.settings import CONFIG_ENV, Settings

_HEAD: Final = f"""# Settings

Written by `make docs` from `pipeline/settings.py`. One TOML file, given by `gapwatch -c FILE` or
the variable `{CONFIG_ENV}`, and variables of the environment, which win over it. Unknown settings
are refused, in both. `gapwatch -c FILE check` says what is wrong and how to mend it;
[the example file](../../deploy/gapwatch.example.toml) has them with comments.

A setting that ends in `_file` names a file with a secret, read when it is needed: renew it without
a restart. A default of – is none.
"""

_COLUMNS: Final = ("setting", "accepts", "meaning")

_LISTS: Final = """Of a list of tables the environment holds all, as JSON: `{name}`.
"""


def page() -> str:
    """The page."""
    schema = Settings.model_json_schema()
    defs: Mapping[str, Any] = schema["$defs"]
    top: dict[str, Any] = {}
    sections = []
    for name, field in schema["properties"].items():
        if ref := field.get("$ref"):
            sections.append(_section(name, _of(ref, defs), f"GAPWATCH_{name.upper()}__", defs))
        elif "items" in field and (refs := _refs(field["items"])):
            sections.append(_list(name, [_of(ref, defs) for ref in refs], defs))
        else:
            top[name] = field
    first = table(_COLUMNS, _rows({"properties": top}, "GAPWATCH_", defs))
    return "\n".join((_HEAD, "## At the top of the file\n", first, *sections))


def _of(ref: str, defs: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = defs[ref.rpartition("/")[2]]
    return found


def _refs(items: Mapping[str, Any]) -> list[str]:
    """The tables a list may hold: one, or one of several by `kind`."""
    if ref := items.get("$ref"):
        return [ref]
    return [each["$ref"] for each in items.get("oneOf", ())]


def _section(name: str, model: Mapping[str, Any], prefix: str, defs: Mapping[str, Any]) -> str:
    return f"## `[{name}]`\n\n{_words(model)}\n\n" + table(_COLUMNS, _rows(model, prefix, defs))


def _list(name: str, models: list[dict[str, Any]], defs: Mapping[str, Any]) -> str:
    parts = [f"## `[[{name}]]`\n", _LISTS.format(name=f"GAPWATCH_{name.upper()}")]
    if len(models) == 1:
        rows = _rows(models[0], "", defs)
        return "\n".join((*parts, f"{_words(models[0])}\n", table(_COLUMNS, rows)))
    shared = set.intersection(*(set(model["properties"]) for model in models)) - {"kind"}
    common = {"properties": _only(models[0], shared), "required": models[0].get("required", ())}
    parts += ["### Every kind\n", table(_COLUMNS, _rows(common, "", defs))]
    for model in models:
        kind = model["properties"]["kind"]["const"]
        own = {**model, "properties": _only(model, set(model["properties"]) - shared - {"kind"})}
        parts.append(f'### `kind = "{kind}"`\n\n{_words(model)}\n')
        if own["properties"]:
            parts.append(table(_COLUMNS, _rows(own, "", defs)))
    return "\n".join(parts)


def _only(model: Mapping[str, Any], names: set[str]) -> dict[str, Any]:
    return {name: field for name, field in model["properties"].items() if name in names}


def _words(model: Mapping[str, Any]) -> str:
    return " ".join(str(model.get("description", "")).split())


def _rows(
    model: Mapping[str, Any], prefix: str, defs: Mapping[str, Any]
) -> Iterator[tuple[str, str, str]]:
    for name, field in model["properties"].items():
        variable = f"<br><small>`{prefix}{name.upper()}`</small>" if prefix else ""
        must = name in model.get("required", ())
        default = "must be given" if must else f"default {_default(field)}"
        yield (
            f"`{name}`{variable}",
            f"{accepts(field, defs, bounds=True)}<br>{default}",
            cell(_words(field)),
        )


def _default(field: Mapping[str, Any]) -> str:
    default = field.get("default")
    if default is None or default in ([], {}):
        return "–"
    if isinstance(default, dict):
        return ", ".join(f"`{name}` = {value:g}" for name, value in default.items())
    return f"`{json.dumps(default, ensure_ascii=False)}`"
