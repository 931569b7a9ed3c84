"""An invented alert, to try a receiver with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pipeline.receivers import Notice
from pipeline.records import Alert, AlertStatus, Curve, Post, Term

_BEFORE = (3, 2, 4, 1, 3, 2, 5, 3, 2, 3, 4, 2, 3, 1, 4, 3, 2, 4)
_SINCE = (6, 11, 19, 30, 41, 47)
STEP = 5


def sample_notice(status: AlertStatus, now: datetime) -> Notice:
    """A notice with everything an alert can say; marked as a test wherever it is shown."""
    now = now.astimezone(UTC).replace(second=0, microsecond=0)
    onset = now - timedelta(minutes=STEP * len(_SINCE))
    seen = (*_BEFORE, *_SINCE)
    identity = f"sample.{now:%Y%m%dT%H%MZ}"
    alert = Alert(
        id=identity,
        notification=f"{identity}.{status}",
        brand="sample",
        brand_name="Sample Bikes",
        touchpoint="delivery",
        team="Operations",
        status=status,
        onset=onset,
        updated=now,
        seen=47,
        expected=6.2,
        window_minutes=15,
        probability=2e-8,
        share=0.41,
        usual_share=0.08,
        reach=52_300,
        authors=44,
        peak=51,
        severity=7,
        severity_reason="eight times the usual, 41% of the talk, doubling every ten minutes",
        unusual="such an hour comes about once in two years",
        changed="" if status == "firing" else "17 more posts, and the support line is named too",
        stages={"consumption": 31, "curation": 9, "creation": 7},
        score_before=34.0,
        score_now=12.0,
        terms=(
            Term("lost parcel", 19, 9.1),
            Term("third week", 12, 7.4),
            Term("no answer", 9, 5.2),
        ),
        posts=(
            _post("mara", "Third week without my order, and the tracking page has given up.",
                  followers=18_400, alike=41, at=onset + timedelta(minutes=7)),
            _post("otto_rides", "Promised Tuesday. It is Friday. Nobody picks up the phone.",
                  followers=2_150, alike=6, at=onset + timedelta(minutes=16)),
            _post("jun", "My parcel is lost and support sent me a survey instead.",
                  followers=310, at=onset + timedelta(minutes=21)),
        ),
        curve=Curve(
            start=now - timedelta(minutes=STEP * (len(seen) - 1)),
            step_minutes=STEP,
            seen=seen,
            expected=tuple(2.6 + 0.03 * step for step in range(len(seen))),
        ),
    )  # fmt: skip
    return Notice(alert, alert.notification, told=status != "firing", sample=True)


def _post(author: str, text: str, *, followers: int, at: datetime, alike: int = 0) -> Post:
    url = f"https://social.example/{author}/1"
    return Post(f"sample-{author}", author, text, at, followers, url, alike)
