"""What is printed: pure functions of the numbers."""

from pathlib import Path
from typing import Any

import pytest

from ogpt.cli import figures
from ogpt.workflows.convert import Conversion


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (9_999, "9,999"),
        (12_345, "12.3 k"),
        (116_534_784, "116.5 M"),
        (3.2e9, "3.2 G"),
        (7.7e15, "7700.0 T"),
    ],
)
def test_short_count(number: float, text: str) -> None:
    assert figures.short_count(number) == text


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (5 * 2**20, "5.0 MiB"),
        (2**40, "1024.0 GiB"),
    ],
)
def test_size(n_bytes: int, text: str) -> None:
    assert figures.size(n_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"),
        (6.6, "0:07"),
        (59.7, "1:00"),
        (754, "12:34"),
        (18_367, "5:06:07"),
        (183_600, "2 d 3 h"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    assert figures.duration(seconds) == text


def test_progress() -> None:
    assert figures.progress_facts(1_200, 5_000, "files", 42.0) == "1,200 of 5,000 files  0:42 left"
    assert figures.progress_facts(1_200, 0, "words", None) == "1,200 words"
    assert figures.progress_facts(1_536, 2**20, "bytes", None) == "1.5 KiB of 1.0 MiB"


def test_end() -> None:
    assert figures.end_facts(5_000, "files", 72.0) == "5,000 files in 1:12"
    assert figures.end_facts(2**20, "bytes", 0.1) == "1.0 MiB in 0:00"


TRAIN: dict[str, Any] = {
    "step": 120,
    "total_steps": 1_000,
    "loss": 4.12345,
    "tokens_per_s": 12_345.6,
    "mfu": 0.414,
    "eta_s": 192.0,
}


def test_train() -> None:
    line = "120/1,000  loss 4.123  12,346 tok/s  MFU 41%  3:12 left"
    assert figures.train_facts(TRAIN) == line
    free = {"step": 1, "total_steps": 2, "task": "sst2", "lm_loss": 3.0, "accuracy": 0.5}
    assert figures.train_facts(free) == "1/2  lm loss 3.000  accuracy 0.500"
    bare = dict.fromkeys(TRAIN) | {"step": 1, "total_steps": 2}
    assert figures.train_facts(bare) == "1/2"


EVENTS: list[tuple[str, dict[str, Any], str | None]] = [
    ("message", {"text": "hello"}, "hello"),
    (
        "eval",
        {"step": 1_000, "loss": 4.0, "perplexity": 54.598, "bits_per_byte": 1.61, "tokens": 9},
        "validation at step 1,000: loss 4.0000  perplexity 54.60  1.6100 bits/byte",
    ),
    (
        "eval",
        {"step": 1, "loss": 4.0, "perplexity": 54.598, "bits_per_byte": None},
        "validation at step 1: loss 4.0000  perplexity 54.60",
    ),
    (
        "probe",
        {"step": 1000, "name": "cola", "metric": "matthews", "value": 0.1, "normalized": 0.285},
        "probe cola at step 1,000: matthews 0.1000, normalized 0.28",
    ),
    ("checkpoint", {"step": 5, "path": "runs/a", "reason": "time"}, "saved runs/a (time)"),
    (
        "eval",
        {"task": "sst2", "step": 1, "task_loss": 0.25, "accuracy": 0.9, "tokens": 9},
        "validation at step 1: task loss 0.2500  accuracy 0.9000",
    ),
    (
        "plan",
        {"parameters": 1_700_000, "total_steps": 2_000, "tokens_per_step": 2_048},
        "1.7 M parameters, 2,000 steps of 2,048 tokens",
    ),
    ("something-else", {}, None),
]


@pytest.mark.parametrize(("kind", "fields", "line"), EVENTS)
def test_event_lines(kind: str, fields: dict[str, Any], line: str | None) -> None:
    assert figures.event_line(kind, fields) == line


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("tokens_per_s", 12_345.6, "12,346"),
        ("peak_flops_per_s", 198_266_603_331.0, "198.3 G"),
        ("eta_s", 754, "12:34"),
        ("memory_bytes", 1536, "1.5 KiB"),
        ("mfu", 0.4142, "41.4%"),
        ("parameters", 116_534_784, "116,534,784"),
        ("loss", 3.14159265, "3.14159"),
        ("finished", True, "yes"),
        ("finished", False, "no"),
        ("best", None, "none"),
        ("labels", ["a", "b"], "a, b"),
        ("precision", "bfloat16", "bfloat16"),
    ],
)
def test_value_text(name: str, value: Any, text: str) -> None:
    assert figures.value_text(name, value) == text


def test_table() -> None:
    facts = {"folder": "m", "model": {"n_layer": 12, "n_head": 4, "vocab": {"size": 9}}, "b": 1}
    assert figures.table(facts).splitlines() == [
        "folder  m",
        "b       1",
        "",
        "model",
        "  n_layer  12",
        "  n_head   4",
        "",
        "  vocab",
        "    size  9",
    ]
    assert figures.table({"only": {"a": 1}}) == "only\n  a  1"
    assert figures.table({}) == ""


def test_conversion_of_little() -> None:
    made = Conversion(
        folder=Path("o"),
        source_format="h5",
        format="openai",
        architecture="OpenAIGPTModel",
        parameters=9,
        dtypes=["bfloat16", "float32"],
        renamed={},
        dropped=["a"],
        added=["b"],
        tokenizer=False,
    )
    assert figures.conversion(made) == [
        "o: OpenAIGPTModel, 9 parameters, bfloat16 and float32",
        "arrays from h5 to openai: 0 renamed, 1 dropped (a), 1 added",
        "tokenizer: none in the source",
    ]
