"""Labels of a text, with their scores."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ogpt.errors import ConfigError, DataError
from ogpt.generation.texts.request import check_unicode
from ogpt.notices import collecting
from ogpt.pipelines.base_pipeline import EncodedText, Pipeline
from ogpt.tasks.task_spec import CONFIG_KEY, task_of
from ogpt.tokens.texts import as_texts

if TYPE_CHECKING:
    from torch import Tensor


class TextClassificationPipeline(Pipeline):
    """The label of a text: `[{"label": ..., "score": ...}]`, or a list of such dicts for a list.

    An input may be a pair, `{"text": ..., "text_pair": ...}`. Of a model that was fine-tuned for
    similarity, a pair is scored in both orders and the logits are added (paper, section 3.3);
    transformers scores only the given order. With top_k or return_all_scores each
    answer is a list of dicts. As in transformers, the answer to a single text is inside a list,
    unless the call itself has top_k.

    >>> import ogpt
    >>> tokenizer = ogpt.OpenAIGPTTokenizerFast(vocab={"<unk>": 0, "a</w>": 1}, merges=[])
    >>> sizes = {"vocab_size": 2, "n_positions": 8, "n_embd": 4, "n_layer": 1, "n_head": 1}
    >>> config = ogpt.OpenAIGPTConfig(**sizes, id2label={0: "no", 1: "yes"})
    >>> model = ogpt.OpenAIGPTForSequenceClassification(config)
    >>> classify = ogpt.pipeline("text-classification", model, tokenizer)
    >>> sorted(found["label"] for found in classify("A a", top_k=None))
    ['no', 'yes']

    Args of a call:
        top_k: Return the k top labels, best first; None returns all.
        return_all_scores: True returns all labels in the order of their ids (transformers 4).
        function_to_apply: Turns logits into scores: "sigmoid", "softmax" or "none". The default is
            none for regression, sigmoid for one label or for multiple labels at once, else softmax.
        truncation: False makes a text beyond n_positions an error; otherwise it is truncated, with
            a notice.
        max_length: Maximum number of tokens of a text; at most, and by default, n_positions.
    """

    task = "text-classification"
    arguments = (
        "top_k",
        "return_all_scores",
        "function_to_apply",
        "truncation",
        "max_length",
        "padding",
    )

    @classmethod
    def checked(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """As in every pipeline, with top_k and function_to_apply in their ranges."""
        given = super().checked(arguments)
        top_k, function = given.get("top_k"), given.get("function_to_apply")
        if top_k is not None and (type(top_k) is not int or top_k < 1):
            raise ConfigError(
                f"top_k is {top_k!r}; allowed: a whole number, 1 or more, or None",
                hint="omit it to get the top label; None returns all labels",
            )
        if function is not None and str(function).lower() not in ("sigmoid", "softmax", "none"):
            raise ConfigError(
                f"function_to_apply is {function!r}; allowed: sigmoid, softmax, none",
                hint="omit it: the configuration sets it",
            )
        return given

    def __call__(self, inputs: Any, *, batch_size: int | None = None, **arguments: Any) -> Any:
        """As in every pipeline; a single text without top_k gives a list of one."""
        found = super().__call__(inputs, batch_size=batch_size, **arguments)
        return [found] if isinstance(inputs, str) and "top_k" not in arguments else found

    def _rows(self, inputs: Any, asked: Mapping[str, Any], first_number: int) -> list[EncodedText]:
        if not isinstance(inputs, Iterable):
            return self._cut_rows(as_texts(inputs), None, asked)
        given = [as_texts(_pair(one)) for one in inputs]
        for number, one in enumerate(given, first_number):
            for text in one:
                check_unicode(f"text {number}", text)
        rows: dict[int, EncodedText] = {}
        for size in (1, 2):  # apart, as a text gets other special tokens than a pair
            places = [place for place, one in enumerate(given) if len(one) == size]
            columns = [list(column) for column in zip(*(given[p] for p in places), strict=True)]
            if columns:
                rows.update(zip(places, self._rows_of(columns, asked), strict=True))
        return [rows[place] for place in range(len(given))]

    def _rows_of(
        self, columns: Sequence[list[str]], asked: Mapping[str, Any]
    ) -> Sequence[EncodedText]:
        """The rows of texts, or of first and second texts."""
        first, *second = columns
        rows = self._cut_rows(first, second[0] if second else None, asked)
        if not second or not self._both_orders:
            return rows
        with collecting():  # the notices of the given order are enough
            others = self._cut_rows(second[0], first, asked)
        return [replace(row, backward=other.ids) for row, other in zip(rows, others, strict=True)]

    @property
    def _both_orders(self) -> bool:
        config = self.model.config
        return hasattr(config, CONFIG_KEY) and task_of(config, "memory").family == "similarity"

    def _answer_batch(self, rows: Sequence[EncodedText], asked: Mapping[str, Any]) -> list[Any]:
        logits = self._logits(rows)
        others = [EncodedText(row.text, list(row.backward)) for row in rows if row.backward]
        if others:
            places = [place for place, row in enumerate(rows) if row.backward]
            logits[places] += self._logits(others)
        function = str(asked.get("function_to_apply") or self._function()).lower()
        if function == "softmax":
            logits = logits.softmax(-1)
        elif function == "sigmoid":
            logits = logits.sigmoid()
        return [self._labelled(scores, asked) for scores in logits.tolist()]

    def _logits(self, rows: Sequence[EncodedText]) -> Tensor:
        ids, mask = self._batch(rows)
        logits: Tensor = self.model(ids, attention_mask=mask).logits.float().cpu()
        return logits

    def _function(self) -> str:
        problem = self.model.config.problem_type
        if problem == "regression":
            return "none"
        several = problem == "multi_label_classification"
        return "sigmoid" if several or self.model.config.num_labels == 1 else "softmax"

    def _labelled(self, scores: Sequence[float], asked: Mapping[str, Any]) -> Any:
        names = self.model.config.id2label
        labels = [{"label": names[index], "score": score} for index, score in enumerate(scores)]
        if "top_k" not in asked and asked.get("return_all_scores"):
            return labels
        best = sorted(labels, key=lambda label: label["score"], reverse=True)
        return best[: asked["top_k"]] if "top_k" in asked else best[0]


def _pair(one: Any) -> tuple[Any, ...]:
    """A text, or a text and its second text."""
    if not isinstance(one, Mapping):
        return (one,)
    if "text" not in one or not {*one} <= {"text", "text_pair"}:
        raise DataError(
            f"an input has the keys {', '.join(map(repr, one))}; allowed: 'text', and 'text_pair'",
            hint="pass a text, or {'text': ..., 'text_pair': ...}",
        )
    second = one.get("text_pair")
    return (one["text"],) if second is None else (one["text"], second)
