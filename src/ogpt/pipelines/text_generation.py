"""Text generation: the prompt as it was given, one space, and its continuation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from ogpt.errors import ConfigError
from ogpt.generation.choosing.generation_config import by_name
from ogpt.generation.choosing.settings import OF_TEXT, GenerationSettings
from ogpt.generation.texts.request import tell_unknown
from ogpt.generation.texts.writer import decode, space_follows
from ogpt.pipelines.base_pipeline import EncodedText, Pipeline, checked_texts, tell_padding
from ogpt.tokens.cleaning import clean_up_tokenization

MAX_NEW_TOKENS = 256
TEMPERATURE = 0.7
"""Defaults of transformers 5, if neither the call nor the model sets them."""

_LENGTHS = ("max_new_tokens", "max_length")
_COUNT_THE_PROMPT = ("max_length", "min_length")


class TextGenerationPipeline(Pipeline):
    """Continue a text: `[{"generated_text": ...}]`, one dict per returned sequence.

    A list of texts gives a list of these lists. generated_text begins with the prompt as it was
    given, and a space if the prompt does not end with white space. Unless the call,
    generation_config or config.task_specific_params sets them, do_sample is True, temperature is
    0.7 and max_new_tokens is 256, or the number that fits n_positions.

    >>> import ogpt
    >>> tokenizer = ogpt.OpenAIGPTTokenizerFast(vocab={"<unk>": 0, "a</w>": 1}, merges=[])
    >>> config = ogpt.OpenAIGPTConfig(vocab_size=2, n_positions=8, n_embd=4, n_layer=1, n_head=1)
    >>> write = ogpt.pipeline("text-generation", ogpt.OpenAIGPTLMHeadModel(config), tokenizer)
    >>> write(["A", "A a"], max_new_tokens=2, suppress_tokens=[0])
    [[{'generated_text': 'A a a'}], [{'generated_text': 'A a a a'}]]

    Args of a call:
        return_full_text: False omits the prompt, and keeps the space.
        return_tensors: True returns `{"generated_token_ids": [...]}`, with those of the prompt.
        clean_up_tokenization_spaces: Remove the space before punctuation in the new text; None: the
            tokenizer's setting.
        skip_special_tokens: False keeps special tokens in the text.
        stop_sequence: Texts that end the text and are part of it; as stop_strings.
        generation_config, logits_processor, stopping_criteria, streamer and all others: arguments
        of
            `OpenAIGPTLMHeadModel.generate`.
    """

    task = "text-generation"
    arguments = (
        "return_full_text",
        "return_tensors",
        "clean_up_tokenization_spaces",
        "skip_special_tokens",
        "stop_sequence",
        "stop_strings",
        "max_length",
        "min_length",
        *(item.name for item in fields(GenerationSettings) if item.name not in OF_TEXT),
        "generation_config",
        "logits_processor",
        "stopping_criteria",
        "streamer",
        "use_cache",
    )
    _OWN = arguments[:5]

    @classmethod
    def checked(cls, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """As in every pipeline; return_tensors and return_full_text exclude each other."""
        given = super().checked(arguments)
        if given.get("return_tensors") and given.get("return_full_text") is not None:
            raise ConfigError(
                "return_tensors and return_full_text are both given; allowed: one of the two",
                hint="omit return_tensors to get text",
            )
        return given

    def __call__(  # type: ignore[override]  # the name of the input is transformers'
        self, text_inputs: Any, *, batch_size: int | None = None, **arguments: Any
    ) -> Any:
        """As in every pipeline."""
        return super().__call__(text_inputs, batch_size=batch_size, **arguments)

    def _rows(self, inputs: Any, asked: Mapping[str, Any], first_number: int) -> list[EncodedText]:
        if asked.get("pad_token_id") is not None:
            tell_padding("pad_token_id")
        texts = checked_texts(inputs, first_number)
        ids = self.tokenizer(texts, add_special_tokens=False)["input_ids"]
        rows = list(map(EncodedText, texts, ids))
        tell_unknown(self.tokenizer, [token_id for row in rows for token_id in row.ids])
        return rows

    def _answer_batch(self, rows: Sequence[EncodedText], asked: Mapping[str, Any]) -> list[Any]:
        chosen = self._arguments(asked)
        groups: dict[tuple[int, int | None], list[int]] = {}
        for place, row in enumerate(rows):  # lengths may count the prompt
            n_prompt = len(row.ids)
            counted = n_prompt if any(name in chosen for name in _COUNT_THE_PROMPT) else 0
            room = min(MAX_NEW_TOKENS, max(1, self.model.config.n_positions - n_prompt))
            most = None if any(name in chosen for name in _LENGTHS) else room
            groups.setdefault((counted, most), []).append(place)
        answers: list[Any] = [None] * len(rows)
        for (_, most), places in groups.items():
            length = {} if most is None else {"max_new_tokens": most}
            members = [rows[place] for place in places]
            generated = self._generate(members, {**chosen, **length})
            for place, row, continuations in zip(places, members, generated, strict=True):
                answers[place] = [self._record(row, new, asked) for new in continuations]
        return answers

    def _arguments(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of generate: those of the call, then of the model, then the defaults."""
        given = {name: value for name, value in asked.items() if name not in self._OWN}
        stop = asked.get("stop_sequence")
        if stop is not None:
            given["stop_strings"] = [stop] if isinstance(stop, str) else list(stop)
        layers = (by_name(self.model.generation_config), by_name(given.get("generation_config")))
        chosen = {k: v for layer in (*layers, given) for k, v in layer.items() if v is not None}
        of_task = (self.model.config.task_specific_params or {}).get(self.task, {})
        if any(name in chosen for name in _LENGTHS):
            of_task = {name: value for name, value in of_task.items() if name not in _LENGTHS}
        chosen = {**of_task, **chosen}
        chosen.setdefault("do_sample", not chosen.get("penalty_alpha"))
        if chosen["do_sample"]:
            chosen.setdefault("temperature", TEMPERATURE)
        return chosen

    def _generate(
        self, rows: Sequence[EncodedText], chosen: Mapping[str, Any]
    ) -> list[list[list[int]]]:
        """The new ids of each continuation of each row."""
        vocab_size = self.model.config.vocab_size
        end = vocab_size  # fills rows that have ended; no token has this id
        no_token = range(len(self.tokenizer), vocab_size)
        ids, mask = self._batch(rows, "left")
        whole = self.model.generate(
            ids,
            attention_mask=mask,
            tokenizer=self.tokenizer,
            **{
                **chosen,
                "pad_token_id": end,
                "suppress_tokens": [*(chosen.get("suppress_tokens") or ()), *no_token],
                "return_dict_in_generate": False,
            },
        )
        new = whole[:, ids.shape[1] :].tolist()
        ended = [one[: one.index(end)] if end in one else one for one in new]
        each = len(ended) // len(rows)
        return [ended[first : first + each] for first in range(0, len(ended), each)]

    def _record(self, row: EncodedText, new: list[int], asked: Mapping[str, Any]) -> dict[str, Any]:
        if asked.get("return_tensors"):
            return {"generated_token_ids": [*row.ids, *new]}
        if asked.get("skip_special_tokens", True):
            special = {*self.tokenizer.all_special_ids} - {self.tokenizer.unk_token_id}
            new = [token_id for token_id in new if token_id not in special]
        text = decode(self.tokenizer, new)
        if text and space_follows(self.tokenizer, row.text):
            text = " " + text
        clean_up = asked.get("clean_up_tokenization_spaces")
        if self.tokenizer.clean_up_tokenization_spaces if clean_up is None else clean_up:
            text = clean_up_tokenization(text)
        full = asked.get("return_full_text") is not False
        return {"generated_text": row.text + text if full else text}
