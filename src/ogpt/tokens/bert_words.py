"""Split text into words by BERT's rules, with the Rust library of OpenAIGPTTokenizerFast."""

from __future__ import annotations

from collections.abc import Iterator

from tokenizers import Tokenizer

from ogpt.tokens.chunk_encoder import ChunkEncoder
from ogpt.tokens.chunks import chunk_lists, without_controls, without_surrogates
from ogpt.tokens.rust_bpe import bert_normalizer, bert_pipeline, bert_pre_tokenizer
from ogpt.tokens.rust_words import RustWords
from ogpt.tokens.vocabulary import END_OF_WORD, Vocabulary


class BertWords(RustWords):
    """Splits text into lower-case words without accents; each punctuation character is a word."""

    def __init__(self) -> None:
        super().__init__()
        self._normalizer = bert_normalizer()
        self._pre_tokenizer = bert_pre_tokenizer()

    def prepared(self, text: str) -> str:
        """Return a text without lone surrogates.

        Raises:
            TokenizerError: a word is longer than LONGEST_WORD.
        """
        return without_surrogates(super().prepared(text))

    def chunks(self, text: str) -> Iterator[list[str]]:
        """Yield what white space separates, about a million characters at a time."""
        return chunk_lists(without_controls(text))

    def pipeline(self, vocabulary: Vocabulary, unk_token: str | None) -> Tokenizer:
        """Make transformers' OpenAIGPTTokenizerFast, without added tokens."""
        return bert_pipeline(vocabulary, unk_token)

    def encoder(self, pipeline: Tokenizer) -> ChunkEncoder:
        """Return what encodes texts to arrays."""
        return ChunkEncoder(pipeline)

    def pieces(self, pipeline: Tokenizer, text: str, unk_id: int | None) -> list[str]:
        """Return the tokens of a text; unknown characters stay as they are, not `<unk>`."""
        return bert_pieces(pipeline, text, unk_id)

    def _words(self, text: str) -> Iterator[str]:
        normal = self._normalizer.normalize_str(without_surrogates(text))
        return (word for word, _ in self._pre_tokenizer.pre_tokenize_str(normal))


def bert_pieces(pipeline: Tokenizer, text: str, unk_id: int | None) -> list[str]:
    """Tokenize a text with the BERT pipeline; unknown characters stay as they are, not `<unk>`."""
    normalizer = bert_normalizer()
    (encoding,) = BertWords().encode(pipeline, [text])
    words = [*encoding.word_ids, None]
    added = {index: token.content for index, token in pipeline.get_added_tokens_decoder().items()}
    tokens = []
    place, before = (0, 0), 0
    for index, token in enumerate(encoding.tokens):
        # normalization may turn one character into several, which all have its offsets
        before = before + 1 if encoding.offsets[index] == place else 0
        place = encoding.offsets[index]
        given = text[slice(*place)]
        if encoding.ids[index] == unk_id and given != token:
            piece = normalizer.normalize_str(given).strip()  # BERT puts spaces around ideographs
            ends_word = words[index] != words[index + 1]
            token = piece[before : before + 1] + END_OF_WORD * ends_word
        elif encoding.ids[index] != unk_id:
            token = added.get(encoding.ids[index], token)  # not its normalized form
        tokens.append(token)
    return tokens
