"""Work that is captured once as a CUDA graph and replayed; on a CPU it simply runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import torch

T = TypeVar("T")

_WARM_UPS = 2  # kernels are built, and libraries take their workspaces, before the capture


class Replayed(Generic[T]):
    """A function of tensors that stay where they are, called by replaying its kernels.

    Args:
        work: Reads and writes tensors that live as long as this does; called a few times at once,
            and later only on a CPU.
        device: Where the tensors are.
        pool: Memory that captures share, of `memory_pool`.
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
        # thread_local: other threads may allocate meanwhile
        with torch.cuda.graph(self._graph, pool=pool, capture_error_mode="thread_local"):
            self._found = work()

    def __call__(self) -> T:
        """What the work returns; on a device the same tensors each time, filled anew."""
        if self._graph is None:
            return self._work()
        self._graph.replay()
        return self._found


def memory_pool(device: torch.device) -> Any:
    """Memory for the captures of one decoder, which are never replayed at the same time."""
    return torch.cuda.graph_pool_handle() if device.type == "cuda" else None
