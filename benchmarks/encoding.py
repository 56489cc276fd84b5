"""Text to ids: the 2018 order beside a literal implementation, BERT's rules beside transformers.

Cold: a new tokenizer with empty word caches. Warm: a tokenizer that has encoded the text before.
Batches: a list of paragraphs. One text: all of them in one string.
"""

from __future__ import annotations

import tempfile
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measuring import Result, Table, arguments, interleave, rates, save, spread, timed

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
BOOKS = SHARED / "books" / "books_train_se_00.jsonl.gz"
BYTES = 6_000_000

Encode = Callable[[list[str]], Any]


def inputs(folder: Path, smoke: bool) -> tuple[Path, str, str]:
    """A tokenizer folder, a text and its description: the books, if present."""
    from ogpt.data.builtin import library_folder, texts
    from ogpt.data.documents import documents
    from ogpt.data.sources import open_sources
    from ogpt.workflows.train_tokenizer import train_tokenizer

    vocabulary = SHARED / "gpt1_vocab"
    if smoke or not (BOOKS.exists() and vocabulary.is_dir()):
        sample = folder / "sample.txt"
        documents_ = (text for text, _, _ in texts("python-docs", library_folder()))
        sample.write_text("\n".join(next(documents_)[:3000] for _ in range(20)), "utf-8")
        train_tokenizer([str(sample)], 300, folder / "tokenizer")
        return folder / "tokenizer", sample.read_text("utf-8"), "Python's own documentation"
    books = "\n".join(document.text for document in documents(open_sources([BOOKS])))
    return vocabulary, books[:BYTES], "books, GPT-1's vocabulary"


def contenders(folder: Path) -> dict[str, Callable[[], Encode]]:
    """Functions that make a new tokenizer, by name."""
    import transformers

    from ogpt.tokens.fast import OpenAIGPTTokenizerFast
    from ogpt.tokens.tokenizer import OpenAIGPTTokenizer
    from ogpt.tokens.vocabulary import find_vocabulary
    from tests.tokens.oracle import Bpe, english, openai_words

    found = find_vocabulary(folder)
    assert found is not None
    vocabulary = OpenAIGPTTokenizerFast.from_pretrained(folder)

    def ours(order: Any) -> Callable[[], Encode]:
        return lambda: (
            OpenAIGPTTokenizer.from_pretrained(folder, pre_tokenizer=order).encode_batch_arrays
        )

    def oracle() -> Encode:
        english.cache_clear()
        bpe = Bpe(vocabulary.get_vocab(), vocabulary.merges)
        return lambda texts: [bpe.ids(openai_words(text)) for text in texts]

    def theirs() -> Encode:
        tokenizer = transformers.OpenAIGPTTokenizer(*map(str, found))
        tokenizer.model_max_length = 10**9  # no warning on long texts
        return lambda texts: tokenizer(texts, return_attention_mask=False)["input_ids"]

    def fast() -> Encode:
        return OpenAIGPTTokenizerFast.from_pretrained(folder).encode_batch_arrays

    def called() -> Encode:
        tokenizer = OpenAIGPTTokenizerFast.from_pretrained(folder)
        return lambda texts: tokenizer(texts, return_attention_mask=False)["input_ids"]

    return {
        "ogpt openai": ours("openai"),
        "literal 2018 order": oracle,
        "ogpt bert": fast,
        "ogpt bert, called": called,
        "transformers": theirs,
    }


def measure(given: Namespace, folder: Path) -> Result:
    """Time all in turn: cold, then warm, in batches and on one long text."""
    tokenizer, text, what = inputs(folder, given.smoke)
    shapes = {"batches": [line for line in text.split("\n") if line.strip()], "one text": [text]}
    fresh = contenders(tokenizer)

    def cold_then_warm(name: str, texts: list[str]) -> tuple[float, float]:
        encode = fresh[name]()
        return timed(lambda: encode(texts)), timed(lambda: encode(texts))

    rounds = interleave(
        {
            f"{name}, {shape}": lambda name=name, texts=texts: cold_then_warm(name, texts)
            for shape, texts in shapes.items()
            for name in fresh
        },
        given.rounds,
    )
    samples = {
        f"{name}, {state}": [pair[place] for pair in pairs]
        for name, pairs in rounds.items()
        for place, state in enumerate(("cold", "warm"))
    }
    n_bytes = len(text.encode())
    rows = [[name, spread(rates(n_bytes / 1e6, seconds))] for name, seconds in samples.items()]
    table = Table([f"{n_bytes / 1e6:.1f} MB ({what})", "MB/s, median (lowest to highest)"], rows)
    result = Result("encoding", "Text to ids", {"data": what, "n_bytes": n_bytes}, samples)
    result.tables.append(table)
    aims = (
        ("ogpt openai", "literal 2018 order", {"batches": 10.0, "one text": 4.0}),
        ("ogpt bert", "transformers", {"batches": 1.3, "one text": 1.3}),
        ("ogpt bert, called", "transformers", {"batches": 1.3, "one text": 1.3}),
    )
    for ours, peer, wanted in aims:
        for shape, times in wanted.items():
            for state in ("cold", "warm"):
                found = result.compare(f"{ours}, {shape}, {state}", f"{peer}, {shape}, {state}")
                result.target(f"{ours}, {shape}, {state}, times {peer}", found, at_least=times)
    result.add_pairs()
    return result


def main() -> None:
    given = arguments(__doc__, 5)
    with tempfile.TemporaryDirectory() as folder:
        save(measure(given, Path(folder)), given)


if __name__ == "__main__":
    main()
