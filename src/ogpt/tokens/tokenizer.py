"""OpenAIGPTTokenizer: text to ids by any of the four pre-tokenizations."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from tokenizers import Encoding, Tokenizer

from ogpt.errors import BackendMissing
from ogpt.notices import tell
from ogpt.tokens import shaping
from ogpt.tokens.added_in_text import AddedInText
from ogpt.tokens.bert_words import BertWords
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.byte_words import ByteWords, bytes_of
from ogpt.tokens.chunk_encoder import ChunkEncoder, Ids, dtype_of_ids
from ogpt.tokens.chunks import without_surrogates
from ogpt.tokens.english_encoder import EnglishEncoder
from ogpt.tokens.english_words import EnglishWords
from ogpt.tokens.original import INSTALL, PACKAGES
from ogpt.tokens.rust_bpe import bpe_pipeline
from ogpt.tokens.rust_words import RustWords
from ogpt.tokens.texts import Text, as_texts
from ogpt.tokens.vocabulary import END_OF_WORD, Vocabulary
from ogpt.tokens.word_counting import count_words

PreTokenizer = Literal["openai", "hf-spacy", "bert", "bytes"]


class OpenAIGPTTokenizer(BPETokenizer):
    """GPT-1's byte-pair encoding of words from one of four pre-tokenizations.

    The arguments are those of ogpt.tokens.bpe_tokenizer.BPETokenizer, and:

    Args:
        pre_tokenizer: How to split text into words. "openai" is the order of the 2018 code (ftfy,
            standardize, spaCy's English rules with case, then lower case). "hf-spacy" is that of
            transformers 4 (lower case first). "bert" is BERT's rules, as in OpenAIGPTTokenizerFast.
            "bytes" is byte-level pieces, which keep case, white space and any script, and have no
            unk_token; with them the tokenizer knows the offsets of each token, as is_fast says.
            None uses "openai" if spaCy and ftfy are installed, otherwise "bert" with a notice.

    Raises:
        TokenizerError: an unknown pre_tokenizer.
        BackendMissing: spaCy or ftfy is needed but not installed.

    >>> from ogpt import OpenAIGPTTokenizer
    >>> empty = OpenAIGPTTokenizer(vocab={"<unk>": 0}, merges=[], pre_tokenizer="openai")
    >>> tokenizer = empty.train_new_from_iterator(["Mr. Low isn't low"] * 2, vocab_size=30)
    >>> tokenizer.tokenize("Isn't Mr. Low?")  # mr. and n't are words, as in 2018
    ['is</w>', "n't</w>", 'mr.</w>', 'low</w>', '?</w>']
    >>> tokenizer("Isn't Mr. Low").input_ids
    [26, 28, 29, 24]
    """

    _own_arguments = ("pre_tokenizer",)
    _words: RustWords | EnglishWords

    def __init__(
        self, *files: Any, pre_tokenizer: PreTokenizer | None = None, **arguments: Any
    ) -> None:
        if pre_tokenizer is None:
            pre_tokenizer = available_pre_tokenizer()
        self.pre_tokenizer = as_pre_tokenizer(pre_tokenizer)
        self._words = words_of(as_pre_tokenizer(pre_tokenizer))
        if self.pre_tokenizer == "bytes":
            # what GPT-2's folders name so is an end token; every byte is known
            unknown = [arguments.pop("unk_token")] if arguments.get("unk_token") else []
            arguments["unk_token"] = None
            more = arguments.get("additional_special_tokens") or ()
            arguments["additional_special_tokens"] = [*more, *unknown]
        super().__init__(*files, **arguments)

    @property
    def is_fast(self) -> bool:
        """Whether the offsets of tokens in a text are known: not if ftfy changes it first."""
        return isinstance(self._words, RustWords)

    def encode_batch_arrays(
        self, texts: Sequence[str], *, split_special_tokens: bool | None = None
    ) -> list[Ids]:
        """Return the ids of each text as an array: uint16 if every id fits, else uint32.

        Use it for corpora: it is many times faster than calling the tokenizer, because repeated
        words are cached. The ids are the same.

        Args:
            texts: The texts.
            split_special_tokens: Read special tokens in a text as other text; None uses the
                setting of the tokenizer.
        """
        given = as_texts(texts)
        split = self._splits(split_special_tokens)
        encode = self._encoder(split)
        if isinstance(self._words, RustWords):
            return encode(list(map(self._words.prepared, given)))
        given = list(map(without_surrogates, given))
        added = self._added_for(split)
        if not any(map(added.is_in, given)):
            return encode(given)
        dtype = dtype_of_ids(len(self))
        rows = []
        for text in given:
            parts: list[Ids] = [np.empty(0, dtype)]
            for part, is_added in added.parts(text):
                ids = np.array([self._id_of(part)]) if is_added else encode([part])[0]
                parts.append(ids.astype(dtype))
            rows.append(np.concatenate(parts))
        return rows

    def _pieces(self, text: str, split_special: bool) -> list[str]:
        """Return the tokens of a text; an unknown character stays as it is, not `<unk>`."""
        if isinstance(self._words, RustWords):
            given = self._words.prepared(text)
            return self._words.pieces(self._pipeline_for(split_special), given, self.unk_token_id)
        tokens: list[str] = []
        for part, added in self._added_for(split_special).parts(without_surrogates(text)):
            if added:
                tokens.append(part)
                continue
            words = self._words(part)
            encoding = self._bpe.encode(words, is_pretokenized=True, add_special_tokens=False)
            for token, token_id, place, word in zip(
                encoding.tokens, encoding.ids, encoding.offsets, encoding.word_ids, strict=True
            ):
                if token_id == self.unk_token_id and word is not None:
                    begin, end = place
                    token = words[word][begin:end] + END_OF_WORD * (end == len(words[word]))
                tokens.append(token)
        return tokens

    def _make_pipeline(self, vocabulary: Vocabulary, unk_token: str | None) -> Tokenizer:
        if isinstance(self._words, RustWords):
            return self._words.pipeline(vocabulary, unk_token)
        self._bpe = bpe_pipeline(vocabulary, unk_token)
        return bpe_pipeline(vocabulary, unk_token)

    def _added_changed(self) -> None:
        super()._added_changed()
        tokens = self.added_tokens_decoder.values()
        self._added = AddedInText(tokens)
        self._added_unless_special = AddedInText(token for token in tokens if not token.special)

    def _added_for(self, split_special: bool) -> AddedInText:
        """Return what finds added tokens in a text, or only those that are not special."""
        return self._added_unless_special if split_special else self._added

    def _make_encoder(self, pipeline: Tokenizer) -> EnglishEncoder | ChunkEncoder:
        if isinstance(self._words, RustWords):
            return self._words.encoder(pipeline)
        return EnglishEncoder(self._words, self._bpe)

    def _count_words(self, texts: Iterable[str]) -> dict[str, int]:
        return count_words(texts, self._words)

    def _form(self, content: str) -> str:
        return content if self.pre_tokenizer == "bytes" else super()._form(content)

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Join tokens to text, with a space after each word unless they are byte-level."""
        if self.pre_tokenizer != "bytes":
            return super().convert_tokens_to_string(tokens)
        added = self.added_tokens_encoder
        parts = (token.encode() if token in added else bytes_of(token) for token in tokens)
        return b"".join(parts).decode(errors="replace")

    def _text_of(self, ids: list[int]) -> str:
        if self.pre_tokenizer != "bytes":
            return super()._text_of(ids)
        return self.convert_tokens_to_string(list(map(self._token_of, ids)))

    def _encode_texts(self, texts: Sequence[Text], split_special: bool) -> list[Encoding]:
        pipeline = self._pipeline_for(split_special)
        if isinstance(self._words, RustWords):
            return self._words.encode(pipeline, texts)
        rows = []
        for text in texts:
            parts = [text] if isinstance(text, str) else text
            rows.append([word for part in parts for word in self._all_words(part, split_special)])
        return pipeline.encode_batch(rows, is_pretokenized=True, add_special_tokens=False)

    def _all_words(self, text: str, split_special: bool) -> Iterator[str]:
        """Yield the words of a text and the added tokens in it."""
        for part, added in self._added_for(split_special).parts(without_surrogates(text)):
            yield from [part] if added else self._words(part)

    @classmethod
    def _choose(
        cls, folder: Path, settings: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> dict[str, Any]:
        made_with = settings.get("pre_tokenizer")
        asked = overrides.get("pre_tokenizer")
        if made_with is None:
            return {}
        if asked is not None and asked != made_with:
            tell("pre-tokenizer-changed", path=folder, made_with=made_with, asked=asked)
            return {}
        if made_with in ("openai", "hf-spacy"):
            _check_versions(folder, settings)
        return {"pre_tokenizer": made_with}

    def _versions(self) -> dict[str, str]:
        return {f"{name}_version": version for name, version in self._words.versions.items()}


def words_of(pre_tokenizer: PreTokenizer) -> RustWords | EnglishWords:
    """Return what splits text as a pre-tokenization does.

    Raises:
        BackendMissing: spaCy or ftfy is needed but not installed.
    """
    if pre_tokenizer == "bytes":
        return ByteWords()
    return BertWords() if pre_tokenizer == "bert" else EnglishWords(pre_tokenizer)


def as_pre_tokenizer(name: str) -> PreTokenizer:
    """Check the name of a pre-tokenization, and return it.

    Raises:
        TokenizerError: an unknown name.
    """
    shaping.check_choice("pre_tokenizer", name, PreTokenizer)
    return cast(PreTokenizer, name)


def available_pre_tokenizer() -> PreTokenizer:
    """Return "openai" if spaCy and ftfy are installed, otherwise "bert", with a notice."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if not missing:
        return "openai"
    tell("bert-words", reason=f"{' and '.join(missing)} not installed", command=INSTALL)
    return "bert"


def _check_versions(folder: Path, settings: Mapping[str, Any]) -> None:
    """Check that the packages which split words are installed; warn about other versions.

    Raises:
        BackendMissing: one is not installed.
    """
    from importlib.metadata import PackageNotFoundError, version

    for name in PACKAGES:
        try:
            here = version(name)
        except PackageNotFoundError as error:
            raise BackendMissing(
                f"the tokenizer in {folder} needs {name}, which is not installed",
                hint=INSTALL,
            ) from error
        made_with = settings.get(f"{name}_version", here)
        if made_with != here:
            tell("other-version", path=folder, package=name, made_with=made_with, here=here)
