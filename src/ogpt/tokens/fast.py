"""OpenAIGPTTokenizerFast: text to ids by BERT's rules, with the Rust `tokenizers` library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Encoding, Tokenizer

from ogpt.errors import TokenizerError
from ogpt.tokens.bert_words import BertWords
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.chunk_encoder import ChunkEncoder, Ids
from ogpt.tokens.texts import Text, as_texts
from ogpt.tokens.vocabulary import Vocabulary
from ogpt.tokens.word_counting import count_words


class OpenAIGPTTokenizerFast(BPETokenizer):
    """GPT-1's byte-pair encoding of lower-case words as BERT's rules split them.

    The arguments are those of ogpt.tokens.bpe_tokenizer.BPETokenizer. It knows the offsets of each
    token in the text.

    >>> from ogpt import OpenAIGPTTokenizerFast
    >>> entries = ["<unk>", "l", "o", "w</w>", "w", "e", "r</w>", "lo", "low</w>", "low", "er</w>"]
    >>> merges = [("l", "o"), ("lo", "w</w>"), ("lo", "w"), ("e", "r</w>")]
    >>> vocab = {token: index for index, token in enumerate(entries)}
    >>> tokenizer = OpenAIGPTTokenizerFast(vocab=vocab, merges=merges)
    >>> tokenizer.tokenize("Lower, low")
    ['low', 'er</w>', '<unk>', 'low</w>']
    >>> batch = tokenizer("Lower, low", return_offsets_mapping=True)
    >>> batch.input_ids, batch.offset_mapping
    ([9, 10, 0, 8], [(0, 3), (3, 5), (5, 6), (7, 10)])
    >>> tokenizer.decode([9, 10, 8])
    'lower low'
    """

    pre_tokenizer = "bert"
    is_fast = True
    _bert_words = BertWords()

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
        encode = self._encoder(self._splits(split_special_tokens))
        return encode(list(map(self._bert_words.prepared, as_texts(texts))))

    def _pieces(self, text: str, split_special: bool) -> list[str]:
        return list(map(self._token_of, self._encode_texts([text], split_special)[0].ids))

    def _make_pipeline(self, vocabulary: Vocabulary, unk_token: str | None) -> Tokenizer:
        return self._bert_words.pipeline(vocabulary, unk_token)

    def _make_encoder(self, pipeline: Tokenizer) -> ChunkEncoder:
        return self._bert_words.encoder(pipeline)

    def _count_words(self, texts: Iterable[str]) -> dict[str, int]:
        return count_words(texts, self._bert_words)

    def _encode_texts(self, texts: Sequence[Text], split_special: bool) -> list[Encoding]:
        return self._bert_words.encode(self._pipeline_for(split_special), texts)

    @classmethod
    def _choose(
        cls, folder: Path, settings: Mapping[str, Any], overrides: Mapping[str, Any]
    ) -> dict[str, Any]:
        made_with = settings.get("pre_tokenizer", cls.pre_tokenizer)
        if made_with != cls.pre_tokenizer:
            raise TokenizerError(
                f"{folder} was made with the pre-tokenization {made_with!r}; allowed for "
                f"{cls.__name__}: {cls.pre_tokenizer!r}",
                hint="use OpenAIGPTTokenizer, or the model would get different ids",
            )
        return {}

    def _versions(self) -> dict[str, str]:
        return {}
