import shutil

import pytest
import torch

from ogpt import notices, processor
from ogpt.training import torch_precision as precision

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("asked", "multiplies", "expected"),
    [
        ("auto", True, torch.bfloat16),
        ("auto", False, torch.float32),
        ("float32", True, torch.float32),
    ],
)
def test_dtype(
    asked: str, multiplies: bool, expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "multiplies_bfloat16", lambda: multiplies)
    assert precision.choose_dtype(asked, CPU) == expected


def test_emulated_bfloat16_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "multiplies_bfloat16", lambda: False)
    with notices.collecting() as told:
        assert precision.choose_dtype("bfloat16", CPU) == torch.bfloat16
    assert [notice.kind for notice in told] == ["precision-emulated"]


@pytest.mark.parametrize(
    ("setting", "flops", "expected"),
    [("off", 1e30, False), ("auto", 1e9, False), ("auto", 1e15, True), ("on", 0.0, True)],
)
def test_compile(
    setting: str, flops: float, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "compiler_missing", lambda device: "")
    assert precision.choose_compile(setting, flops, CPU) is expected


def test_no_compiler_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with notices.collecting() as told:
        assert precision.choose_compile("on", 0.0, CPU) is False
    assert [notice.kind for notice in told] == ["compile-unavailable"]
    assert "g++" in told[0].message


def test_no_headers_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/c++")
    monkeypatch.setattr(precision.sysconfig, "get_path", lambda name: str(tmp_path))
    assert "headers" in precision.compiler_missing(CPU)
    (tmp_path / "Python.h").touch()
    assert precision.compiler_missing(CPU) == ""
    assert precision.compiler_missing(torch.device("cuda")) == ""


def test_a_matrix_product_is_measured() -> None:
    assert 1e9 < precision.best_matrix_product(torch.float32, CPU) < 1e15
