"""Marks for tests that run on the CPU and, where there is one, on a CUDA device."""

import pytest
import torch

GPU = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    ],
)
ON_EACH = pytest.mark.parametrize("device", ["cpu", GPU])
