"""`ogpt train-tokenizer`: train a BPE tokenizer on text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from ogpt.data.documents import documents
from ogpt.data.encoding import in_document
from ogpt.data.sources import TEXT_FIELD, Source, Specs, open_sources, text_field_input
from ogpt.data.unknown import notice_vowel_signs
from ogpt.errors import DataError, OutputExists, TokenizerError
from ogpt.layout import LEARNED_FROM_FILE
from ogpt.reading import unreadable
from ogpt.reporting import Progress, Reporter, silent
from ogpt.storage import check_writable, held_names, path_of, whole_folder, write_json
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.tokens.merge_learning import learn_byte_merges, learn_merges
from ogpt.tokens.open_tokenizer import open_tokenizer
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer, PreTokenizer, words_of
from ogpt.tokens.word_counting import count_words


def train_tokenizer(
    data: Specs,
    vocab_size: int,
    out: str | Path,
    *,
    pre_tokenizer: PreTokenizer = "bert",
    encoding: str = "utf-8",
    text_field: str = TEXT_FIELD,
    reporter: Reporter = silent,
) -> BPETokenizer:
    """Train a tokenizer on text and save it; the same text gives the same tokenizer.

    Args:
        data: Sources of text (see `ogpt.data.sources.open_sources`).
        vocab_size: Number of entries, 2 or more.
        out: The folder to make. If it holds the tokenizer of the same text and settings, that one
            is used.
        pre_tokenizer: How text is split (see OpenAIGPTTokenizer); saved with the
            tokenizer.
        encoding: Encoding of text files.
        text_field: Field or column of .jsonl and .parquet files that holds the text.
        reporter: Receives progress events.

    Raises:
        BackendMissing: spaCy or ftfy is not installed and the pre_tokenizer needs it.
        DataError: sources that cannot be read or hold no text.
        TokenizerError: a vocab_size below the number of characters of the text, or of bytes (256).
        OutputExists: `out` holds something else.
        StorageError: the disk is full or refuses.
    """
    out = path_of(out, "out")
    sources = open_sources(data, encoding, text_field=text_field, out=out)
    record = {
        "data": [source.description for source in sources],
        "encoding": encoding,
        **text_field_input(text_field),
        "vocab_size": vocab_size,
        "pre_tokenizer": pre_tokenizer,
    }
    if (out / LEARNED_FROM_FILE).is_file() and _read_record(out / LEARNED_FROM_FILE) == record:
        reporter("message", text=f"{out} already holds the tokenizer of this text")
        return open_tokenizer(out)
    if out.exists() and (not out.is_dir() or held_names(out)):
        raise OutputExists(
            f"{out} exists and does not hold the tokenizer of this text",
            hint="choose another --out, or delete the folder",
        )
    check_writable(out)
    if pre_tokenizer == "bert":
        notice_vowel_signs(sources)
    texts = _Texts(sources, reporter)
    try:
        words = count_words(texts, words_of(pre_tokenizer))
    except TokenizerError as error:
        raise in_document(error, texts.origin) from error
    if not words:
        raise DataError(
            f"there are no words in {', '.join(source.name for source in sources)}",
            hint="pass text with --data",
        )
    learn = learn_byte_merges if pre_tokenizer == "bytes" else learn_merges
    vocab, merges = learn(words, vocab_size, reporter)
    tokenizer: BPETokenizer
    if pre_tokenizer == "bert":
        tokenizer = OpenAIGPTTokenizerFast(vocab=vocab, merges=merges)
    else:
        tokenizer = OpenAIGPTTokenizer(vocab=vocab, merges=merges, pre_tokenizer=pre_tokenizer)
    with whole_folder(out) as folder:
        tokenizer.save_pretrained(folder)
        write_json(folder / LEARNED_FROM_FILE, record)
    return tokenizer


class _Texts:
    """The texts of all documents, and where the last one comes from."""

    def __init__(self, sources: Sequence[Source], reporter: Reporter) -> None:
        self.origin = ""
        self._sources = sources
        self._reporter = reporter

    def __iter__(self) -> Iterator[str]:
        before = [0, *accumulate(source.size for source in self._sources)]
        progress = Progress(self._reporter, "counting words", before[-1])
        for document in documents(self._sources):
            self.origin = document.origin
            yield document.text
            progress(before[document.source] + document.position)


def _read_record(file: Path) -> object:
    try:
        return json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise unreadable(file, error) from error
    except ValueError:
        return None  # damaged: it matches no text
