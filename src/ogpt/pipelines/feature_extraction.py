"""The states of the transformer for each token of a text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ogpt.pipelines.pipeline import Pipeline, Row
from ogpt.tokens.texts import as_texts


class FeatureExtractionPipeline(Pipeline):
    """The last hidden states of a text: `[[[numbers of a token], ...]]`, (1, T, C).

    A list of texts gives a list of those, each with one row for each of its own tokens.

    >>> import ogpt
    >>> tokenizer = ogpt.OpenAIGPTTokenizerFast(vocab={"<unk>": 0, "a</w>": 1}, merges=[])
    >>> config = ogpt.OpenAIGPTConfig(vocab_size=2, n_positions=8, n_embd=4, n_layer=1, n_head=1)
    >>> features = ogpt.pipeline("feature-extraction", ogpt.OpenAIGPTModel(config), tokenizer)
    >>> features("A a a", return_tensors=True).shape
    torch.Size([1, 3, 4])

    Args of a call:
        return_tensors: True for tensors on the CPU in place of lists.
        truncation: False: a text beyond n_positions is an error; otherwise it is cut, with a
            notice.
        max_length: Tokens to keep of a text; at most, and by default, n_positions.
        tokenize_kwargs: The two above in a dict, as transformers takes them.
    """

    task = "feature-extraction"
    arguments = ("return_tensors", "truncation", "max_length", "padding", "tokenize_kwargs")

    @classmethod
    def checked(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """As of every pipeline, with tokenize_kwargs among the others."""
        given = super().checked(arguments)
        return {**super().checked(given.pop("tokenize_kwargs", None) or {}), **given}

    def _rows(self, inputs: Any, asked: Mapping[str, Any]) -> list[Row]:
        return self._cut_rows(as_texts(inputs), None, asked)

    def _answer_batch(self, rows: Sequence[Row], asked: Mapping[str, Any]) -> list[Any]:
        ids, mask = self._batch(rows)
        hidden = self.model.base_model(ids, attention_mask=mask).last_hidden_state.cpu()
        found = [states[None, : len(row.ids)] for states, row in zip(hidden, rows, strict=True)]
        return found if asked.get("return_tensors") else [states.tolist() for states in found]
