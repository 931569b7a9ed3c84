"""The four agents, one a file: Kafka in, a domain call, Kafka out.

Each follows one rule: acknowledge a chunk only after everything that came of it is confirmed by
the broker. An event that cannot be processed is a result too (a dead letter). Anything unexpected
stops the worker before the acknowledgement, and the chunk comes again.
"""
