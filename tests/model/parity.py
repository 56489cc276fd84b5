"""Random models of ours and transformers' with the same weights, and how far they are apart."""

import copy
import random
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor

from ogpt.config.model import OpenAIGPTConfig
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.pretrained import OpenAIGPTPreTrainedModel

TOLERANCE = 1e-5
"""Of float32, in units of the largest number of what is compared."""


def random_config(seed: int, **changes: Any) -> OpenAIGPTConfig:
    draw = random.Random(seed)
    n_head = draw.choice([1, 2, 3, 4])
    drawn = {
        "vocab_size": draw.randint(5, 300),
        "n_positions": draw.randint(2, 160),  # beyond one block of queries
        "n_embd": n_head * draw.choice([2, 4, 8, 16]),
        "n_layer": draw.randint(1, 4),
        "n_head": n_head,
        "afn": draw.choice(["gelu", "relu", "silu"]),
        "initializer_range": 0.2,  # large enough that faults show
    }
    return OpenAIGPTConfig(**{**drawn, **changes})


def random_model(
    seed: int,
    kind: type[OpenAIGPTPreTrainedModel] = OpenAIGPTLMHeadModel,
    **changes: Any,
) -> Any:
    """A model of ours, of any kind, in evaluation mode."""
    config = random_config(seed, **changes)
    torch.manual_seed(seed)
    model = kind(config).eval()
    with torch.no_grad():  # biases and gains that are not zero and one
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model


def theirs(model: OpenAIGPTPreTrainedModel) -> Any:
    """transformers' model with the same configuration and weights, in the same dtype."""
    settings = {name: value for name, value in model.config.to_dict().items() if name != "parity"}
    config = transformers.OpenAIGPTConfig(**copy.deepcopy(settings))
    config._attn_implementation = "eager"
    other = getattr(transformers, type(model).__name__)(config).to(model.dtype).eval()
    report = other.load_state_dict(model.stored_tensors(), strict=False)
    assert not report.unexpected_keys
    assert set(report.missing_keys) <= {"lm_head.weight"}  # tied
    return other


def random_batch(seed: int, config: OpenAIGPTConfig) -> tuple[Tensor, Tensor]:
    """Ids (B, T) and a right-padded mask whose rows each hold a token."""
    generator = torch.Generator().manual_seed(seed)
    B = int(torch.randint(1, 5, (), generator=generator))
    T = int(torch.randint(1, config.n_positions + 1, (), generator=generator))
    ids = torch.randint(0, config.vocab_size, (B, T), generator=generator)
    lengths = torch.randint(1, T + 1, (B, 1), generator=generator)
    return ids, (torch.arange(T) < lengths).long()


class Case(NamedTuple):
    """One call of both models."""

    model: Any
    ours: dict[str, Any]
    theirs: dict[str, Any]
    counted: Tensor
    """(N, T) bool: the tokens at which the answers must be the same."""


def parts(out: Mapping[str, Any], counted: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Each output by name, rows of choices laid flat, without what belongs to padding."""
    N, T = counted.shape
    for name, value in out.items():
        if name == "past_key_values":
            continue
        for i, tensor in enumerate(value if isinstance(value, tuple) else (value,)):
            if name == "attentions":  # (..., n_head, T, S) -> (counted, n_head, S)
                tensor = tensor.reshape(N, -1, T, T).transpose(1, 2)[counted]
            elif name in ("last_hidden_state", "hidden_states") or (
                name == "logits" and tensor.numel() == N * T * tensor.shape[-1]
            ):
                tensor = tensor.reshape(N, T, -1)[counted]
            yield f"{name}[{i}]", tensor


def gap(ours: Tensor, expected: Tensor, least: float = 0.0) -> float:
    """The largest difference in units of the largest number expected, or of `least`."""
    assert ours.numel() == expected.numel(), (ours.shape, expected.shape)
    if not expected.numel():
        return 0.0
    expected = expected.detach().double()
    far = (ours.detach().double().reshape(expected.shape) - expected).abs().max().item()
    size = max(expected.abs().max().item(), least)
    return far / size if far else 0.0


def backward(outputs: Mapping[str, Tensor]) -> None:
    """Gradients of a random sum of all outputs, the same for each model."""
    generator = torch.Generator().manual_seed(0)
    total = torch.zeros((), dtype=torch.float64)
    for tensor in outputs.values():
        weights = torch.randn(tensor.numel(), generator=generator, dtype=torch.float64)
        total = total + (weights * tensor.reshape(-1).double()).sum()
    total.backward()


def gaps(case: Case, other: Any) -> dict[str, float]:
    """How far apart each output is, and each gradient.

    What is small is what rounding left of sums that cancel, so the unit has a floor: of gradients a
    hundredth of the largest number among all of them, of logits 0.1, as their terms are about 1.
    """
    for model in (case.model, other):
        model.zero_grad()
    ours = dict(parts(case.model(**case.ours), case.counted))
    expected = dict(parts(other(**case.theirs), case.counted))
    assert list(ours) == list(expected)
    found = {
        name: gap(ours[name], expected[name], 0.1 * name.startswith("logits")) for name in expected
    }
    backward(ours)
    backward(expected)
    wanted = {name: p.grad for name, p in other.named_parameters() if p.grad is not None}
    largest = max(gradient.abs().max().item() for gradient in wanted.values())
    got = {name: p.grad for name, p in case.model.named_parameters() if p.grad is not None}
    assert got.keys() == wanted.keys()
    for name, gradient in wanted.items():
        found[f"gradient of {name}"] = gap(got[name], gradient, largest / 100)
    return found
