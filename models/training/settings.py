"""The training configuration, `config.toml` beside this module."""

from __future__ import annotations

from pathlib import Path

import msgspec


class DataSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is held out and how often each set is shown."""

    held_out: float
    calibration: float
    posts_passes: int
    complaints_passes: int
    sentiment_rows: int
    disputed_loser: float


class LossSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Softening of the targets and weighting of the values."""

    smoothing: float
    class_weight_power: float
    class_weight_limit: float


class OptimiserSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """AdamW with linear warm-up and decay, and an average of the weights."""

    batch_rows: int
    encoder_rate: float
    head_rate: float
    weight_decay: float
    warm_up: float
    average_decay: float
    gradient_norm: float
    dropout: float


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All that decides a run besides its data and its encoder."""

    seed: int
    max_tokens: int
    data: DataSettings
    loss: LossSettings
    optimiser: OptimiserSettings


def load_settings(path: Path | None = None) -> Settings:
    """Read `path`, or the configuration beside this module."""
    path = path or Path(__file__).with_name("config.toml")
    return msgspec.toml.decode(path.read_bytes(), type=Settings)
