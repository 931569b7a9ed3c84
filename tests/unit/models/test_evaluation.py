"""Measures, against small cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation import by_value, evaluate, measure, softmax
from models.labelled import LabelledPost
from models.labels import neutral_labels
from tests.builders import some_labels

VALUES = ("bad", "fair", "good")


def test_counts_and_means() -> None:
    chances = np.array(
        [[0.8, 0.1, 0.1], [0.6, 0.2, 0.2], [0.1, 0.8, 0.1], [0.9, 0.1, 0.0]], np.float32
    )
    found = measure(["bad", "bad", "fair", "fair"], chances, VALUES)
    assert found.confusion == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert found.accuracy == 0.75
    assert found.macro_recall == 0.75  # (1 + 1/2) / 2: nobody is good
    assert found.macro_f1 == pytest.approx((4 / 5 + 2 / 3) / 2, abs=1e-4)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    chances = np.array([[0.9, 0.1]] * 10, np.float32)
    found = measure(["0"] * 6 + ["1"] * 4, chances, ("0", "1"))
    assert found.calibration_error == pytest.approx(0.3, abs=1e-4)


def test_softmax_survives_large_logits() -> None:
    assert softmax(np.array([[1e4, 0.0, -1e4]], np.float32)).tolist() == [[1.0, 0.0, 0.0]]


def test_unknown_label_is_named() -> None:
    with pytest.raises(ValueError, match="'awful'"):
        measure(["awful"], np.ones((1, 3), np.float32) / 3, VALUES)


def test_shape_must_fit() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        measure(["bad"], np.ones((2, 3), np.float32) / 3, VALUES)


def test_each_value_has_its_precision_and_recall() -> None:
    chances = np.array(
        [[0.8, 0.1, 0.1], [0.6, 0.2, 0.2], [0.1, 0.8, 0.1], [0.9, 0.1, 0.0]], np.float32
    )
    bad, fair, good = by_value(measure(["bad", "bad", "fair", "fair"], chances, VALUES))
    assert (bad.precision, bad.recall, bad.f1, bad.support) == (0.6667, 1.0, 0.8, 2)
    assert (fair.precision, fair.recall, fair.f1, fair.support) == (1.0, 0.5, 0.6667, 2)
    assert (good.precision, good.recall, good.f1, good.support) == (None, None, None, 0)


def test_only_labelled_heads_and_rows_are_measured() -> None:
    posts = [
        LabelledPost("a", {"gap": "negative", "stage": "creation"}),
        LabelledPost("b", {"gap": "none"}),
        LabelledPost("c", {}),
    ]
    found = evaluate(
        "m", posts, [some_labels(gap="negative"), neutral_labels("empty"), some_labels()]
    )
    assert (found.model, found.rows, found.abstained) == ("m", 3, {"empty": 1})
    assert list(found.heads) == ["stage", "gap"]
    assert found.heads["gap"].measures.rows == 2
    assert found.heads["gap"].measures.accuracy == 1.0
    assert found.heads["stage"].measures.accuracy == 0.0
    assert found.heads["gap"].sources == {}
    (only,) = found.heads["stage"].reliability
    assert (only.upto, only.rows, only.confidence, only.accuracy) == (1.0, 1, 1.0, 0.0)


def test_a_complaint_is_a_negative_gap() -> None:
    posts = [
        LabelledPost("a", {"complaint": "complaint"}),
        LabelledPost("b", {"complaint": "other"}),
    ]
    found = evaluate("m", posts, [some_labels(gap="negative"), some_labels(gap="positive")])
    assert found.heads["complaint"].measures.confusion == [[1, 0], [0, 1]]


def test_sources_are_told_apart() -> None:
    posts = [
        LabelledPost("a", {"gap": "negative"}, "reviews"),
        LabelledPost("b", {"gap": "none"}, "tweets"),
        LabelledPost("c", {"gap": "none"}, "tweets"),
        LabelledPost("d", {"stage": "creation"}, "news"),
    ]
    found = evaluate("m", posts, [some_labels()] * 4).heads["gap"].sources
    assert {source: (one.rows, one.accuracy) for source, one in found.items()} == {
        "tweets": (2, 1.0),
        "reviews": (1, 0.0),
    }
