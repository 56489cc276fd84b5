"""Metrics in Prometheus' text format, with vLLM's names and the prefix `ogpt:`.

What the engines count is read when the metrics are asked for. Times are put into histograms when
requests end. The label `model_name` is the name under which a model is served.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from ogpt.serving.request_stream import RequestTimes
from ogpt.serving.running_batch import EngineCounters

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

GAUGES = {
    "num_requests_running": ("running", "Texts that have slots of the decoder."),
    "num_requests_waiting": ("waiting", "Texts that wait for slots."),
    "kv_cache_usage_perc": ("cache_usage", "Used share of the KV cache (0 to 1)."),
}
"""Name -> attribute of EngineCounters, and help; as in COUNTERS, without `_total`."""

COUNTERS = {
    "requests": ("requests", "Requests that were accepted."),
    "requests_refused": ("refused", "Requests that found too many others waiting."),
    "requests_cancelled": ("cancelled", "Requests whose client has left."),
    "requests_failed": ("failed", "Requests that ended with an error."),
    "prompt_tokens": ("prompt_tokens", "Prompt tokens of accepted requests."),
    "generation_tokens": ("generation_tokens", "Tokens that were generated."),
    "work_tokens": ("work_tokens", "Tokens computed for scores, labels and embeddings."),
    "prefix_cache_queries": ("prefix_cache_queries", "Prompt tokens looked up in the KV cache."),
    "prefix_cache_hits": ("prefix_cache_hits", "Prompt tokens found in the KV cache."),
    "iterations": ("steps", "Steps of the engine."),
    "iterations_failed": ("failed_steps", "Steps of the engine that failed."),
    "engine_restarts": ("restarts", "Times that the decoder was opened again."),
}

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60, 150, 600)
TOKENS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048)
NUMBERS = (1, 2, 4, 8, 16, 32, 64, 128)

HISTOGRAMS = {
    "time_to_first_token_seconds": ("From the arrival to the first token.", SECONDS),
    "inter_token_latency_seconds": ("Between two tokens of a text.", SECONDS),
    "e2e_request_latency_seconds": ("From the arrival to the last token.", SECONDS),
    "request_queue_time_seconds": ("From the arrival until a text has slots.", SECONDS),
    "request_prefill_time_seconds": ("From the first slots to the first token.", SECONDS),
    "request_decode_time_seconds": ("From the first token to the last.", SECONDS),
    "request_prompt_tokens": ("Prompt tokens of a request.", TOKENS),
    "request_generation_tokens": ("Generated tokens of a request.", TOKENS),
    "request_params_n": ("Texts of a request.", NUMBERS),
}

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
"""Methods with a series of their own; clients may invent any number of others."""


class ServerMetrics:
    """All metrics of a server.

    Args:
        counters: The counters of each model's engine, by the name of the model.

    Attributes:
        registry: Of prometheus_client, for further metrics.
    """

    def __init__(self, counters: Callable[[], Mapping[str, EngineCounters]]) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(EngineCollector(counters))
        ProcessCollector(registry=self.registry)
        self._histograms = {
            name: Histogram(
                f"ogpt:{name}", text, ["model_name"], buckets=buckets, registry=self.registry
            )
            for name, (text, buckets) in HISTOGRAMS.items()
        }
        self._responses = Counter(
            "http_requests_total",
            "HTTP requests by route and status.",
            ["method", "handler", "status"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "http_request_duration_seconds",
            "From the head of a request to the end of its response.",
            ["method", "handler"],
            buckets=SECONDS,
            registry=self.registry,
        )

    def observe_request(self, model_name: str, times: RequestTimes) -> None:
        """Count a request of an engine that has ended; what has not happened is left out."""
        begin, started, first, end = (
            times.submitted,
            times.started,
            times.first_token,
            times.ended,
        )
        spans = {
            "time_to_first_token_seconds": (begin, first),
            "e2e_request_latency_seconds": (begin, end),
            "request_queue_time_seconds": (begin, started),
            "request_prefill_time_seconds": (started, first),
            "request_decode_time_seconds": (first, end),
        }
        found: dict[str, Iterable[float]] = {
            name: [until - since]
            for name, (since, until) in spans.items()
            if since is not None and until is not None
        }
        found |= {
            "inter_token_latency_seconds": times.gaps,
            "request_prompt_tokens": [times.prompt_tokens],
            "request_generation_tokens": [times.generation_tokens],
            "request_params_n": [times.n],
        }
        for name, values in found.items():
            histogram = self._histograms[name].labels(model_name)
            for value in values:
                histogram.observe(value)

    def observe_response(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an HTTP request that has ended.

        Args:
            method: As sent.
            route: Path of the route with its parameters by name; empty: no route has the path.
            status: Of the response; 499 if the client left before it.
            seconds: From the head of the request to the end of the response.
        """
        labels = (method if method in METHODS else "other", route or "none")
        self._responses.labels(*labels, str(status)).inc()
        self._seconds.labels(*labels).observe(seconds)

    def endpoint(self, request: Request) -> Response:
        """Metrics in Prometheus' text format."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE)


class EngineCollector(Collector):
    """Reads the counters of all engines for Prometheus.

    Args:
        counters: See ServerMetrics.
    """

    def __init__(self, counters: Callable[[], Mapping[str, EngineCounters]]) -> None:
        self._counters = counters

    def collect(self) -> Iterable[Metric]:
        """The metrics of now."""
        found = self._counters()
        families: list[Metric] = []
        for name, (attribute, text) in GAUGES.items():
            gauge = GaugeMetricFamily(f"ogpt:{name}", text, labels=["model_name"])
            for model, counters in found.items():
                gauge.add_metric([model], getattr(counters, attribute))
            families.append(gauge)
        for name, (attribute, text) in COUNTERS.items():
            counter = CounterMetricFamily(f"ogpt:{name}", text, labels=["model_name"])
            for model, counters in found.items():
                counter.add_metric([model], getattr(counters, attribute))
            families.append(counter)
        finished = CounterMetricFamily(
            "ogpt:request_success",
            "Texts that ended, by finish reason.",
            labels=["model_name", "finished_reason"],
        )
        for model, counters in found.items():
            for reason, count in counters.finished.items():
                finished.add_metric([model, reason], count)
        return [*families, finished]
