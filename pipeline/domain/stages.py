"""What an activity's type says about the author's engagement stage."""

from __future__ import annotations

from typing import Final

import msgspec

from models.labels import STAGES, Label, Labels, neutral_labels
from pipeline.records import ACTIVITY_TYPES

_CONSUMPTION = ("View", "Read", "Listen", "Arrive", "Travel")
_CREATION = ("Create", "Update", "Question")
_COLLABORATION = ("Offer", "Invite", "Join", "Accept", "TentativeAccept")

STAGE_OF_TYPE: Final[dict[str, str]] = {
    activity: (
        "consumption"
        if activity in _CONSUMPTION
        else "creation"
        if activity in _CREATION
        else "collaboration"
        if activity in _COLLABORATION
        else "curation"
    )
    for activity in ACTIVITY_TYPES
}
"""Stage of an activity without words: taking in, pointing at what exists, making, working with."""

_RANK: Final = {stage: rank for rank, stage in enumerate(STAGES)}

WORDLESS: Final[dict[str, Labels]] = {
    activity: msgspec.structs.replace(
        neutral_labels(),
        stage=Label(stage, {other: 1.0 if other == stage else 0.0 for other in STAGES}),
    )
    for activity, stage in STAGE_OF_TYPE.items()
}
"""Labels of an activity without words, by type."""


def with_stage(labels: Labels, activity: str) -> Labels:
    """Settle the stage of a post with words between the model and the activity's type.

    Writing (`Create`, `Update`, `Question`) says nothing the words do not say better. A repost
    (`Announce`) is curation whatever its words, which are another author's. All other types raise
    the stage to what they imply, never lower it.
    """
    if activity in _CREATION:
        return labels
    implied = STAGE_OF_TYPE[activity]
    if activity != "Announce" and _RANK[labels.stage.label] >= _RANK[implied]:
        return labels
    if labels.stage.label == implied:
        return labels
    return msgspec.structs.replace(labels, stage=Label(implied, labels.stage.probabilities))
