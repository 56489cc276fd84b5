"""What a server's metrics say."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request

from ogpt.serving.metrics import ServerMetrics

Samples = dict[str, dict[tuple[str, ...], float]]


def exposed(metrics: ServerMetrics) -> Samples:
    """Value of each sample, by its name, then by its labels in the order of their names."""
    answer = metrics.endpoint(Request({"type": "http"}))
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    found: Samples = {}
    for family in text_string_to_metric_families(bytes(answer.body).decode()):
        for sample in family.samples:
            labels = tuple(sample.labels[name] for name in sorted(sample.labels))
            found.setdefault(sample.name, {})[labels] = sample.value
    return found
