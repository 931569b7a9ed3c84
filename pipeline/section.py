"""What all sections of the settings have in common."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


class Section(BaseModel):
    """A table of the settings file: unknown settings are refused, and nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


def _key(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", value):
        raise ValueError("must be 1-63 lower-case letters, digits or hyphens: 'north-bikes'")
    return value


Key = Annotated[str, AfterValidator(_key)]
"""A stable short name."""
