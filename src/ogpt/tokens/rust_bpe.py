"""Byte-pair encoding, alone and after BERT's rules, with the Rust `tokenizers` library."""

from __future__ import annotations

from collections.abc import Mapping

from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers
from tokenizers.models import BPE

from ogpt.tokens.vocabulary import END_OF_WORD, Vocabulary


def bert_normalizer() -> normalizers.BertNormalizer:
    """Make a normalizer: no controls, spaces around ideographs, no accents, lower case."""
    return normalizers.BertNormalizer(lowercase=True)


def bert_pre_tokenizer() -> pre_tokenizers.BertPreTokenizer:
    """Make a pre-tokenizer: split at white space and around each punctuation character."""
    return pre_tokenizers.BertPreTokenizer()


def bpe_pipeline(vocabulary: Vocabulary, unk_token: str | None) -> Tokenizer:
    """Make a tokenizer that encodes single words and decodes ids to text."""
    tokenizer = Tokenizer(
        BPE(
            vocab=vocabulary.vocab,
            merges=vocabulary.merges,
            unk_token=unk_token,
            end_of_word_suffix=END_OF_WORD,
            fuse_unk=False,
        )
    )
    tokenizer.decoder = decoders.BPEDecoder(suffix=END_OF_WORD)
    return tokenizer


def bert_pipeline(
    vocabulary: Vocabulary, unk_token: str | None, added: Mapping[int, AddedToken] | None = None
) -> Tokenizer:
    """Make a tokenizer equal to transformers' OpenAIGPTTokenizerFast; it adds no special tokens.

    Args:
        vocabulary: Entries and merges.
        unk_token: Token for unknown characters.
        added: Tokens beyond the vocabulary, by id.
    """
    tokenizer = bpe_pipeline(vocabulary, unk_token)
    for _, token in sorted((added or {}).items()):
        tokenizer.add_tokens([token])
    tokenizer.normalizer = bert_normalizer()
    tokenizer.pre_tokenizer = bert_pre_tokenizer()
    return tokenizer
