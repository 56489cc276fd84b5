"""How well the readable surface restores the spaces and capitals of books.

The sentences of the validation books are encoded, decoded, made readable, and compared with the
books. A decision is whether white space belongs between two neighbouring words of the tokenizer.
Sentences with `<unk>` are left out and counted. Each sentence follows those before it in its
paragraph, or stands alone. "Plain quotes" first replaces typographic quotes, dashes and ellipses,
which are unknown to GPT-1's vocabulary where each sign is a word.
"""

from __future__ import annotations

import re
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.measuring import Result, Table, arguments, save
from ogpt.tokens.fixing import STRAIGHT
from ogpt.tokens.original import PACKAGES
from ogpt.tokens.standardize import CHARACTERS
from ogpt.tokens.surface import Readable
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer

SHARED = Path(__file__).parents[2] / "shared" / "data"
BOOKS = SHARED / "books" / "books_valid.jsonl.gz"
VOCABULARY = SHARED / "gpt1_vocab"
DECISIONS, IDS = 0.97, 0.99  # targets

_PLAIN = str.maketrans({**STRAIGHT, **CHARACTERS})
_AFTER_SENTENCE = re.compile(
    r"(?<!\bMr\.)(?<!\bMrs\.)(?<!\bDr\.)(?<!\bSt\.)(?<=[.!?…])([\"”’')\]]*)\s+(?=[\"“‘'(\[]*[A-Z])"
)


@dataclass
class Score:
    """What was right, and how many there were."""

    sentences: int = 0
    unknown: int = 0
    """Sentences with `<unk>`, which are left out."""
    changed: int = 0
    """Sentences whose signs the tokenizer changed in other ways, which are left out too."""
    decisions: int = 0
    decisions_right: int = 0
    encoded: int = 0
    ids_equal: int = 0
    """Sentences whose readable text encodes to the ids that it came from."""
    capitals: int = 0
    """Capital letters of the books."""
    capitals_given: int = 0
    """Capital letters of the readable text."""
    capitals_right: int = 0
    """Capital letters of both."""
    wrong: list[str] = field(default_factory=list, repr=False)
    """Text around each wrong decision."""

    @property
    def share_of_decisions(self) -> float:
        """Right decisions, 0 to 1."""
        return self.decisions_right / self.decisions

    @property
    def share_of_ids(self) -> float:
        """Sentences that encode to their ids, 0 to 1."""
        return self.ids_equal / self.encoded


def paragraphs(text: str) -> Iterator[list[str]]:
    """The sentences of each paragraph, which is a line of the books."""
    for line in filter(str.strip, text.split("\n")):
        marked = _AFTER_SENTENCE.sub(r"\1\n", line.strip())
        yield marked.split("\n")


def signs(text: str) -> tuple[str, list[bool]]:
    """The characters that are not white space, and whether white space precedes each."""
    found = [(match[0], match.start()) for match in re.finditer(r"\S", text)]
    spaced = [begin == 0 or text[begin - 1].isspace() for _, begin in found]
    return "".join(sign for sign, _ in found), spaced


def score(
    texts: Iterable[str],
    tokenizer: OpenAIGPTTokenizer,
    *,
    alone: bool = False,
    plain_quotes: bool = False,
) -> Score:
    """Compare the readable surface of texts with the texts.

    Args:
        texts: Paragraphs as lines.
        tokenizer: Encodes and decodes.
        alone: Each sentence without those before it.
        plain_quotes: Replace typographic signs first.
    """
    found = Score()
    again: list[tuple[str, list[int]]] = []
    for text in texts:
        for sentences in paragraphs(text.translate(_PLAIN) if plain_quotes else text):
            rows = tokenizer(sentences)["input_ids"]
            known = [
                (_as_tokenized(sentence, tokenizer), ids)
                for sentence, ids in zip(sentences, rows, strict=True)
                if tokenizer.unk_token_id not in ids
            ]
            found.sentences += len(sentences)
            found.unknown += len(sentences) - len(known)
            for group in [[one] for one in known] if alone else [known] * bool(known):
                again += _compare(found, group, tokenizer)
    rows = tokenizer([text for text, _ in again])["input_ids"]
    found.encoded = len(again)
    found.ids_equal = sum(ids == row for (_, ids), row in zip(again, rows, strict=True))
    return found


def _as_tokenized(sentence: str, tokenizer: OpenAIGPTTokenizer) -> str:
    """The sentence with its signs as the tokenizer writes them, in its own case."""
    if tokenizer.pre_tokenizer != "bert":
        return sentence.translate(_PLAIN)
    apart = unicodedata.normalize("NFD", sentence)
    return "".join(sign for sign in apart if unicodedata.category(sign) != "Mn")


