"""Every decoder keeps the contract of the protocol, and the contract sees planted faults."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from ogpt.generation.protocol.decoder import Computed, Decoder, Part
from ogpt.model.cuda.static_decoder import StaticDecoder
from ogpt.model.decoder.torch_decoder import TorchDecoder
from ogpt.model.lstm import LSTMBlock
from tests.decoding.contract import SIZES, SLOTS, TEXTS, Contract
from tests.model.devices import GPU
from tests.model.lstms import lstm
from tests.model.parity import random_model
from tests.native.models import native


def model_on(device: str) -> Any:
    return random_model(3, **SIZES).to(device)


def lstm_on(device: str) -> Any:
    names = ("n_positions", "vocab_size", "n_embd")
    return lstm(seed=3, **{name: SIZES[name] for name in names}).to(device)


DECODERS: dict[str, tuple[Callable[[], Decoder], float]] = {
    "native": (lambda: native(model_on("cpu"), slots=SLOTS, threads=2), 1e-4),
    "native int8": (lambda: native(model_on("cpu"), slots=SLOTS, dtype="int8"), 0.1),
    "torch": (lambda: TorchDecoder(model_on("cpu"), SLOTS), 1e-5),
    "torch lstm": (lambda: TorchDecoder(lstm_on("cpu"), SLOTS), 1e-5),
    "torch lstm cuda": (lambda: TorchDecoder(lstm_on("cuda"), SLOTS), 1e-4),
    "torch cuda": (lambda: TorchDecoder(model_on("cuda"), SLOTS), 1e-4),
    "static": (lambda: StaticDecoder(model_on("cpu"), SLOTS), 1e-5),
    "static cuda": (lambda: StaticDecoder(model_on("cuda"), SLOTS), 1e-4),
    "deterministic": (lambda: StaticDecoder(model_on("cpu"), SLOTS, deterministic=True), 1e-5),
    "deterministic cuda": (
        lambda: StaticDecoder(model_on("cuda"), SLOTS, deterministic=True),
        1e-4,
    ),
}


def contract_of(
    make: Callable[[], Decoder], limit: float, model: Callable[[str], Any] = model_on
) -> Contract:
    with torch.no_grad():
        found = model("cpu")(torch.tensor(TEXTS), output_hidden_states=True)
    return Contract(make, found.logits.numpy(), found.hidden_states[-1].numpy(), limit)


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=GPU.marks if "cuda" in name else ()) for name in DECODERS],
)
def contract(request: pytest.FixtureRequest) -> Contract:
    model = lstm_on if "lstm" in request.param else model_on
    return contract_of(*DECODERS[request.param], model)


@pytest.mark.parametrize("check", Contract.CHECKS, ids=lambda check: check.__name__)
def test_each_decoder_keeps_the_contract(
    contract: Contract, check: Callable[[Contract], None]
) -> None:
    contract.reset()
    check(contract)


class Faulty:
    """A decoder in front of another one, with a fault in one of its calls."""

    def __init__(self, inner: Decoder) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class PositionOffByOne(Faulty):
    """Each slot has another token before its text."""

    def run(self, parts: Sequence[Part], *, hidden: bool = False) -> Computed:
        for slot, *_ in parts:
            if not self.inner.length(slot):
                self.inner.run([Part(slot, [0], "none")])
        return self.inner.run(parts, hidden=hidden)

    def length(self, slot: int) -> int:
        return max(0, self.inner.length(slot) - 1)

    def truncate(self, slot: int, length: int) -> None:
        self.inner.truncate(slot, length + (length > 0))


class ForgetsCopies(Faulty):
    def copy(self, source: int, target: int) -> None:
        self.inner.length(source)
        self.inner.length(target)


class CopiesTooLittle(Faulty):
    """The last token of the source is lost."""

    def copy(self, source: int, target: int) -> None:
        self.inner.copy(source, target)
        if source != target and self.inner.length(target):
            self.inner.truncate(target, self.inner.length(target) - 1)


class RowsInOrderOfSlots(Faulty):
    def run(self, parts: Sequence[Part], *, hidden: bool = False) -> Computed:
        return self.inner.run(sorted(parts), hidden=hidden) if parts else self.inner.run(parts)


class FirstInPlaceOfLast(Faulty):
    def run(self, parts: Sequence[Part], *, hidden: bool = False) -> Computed:
        found = self.inner.run(parts, hidden=hidden)
        return found._replace(logits=found.logits[::-1])


class KeepsOnePartOfTwo(Faulty):
    """An error in a later part comes after the first part was appended."""

    def run(self, parts: Sequence[Part], *, hidden: bool = False) -> Computed:
        try:
            return self.inner.run(parts, hidden=hidden)
        except ValueError:
            self.inner.run(parts[:1])
            raise


class ReusesItsArrays(Faulty):
    """Logits of a later call overwrite those of an earlier one."""

    def run(self, parts: Sequence[Part], *, hidden: bool = False) -> Computed:
        found = self.inner.run(parts, hidden=hidden)
        kept = self.__dict__.setdefault(found.logits.shape, found.logits)
        kept[:] = found.logits
        return found._replace(logits=kept)


class ScoresTheTokenItself(Faulty):
    def score(self, slot: int, ids: Any, targets: Any, top: int = 0) -> Any:
        return self.inner.score(slot, ids, ids if len(ids) == len(targets) else targets, top)


class TruncatesByOneTooMany(Faulty):
    def truncate(self, slot: int, length: int) -> None:
        self.inner.truncate(slot, length)
        self.inner.truncate(slot, max(0, length - 1))


def test_the_contract_sees_a_cell_state_of_another_token() -> None:
    """The fault of a cache that keeps hidden states alone: cells are those of the last token."""

    class Stale(LSTMBlock):
        def _cells(self, x: Tensor, hidden: Tensor, before: tuple[Tensor, Tensor]) -> Tensor:
            cells = super()._cells(x, hidden, before)
            return cells[:, -1:].expand_as(cells)

    def make() -> Decoder:
        model = lstm_on("cpu")
        model.transformer.h[0].__class__ = Stale
        return TorchDecoder(model, SLOTS)

    contract = contract_of(make, 1e-5, lstm_on)
    contract.check_one_by_one()
    with pytest.raises(AssertionError):
        contract.check_truncate_and_free()


@pytest.mark.parametrize(
    ("fault", "seen_by"),
    [
        (PositionOffByOne, "check_one_by_one"),
        (ForgetsCopies, "check_copy"),
        (CopiesTooLittle, "check_copy"),
        (RowsInOrderOfSlots, "check_mixed_parts"),
        (FirstInPlaceOfLast, "check_cuts"),
        (KeepsOnePartOfTwo, "check_refusals"),
        (ReusesItsArrays, "check_results_stay"),
        (ScoresTheTokenItself, "check_score"),
        (TruncatesByOneTooMany, "check_truncate_and_free"),
    ],
)
def test_the_contract_sees_faults(fault: Callable[[Decoder], Any], seen_by: str) -> None:
    contract = contract_of(lambda: fault(DECODERS["torch"][0]()), 1e-5)
    with pytest.raises(AssertionError):
        getattr(contract, seen_by)()
