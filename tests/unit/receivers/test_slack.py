"""Slack's own escaping; what its messages say is in test_channels."""

from __future__ import annotations

from pipeline.receivers.slack import escape


def test_a_text_is_cut_between_characters_never_in_an_entity() -> None:
    assert escape("a<b", 10) == "a&lt;b"
    assert escape("a&b", 7) == "a&amp;b"
    assert escape("a&bc", 7) == "a&amp;…"
    assert escape("a&bc", 6) == "a…"
    assert escape("&" * 10, 11) == "&amp;&amp;…"
