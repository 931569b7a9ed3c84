"""Where events come from.

A source turns something outside (a file, a stream) into `SourceRecord`s: key and value of the
record to be produced to the events topic, and when it was published. A source drops nothing and
judges nothing it can pass on: events that cannot be used are rejected by the pipeline, with a
reason, where they can be seen. It raises `SourceError` where it cannot read on.
"""
