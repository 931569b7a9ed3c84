"""The page of all metrics, from the registry that a worker serves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from prometheus_client import Histogram
from prometheus_client.metrics import MetricWrapperBase

from docs.generators.markdown import cell, table
from pipeline.metrics import Metrics

_HEAD: Final = """# Metrics

Written by `make docs` from `pipeline/metrics.py`. Every worker serves its own at `/metrics`, for
Prometheus: sum counters over workers (`sum by (brand) (rate(gapwatch_mentions_total[5m]))`), and of
a brand's gauges take the highest, since one worker has them at a time. A counter's samples end in
`_total`; a histogram's in `_bucket`, `_sum` and `_count`. The dashboards and rules that use them
are in [operations](../operations.md#see-it).

"""

_TAIL: Final = """
Beside these, of the process: `process_cpu_seconds_total`, `process_resident_memory_bytes`,
`process_virtual_memory_bytes`, `process_start_time_seconds`, `process_open_fds`, `process_max_fds`
(where the system tells them).
"""


def page() -> str:
    """The page."""
    return _HEAD + table(("metric", "type", "labels", "meaning"), _rows()) + _TAIL


def declared() -> Iterator[MetricWrapperBase]:
    """Every metric of a worker, as declared."""
    for value in vars(Metrics()).values():
        if isinstance(value, MetricWrapperBase):
            yield value


def _rows() -> Iterator[tuple[str, str, str, str]]:
    for metric in declared():
        (family,) = metric.describe()
        name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
        labels = ", ".join(f"`{label}`" for label in metric._labelnames) or "–"
        words = family.documentation
        if isinstance(metric, Histogram):
            bounds = [bound for bound in metric._upper_bounds if bound != float("inf")]
            words += " Buckets up to " + ", ".join(f"{bound:g}" for bound in bounds) + "."
        yield f"`{name}`", family.type, labels, cell(words)
