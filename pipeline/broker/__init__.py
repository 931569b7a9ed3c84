"""The broker: reaching it, and the embedded one for a first look, demos and tests."""

from __future__ import annotations


class BrokerError(Exception):
    """The broker cannot be used as things are; the message says why and what to do."""


class BrokerAwayError(BrokerError):
    """The broker cannot be reached at the moment: the same may work later."""
