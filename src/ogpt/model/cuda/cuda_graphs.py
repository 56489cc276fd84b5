"""Work that is captured once as a CUDA graph and then replayed. On a CPU it runs each time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch

T = TypeVar("T")

# Kernels are compiled, and libraries allocate workspaces, before the capture (PyTorch's manual,
# "CUDA graphs": a few iterations in a side stream).
_WARM_UPS = 2


class Replayed(Generic[T]):
    """A function of tensors at fixed addresses, called by replaying its kernels.

    Args:
        work: Reads and writes tensors that live as long as this object. Called a few times at
            once, and later only on a CPU.
        device: Where the tensors are.
        pool: Memory that captures share, from `memory_pool`.
    """

    def __init__(self, work: Callable[[], T], device: torch.device, pool: Any) -> None:
        self._work = work
        self._graph: torch.cuda.CUDAGraph | None = None
        if device.type != "cuda":
            return
        side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]  # torch's
        side.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                work()
        torch.cuda.current_stream(device).wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        # thread_local: other threads may allocate during the capture
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
            self._found = work()

    def __call__(self) -> T:
        """The result of the work. On a device these are the same tensors each time, overwritten."""
        if self._graph is None:
            return self._work()
        self._graph.replay()
        return self._found


def memory_pool(device: torch.device) -> Any:
    """Memory that the captures of one decoder can share, as only one is replayed at a time."""
    return torch.cuda.graph_pool_handle() if device.type == "cuda" else None
