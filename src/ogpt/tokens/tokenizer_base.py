"""TokenizerBase: text to model inputs. Names and behaviour are Hugging Face's."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from tokenizers import Encoding

from ogpt.errors import TokenizerError
from ogpt.tokens import shaping
from ogpt.tokens.batch_encoding import FIELDS, BatchEncoding, concatenated, without_notices
from ogpt.tokens.call_options import CallOptions
from ogpt.tokens.chunk_encoder import Ids
from ogpt.tokens.id_inputs import IdInputs
from ogpt.tokens.id_row import IdRow
from ogpt.tokens.texts import Text, Texts, as_texts, columns_of


class TokenizerBase(IdInputs):
    """The part of a tokenizer that does not depend on how text is split into words."""

    split_special_tokens: bool

    # ---- what a tokenizer provides

    @abstractmethod
    def encode_batch_arrays(
        self, texts: Sequence[str], *, split_special_tokens: bool | None = None
    ) -> list[Ids]:
        """Return the ids of each text as an array: uint16 if every id fits, else uint32.

        Use it for corpora: it is many times faster than the library of a tokenizer, because
        repeated words are cached. The ids are the same.
        """

    @abstractmethod
    def _pieces(self, text: str, split_special: bool) -> list[str]:
        """Return the tokens of a text."""

    @abstractmethod
    def _encode_texts(self, texts: Sequence[Text], split_special: bool) -> list[Encoding]:
        """Encode each text, or each list of words."""

    # ---- text to ids

    def __call__(
        self,
        text: Texts | None = None,
        text_pair: Texts | None = None,
        text_target: Texts | None = None,
        text_pair_target: Texts | None = None,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        pad_to_multiple_of: int | None = None,
        padding_side: str | None = None,
        return_tensors: str | None = None,
        return_token_type_ids: bool | None = None,
        return_attention_mask: bool | None = None,
        return_overflowing_tokens: bool = False,
        return_special_tokens_mask: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
        verbose: bool = True,
        *,
        split_special_tokens: bool | None = None,
        tokenizer_kwargs: Mapping[str, Any] | None = None,
    ) -> BatchEncoding:
        """Encode one text or several, or pairs of texts, which are concatenated.

        Args:
            text: One text or several; a list of pairs is pairs of texts.
            text_pair: Second text or texts; nothing separates the two without a template.
            text_target: Text or texts whose ids become `labels`; without text, the result is
                theirs.
            text_pair_target: Second text or texts of text_target.
            add_special_tokens: Put the tokens of `template` around the texts, if there is one.
            padding: True or "longest", "max_length", False; needs a pad_token.
            truncation: True or "longest_first", "only_first", "only_second", False. Passing only
                max_length also truncates.
            max_length: Maximum tokens per row, both texts together; None uses model_max_length.
            stride: Tokens that an overflow row repeats from the row before, below max_length.
            is_split_into_words: Each text is a list of words, which are tokenized separately.
            pad_to_multiple_of: Pad to a multiple of this number of tokens.
            padding_side: "right" or "left"; None uses that of the tokenizer.
            return_tensors: "np", "pt" or "tf" for int64 arrays (B, T); None for lists.
            return_token_type_ids: Add `token_type_ids`, 0 for the first text and 1 for the second;
                None: if model_input_names has them.
            return_attention_mask: Add `attention_mask`, 0 for padding; None: if model_input_names
                has it.
            return_overflowing_tokens: Return the tokens that truncation removes as further rows,
                and add `overflow_to_sample_mapping`, the index of the text of each row.
            return_special_tokens_mask: Add `special_tokens_mask`, 1 for padding.
            return_offsets_mapping: Add `offset_mapping`, first and past-the-end character.
            return_length: Add `length`, the tokens of each row including padding.
            verbose: Has no effect.
            split_special_tokens: True reads special tokens in the text as other text: the safe way
                to encode text of users. None uses the setting of the tokenizer, False by default.
            tokenizer_kwargs: Further of these arguments by name.

        Raises:
            TokenizerError: an invalid argument, or unequal numbers of texts and second texts.
        """
        options = CallOptions(  # in the order of the arguments
            add_special_tokens,
            padding,
            truncation,
            max_length,
            stride,
            is_split_into_words,
            pad_to_multiple_of,
            padding_side,
            return_tensors,
            return_token_type_ids,
            return_attention_mask,
            return_overflowing_tokens,
            return_special_tokens_mask,
            return_offsets_mapping,
            return_length,
            verbose,
            split_special_tokens,
        )
        if tokenizer_kwargs:
            options = replace(options, **tokenizer_kwargs)
        given: list[tuple[Any, Any]] = []
        if text is not None or text_target is None:
            given.append((text, text_pair))
        if text_target is not None:
            given.append((text_target, text_pair_target))
        found = [self._encoded(first, second, options) for first, second in given]
        if len(found) > 1:
            found[0]["labels"] = found[1]["input_ids"]
        return found[0]

    def _encoded(self, text: Texts, text_pair: Texts | None, options: CallOptions) -> BatchEncoding:
        if options.return_offsets_mapping and not self.is_fast:
            raise TokenizerError(
                f"return_offsets_mapping is True; allowed for {type(self).__name__}: False, as "
                "ftfy changes the text before it is split",
                hint="use OpenAIGPTTokenizerFast",
            )
        columns, single = columns_of(text, text_pair, options.is_split_into_words)
        limit = self.model_max_length if options.max_length is None else options.max_length
        template = self.template if options.add_special_tokens else None
        reserved = template.count(len(columns) > 1) if template else 0
        cut = options.cut(limit, reserved, self.truncation_side)
        fill = options.fill(limit, self.padding_side, self.pad_token, self.pad_token_id)
        split = self._splits(options.split_special_tokens)
        overflows = options.return_overflowing_tokens
        samples: list[int] = []

        def encode() -> list[Encoding]:
            encoded = (self._encode_texts(column, split) for column in columns)
            rows = [list(row) for row in zip(*encoded, strict=True)]
            if overflows:
                rows, found = shaping.overflow(rows, cut)
                samples.extend(found)
            else:
                shaping.truncate(rows, cut)
            join = template.joiner(self._id_of) if template else concatenated
            encodings = list(map(join, rows))
            shaping.pad(encodings, fill)
            return encodings

        shaped: Sequence[Encoding | IdRow]
        encodings: Sequence[Encoding] | Callable[[], Sequence[Encoding]]
        if template or overflows or options.return_offsets_mapping or options.is_split_into_words:
            shaped = encodings = encode()
        else:  # ids alone are found many times faster than complete Encodings
            shaped = self._shape_ids(columns, split, cut, fill)
            encodings = partial(without_notices, encode)
        wanted = options.wanted(self.model_input_names)
        data: dict[str, Any] = {
            name: list(map(FIELDS[name], shaped)) for name, asked in wanted.items() if asked
        }
        if options.return_tensors is None and single and not overflows:
            data = {name: value[0] for name, value in data.items()}
        data |= {"overflow_to_sample_mapping": samples} if overflows else {}
        data |= {"length": list(map(len, shaped))} if options.return_length else {}
        return BatchEncoding(
            data,
            encodings,
            options.return_tensors,
            n_sequences=len(columns),
            is_fast=self.is_fast,
        )

    def encode(
        self,
        text: Texts,
        text_pair: Texts | None = None,
        add_special_tokens: bool = True,
        **options: Any,
    ) -> Any:
        """Return the ids of a text; `options` are those of calling the tokenizer."""
        encoded = self(text, text_pair, add_special_tokens=add_special_tokens, **options)
        return encoded["input_ids"]

    def encode_plus(
        self,
        text: Texts,
        text_pair: Texts | None = None,
        add_special_tokens: bool = True,
        **options: Any,
    ) -> BatchEncoding:
        """Encode a text, as calling the tokenizer does; `options` are the same."""
        return self(text, text_pair, add_special_tokens=add_special_tokens, **options)

    def batch_encode_plus(
        self, batch_text_or_text_pairs: Texts, add_special_tokens: bool = True, **options: Any
    ) -> BatchEncoding:
        """Encode several texts or pairs, as calling does; `options` are the same."""
        return self(batch_text_or_text_pairs, add_special_tokens=add_special_tokens, **options)

    def tokenize(
        self,
        text: str,
        pair: str | None = None,
        add_special_tokens: bool = False,
        *,
        split_special_tokens: bool | None = None,
    ) -> list[str]:
        """Return the tokens of a text or a pair.

        An unknown character is `<unk>` with OpenAIGPTTokenizerFast, and itself with
        OpenAIGPTTokenizer.

        Args:
            text: The text.
            pair: A second text.
            add_special_tokens: Put the tokens of `template` around the texts, if there is one.
            split_special_tokens: Read special tokens in the text as other text; None uses the
                setting of the tokenizer.
        """
        split = self._splits(split_special_tokens)
        (given,) = as_texts(text)
        parts = [self._pieces(given, split)]
        parts += [] if pair is None else [self._pieces(pair, split)]
        if self.template is None or not add_special_tokens:
            return [token for part in parts for token in part]
        start, middle, end = self.template
        second = [middle, *parts[1]] if len(parts) > 1 else []
        return [start, *parts[0], *second, end]

    def _splits(self, split_special_tokens: bool | None) -> bool:
        """Return whether special tokens in a text are read as other text."""
        return self.split_special_tokens if split_special_tokens is None else split_special_tokens

    def _shape_ids(
        self,
        columns: Sequence[Any],
        split: bool,
        cut: shaping.TruncationParams,
        fill: shaping.PaddingParams,
    ) -> list[IdRow]:
        """Encode, truncate and pad rows, with only the ids."""
        encoded = (
            self.encode_batch_arrays(column, split_special_tokens=split) for column in columns
        )
        rows = [[IdRow(ids.tolist()) for ids in row] for row in zip(*encoded, strict=True)]
        shaping.truncate(rows, cut)
        shaped = list(map(IdRow.joined, rows))
        shaping.pad(shaped, fill)
        return shaped
