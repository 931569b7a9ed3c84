"""The six labels of a social post, as the label codebook defines them.

Every name here is used unchanged in records, topics, metrics, dashboards and documents.
"""

from __future__ import annotations

from typing import Final

import msgspec

SENTIMENTS: Final = ("negative", "neutral", "positive")
"""Polarity of the words (the convention of SemEval-2017 task 4)."""

STAGES: Final = ("consumption", "curation", "creation", "collaboration")
"""Engagement stage, lowest first (Evans, *Social Media Marketing: The Next Generation*)."""

GAPS: Final = ("negative", "none", "positive")
"""Expectation gap: delivered below, as, or above what was expected (expectancy disconfirmation)."""

TOUCHPOINTS: Final = (
    "product",
    "delivery",
    "support",
    "warranty",
    "price",
    "marketing",
    "none",
)
"""The part of the business the post is about."""

ADVOCACIES: Final = ("detractor", "passive", "promoter")
"""Whether a reader would be moved away from the brand, not moved, or moved towards it."""

SUGGESTIONS: Final = ("0", "1")
"""Whether the post proposes something the business could do (`1`) or not (`0`)."""

HEADS: Final[dict[str, tuple[str, ...]]] = {
    "sentiment": SENTIMENTS,
    "stage": STAGES,
    "gap": GAPS,
    "touchpoint": TOUCHPOINTS,
    "advocacy": ADVOCACIES,
    "suggestion": SUGGESTIONS,
}
"""Label name to its values, in the order of the classifier's outputs."""

TEAM_OF_TOUCHPOINT: Final[dict[str, str]] = {
    "product": "Operations",
    "delivery": "Operations",
    "support": "Operations",
    "warranty": "Operations",
    "price": "Marketing",
    "marketing": "Marketing",
    "none": "none",
}
"""Who answers for a gap: Marketing shapes the expectation, Operations delivers the experience."""


class Label(msgspec.Struct, frozen=True):
    """One label of a post.

    Attributes:
        label: The most probable value, one of `HEADS[name]`.
        probabilities: Calibrated probability of every value, summing to 1 within rounding.
    """

    label: str
    probabilities: dict[str, float]


class Labels(msgspec.Struct, frozen=True, omit_defaults=True):
    """The six labels of one post.

    Attributes:
        abstained: Why no judgement was made (`empty`, `language`), or absent. An abstained post
            carries the neutral values with probability 1: a mention that takes no side.
        lang: Language of the words (ISO 639), absent where they leave doubt.
    """

    sentiment: Label
    stage: Label
    gap: Label
    touchpoint: Label
    advocacy: Label
    suggestion: Label
    abstained: str | None = None
    lang: str | None = None


NEUTRAL: Final[dict[str, str]] = {
    "sentiment": "neutral",
    "stage": "consumption",
    "gap": "none",
    "touchpoint": "none",
    "advocacy": "passive",
    "suggestion": "0",
}
"""The value of each label when nothing is said."""


def neutral_labels(abstained: str | None = None, lang: str | None = None) -> Labels:
    """Labels of a post that says nothing, marked with the reason when the model abstained."""
    chosen = {
        name: Label(value, {other: 1.0 if other == value else 0.0 for other in HEADS[name]})
        for name, value in NEUTRAL.items()
    }
    return Labels(**chosen, abstained=abstained, lang=lang)
