"""A model in PyTorch and its twin in TensorFlow with the same weights; how far apart they are."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import tensorflow as tf
import torch
from torch import Tensor

from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.pretrained import OpenAIGPTPreTrainedModel
from ogpt.model.tensors import array_of
from ogpt.model.transformer import OpenAIGPTModel
from ogpt.tf.classification import TFOpenAIGPTForSequenceClassification
from ogpt.tf.double_heads import TFOpenAIGPTDoubleHeadsModel
from ogpt.tf.heads import TFOpenAIGPTLMHeadModel
from ogpt.tf.pretrained import TFOpenAIGPTPreTrainedModel
from ogpt.tf.transformer import TFOpenAIGPTModel
from tests.model.small import small

TOLERANCE = 1e-5
"""Of float32, in units of the largest number of what is compared."""

TWINS: dict[type[OpenAIGPTPreTrainedModel], type[TFOpenAIGPTPreTrainedModel]] = {
    OpenAIGPTModel: TFOpenAIGPTModel,
    OpenAIGPTLMHeadModel: TFOpenAIGPTLMHeadModel,
    OpenAIGPTDoubleHeadsModel: TFOpenAIGPTDoubleHeadsModel,
    OpenAIGPTForSequenceClassification: TFOpenAIGPTForSequenceClassification,
}


def twin(model: OpenAIGPTPreTrainedModel, **options: Any) -> Any:
    """The same model in TensorFlow."""
    other = TWINS[type(model)](model.config, **options)
    arrays = {name: array_of(tensor) for name, tensor in model.stored_tensors().items()}
    report = other.load_arrays(arrays)
    assert str(report) == ""
    return other


def tf_small(kind: type[OpenAIGPTPreTrainedModel] = OpenAIGPTLMHeadModel, **changes: Any) -> Any:
    """The twin of tests.model.small's model."""
    return twin(small(kind, **changes))


def as_numpy(given: dict[str, Any]) -> dict[str, Any]:
    return {k: v.numpy() if isinstance(v, Tensor) else v for k, v in given.items()}


def gap(ours: Any, expected: Any, least: float = 0.0) -> float:
    """The largest difference in units of the largest number expected, or of `least`."""
    ours, expected = np.asarray(ours, np.float64), np.asarray(expected, np.float64)
    assert ours.shape == expected.shape, (ours.shape, expected.shape)
    if not expected.size:
        return 0.0
    far = float(np.abs(ours - expected).max())
    return far / max(float(np.abs(expected).max()), least) if far else 0.0


def parts(out: Any) -> dict[str, Any]:
    """Each output by name; of tuples, each member."""
    return {
        f"{name}[{i}]": member
        for name, value in out.items()
        for i, member in enumerate(value if isinstance(value, tuple) else (value,))
    }


def gaps(model: Any, other: Any, given: dict[str, Any], its: dict[str, Any]) -> dict[str, float]:
    """How far apart each output is, and each gradient of a random sum of all outputs.

    What is small is what rounding left of sums that cancel, so the unit has a floor: of gradients a
    hundredth of the largest number among all of them, of logits 0.1, as their terms are about 1.
    """
    model.zero_grad()
    expected = parts(model(**given))
    draw = np.random.default_rng(0)
    factors = {name: draw.normal(size=tuple(value.shape)) for name, value in expected.items()}
    torch.stack(
        [
            (torch.from_numpy(factors[name]) * value.double()).sum()
            for name, value in expected.items()
        ]
    ).sum().backward()
    stored = other.stored_variables()
    with tf.GradientTape() as tape:
        found = parts(other(**its))
        assert list(found) == list(expected)
        total = tf.add_n(
            [tf.reduce_sum(factors[name] * tf.cast(one, tf.float64)) for name, one in found.items()]
        )
    gradients = tape.gradient(total, [one.variable.value for one in stored.values()])
    far = {
        name: gap(found[name], value.detach(), 0.1 * name.startswith("logits"))
        for name, value in expected.items()
    }
    wanted = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    largest = max(gradient.abs().max().item() for gradient in wanted.values())
    for (name, one), gradient in zip(stored.items(), gradients, strict=True):
        assert (gradient is None) == (name not in wanted), name
        if gradient is not None:
            dense = tf.convert_to_tensor(gradient).numpy()
            far[f"gradient of {name}"] = gap(
                dense.T if one.transposed else dense, wanted[name], largest / 100
            )
    return far


