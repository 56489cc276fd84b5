"""TokenizerBase: special tokens, calling, padding, truncation and decoding.

Names and behaviour are Hugging Face's, with three corrections: clean-up of spaces works in every
version, skip_special_tokens keeps `<unk>`, and ids beyond the vocabulary become `<unk>` instead of
vanishing.
"""

from __future__ import annotations

import reprlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from operator import index
from typing import Any

import numpy as np
from tokenizers import AddedToken, Encoding

from ogpt.errors import TokenizerError, TokenOutOfRange
from ogpt.tokens import shaping
from ogpt.tokens.batch_encoding import FIELDS, BatchEncoding, concatenated, without_notices
from ogpt.tokens.chunk_encoder import Ids
from ogpt.tokens.cleaning import clean_up_tokenization
from ogpt.tokens.id_row import IdRow
from ogpt.tokens.special_tokens import NAMES, SpecialToken, SpecialTokenId
from ogpt.tokens.surface import Surface, readable
from ogpt.tokens.template import Template
from ogpt.tokens.texts import Text, columns_of, texts_of


class TokenizerBase(ABC):
    """The part of a tokenizer that does not depend on how text is split into words."""

    pre_tokenizer: str
    is_fast: bool
    model_input_names = ("input_ids", "attention_mask")

    model_max_length: int
    padding_side: shaping.Side
    truncation_side: shaping.Side
    clean_up_tokenization_spaces: bool
    additional_special_tokens: list[str]
    template: Template | None = None
    _special_tokens: dict[str, str]

    unk_token = SpecialToken()
    bos_token = SpecialToken()
    eos_token = SpecialToken()
    sep_token = SpecialToken()
    pad_token = SpecialToken()
    cls_token = SpecialToken()
    mask_token = SpecialToken()
    unk_token_id = SpecialTokenId()
    bos_token_id = SpecialTokenId()
    eos_token_id = SpecialTokenId()
    sep_token_id = SpecialTokenId()
    pad_token_id = SpecialTokenId()
    cls_token_id = SpecialTokenId()
    mask_token_id = SpecialTokenId()

    # ---- what a tokenizer provides

    @abstractmethod
    def __len__(self) -> int:
        """Number of entries with added tokens: the rows that the embedding of a model needs."""

    @abstractmethod
    def add_tokens(
        self,
        new_tokens: str | AddedToken | Sequence[str | AddedToken],
        special_tokens: bool = False,
    ) -> int:
        """Add tokens that are never split, and return the number of new ones."""

    @abstractmethod
    def encode_batch_arrays(self, texts: Sequence[str]) -> list[Ids]:
        """Return the ids of each text as an array: uint16 if every id fits, else uint32.

        Use it for corpora: it is many times faster than the library of a tokenizer, because
        repeated words are cached. The ids are the same.
        """

    @abstractmethod
    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text."""

    @abstractmethod
    def _encode_texts(self, texts: Sequence[Text]) -> list[Encoding]:
        """Encode each text, or each list of words."""

    @abstractmethod
    def _id_of(self, token: str) -> int | None:
        """Return the id of a token, or None."""

    @abstractmethod
    def _token_of(self, token_id: int) -> str:
        """Return the token of an id in the vocabulary."""

    @abstractmethod
    def _text_of(self, ids: list[int]) -> str:
        """Return the text of ids in the vocabulary."""

    # ---- special tokens

    @property
    def all_special_tokens(self) -> list[str]:
        """All special tokens, each once, including `<unk>`."""
        return list(
            dict.fromkeys([*self._special_tokens.values(), *self.additional_special_tokens])
        )

    @property
    def all_special_ids(self) -> list[int]:
        """Ids of all_special_tokens."""
        ids: list[int] = self.convert_tokens_to_ids(self.all_special_tokens)
        return ids

    def add_special_tokens(
        self, special_tokens: Mapping[str, str | AddedToken | Sequence[str]]
    ) -> int:
        """Set special tokens, adding them to the vocabulary if necessary.

        Args:
            special_tokens: Tokens by name: `pad_token`, `cls_token`, ...; a list under
                `additional_special_tokens`.

        Returns:
            The number of tokens that were not in the vocabulary yet.

        Raises:
            TokenizerError: an unknown name, or a value of the wrong type.
        """
        added = 0
        for name, value in special_tokens.items():
            if name == "additional_special_tokens" and not isinstance(value, str | AddedToken):
                added += self.add_tokens(list(value), special_tokens=True)
                self.additional_special_tokens = list(
                    dict.fromkeys([*self.additional_special_tokens, *value])
                )
            elif name in NAMES and isinstance(value, str | AddedToken) and str(value):
                added += self.add_tokens([value], special_tokens=True)
                setattr(self, name, str(value))
            else:
                raise TokenizerError(
                    f"{name}={value!r} is not a special token; allowed: a string for "
                    f"{', '.join(NAMES)}, a list for additional_special_tokens",
                    hint="call for example add_special_tokens({'pad_token': '<pad>'})",
                )
        return added

    # ---- text to ids

    def __call__(
        self,
        text: str | Sequence[Text],
        text_pair: str | Sequence[Text] | None = None,
        *,
        add_special_tokens: bool = True,
        padding: bool | str = False,
        truncation: bool | str | None = None,
        max_length: int | None = None,
        pad_to_multiple_of: int | None = None,
        padding_side: shaping.Side | None = None,
        stride: int = 0,
        is_split_into_words: bool = False,
        return_tensors: shaping.Tensors | None = None,
        return_token_type_ids: bool = False,
        return_attention_mask: bool = True,
        return_special_tokens_mask: bool = False,
        return_overflowing_tokens: bool = False,
        return_offsets_mapping: bool = False,
        return_length: bool = False,
    ) -> BatchEncoding:
        """Encode one text or several, or pairs of texts, which are concatenated.

        Args:
            text: One text or several.
            text_pair: Second text or texts; nothing separates the two without a template.
            add_special_tokens: Put the tokens of `template` around the texts, if there is one.
            padding: True or "longest", "max_length", False; needs a pad_token.
            truncation: True or "longest_first", "only_first", "only_second", False. Passing only
                max_length also truncates.
            max_length: Maximum tokens per row, both texts together; None uses model_max_length.
            pad_to_multiple_of: Pad to a multiple of this number of tokens.
            padding_side: "right" or "left"; None uses that of the tokenizer.
            stride: Tokens that an overflow row repeats from the row before, below max_length.
            is_split_into_words: Each text is a list of words, which are tokenized separately.
            return_tensors: "np", "pt" or "tf" for int64 arrays (B, T); None for lists.
            return_token_type_ids: Add `token_type_ids`, 0 for the first text and 1 for the second.
            return_attention_mask: Add `attention_mask`, 0 for padding.
            return_special_tokens_mask: Add `special_tokens_mask`, 1 for padding.
            return_overflowing_tokens: Return the tokens that truncation removes as further rows,
                and add `overflow_to_sample_mapping`, the index of the text of each row.
            return_offsets_mapping: Add `offset_mapping`, first and past-the-end character.
            return_length: Add `length`, the tokens of each row including padding.

        Raises:
            TokenizerError: an invalid argument, or unequal numbers of texts and second texts.
        """
        if return_offsets_mapping and not self.is_fast:
            raise TokenizerError(
                f"return_offsets_mapping is True; allowed for {type(self).__name__}: False, as "
                "ftfy changes the text before it is split",
                hint="use OpenAIGPTTokenizerFast",
            )
        texts, single = texts_of(text, is_split_into_words)
        pairs = None if text_pair is None else texts_of(text_pair, is_split_into_words)[0]
        if max_length is not None and padding is False and truncation is None:
            truncation = True
        limit = self.model_max_length if max_length is None else max_length
        shaping.check_length("max_length", limit)
        if pad_to_multiple_of is not None:
            shaping.check_length("pad_to_multiple_of", pad_to_multiple_of)
        strategy = shaping.truncation_strategy(truncation)
        shaping.check_stride(stride, limit)
        template = self.template if add_special_tokens else None
        room = limit - (template.count(pairs is not None) if template else 0)
        shaping.check_length("max_length, less the special tokens,", room)
        cut = shaping.TruncationParams(strategy, room, self.truncation_side, stride)
        fill = shaping.PaddingParams(
            strategy=shaping.padding_strategy(padding),
            max_length=limit,
            multiple_of=pad_to_multiple_of,
            side=shaping.side("padding_side", padding_side or self.padding_side),
            pad_token=self.pad_token,
            pad_id=self.pad_token_id or 0,
        )
        samples: list[int] = []

        def encode() -> list[Encoding]:
            rows = self._encode_rows(texts, pairs)
            if return_overflowing_tokens:
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
        if template or return_overflowing_tokens or return_offsets_mapping or is_split_into_words:
            shaped = encodings = encode()
        else:  # ids alone are found many times faster than complete Encodings
            shaped = self._shape_ids(columns_of(texts, pairs), cut, fill)
            encodings = partial(without_notices, encode)
        wanted = {
            "input_ids": True,
            "token_type_ids": return_token_type_ids,
            "attention_mask": return_attention_mask,
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
        }
        data: dict[str, Any] = {
            name: list(map(FIELDS[name], shaped)) for name, asked in wanted.items() if asked
        }
        if return_tensors is not None:
            shaping.check_choice("return_tensors", return_tensors, shaping.Tensors)
            data = {name: shaping.to_tensor(name, v, return_tensors) for name, v in data.items()}
        elif single and not return_overflowing_tokens:
            data = {name: value[0] for name, value in data.items()}
        if return_overflowing_tokens:
            data["overflow_to_sample_mapping"] = samples
        if return_length:
            data["length"] = list(map(len, shaped))
        return BatchEncoding(data, encodings)

    def encode(self, text: str, text_pair: str | None = None, **options: Any) -> list[int]:
        """Return the ids of a text; `options` are those of calling the tokenizer."""
        encoded: list[int] = self(text, text_pair, **options)["input_ids"]
        return encoded

    def get_special_tokens_mask(
        self,
        token_ids_0: Iterable[int],
        token_ids_1: Iterable[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """Return 1 for each special token if the ids already have theirs, otherwise zeros."""
        ids = [*token_ids_0, *(token_ids_1 or ())]
        special = set(self.all_special_ids) if already_has_special_tokens else set()
        return [int(token in special) for token in ids]

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """Return the number of tokens that `template` adds to a text or a pair."""
        return 0 if self.template is None else self.template.count(pair)

    def _encode_rows(
        self, texts: Sequence[Text], pairs: Sequence[Text] | None
    ) -> list[list[Encoding]]:
        """Encode the text of each row, and its second text if there is one."""
        columns = columns_of(texts, pairs)
        return [list(row) for row in zip(*map(self._encode_texts, columns), strict=True)]

    def _shape_ids(
        self, columns: Sequence[Any], cut: shaping.TruncationParams, fill: shaping.PaddingParams
    ) -> list[IdRow]:
        """Encode, truncate and pad rows, with only the ids."""
        rows = [
            [IdRow(ids.tolist()) for ids in row]
            for row in zip(*map(self.encode_batch_arrays, columns), strict=True)
        ]
        shaping.truncate(rows, cut)
        shaped = list(map(IdRow.joined, rows))
        shaping.pad(shaped, fill)
        return shaped

    # ---- ids to text

    def decode(
        self,
        token_ids: int | Iterable[int],
        skip_special_tokens: bool = False,
        clean_up_tokenization_spaces: bool | None = None,
        *,
        skip_unknown: bool = False,
        surface: Surface = "raw",
        keep_lower: bool = False,
    ) -> str:
        """Convert ids to text: words in lower case and single spaces, or all of a byte-level text.

        Args:
            token_ids: An id, or a list, array or tensor of ids with one dimension.
            skip_special_tokens: Omit special tokens, except `<unk>`.
            clean_up_tokenization_spaces: Remove spaces before punctuation and contractions; None
                uses the setting of the tokenizer.
            skip_unknown: Omit `<unk>` too (as skip_special_tokens of Hugging Face does).
            surface: "readable" restores the spaces, quotes and capitals of English instead.
            keep_lower: Add no capitals to the readable surface.

        Raises:
            TokenizerError: token_ids are not one row of integers, or surface is another word.
            TokenOutOfRange: an id is negative, or beyond a vocabulary without `<unk>`.
        """
        shaping.check_choice("surface", surface, Surface)
        ids = self._known_ids(token_ids)
        special: set[int | None] = set(self.all_special_ids)
        omitted = special - {self.unk_token_id} if skip_special_tokens else set()
        if skip_unknown:
            omitted.add(self.unk_token_id)
        if omitted:
            ids = [token for token in ids if token not in omitted]
        text = self._text_of(ids)
        if surface == "readable" and self.pre_tokenizer != "bytes":  # which loses nothing
            return readable(text, self.pre_tokenizer, keep_lower=keep_lower)
        if clean_up_tokenization_spaces is None:
            clean_up_tokenization_spaces = self.clean_up_tokenization_spaces
        return clean_up_tokenization(text) if clean_up_tokenization_spaces else text

    def batch_decode(self, sequences: Iterable[Iterable[int]], **options: Any) -> list[str]:
        """Decode each row; `options` are those of decode."""
        return [self.decode(ids, **options) for ids in sequences]

    def convert_ids_to_tokens(self, ids: int | Iterable[int]) -> Any:
        """Return the token of an id, or a list of tokens; ids beyond the vocabulary are `<unk>`.

        Raises:
            TokenizerError: ids are not one row of integers.
            TokenOutOfRange: an id is negative, or beyond a vocabulary without `<unk>`.
        """
        tokens = list(map(self._token_of, self._known_ids(ids)))
        return tokens[0] if isinstance(ids, int | np.integer) else tokens

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """Return the id of a token, or a list of ids; unknown tokens get unk_token_id."""
        if isinstance(tokens, str):
            known = self._id_of(tokens)
            return self.unk_token_id if known is None else known
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def _known_ids(self, token_ids: int | Iterable[int]) -> list[int]:
        """Convert ids to a list of integers; ids beyond the vocabulary become unk_token_id."""
        values: Any = token_ids.tolist() if hasattr(token_ids, "tolist") else token_ids
        try:
            ids = [index(value) for value in ([values] if isinstance(values, int) else values)]
        except TypeError as error:
            raise TokenizerError(
                f"token ids are {reprlib.repr(values)}; allowed: one row of integers",
                hint="use batch_decode for several rows",
            ) from error
        if min(ids, default=0) < 0:
            raise TokenOutOfRange(
                f"token id {min(ids)} is negative; allowed: 0 to {len(self) - 1}",
                hint="remove padding and ignored labels (-100) before decoding",
            )
        size, unknown = len(self), self.unk_token_id
        if unknown is None and max(ids, default=0) >= size:
            raise TokenOutOfRange(
                f"token id {max(ids)} is not in the vocabulary; allowed: 0 to {size - 1}",
                hint="use the tokenizer that the model was trained with",
            )
        return [value if value < size else unknown or 0 for value in ids]
