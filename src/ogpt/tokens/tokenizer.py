"""OpenAIGPTTokenizer: text to ids by any of the four pre-tokenizations."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from tokenizers import AddedToken, Encoding, Tokenizer

from ogpt.errors import BackendMissing
from ogpt.notices import tell
from ogpt.tokens import shaping
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

    is_fast = False
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
            self.is_fast = True
            # what GPT-2's folders name so is an end token; every byte is known
            unknown = [arguments.pop("unk_token")] if arguments.get("unk_token") else []
            arguments["unk_token"] = None
            more = arguments.get("additional_special_tokens", ())
            arguments["additional_special_tokens"] = [*more, *unknown]
        super().__init__(*files, **arguments)

    def encode_batch_arrays(self, texts: Sequence[str]) -> list[Ids]:
        """Return the ids of each text as an array: uint16 if every id fits, else uint32.

        Use it for corpora: it is many times faster than calling the tokenizer, because repeated
        words are cached. The ids are the same.
        """
        given = as_texts(texts)
        if isinstance(self._words, RustWords):
            return self._encode_plain(list(map(self._words.prepared, given)))
        given = list(map(without_surrogates, given))
        if not any(map(self._added.search, given)):
            return self._encode_plain(given)
        return list(map(self._ids_with_added, given))

    def _ids_with_added(self, text: str) -> Ids:
        dtype = dtype_of_ids(len(self))
        parts: list[Ids] = [np.empty(0, dtype)]
        for part, added in self._parts(text):
            ids = np.array([self._id_of(part)]) if added else self._encode_plain([part])[0]
            parts.append(ids.astype(dtype))
        return np.concatenate(parts)

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text; an unknown character stays as it is, not `<unk>`."""
        (given,) = as_texts(text)
        if isinstance(self._words, RustWords):
            given = self._words.prepared(given)
            return self._words.pieces(self._pipeline, given, self.unk_token_id)
        given = without_surrogates(given)
        tokens: list[str] = []
        for part, added in self._parts(given):
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
        if isinstance(self._words, RustWords):
            self._encode_plain: EnglishEncoder | ChunkEncoder = self._words.encoder(self._pipeline)
            return
        added = self._pipeline.get_added_tokens_decoder().values()
        longest_first = sorted(added, key=lambda token: -len(token.content))
        self._added = re.compile("|".join(map(_pattern, longest_first)))  # one group per token
        self._contents = [token.content for token in longest_first]
        self._encode_plain = EnglishEncoder(self._words, self._bpe)

    def _count_words(self, texts: Iterable[str]) -> dict[str, int]:
        return count_words(texts, self._words)

    def _form(self, content: str) -> str:
        return content if self.pre_tokenizer == "bytes" else super()._form(content)

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """Join tokens to text, with a space after each word unless they are byte-level."""
        if self.pre_tokenizer != "bytes":
            return super().convert_tokens_to_string(tokens)
        added = {token.content for token in self._pipeline.get_added_tokens_decoder().values()}
        parts = (token.encode() if token in added else bytes_of(token) for token in tokens)
        return b"".join(parts).decode(errors="replace")

    def _text_of(self, ids: list[int]) -> str:
        if self.pre_tokenizer != "bytes":
            return super()._text_of(ids)
        return self.convert_tokens_to_string(list(map(self._token_of, ids)))

    def _encode_texts(self, texts: Sequence[Text]) -> list[Encoding]:
        if isinstance(self._words, RustWords):
            return self._words.encode(self._pipeline, texts)
        rows = []
        for text in texts:
            parts = [text] if isinstance(text, str) else text
            rows.append([word for part in parts for word in self._all_words(part)])
        return self._pipeline.encode_batch(rows, is_pretokenized=True, add_special_tokens=False)

    def _all_words(self, text: str) -> Iterator[str]:
        """Yield the words of a text and the added tokens in it."""
        for part, added in self._parts(without_surrogates(text)):
            yield from [part] if added else self._words(part)

    def _parts(self, text: str) -> Iterator[tuple[str, bool]]:
        """Split a text at its added tokens; True marks an added token, in its original form."""
        begin = 0
        for match in self._added.finditer(text):
            if begin < match.start():
                yield text[begin : match.start()], False
            yield self._contents[(match.lastindex or 1) - 1], True
            begin = match.end()
        if begin < len(text) or not begin:
            yield text[begin:], False

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


def _pattern(token: AddedToken) -> str:
    """Make a regular expression for an added token (a group) and the white space it strips."""
    content = f"({re.escape(token.content)})"
    if not token.special:
        content = f"(?i:{content})"
    if token.single_word:
        content = rf"(?<!\w){content}(?!\w)"
    return r"\s*" * token.lstrip + content + r"\s*" * token.rstrip
