"""The training configuration, `config.toml` beside this module."""

from __future__ import annotations

from pathlib import Path

import msgspec


class DataSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is held out, and what becomes of disputes and of texts without labels."""

    held_out: float
    calibration: float
    disputed_loser: float
    unlabelled_rows: int
    taught_sentiment_rows: int


class LossSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Softening of the targets and weighting of the values."""

    smoothing: float
    class_weight_limit: float


class StageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one network is trained: how often each set is shown, AdamW, an average of the weights."""

    posts_passes: int
    complaints_passes: int
    sentiment_passes: int
    sentiment_rows: int
    unlabelled_passes: int
    batch_rows: int
    frozen_layers: int
    encoder_rate: float
    head_rate: float
    weight_decay: float
    warm_up: float
    average_decay: float
    gradient_norm: float
    dropout: float
    class_weight_power: float


class StudentSettings(StageSettings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A round of the student's training, and how much of a known label's target the teacher has."""

    teacher_share: float


class CalibrationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which heads' values are shifted, how far one would expect, and folds of held-out rows."""

    shifted: list[str]
    shift_spread: float
    folds: int


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that decides a run besides its data and its encoders."""

    seed: int
    max_tokens: int
    data: DataSettings
    loss: LossSettings
    calibration: CalibrationSettings
    teacher: list[StageSettings]
    student: list[StudentSettings]


def load_settings(path: Path | None = None) -> Settings:
    """Read `path`, or the configuration beside this module."""
    path = path or Path(__file__).with_name("config.toml")
    return msgspec.toml.decode(path.read_bytes(), type=Settings)
