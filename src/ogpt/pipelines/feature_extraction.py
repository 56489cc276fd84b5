"""Hidden states of the transformer for each token of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ogpt.pipelines.base_pipeline import EncodedText, Pipeline, checked_texts


class FeatureExtractionPipeline(Pipeline):
    """The last hidden states of a text: `[[[numbers of a token], ...]]`, (1, T, C).

    A list of texts gives a list of these, each with one row per token of its text.

    >>> import ogpt
    >>> tokenizer = ogpt.OpenAIGPTTokenizerFast(vocab={"<unk>": 0, "a</w>": 1}, merges=[])
    >>> config = ogpt.OpenAIGPTConfig(vocab_size=2, n_positions=8, n_embd=4, n_layer=1, n_head=1)
    >>> features = ogpt.pipeline("feature-extraction", ogpt.OpenAIGPTModel(config), tokenizer)
    >>> features("A a a", return_tensors=True).shape
    torch.Size([1, 3, 4])

    Args of a call:
        return_tensors: True returns tensors on the CPU instead of lists.
        truncation: False makes a text beyond n_positions an error; otherwise it is truncated, with
            a notice.
        max_length: Maximum number of tokens of a text; at most, and by default, n_positions.
        tokenize_kwargs: The two above in a dict, as in transformers.
    """

    task = "feature-extraction"
    arguments = ("return_tensors", "truncation", "max_length", "padding", "tokenize_kwargs")

    @classmethod
    def checked(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """As in every pipeline, with tokenize_kwargs merged into the arguments."""
        given = super().checked(arguments)
        return {**super().checked(given.pop("tokenize_kwargs", None) or {}), **given}

    def _rows(self, inputs: Any, asked: Mapping[str, Any], first_number: int) -> list[EncodedText]:
        return self._cut_rows(checked_texts(inputs, first_number), None, asked)

    def _answer_batch(self, rows: Sequence[EncodedText], asked: Mapping[str, Any]) -> list[Any]:
        ids, mask = self._batch(rows)
        hidden = self.model.base_model(ids, attention_mask=mask).last_hidden_state.cpu()
        found = [states[None, : len(row.ids)] for states, row in zip(hidden, rows, strict=True)]
        return found if asked.get("return_tensors") else [states.tolist() for states in found]
