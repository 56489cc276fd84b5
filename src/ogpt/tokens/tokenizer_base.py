"""What every tokenizer of GPT-1 does alike, whatever turns its text into words.

Names and behaviour are Hugging Face's, except where it is wrong: clean-up of spaces works in
every version, `<unk>` is not dropped with the special tokens, and ids beyond the vocabulary are
shown as `<unk>`, never dropped.
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
from ogpt.notices import listening
from ogpt.tokens import shaping
from ogpt.tokens.batch_encoding import BatchEncoding
from ogpt.tokens.chunk_encoder import Ids
from ogpt.tokens.cleaning import clean_up_tokenization
from ogpt.tokens.id_row import IdRow
from ogpt.tokens.special_tokens import NAMES, SpecialToken, SpecialTokenId
from ogpt.tokens.texts import Text, columns_of, texts_of


class TokenizerBase(ABC):
    """Special tokens, calling, padding, truncation and decoding over a few abstract methods."""

    pre_tokenizer: str
    is_fast: bool
    model_input_names = ("input_ids", "attention_mask")

    model_max_length: int
    padding_side: shaping.Side
    truncation_side: shaping.Side
    clean_up_tokenization_spaces: bool
    additional_special_tokens: list[str]
    _special_tokens: dict[str, str]

    unk_token = SpecialToken()
    bos_token = SpecialToken()
    eos_token = SpecialToken()
    sep_token = SpecialToken()
    pad_token = SpecialToken()
    cls_token = SpecialToken()
    mask_token = SpecialToken()
    bos_token_id = SpecialTokenId()
    eos_token_id = SpecialTokenId()
    sep_token_id = SpecialTokenId()
    pad_token_id = SpecialTokenId()
    cls_token_id = SpecialTokenId()
    mask_token_id = SpecialTokenId()

    # ---- what a tokenizer provides

    @abstractmethod
    def __len__(self) -> int:
        """Entries with added tokens: the rows that a model's embedding needs."""

    @abstractmethod
    def add_tokens(
        self,
        new_tokens: str | AddedToken | Sequence[str | AddedToken],
        special_tokens: bool = False,
    ) -> int:
        """Add tokens that are kept whole and return how many are new."""

    @abstractmethod
    def encode_batch_arrays(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of each text as an array: uint16 where every id fits, otherwise uint32.

        For corpora: many times faster than the library of a tokenizer, as repeated words are
        remembered; the ids are the same.
        """

    @abstractmethod
    def _encode_texts(self, texts: Sequence[Text]) -> list[Encoding]:
        """The tokens of each text, or of each list of words."""

    @abstractmethod
    def _id_of(self, token: str) -> int | None:
        """The id of a token, None if there is none."""

    @abstractmethod
    def _token_of(self, token_id: int) -> str:
        """The token of an id in the vocabulary."""

    @abstractmethod
    def _text_of(self, ids: list[int]) -> str:
        """The text of ids in the vocabulary."""

    # ---- special tokens

    @property
    def unk_token_id(self) -> int:
        """The id of `unk_token`."""
        return self._id_of(self._special_tokens["unk_token"]) or 0

    @property
    def all_special_tokens(self) -> list[str]:
        """The special tokens, each once; `<unk>` is one of them."""
        return list(
            dict.fromkeys([*self._special_tokens.values(), *self.additional_special_tokens])
        )

    @property
    def all_special_ids(self) -> list[int]:
        """The ids of all_special_tokens."""
        ids: list[int] = self.convert_tokens_to_ids(self.all_special_tokens)
        return ids

    def add_special_tokens(
        self, special_tokens: Mapping[str, str | AddedToken | Sequence[str]]
    ) -> int:
        """Name special tokens and add them where they are not in the vocabulary.

        Args:
            special_tokens: by name: `pad_token`, `cls_token`, ...; a list under
                `additional_special_tokens`.

        Returns:
            How many were not in the vocabulary yet.

        Raises:
            TokenizerError: a name that is none of these.
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
                    f"{name}={value!r} is not a special token; allowed: text for "
                    f"{', '.join(NAMES)}, a list for additional_special_tokens",
                    hint="for example add_special_tokens({'pad_token': '<pad>'})",
                )
        return added

    # ---- text to ids

    def __call__(
        self,
        text: str | Sequence[Text],
        text_pair: str | Sequence[Text] | None = None,
        *,
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
        """Encode one text or a list of texts, or pairs of texts, one after the other.

        Args:
            text: one text or several.
            text_pair: second text or texts; nothing separates the two.
            padding: True or "longest", "max_length", False; needs a pad_token.
            truncation: True or "longest_first", "only_first", "only_second", False. A max_length
                alone truncates.
            max_length: tokens of a row, both texts together; None: model_max_length.
            pad_to_multiple_of: pad to a multiple of this many tokens.
            padding_side: "right" or "left" in place of the tokenizer's.
            stride: tokens that a row of overflow repeats of the row before, below max_length.
            is_split_into_words: a text is a list of words, each of which is tokenised alone.
            return_tensors: "np", "pt" or "tf" for int64 arrays (B, T); None for lists.
            return_token_type_ids: add `token_type_ids`, 0 for the first text and 1 for the second.
            return_attention_mask: add `attention_mask`, 0 where a row is padding.
            return_special_tokens_mask: add `special_tokens_mask`, 1 for padding.
            return_overflowing_tokens: what truncation cuts off becomes rows of its own, and
                `overflow_to_sample_mapping` says of which text.
            return_offsets_mapping: add `offset_mapping`, first and past-the-end character.
            return_length: add `length`, the tokens of each row with padding.

        Raises:
            TokenizerError: an argument outside its choices, or texts and pairs of different number.
        """
        if return_offsets_mapping and not self.is_fast:
            raise TokenizerError(
                f"return_offsets_mapping is True; {type(self).__name__} does not know where in the "
                "text a token stands",
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
        cut = shaping.TruncationParams(strategy, limit, self.truncation_side, stride)
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
            encodings = list(map(_joined, rows))
            shaping.pad(encodings, fill)
            return encodings

        shaped: Sequence[Encoding | IdRow]
        encodings: Sequence[Encoding] | Callable[[], Sequence[Encoding]]
        if return_overflowing_tokens or return_offsets_mapping or is_split_into_words:
            shaped = encodings = encode()
        else:  # ids are found many times faster than all that an Encoding knows
            shaped = self._shape_ids(columns_of(texts, pairs), cut, fill)
            encodings = partial(_again, encode)
        wanted = {
            "input_ids": True,
            "token_type_ids": return_token_type_ids,
            "attention_mask": return_attention_mask,
            "special_tokens_mask": return_special_tokens_mask,
            "offset_mapping": return_offsets_mapping,
        }
        data: dict[str, Any] = {
            name: list(map(_FIELDS[name], shaped)) for name, asked in wanted.items() if asked
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
        """The ids of a text; `options` are those of calling the tokenizer."""
        encoded: list[int] = self(text, text_pair, **options)["input_ids"]
        return encoded

    def get_special_tokens_mask(
        self,
        token_ids_0: Iterable[int],
        token_ids_1: Iterable[int] | None = None,
        already_has_special_tokens: bool = False,
    ) -> list[int]:
        """1 for each special token among ids that hold theirs already, otherwise 0 throughout."""
        ids = [*token_ids_0, *(token_ids_1 or ())]
        special = set(self.all_special_ids) if already_has_special_tokens else set()
        return [int(token in special) for token in ids]

    def num_special_tokens_to_add(self, pair: bool = False) -> int:
        """0: GPT-1 puts nothing round a text or between two."""
        return 0

    def _encode_rows(
        self, texts: Sequence[Text], pairs: Sequence[Text] | None
    ) -> list[list[Encoding]]:
        """One list for each row: the encoding of the text, and of its pair."""
        columns = columns_of(texts, pairs)
        return [list(row) for row in zip(*map(self._encode_texts, columns), strict=True)]

    def _shape_ids(
        self, columns: Sequence[Any], cut: shaping.TruncationParams, fill: shaping.PaddingParams
    ) -> list[IdRow]:
        """The rows truncated and padded, their ids alone."""
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
    ) -> str:
        """The text of ids, words in lower case with one space between.

        Args:
            token_ids: ids as a number, list, array or tensor of one dimension.
            skip_special_tokens: leave special tokens out, all but `<unk>`.
            clean_up_tokenization_spaces: take the space before punctuation and 's away; None:
                the tokenizer's setting.
            skip_unknown: leave `<unk>` out too (Hugging Face's skip_special_tokens does).

        Raises:
            TokenOutOfRange: a negative id.
        """
        ids = self._known_ids(token_ids)
        left_out = set(self.all_special_ids) - {self.unk_token_id} if skip_special_tokens else set()
        if skip_unknown:
            left_out.add(self.unk_token_id)
        if left_out:
            ids = [token for token in ids if token not in left_out]
        text = self._text_of(ids)
        if clean_up_tokenization_spaces is None:
            clean_up_tokenization_spaces = self.clean_up_tokenization_spaces
        return clean_up_tokenization(text) if clean_up_tokenization_spaces else text

    def batch_decode(self, sequences: Iterable[Iterable[int]], **options: Any) -> list[str]:
        """`decode` for each row; `options` are decode's."""
        return [self.decode(ids, **options) for ids in sequences]

    def convert_ids_to_tokens(self, ids: int | Iterable[int]) -> Any:
        """The token of an id, or a list of tokens; an id beyond the vocabulary is `<unk>`.

        Raises:
            TokenOutOfRange: a negative id.
        """
        tokens = list(map(self._token_of, self._known_ids(ids)))
        return tokens[0] if isinstance(ids, int | np.integer) else tokens

    def convert_tokens_to_ids(self, tokens: str | Iterable[str]) -> Any:
        """The id of a token, or a list of ids; a token outside the vocabulary is `<unk>`."""
        if isinstance(tokens, str):
            known = self._id_of(tokens)
            return self.unk_token_id if known is None else known
        return [self.convert_tokens_to_ids(token) for token in tokens]

    def _known_ids(self, token_ids: int | Iterable[int]) -> list[int]:
        """The ids as integers, those beyond the vocabulary as unk_token_id."""
        values: Any = token_ids.tolist() if hasattr(token_ids, "tolist") else token_ids
        try:
            ids = [index(value) for value in ([values] if isinstance(values, int) else values)]
        except TypeError as error:
            raise TokenizerError(
                f"token ids are {reprlib.repr(values)}; allowed: one row of whole numbers",
                hint="use batch_decode for several rows",
            ) from error
        if min(ids, default=0) < 0:
            raise TokenOutOfRange(
                f"token id {min(ids)} is negative; allowed: 0 to {len(self) - 1}",
                hint="drop padding and ignored labels (-100) before decoding",
            )
        size = len(self)
        return [value if value < size else self.unk_token_id for value in ids]


def _joined(row: list[Encoding]) -> Encoding:
    """The texts of a row one after the other, each token knowing which text it is from."""
    for sequence, part in enumerate(row):
        part.set_sequence_id(sequence)  # after truncation, which forgets it
    return Encoding.merge(row, growing_offsets=False)


def _again(encode: Callable[[], list[Encoding]]) -> list[Encoding]:
    """What is told of truncation was told before."""
    with listening(lambda notice: None):
        return encode()


_FIELDS: dict[str, Callable[[Any], Any]] = {
    "input_ids": lambda encoding: encoding.ids,
    # a pair's second text is 1; a text and padding are 0
    "token_type_ids": lambda encoding: [sequence or 0 for sequence in encoding.sequence_ids],
    "attention_mask": lambda encoding: encoding.attention_mask,
    "special_tokens_mask": lambda encoding: encoding.special_tokens_mask,
    "offset_mapping": lambda encoding: encoding.offsets,
}
