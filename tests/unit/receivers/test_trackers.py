"""PagerDuty and Alertmanager: one incident over an alert's whole life."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pipeline.receivers import Notice
from pipeline.receivers.alertmanager import LIFETIME, alert_of, labels_of
from pipeline.receivers.links import LinkTemplates
from pipeline.receivers.pagerduty import event_of, severity_of
from pipeline.receivers.story import story_of
from tests.unit.receivers.hostile import ONSET, an_alert
from tests.unit.receivers.schemas import PAGERDUTY


def event(alert: dict[str, Any], **notice: Any) -> dict[str, Any] | None:
    given = Notice(an_alert(**alert), "n", **notice)
    return event_of(given, story_of(given, LinkTemplates()))


@pytest.mark.parametrize(
    ("alert", "notice", "action"),
    [
        ({}, {}, "trigger"),
        ({"status": "escalated"}, {"told": True}, "trigger"),
        ({"status": "resolved"}, {"told": True}, "resolve"),
        ({"status": "resolved", "silenced": "s"}, {"quiet": True}, "resolve"),
        ({"acknowledged": "mia"}, {"quiet": True}, "acknowledge"),
        ({"status": "escalated", "acknowledged": "mia"}, {}, "trigger"),
        ({"seen": 60}, {"quiet": True}, None),
        ({"silenced": "s"}, {"silence": "begun"}, None),
        ({}, {"silence": "over"}, "trigger"),
    ],
)
def test_what_pagerduty_is_told(
    alert: dict[str, Any], notice: dict[str, Any], action: str | None
) -> None:
    found = event(alert, **notice)
    assert (found and found["event_action"]) == action
    if found is not None:
        assert found["dedup_key"] == "a1"
        Draft202012Validator(PAGERDUTY).validate(found | {"routing_key": "0" * 32})


@pytest.mark.parametrize(
    ("severity", "word"),
    [(1, "info"), (3, "warning"), (5, "warning"), (6, "error"), (9, "critical"), (10, "critical")],
)
def test_severity_in_pagerdutys_words(severity: int, word: str) -> None:
    assert severity_of(an_alert(severity=severity)) == word


def test_an_alertmanager_alert_keeps_its_labels_and_ends_when_it_is_over() -> None:
    first = Notice(an_alert(touchpoint="all", team="none"), "n1")
    labels = labels_of(first, {"env": "prod"})
    handle = '{"alertname":"ExpectationGap","touchpoint":"all"}'
    later = Notice(
        an_alert(status="resolved", updated=ONSET + timedelta(hours=1)), "n2", handle=handle
    )
    assert labels["touchpoint"] == "all"
    assert labels["env"] == "prod"
    assert labels_of(later, {}) == {"alertname": "ExpectationGap", "touchpoint": "all"}
    story = story_of(first, LinkTemplates())
    assert alert_of(first, story, labels)["endsAt"] == (ONSET + LIFETIME).isoformat()
    assert alert_of(later, story, labels)["endsAt"] == (ONSET + timedelta(hours=1)).isoformat()
