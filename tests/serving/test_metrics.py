"""Metrics under vLLM's names, from the counters of engines and the times of requests."""

from __future__ import annotations

import pytest

from ogpt.serving.metrics import ServerMetrics
from ogpt.serving.request_stream import RequestTimes
from ogpt.serving.running_batch import EngineCounters
from tests.serving.exposition import exposed

VLLM = {
    "num_requests_running",
    "num_requests_waiting",
    "kv_cache_usage_perc",
    "prefix_cache_queries_total",
    "prefix_cache_hits_total",
    "prompt_tokens_total",
    "generation_tokens_total",
    "request_success_total",
    "request_prompt_tokens_count",
    "request_generation_tokens_count",
    "request_params_n_count",
    "time_to_first_token_seconds_count",
    "inter_token_latency_seconds_count",
    "e2e_request_latency_seconds_count",
    "request_queue_time_seconds_count",
    "request_prefill_time_seconds_count",
    "request_decode_time_seconds_count",
}
"""Names of vLLM's metrics with a meaning here, as dashboards ask for them."""


def times_of_a_request() -> RequestTimes:
    """Submitted at 10 s; 1 s in the queue, 2 s of prefill, 4 tokens more in 6 s."""
    times = RequestTimes(10.0)
    times.started, times.first_token, times.ended = 11.0, 13.0, 19.0
    times.prompt_tokens, times.generation_tokens, times.n = 7, 5, 2
    times.gaps = [1.0, 1.0, 1.0, 3.0]
    return times


def test_counters_of_each_model_are_read_when_asked_for() -> None:
    counters = {"a": EngineCounters(), "b": EngineCounters()}
    metrics = ServerMetrics(lambda: counters)
    assert exposed(metrics)["ogpt:prompt_tokens_total"] == {("a",): 0, ("b",): 0}
    counters["a"].prompt_tokens, counters["a"].running = 12, 3
    counters["b"].cache_usage, counters["b"].prefix_cache_hits = 0.25, 8
    counters["b"].finished["stop"] = 2
    counters["b"].work_tokens = 9
    found = exposed(metrics)
    assert found["ogpt:prompt_tokens_total"] == {("a",): 12, ("b",): 0}
    assert found["ogpt:num_requests_running"] == {("a",): 3, ("b",): 0}
    assert found["ogpt:kv_cache_usage_perc"]["b",] == 0.25
    assert found["ogpt:prefix_cache_hits_total"]["b",] == 8
    assert found["ogpt:request_success_total"]["stop", "b"] == 2
    assert found["ogpt:work_tokens_total"]["b",] == 9
    del counters["a"]
    assert exposed(metrics)["ogpt:prompt_tokens_total"] == {("b",): 0}


def test_times_of_a_request_fall_into_histograms() -> None:
    metrics = ServerMetrics(dict)
    metrics.observe_request("a", times_of_a_request())
    found = exposed(metrics)
    sums = {
        name.removeprefix("ogpt:").removesuffix("_sum"): values["a",]
        for name, values in found.items()
        if name.endswith("_sum") and name.startswith("ogpt:")
    }
    assert sums == {
        "time_to_first_token_seconds": 3,
        "inter_token_latency_seconds": 6,
        "e2e_request_latency_seconds": 9,
        "request_queue_time_seconds": 1,
        "request_prefill_time_seconds": 2,
        "request_decode_time_seconds": 6,
        "request_prompt_tokens": 7,
        "request_generation_tokens": 5,
        "request_params_n": 2,
    }
    assert found["ogpt:inter_token_latency_seconds_count"] == {("a",): 4}
    buckets = found["ogpt:inter_token_latency_seconds_bucket"]
    assert (buckets["0.5", "a"], buckets["1.0", "a"], buckets["5.0", "a"]) == (0, 3, 4)


def test_a_request_without_a_token_has_no_time_to_it() -> None:
    metrics = ServerMetrics(dict)
    times = RequestTimes(10.0)
    times.ended = 12.0
    metrics.observe_request("a", times)
    found = exposed(metrics)
    assert found["ogpt:e2e_request_latency_seconds_count"] == {("a",): 1}
    assert "ogpt:time_to_first_token_seconds_count" not in found
    assert "ogpt:request_queue_time_seconds_count" not in found


def test_names_are_those_of_vllm() -> None:
    metrics = ServerMetrics(lambda: {"a": EngineCounters()})
    metrics.observe_request("a", times_of_a_request())
    assert {f"ogpt:{name}" for name in VLLM} - exposed(metrics).keys() == set()


@pytest.mark.parametrize("name", ["process_resident_memory_bytes", "process_cpu_seconds_total"])
def test_the_process_is_measured(name: str) -> None:
    assert exposed(ServerMetrics(dict))[name][()] > 0