# random calls


def drawn_model(draw: random.Random, kind: type[OpenAIGPTPreTrainedModel], **changes: Any) -> Any:
    """4 channels or more: a norm over two is nearly a step, and amplifies rounding."""
    n_head = draw.choice([1, 2, 3, 4])
    sizes = {
        "n_head": n_head,
        "n_embd": n_head * draw.choice([4, 8, 12]),
        "n_positions": draw.randint(4, 24),
        "n_layer": draw.randint(1, 3),
        "vocab_size": draw.randint(12, 80),
        "layer_norm_epsilon": draw.choice([1e-5, 1e-3]),
        "afn": draw.choice(["gelu", "gelu_new", "relu", "silu", "swish"]),
    }
    return small(kind, seed=draw.randrange(2**20), **{**sizes, **changes})


def drawn_mask(draw: random.Random, count: int, length: int, n_head: int) -> Tensor | None:
    """None, or rows padded right, left or with holes, or which query sees which key."""
    form = draw.choice(["none", "right", "left", "holes", "square", "heads"])
    if form == "none":
        return None
    lengths = torch.tensor([[draw.randint(0, length)] for _ in range(count)])
    places = torch.arange(length)[None]
    if form in ("right", "left"):
        return places < lengths if form == "right" else places >= length - lengths
    shape = {"holes": (count, length), "square": (count, length, length)}
    wanted = shape.get(form, (count, n_head, length, length))
    values = torch.tensor([draw.random() < 0.7 for _ in range(int(np.prod(wanted)))])
    return values.reshape(wanted)


def drawn_inputs(draw: random.Random, model: Any, leading: tuple[int, ...]) -> dict[str, Any]:
    """What all four models take, in random dtypes of integers."""
    config = model.config
    T, N = draw.randint(1, config.n_positions), int(np.prod(leading))
    shape = (*leading, T)

    def ids(high: int, size: tuple[int, ...]) -> Tensor:
        kinds = [torch.int64, torch.int32, torch.int16, torch.uint8]
        return torch.randint(0, high, size).to(draw.choice(kinds))

    given: dict[str, Any] = {}
    if draw.random() < 0.25:
        given["inputs_embeds"] = torch.randn(*shape, config.n_embd)
    else:
        given["input_ids"] = ids(config.vocab_size, shape)
    mask = drawn_mask(draw, N, T, config.n_head)
    if mask is not None:
        form = draw.choice([torch.int64, torch.float32, torch.bool])
        given["attention_mask"] = mask.reshape(*leading, *mask.shape[1:]).to(form)
    if draw.random() < 0.5:
        given["position_ids"] = ids(config.n_positions, draw.choice([shape, (T,)]))
    if draw.random() < 0.4:
        given["token_type_ids"] = ids(config.vocab_size, shape)
    if draw.random() < 0.3:
        layers = draw.choice([(), (config.n_layer,)])
        given["head_mask"] = torch.rand(*layers, config.n_head)
    for name in ("output_hidden_states", "output_attentions"):
        if draw.random() < 0.5:
            given[name] = True
    return given


def length_of(given: dict[str, Any]) -> int:
    embeds = given.get("inputs_embeds")
    return int(given["input_ids"].shape[-1] if embeds is None else embeds.shape[-2])


def drawn_labels(draw: random.Random, vocab_size: int, shape: tuple[int, ...]) -> Tensor:
    labels = torch.randint(0, vocab_size, shape)
    labels[torch.rand(shape) < draw.choice([0.0, 0.3])] = -100
    labels[..., -1:] = 0  # one counts at least
    return labels
