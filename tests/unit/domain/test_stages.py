"""Engagement stages: what a type implies, and how it meets the model's judgement."""

from __future__ import annotations

import pytest

from models.labels import HEADS, NEUTRAL, STAGES
from pipeline.domain.stages import STAGE_OF_TYPE, WORDLESS, with_stage
from pipeline.records import ACTIVITY_TYPES
from tests.builders import some_labels


@pytest.mark.parametrize(
    ("stage", "types"),
    [
        ("consumption", ["View", "Read", "Listen"]),
        ("curation", ["Like", "Dislike", "Announce", "Follow", "Flag", "Add"]),
        ("creation", ["Create", "Update", "Question"]),
        ("collaboration", ["Offer", "Invite", "Join", "Accept"]),
    ],
)
def test_a_type_implies_a_stage(stage: str, types: list[str]) -> None:
    assert {STAGE_OF_TYPE[each] for each in types} == {stage}


def test_every_type_has_a_stage_and_labels_without_words() -> None:
    assert set(STAGE_OF_TYPE) == set(WORDLESS) == set(ACTIVITY_TYPES)
    assert set(STAGE_OF_TYPE.values()) == set(STAGES)


@pytest.mark.parametrize("activity", ACTIVITY_TYPES)
def test_without_words_all_but_the_stage_is_neutral(activity: str) -> None:
    labels = WORDLESS[activity]
    for head in HEADS:
        label = getattr(labels, head)
        expected = STAGE_OF_TYPE[activity] if head == "stage" else NEUTRAL[head]
        assert label.label == expected
        assert label.probabilities == {v: float(v == expected) for v in HEADS[head]}


@pytest.mark.parametrize(
    ("activity", "judged", "settled"),
    [
        ("Create", "consumption", "consumption"),  # the words decide
        ("Update", "curation", "curation"),
        ("Question", "collaboration", "collaboration"),
        ("Like", "consumption", "curation"),  # raised to what the type implies
        ("Like", "creation", "creation"),  # never lowered
        ("Join", "creation", "collaboration"),
        ("View", "creation", "creation"),
        ("View", "consumption", "consumption"),
        ("Announce", "consumption", "curation"),
        ("Announce", "collaboration", "curation"),  # the words are another author's
        ("Announce", "curation", "curation"),
    ],
)
def test_the_stage_of_a_post_with_words(activity: str, judged: str, settled: str) -> None:
    labels = some_labels(stage=judged, gap="negative")
    found = with_stage(labels, activity)
    assert found.stage.label == settled
    assert found.stage.probabilities == labels.stage.probabilities
    assert found.gap == labels.gap
    assert labels.stage.label == judged
