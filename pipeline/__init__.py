"""Gapwatch: hear, within seconds, that what you deliver has stopped matching what you promised."""

__version__ = "0.1.0"
