"""The live page, its JSON, metrics and health: what a worker shows over HTTP."""