def _compare(
    found: Score, group: Sequence[tuple[str, list[int]]], tokenizer: OpenAIGPTTokenizer
) -> list[tuple[str, list[int]]]:
    """Count what is right in one text; return the readable sentences with their ids."""
    raws = [tokenizer.decode(ids).strip() for _, ids in group]
    words = " ".join(raws).split()
    surface = Readable(tokenizer.pre_tokenizer)
    readable = surface.write(" ".join(words)) + surface.finish()
    original, spaced = signs(" ".join(sentence for sentence, _ in group))
    given, given_spaced = signs(readable)
    if not original.lower() == given.lower() == "".join(words):
        found.changed += len(group)
        return []
    at = 0
    for number, word in enumerate(words[:-1], 1):
        at += len(word)
        found.decisions += 1
        found.decisions_right += spaced[at] == given_spaced[at]
        if spaced[at] != given_spaced[at]:
            around = [*words[max(0, number - 6) : number], "_", *words[number : number + 6]]
            found.wrong.append(" ".join(around))
    for one, other in zip(original, given, strict=True):
        found.capitals += one.isupper()
        found.capitals_given += other.isupper()
        found.capitals_right += one.isupper() and other.isupper()
    places = [match.start() for match in re.finditer(r"\S", readable)]
    rows = []
    begin = 0
    for raw, (_, ids) in zip(raws, group, strict=True):
        end = begin + len(signs(raw)[0])
        rows.append((readable[places[begin] : places[end - 1] + 1], ids))
        begin = end
    return rows


CASES: dict[str, dict[str, Any]] = {
    "openai": {"pre_tokenizer": "openai"},
    "openai, sentences alone": {"pre_tokenizer": "openai", "alone": True},
    "hf-spacy": {"pre_tokenizer": "hf-spacy"},
    "bert": {"pre_tokenizer": "bert"},
    "bert, plain quotes": {"pre_tokenizer": "bert", "plain_quotes": True},
    "bert, plain quotes, sentences alone": {
        "pre_tokenizer": "bert",
        "plain_quotes": True,
        "alone": True,
    },
}


def inputs(folder: Path, smoke: bool) -> tuple[list[str], Path, str]:
    """Texts, a tokenizer folder and their description: the books, if present."""
    from ogpt.data.builtin import library_folder
    from ogpt.data.builtin import texts as builtin_texts
    from ogpt.data.documents import documents
    from ogpt.data.sources import open_sources
    from ogpt.workflows.train_tokenizer import train_tokenizer

    if not smoke and BOOKS.exists() and VOCABULARY.is_dir():
        books = [document.text for document in documents(open_sources([BOOKS]))]
        return books, VOCABULARY, "validation books, GPT-1's vocabulary"
    found = builtin_texts("python-docs", library_folder())
    texts = [text for (text, _, _), _ in zip(found, range(3 if smoke else 1000), strict=False)]
    sample = folder / "sample.txt"
    sample.write_text("\n".join(texts), "utf-8")
    train_tokenizer([str(sample)], 300 if smoke else 8000, folder / "tokenizer")
    return texts, folder / "tokenizer", "Python's own documentation"


def measure(texts: list[str], vocabulary: Path, what: str) -> Result:
    """Score every case."""
    rows = []
    rules = {name: metadata.version(name) for name in PACKAGES}
    result = Result("readable", "Readable surface", {"data": what, **rules}, {})
    for name, case in CASES.items():
        options = {key: value for key, value in case.items() if key != "pre_tokenizer"}
        tokenizer = OpenAIGPTTokenizer.from_pretrained(
            vocabulary, pre_tokenizer=case["pre_tokenizer"]
        )
        found = score(texts, tokenizer, **options)
        counts = {key: value for key, value in vars(found).items() if key != "wrong"}
        result.figures[name] = counts
        decisions, equal = 100 * found.share_of_decisions, 100 * found.share_of_ids
        result.target(f"% of decisions right, {name}", decisions, at_least=100 * DECISIONS)
        result.target(f"% of sentences with equal ids, {name}", equal, at_least=100 * IDS)
        rows.append(
            [
                name,
                f"{found.share_of_decisions:.2%} of {found.decisions:,}",
                f"{found.share_of_ids:.2%} of {found.encoded:,}",
                f"{found.unknown:,} and {found.changed:,}",
                f"{found.capitals_right / max(1, found.capitals):.1%}",
                f"{found.capitals_right / max(1, found.capitals_given):.1%}",
            ]
        )
    header = [
        what,
        "spaces right",
        "sentences that encode to their ids",
        "left out: with `<unk>`, and changed",
        "capitals found",
        "given capitals right",
    ]
    result.tables.append(Table(header, rows))
    return result


def main() -> None:
    given = arguments(__doc__, 1)
    with tempfile.TemporaryDirectory() as folder:
        save(measure(*inputs(Path(folder), given.smoke)), given)


if __name__ == "__main__":
    main()
