"""Outputs of the models and of generate(): fields by attribute, key or index."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ogpt.config.model_output import ModelOutput
from ogpt.model.cache import KVCache


@dataclass
class BaseModelOutput(ModelOutput):
    """Output of OpenAIGPTModel. `...` are the axes of input_ids before T: B, or B, K for choices.

    >>> import torch
    >>> from ogpt import BaseModelOutput
    >>> out = BaseModelOutput(torch.zeros(1, 3, 8))
    >>> out[0].shape, out.keys()
    (torch.Size([1, 3, 8]), dict_keys(['last_hidden_state']))
    """

    last_hidden_state: Tensor
    """(..., T, C)."""
    past_key_values: KVCache | None = None
    """The cache that was passed or requested, with the new tokens appended."""
    hidden_states: tuple[Tensor, ...] | None = None
    """n_layer + 1 of (..., T, C): the embeddings, then each block."""
    attentions: tuple[Tensor, ...] | None = None
    """n_layer of (..., n_head, T, S)."""


@dataclass
class CausalLMOutput(ModelOutput):
    """Output of OpenAIGPTLMHeadModel.

    >>> import torch
    >>> from ogpt import CausalLMOutput
    >>> out = CausalLMOutput(logits=torch.zeros(1, 3, 50))
    >>> "loss" in out, out["logits"].shape  # no labels were passed
    (False, torch.Size([1, 3, 50]))
    """

    loss: Tensor | None = None
    """(), float32 or wider: mean over the labels that are not ignored."""
    logits: Tensor | None = None
    """(..., T or kept, V)."""
    past_key_values: KVCache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class OpenAIGPTDoubleHeadsModelOutput(ModelOutput):
    """Output of OpenAIGPTDoubleHeadsModel.

    >>> import torch
    >>> from ogpt import OpenAIGPTDoubleHeadsModelOutput
    >>> loss, logits = torch.tensor(0.5), torch.zeros(1, 2, 3, 9)
    >>> out = OpenAIGPTDoubleHeadsModelOutput(mc_loss=loss, logits=logits)
    >>> out.keys(), "loss" in out  # fields that are None do not count
    (dict_keys(['mc_loss', 'logits']), False)
    >>> out[0] is out.mc_loss
    True
    """

    loss: Tensor | None = None
    """() of the language model: mean over the labels of all choices that are not ignored."""
    mc_loss: Tensor | None = None
    """() of the choices: mean over the batch."""
    logits: Tensor | None = None
    """(B, K, T, V)."""
    mc_logits: Tensor | None = None
    """(B, K): one score for each choice."""
    past_key_values: KVCache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class SequenceClassifierOutput(ModelOutput):
    """Output of OpenAIGPTForSequenceClassification.

    >>> import torch
    >>> from ogpt import SequenceClassifierOutput
    >>> out = SequenceClassifierOutput(loss=torch.tensor(0.5), logits=torch.tensor([[0.1, 0.9]]))
    >>> loss, logits = out.to_tuple()
    >>> logits.argmax(-1).item()
    1
    """

    loss: Tensor | None = None
    """(): mean over the batch."""
    logits: Tensor | None = None
    """(..., num_labels)."""
    past_key_values: KVCache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass
class GenerateDecoderOnlyOutput(ModelOutput):
    """Output of `generate(return_dict_in_generate=True)`: greedy, sampling and contrastive search.

    >>> import torch
    >>> from ogpt import GenerateDecoderOnlyOutput, OpenAIGPTConfig, OpenAIGPTLMHeadModel
    >>> config = OpenAIGPTConfig(vocab_size=9, n_positions=8, n_embd=4, n_layer=1, n_head=1)
    >>> asked = {"max_new_tokens": 2, "return_dict_in_generate": True, "output_scores": True}
    >>> out = OpenAIGPTLMHeadModel(config).generate(torch.tensor([[3, 1]]), **asked)
    >>> isinstance(out, GenerateDecoderOnlyOutput), out.sequences.shape, len(out.scores)
    (True, torch.Size([1, 4]), 2)
    """

    sequences: Tensor
    """(rows, longest), int64: prompt and continuation, padded with pad_token_id."""
    scores: tuple[Tensor, ...] | None = None
    """For each new token (rows, V) after processors and warpers; -inf for excluded tokens."""
    logits: tuple[Tensor, ...] | None = None
    """For each new token (rows, V), as the model computed them."""
    attentions: tuple[tuple[Tensor, ...], ...] | None = None
    """For each new token n_layer of (rows, n_head, T, T), of the T tokens before it."""
    hidden_states: tuple[tuple[Tensor, ...], ...] | None = None
    """For each new token n_layer + 1 of (rows, T, C), of the T tokens before it."""


@dataclass
class GenerateBeamDecoderOnlyOutput(ModelOutput):
    """Output of `generate(return_dict_in_generate=True)` with beams.

    >>> import torch
    >>> from ogpt import GenerateBeamDecoderOnlyOutput, OpenAIGPTConfig, OpenAIGPTLMHeadModel
    >>> config = OpenAIGPTConfig(vocab_size=9, n_positions=8, n_embd=4, n_layer=1, n_head=1)
    >>> asked = {"max_new_tokens": 2, "return_dict_in_generate": True, "num_beams": 2}
    >>> out = OpenAIGPTLMHeadModel(config).generate(torch.tensor([[3, 1]]), **asked)
    >>> isinstance(out, GenerateBeamDecoderOnlyOutput), out.sequences_scores.shape
    (True, torch.Size([1]))
    """

    sequences: Tensor
    """(rows, longest), int64: prompt and continuation, padded with pad_token_id."""
    sequences_scores: Tensor | None = None
    """(rows,): sum of log-probabilities divided by length ** length_penalty."""
    scores: tuple[Tensor, ...] | None = None
    """For each new token (B * num_beams, V): log-probabilities after processors and warpers."""
    logits: tuple[Tensor, ...] | None = None
    """For each new token (B * num_beams, V), as the model computed them."""
    beam_indices: Tensor | None = None
    """(rows, longest continuation): the beam that each token extended; -1 after the end."""
    attentions: tuple[tuple[Tensor, ...], ...] | None = None
    """For each new token n_layer of (B * num_beams, n_head, T, T), of the T tokens before it."""
    hidden_states: tuple[tuple[Tensor, ...], ...] | None = None
    """For each new token n_layer + 1 of (B * num_beams, T, C), of the T tokens before it."""


for _output in (
    BaseModelOutput,
    CausalLMOutput,
    OpenAIGPTDoubleHeadsModelOutput,
    SequenceClassifierOutput,
):  # torch.export needs to know the types of outputs, and torch.export.save their names
    torch.export.register_dataclass(_output, serialized_type_name=f"ogpt.{_output.__name__}")
