"""What pages name exists: metrics, topics, settings; and blocks of settings are settings."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from pydantic import BaseModel

from docs.blocks import Block, blocks, pages, read
from docs.generators.metrics import declared
from pipeline.records import RECORDS
from pipeline.settings import Settings, load_settings

SAMPLES = ("_total", "_info", "_bucket", "_sum", "_count", "")
METRICS = {
    name + ending
    for metric in declared()
    for name in [metric.describe()[0].name]
    for ending in SAMPLES
}
BLOCKS = [block for page in pages() for block in blocks(page, read(page))]


@pytest.mark.parametrize("page", pages())
def test_metrics_that_a_page_names_exist(page: str) -> None:
    for name in re.findall(r"\bgapwatch_[a-z_]+[a-z]", read(page)):
        assert name in METRICS or name.startswith("gapwatch_test"), name


@pytest.mark.parametrize("page", pages())
def test_topics_that_a_page_names_exist(page: str) -> None:
    for name in re.findall(r"`gapwatch\.([a-z]+)`", read(page)):
        assert name in RECORDS, name


FILES: Final = (".py", ".md", ".toml", ".json", ".yml", ".safetensors", ".onnx")
"""Endings of what looks like a setting and is a file."""

NO_SETTING: Final = {"GAPWATCH_PORT"}
"""Named because it is none: Kubernetes would set it."""


def test_the_glossary_has_a_word_for_every_topic() -> None:
    glossary = read("concepts/glossary.md")
    assert [topic for topic in RECORDS if f"`gapwatch.{topic}`" not in glossary] == []


def setting_names() -> set[str]:
    """Every setting of a section, as `section.name`."""
    return {
        f"{section}.{name}"
        for section, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        for name in field.annotation.model_fields
    }


@pytest.mark.parametrize("page", pages())
def test_settings_that_a_page_names_exist(page: str) -> None:
    known = setting_names()
    sections = "|".join({name.partition(".")[0] for name in known})
    for name in re.findall(rf"`((?:{sections})\.[a-z_]+)(?: = [^`]+)?`", read(page)):
        assert name in known or name.endswith(FILES), name


@pytest.mark.parametrize("page", pages())
def test_variables_that_a_page_names_are_settings(page: str) -> None:
    leaves = {f"GAPWATCH_{name.replace('.', '__')}".upper() for name in setting_names()}
    known = leaves | {f"GAPWATCH_{name}".upper() for name in Settings.model_fields}
    known |= {"GAPWATCH_CONFIG"} | NO_SETTING
    for name in re.findall(r"\b(GAPWATCH_[A-Z_]+[A-Z])\b", read(page)):
        of_a_table = any(name.startswith(f"{leaf}__") for leaf in leaves)
        assert name in known or of_a_table, name


def test_json_and_yaml_can_be_read() -> None:
    for block in BLOCKS:
        try:
            if block.language == "json":
                lines = block.title is not None and block.title.endswith(("ndjson", "jsonl"))
                for text in block.text.splitlines() if lines else [block.text]:
                    json.loads(text)
            elif block.language == "yaml":
                list(yaml.safe_load_all(block.text))
        except (ValueError, yaml.YAMLError) as error:
            pytest.fail(f"{block.place}: {error}")


@pytest.mark.parametrize(
    "block", [b for b in BLOCKS if b.language == "toml"], ids=lambda b: b.place
)
def test_settings_are_accepted(block: Block, tmp_path: Path) -> None:
    """A block may be a part: of a section whose head stands elsewhere, or naming brands there."""
    part = tomllib.loads(block.text)
    text = block.text
    if not set(part) <= set(Settings.model_fields):
        (section,) = [name for name in _sections() if set(part) <= set(_sections()[name])][:1]
        text = f"[{section}]\n{text}"
    if "brands_file" in part:
        (tmp_path / part["brands_file"]).write_text(
            _brands({"key": "fernwick", "name": "Fernwick"})
        )
    elif "brands" not in part:
        named = {
            key for receiver in part.get("receivers", ()) for key in receiver.get("brands", ())
        }
        text += "".join(_brands({"key": key, "name": key}) for key in named)
    path = tmp_path / "gapwatch.toml"
    path.write_text(text, encoding="utf-8")
    load_settings(path)


def _sections() -> dict[str, Any]:
    return {
        name: field.annotation.model_fields
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }


def _brands(brand: dict[str, str]) -> str:
    return "\n[[brands]]\n" + "".join(
        f"{key} = {json.dumps(value)}\n" for key, value in brand.items()
    )


def test_every_setting_has_a_meaning() -> None:
    """The page of settings would have an empty cell."""
    page = read("reference/settings.md")
    empty = [line for line in page.splitlines() if line.startswith("| `") and line.endswith("|  |")]
    assert not empty, "\n".join(empty)
