"""The live page, its JSON, metrics and health: what a worker shows over HTTP."""


class WebError(Exception):
    """The page cannot be served; the message says which setting to change."""
