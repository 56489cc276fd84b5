"""A classifier on the transformer: one label, several labels, or a number for a sequence."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ogpt.config.call_errors import refused
from ogpt.config.model import OpenAIGPTConfig
from ogpt.model.cache import KVCache
from ogpt.model.inputs import check_tensor, input_shape, known_options
from ogpt.model.losses import at_least_float32, class_loss, mean_over
from ogpt.model.network import network_of
from ogpt.model.outputs import SequenceClassifierOutput
from ogpt.model.pooling import kept_tokens, last_kept, states_at
from ogpt.model.pretrained import OpenAIGPTPreTrainedModel
from ogpt.notices import tell


class OpenAIGPTForSequenceClassification(OpenAIGPTPreTrainedModel):
    """The transformer with a linear layer on the hidden state of the last token.

    >>> import torch
    >>> from ogpt import OpenAIGPTConfig, OpenAIGPTForSequenceClassification
    >>> config = OpenAIGPTConfig(vocab_size=50, n_embd=16, n_layer=2, n_head=2, num_labels=3)
    >>> model = OpenAIGPTForSequenceClassification(config).eval()
    >>> ids, mask = torch.tensor([[4, 8, 15], [16, 23, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]])
    >>> out = model(ids, attention_mask=mask, labels=torch.tensor([2, 0]))
    >>> out.logits.shape
    torch.Size([2, 3])
    """

    accepts_loss_kwargs: ClassVar[bool] = True
    loss_type: ClassVar[str | None] = "ForSequenceClassification"

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__(config)
        self.num_labels = config.num_labels
        self.transformer = network_of(config)
        self.score = nn.Linear(config.n_embd, config.num_labels, config.classifier_bias)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        *,
        head_mask: Tensor | None = None,
        past_key_values: KVCache | None = None,
        use_cache: bool | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        num_items_in_batch: Tensor | int | None = None,
        **unknown: Any,
    ) -> SequenceClassifierOutput | tuple[Any, ...]:
        """Score each label.

        The causal mask lets only the last token see the whole sequence, so its hidden state is
        classified: the last token that attention_mask keeps; without such a mask, the last one that
        is not config.pad_token_id; without either, the last one.

        Args:
            input_ids: As in OpenAIGPTModel, like the four arguments after it.
            attention_mask: (B, S), (B, T, S) or (B, n_head, T, S).
            token_type_ids: (B, T).
            position_ids: (B, T) or (T,).
            inputs_embeds: (B, T, C).
            labels: (B,) classes; (B,) or (B, num_labels) numbers for regression; or
                (B, num_labels) of 0 and 1 for several labels at once. config.problem_type says
                which. If it is None, num_labels=1 means regression, integers mean classes, and
                other dtypes mean several labels.
            head_mask: As in OpenAIGPTModel, like the five arguments after it.
            past_key_values: A cache of earlier tokens.
            use_cache: Create a cache, and return it.
            output_attentions: Also return the probabilities.
            output_hidden_states: Also return the hidden states.
            return_dict: False returns a tuple.
            num_items_in_batch: Divide the summed loss by this instead of the number of labels, for
                optimizer steps of several micro-batches.
            **unknown: As in OpenAIGPTModel.

        Raises:
            ConfigError: labels of another shape, or a class that does not exist.
            UnknownArgument: an argument that no model has.
        """
        known_options(unknown, type(self).forward, self.config.parity.arguments)
        shape = input_shape(input_ids, inputs_embeds, self.config.n_embd)
        given = (input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds)
        asked = {
            "head_mask": head_mask,
            "past_key_values": past_key_values,
            "use_cache": use_cache,
            "output_attentions": output_attentions,
            "output_hidden_states": output_hidden_states,
        }
        out = self.transformer(*given, **asked, return_dict=True)
        hidden = out.last_hidden_state.reshape(shape.N, shape.T, -1)
        kept = kept_tokens(attention_mask, shape, self.config.n_head, out.past_key_values)
        pad = self.config.pad_token_id
        if kept is None and input_ids is not None and pad is not None:
            kept = (input_ids != pad).reshape(shape.N, shape.T)
        # (N, T, C) -> (N, C) -> (N, num_labels)
        pooled = hidden[:, -1] if kept is None else states_at(hidden, last_kept(kept))
        logits = self.score(pooled)
        loss = None
        if labels is not None:
            loss = self._loss(logits, labels, shape.leading, num_items_in_batch)
        result = SequenceClassifierOutput(
            loss=loss,
            logits=shape.restore(logits),
            past_key_values=out.past_key_values,
            hidden_states=out.hidden_states,
            attentions=out.attentions,
        )
        if return_dict is None:
            return_dict = self.config.use_return_dict
        return result if return_dict else result.to_tuple()

    def _problem(self, labels: Tensor) -> str:
        """The problem_type that the labels imply; it is never written to the configuration."""
        if self.config.num_labels == 1:
            return "regression"
        whole = not labels.is_floating_point() and labels.dtype != torch.bool
        return "single_label_classification" if whole else "multi_label_classification"

    def _loss(
        self,
        logits: Tensor,
        labels: Tensor,
        leading: tuple[int, ...],
        num_items: Tensor | int | None,
    ) -> Tensor:
        """The mean loss for config.problem_type, (); logits (N, num_labels)."""
        problem = self.config.problem_type or self._problem(check_tensor(labels, "labels"))
        if problem == "single_label_classification":
            if logits.shape[-1] == 1 and not torch.compiler.is_compiling():
                tell("one-label")
            return class_loss(logits, labels, "labels", leading, num_items)
        shapes = {tuple(logits.shape), (*leading, logits.shape[-1])}
        if logits.shape[-1] == 1:
            shapes |= {leading, (len(logits),)}
        if tuple(labels.shape) not in shapes:
            allowed = (*leading, logits.shape[-1])
            found = tuple(labels.shape)
            raise refused("label-shape", shape=found, allowed=allowed, problem=problem)
        scores = at_least_float32(logits)
        wanted = labels.reshape(scores.shape).to(scores)
        if problem == "regression":
            total = F.mse_loss(scores, wanted, reduction="sum")
        else:
            total = F.binary_cross_entropy_with_logits(scores, wanted, reduction="sum")
        return mean_over(total, scores.numel() if num_items is None else num_items)
