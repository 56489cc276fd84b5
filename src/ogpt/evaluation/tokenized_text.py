"""Text to evaluate on: the token ids of documents, read one group at a time, and their counts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ogpt.data.documents import Document, documents
from ogpt.data.encoding import encode_documents
from ogpt.data.sources import TEXT_FIELD, Specs, open_sources
from ogpt.data.unknown import SAMPLE, notice_unknown, notice_unknown_in
from ogpt.errors import ConfigError
from ogpt.tokens.bpe_tokenizer import BPETokenizer

GROUP_CHARACTERS = 1 << 20  # tokenized at once: memory stays flat, and the Rust core has work


class TokenizedText:
    """The token ids of documents, and counts of what was read so far.

    Args:
        texts: The documents.
        tokenizer: The model's tokenizer.
        sizes: Size of each of their sources, in bytes.
    """

    def __init__(
        self, texts: Iterable[Document], tokenizer: BPETokenizer, sizes: Sequence[int]
    ) -> None:
        self.sizes = sizes
        self.tokens = 0
        self.n_bytes = 0
        """UTF-8 bytes of the documents."""
        self.unknown = 0
        """Tokens that are <unk>."""
        self.position = 0
        """Bytes of all sources."""
        self._texts = texts
        self._tokenizer = tokenizer

    def ids(self) -> Iterator[list[int]]:
        """The ids of each document."""
        for group in self._groups():
            texts = [document.text for document in group]
            origins = [document.origin for document in group]
            arrays = encode_documents(self._tokenizer, texts, origins)
            for document, ids in zip(group, arrays, strict=True):
                self.tokens += len(ids)
                self.n_bytes += len(document.text.encode(errors="replace"))
                self.unknown += int((ids == self._tokenizer.unk_token_id).sum())
                self.position = sum(self.sizes[: document.source]) + document.position
                yield ids.tolist()

    def _groups(self) -> Iterator[list[Document]]:
        group: list[Document] = []
        characters = 0
        for document in self._texts:
            group.append(document)
            characters += len(document.text)
            if characters >= GROUP_CHARACTERS:
                yield group
                group, characters = [], 0
        if group:
            yield group


def open_text(
    tokenizer: BPETokenizer,
    data: Specs,
    text: str | None,
    encoding: str = "utf-8",
    text_field: str = TEXT_FIELD,
) -> TokenizedText:
    """Open sources of text, or wrap a text, for evaluation.

    Args:
        tokenizer: The model's tokenizer.
        data: Sources of text (see `ogpt.data.sources.open_sources`).
        text: The text itself, in place of data.
        encoding: Encoding of text files.
        text_field: Field or column of .jsonl and .parquet files that holds the text.

    Raises:
        ConfigError: not exactly one of data and text.
        DataError: sources that cannot be found or opened.
    """
    if (text is None) == (not data):
        raise ConfigError(
            f"{'neither data nor' if text is None else 'both data and'} text given; allowed: one",
            hint="pass sources of text, or the text itself",
        )
    if text is None:
        sources = open_sources(data, encoding, text_field=text_field)
        notice_unknown(tokenizer, sources, "the text")
        return TokenizedText(documents(sources), tokenizer, [source.size for source in sources])
    size = len(text.encode(errors="replace"))
    document = Document(text, "text", 0, size)
    notice_unknown_in(tokenizer, [document._replace(text=text[:SAMPLE])], "the text")
    return TokenizedText([document], tokenizer, [size])
