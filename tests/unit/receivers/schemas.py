"""What services accept, as far as Gapwatch uses it: JSON Schemas that allow nothing else.

Written from the services' published descriptions, named with each.
"""

from __future__ import annotations

from typing import Any, Final

URL: Final = {"type": "string", "pattern": "^https?://"}
TIME: Final = {
    "type": "string",
    "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$",
}


def text(most: int | None = None, least: int = 1) -> dict[str, Any]:
    """A string so long."""
    limit = {} if most is None else {"maxLength": most}
    return {"type": "string", "minLength": least, **limit}


def exactly(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    """An object with these properties and no others."""
    return {
        "type": "object",
        "properties": {**required, **optional},
        "required": list(required),
        "additionalProperties": False,
    }


def many(item: Any, most: int | None = None, least: int = 1) -> dict[str, Any]:
    """An array of so many."""
    limit = {} if most is None else {"maxItems": most}
    return {"type": "array", "items": item, "minItems": least, **limit}


_OPEN: Final = exactly({"type": {"const": "Action.OpenUrl"}, "url": URL}, title=text())
_RUN: Final = exactly(
    {"type": {"const": "TextRun"}, "text": text(least=0)},
    weight={"enum": ["Lighter", "Default", "Bolder"]},
    size={"enum": ["Small", "Default", "Medium", "Large", "ExtraLarge"]},
    fontType={"enum": ["Default", "Monospace"]},
    isSubtle={"type": "boolean"},
    italic={"type": "boolean"},
    selectAction=_OPEN,
)
_SPACING: Final = {"enum": ["Default", "None", "Small", "Medium", "Large"]}
_RICH: Final = exactly(
    {"type": {"const": "RichTextBlock"}, "inlines": many(_RUN)}, spacing=_SPACING
)
_CONTAINER: Final = exactly(
    {"type": {"const": "Container"}, "items": many(_RICH)},
    style={"enum": ["default", "emphasis", "good", "attention", "warning", "accent"]},
    bleed={"type": "boolean"},
    separator={"type": "boolean"},
)

TEAMS: Final = exactly(
    {
        "type": {"const": "message"},
        "attachments": many(
            exactly(
                {
                    "contentType": {"const": "application/vnd.microsoft.card.adaptive"},
                    "contentUrl": {"type": "null"},
                    "content": exactly(
                        {
                            "$schema": {
                                "const": "http://adaptivecards.io/schemas/adaptive-card.json"
                            },
                            "type": {"const": "AdaptiveCard"},
                            "version": {"const": "1.4"},
                            "fallbackText": text(),
                            "msteams": exactly({"width": {"const": "Full"}}),
                            "body": many({"oneOf": [_RICH, _CONTAINER]}),
                        },
                        actions=many(_OPEN),
                    ),
                }
            ),
            most=1,
        ),
    }
)
"""https://adaptivecards.io/schemas/1.4.0/adaptive-card.json in the wrapper of
https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using"""

DISCORD: Final = exactly(
    {
        "embeds": many(
            exactly(
                {
                    "title": text(256),
                    "description": text(4096),
                    "color": {"type": "integer", "minimum": 0, "maximum": 0xFFFFFF},
                    "fields": many(
                        exactly(
                            {"name": text(256), "value": text(1024), "inline": {"type": "boolean"}}
                        ),
                        most=25,
                        least=0,
                    ),
                    "timestamp": TIME,
                },
                url=URL,
                image=exactly({"url": {"const": "attachment://curve.png"}}),
            ),
            most=10,
        ),
        "allowed_mentions": exactly({"parse": many({}, most=0, least=0)}),
    },
    attachments=many(exactly({"id": {"type": "integer"}, "filename": text()})),
)
"""https://docs.discord.com/developers/resources/webhook#execute-webhook"""

_PARAGRAPH: Final = exactly({"textParagraph": exactly({"text": text()})})
_DECORATED: Final = exactly(
    {"decoratedText": exactly({"topLabel": text(), "text": text(), "wrapText": {"const": True}})}
)
_BUTTONS: Final = exactly(
    {
        "buttonList": exactly(
            {
                "buttons": many(
                    exactly(
                        {
                            "text": text(),
                            "onClick": exactly({"openLink": exactly({"url": URL})}),
                        }
                    )
                )
            }
        )
    }
)

GOOGLE_CHAT: Final = exactly(
    {
        "fallbackText": text(),
        "cardsV2": many(
            exactly(
                {
                    "cardId": text(),
                    "card": exactly(
                        {
                            "header": exactly({"title": text()}),
                            "sections": many(
                                exactly(
                                    {"widgets": many({"oneOf": [_PARAGRAPH, _DECORATED, _BUTTONS]})}
                                )
                            ),
                        }
                    ),
                }
            )
        ),
        "thread": exactly({"threadKey": text(4000)}),
    }
)
"""https://developers.google.com/workspace/chat/api/reference/rest/v1/spaces.messages and …/cards"""

PAGERDUTY: Final = exactly(
    {
        "routing_key": text(32, 32),
        "event_action": {"enum": ["trigger", "acknowledge", "resolve"]},
        "dedup_key": text(255),
    },
    payload=exactly(
        {
            "summary": text(1024),
            "source": text(),
            "severity": {"enum": ["critical", "error", "warning", "info"]},
        },
        timestamp=TIME,
        component=text(),
        group=text(),
        custom_details={"type": "object"},
        **{"class": text()},
    ),
    client=text(),
    client_url=URL,
    links=many(exactly({"href": URL}, text=text()), least=0),
)
"""https://developer.pagerduty.com/docs/send-alert-event"""

_LABELS: Final = {
    "type": "object",
    "propertyNames": {"pattern": "^[a-zA-Z_][a-zA-Z0-9_]*$"},
    "additionalProperties": {"type": "string"},
}

ALERTMANAGER: Final = many(
    exactly(
        {"labels": _LABELS},
        annotations=_LABELS,
        startsAt=TIME,
        endsAt=TIME,
        generatorURL=URL,
    )
)
"""`postableAlerts` of https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml"""
