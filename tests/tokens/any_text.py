"""Random texts of every kind, a small vocabulary of our own, and what holds on every text."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.tokens.merge_learning import learn_merges
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer
from ogpt.tokens.word_counting import count_words
from tests.tokens.oracle import Bpe, english, hf_spacy_words, openai_words
from tests.tokens.real import PYTHON_DOCS

SEED = 20180611
UNK, PAD = "<unk>", "<pad>"
OPTIONS: dict[str, Any] = {"pad_token": PAD, "model_max_length": 10_000}

# ---- tokenizers


@functools.cache
def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Learned on Python's documentation, with the letters and signs of the samples below."""
    counts = count_words(PYTHON_DOCS)
    signs = {sign for sample in SAMPLES for sign in sample.lower() if not sign.isspace()}
    latin = {chr(point).lower() for point in (*range(0xA1, 0x17F), *range(0x391, 0x3CA))}
    counts |= {sign * 2: 1 for sign in signs | latin if not "\ud800" <= sign <= "\udfff"}
    counts |= {"\n": 1, "mr.": 50, "u.s.": 50, "n't": 50, "o'clock": 50}
    return learn_merges(counts, 2_000)


@functools.cache
def bpe() -> Bpe:
    return Bpe(*vocabulary())


@functools.cache
def tokenizer(name: str) -> BPETokenizer:
    """One tokenizer for all examples, so that what it remembers is put to the test."""
    vocab, merges = vocabulary()
    if name == "fast":
        return OpenAIGPTTokenizerFast(vocab=vocab, merges=merges, **OPTIONS)
    return OpenAIGPTTokenizer(vocab=vocab, merges=merges, pre_tokenizer=name, **OPTIONS)


# ---- texts

WORDS = """
U.S. o'clock don't don't. Mr. mr. a.m. 10am e.g. I'm CAN'T can't've Ph.D. St. Jan. D.C., C++ N.Y
K><UNK><g vs. 'em 's 'll c'mon I'd've 'Tis the The cat a I x xxxxxxxx Café naïve <unk> <UNK>
a<unk>b <pad> :-) :) :- ) (: 8-D <3 ^_^ (ಠ_ಠ) ¯\\(ツ)/¯ :'( xD o.o " ' '' , . !? !! * ** ( [ ] {
} | ~ ~~ \\ \\n \\t / ; + = @ &amp; &lt; &AMP; & <b> < > </p> &eacute; &#233; &nbsp; &num $5.00
10km 3.14 1,000 50% #tag _ __ http://x.com/a_b?c=d www.a.org a@b.co a/b a-b a.b A.B x,y ’ ‘ “ ”
‛ „ ´ ` — – ― … -- --- ... ′ â€™ â€œ â€ Ã© L’Ã©tÃ© ï»¿ Ã © ﬁ ﬂ ｆｕｌｌ ＜ｕｎｋ＞ ！ ㎞ ĳ ŉ İ ı
ß ẞ Σ ΟΔΟΣ ς ſ é Å 日本 豈 한국 😀 US$% US$.
"""
ODD = (
    *("\r\n", "\r", "\n", "\n\n", " \n ", "  ", "\t", "\x0b", "\x0c", "\x1c", "\x85", "\u2028"),
    *("\u2029", "\xa0", "\u3000", "\u200b", "\ufeff", "\xad", "\x00", "\x1b[31m", "\x7f", "\ufffd"),
    *("\ufffe", "\x92", "Ã\xa0", "Â\xa0", "â\x80\x99", "10 a.m.", ". . .", ": )", "\uf020", "豈"),
    *("e\u0301", "\u0301", "\u1100\u1161", "👩\u200d👧", "\U000e0041", "a\udc80b", "\ud800"),
    *("\udfff", "\ud83d\ude00", "<u\ud800nk>"),
)
SAMPLES = (*WORDS.split(), *ODD)
any_character = st.characters(exclude_categories=())
any_text = st.text(any_character, max_size=30)
glue = st.sampled_from(["", "", " ", " ", "\n", "  ", "\t", "\r\n", "\xa0"])
piece = st.sampled_from(SAMPLES) | st.sampled_from(SAMPLES) | st.text(any_character, max_size=3)


def joined(pairs: list[tuple[str, str]]) -> str:
    return "".join(part for pair in pairs for part in pair)


def _special_text() -> st.SearchStrategy[str]:
    """spaCy's special cases, whole and in the pieces that its affixes cut them into."""
    from spacy.tokenizer import Tokenizer

    rules = english()
    without_cases = Tokenizer(
        rules.vocab,
        prefix_search=rules.prefix_search,
        suffix_search=rules.suffix_search,
        infix_finditer=rules.infix_finditer,
        token_match=rules.token_match,
        url_match=rules.url_match,
    )
    cut = {case: [token.text for token in without_cases(case)] for case in rules.rules}
    long = {case: pieces for case, pieces in cut.items() if len(pieces) > 1}
    pool = sorted({piece for pieces in long.values() for piece in pieces})
    common = [*"'.:<>3a", "'s"]
    one = st.sampled_from(pool) | st.sampled_from(sorted(long)) | st.sampled_from(common)
    return st.lists(st.tuples(one, st.sampled_from(["", "", " "])), max_size=7).map(joined)


rich_text = st.lists(st.tuples(piece, glue), max_size=10).map(joined)
special_text = st.deferred(_special_text)
signs = st.text(st.sampled_from("..''::<>$%&#@^`=€£°©’“-!?(/*_"), max_size=3)
between_signs = st.text(st.sampled_from("aAbQszZé"), min_size=1, max_size=7) | st.sampled_from(
    [
        "US",
        "AU",
        "km",
        "mm",
        "am",
        "PM",
        "Mr",
        "dr",
        "etc",
        "can",
        "Go",
        "www",
        "http",
        "10km",
        "5",
        "C",
    ]
)
framed_text = st.lists(
    st.builds("".join, st.tuples(signs, between_signs, signs)), min_size=1, max_size=3
).map(" ".join)
ascii_text = st.text(st.characters(min_codepoint=9, max_codepoint=126), max_size=25)
texts = rich_text | rich_text | special_text | framed_text | ascii_text | any_text


# ---- properties


def whole(text: str) -> str:
    """The text less its lone surrogates, which every path drops before all else.

    The oracle is asked about this text: ftfy would join two of them, or write U+FFFD, but neither
    a file nor a network can bring any.
    """
    return "".join(sign for sign in text if not "\ud800" <= sign <= "\udfff")


def described(words: Callable[[str], list[str]], text: str) -> list[str]:
    """The tokens as they are described; special tokens are cut out first, in their exact case."""
    tokens: list[str] = []
    for part in re.split(f"({UNK}|{PAD})", whole(text)):
        if part in (UNK, PAD):
            tokens.append(part)
        else:
            tokens += [piece for word in words(part) for piece in bpe().pieces(word)]
    return tokens


def ids_of(tokens: list[str]) -> list[int]:
    known = {**bpe().vocab, PAD: len(bpe().vocab)}
    return [known.get(token, known[UNK]) for token in tokens]


def every_way(name: str, text: str) -> list[int]:
    """The ids of a text, the same by each way to encode it."""
    ours = tokenizer(name)
    ids = ours.encode(text)
    assert ours(text)["input_ids"] == ids, "called"
    assert ours.encode_batch_arrays([text])[0].tolist() == ids, "as arrays"
    return ids


def openai_is_as_described(text: str) -> None:
    tokens = described(openai_words, text)
    assert tokenizer("openai").tokenize(text) == tokens
    assert every_way("openai", text) == ids_of(tokens)


def hf_spacy_is_as_described(text: str) -> None:
    tokens = described(hf_spacy_words, text)
    assert tokenizer("hf-spacy").tokenize(text) == tokens
    assert every_way("hf-spacy", text) == ids_of(tokens)


def both_bert_paths_agree(text: str) -> None:
    ids = every_way("fast", text)
    assert every_way("bert", text) == ids
    tokens = tokenizer("bert").tokenize(text)
    assert tokenizer("bert").convert_tokens_to_ids(tokens) == ids


def encoding_what_was_decoded_is_stable(text: str) -> None:
    """On the bert paths, as the others cut some decoded words again ("u.s.a ." and "u.s.a.")."""
    for name in ("fast", "bert"):
        ids = tokenizer(name).encode(text)
        if not {tokenizer(name).unk_token_id, tokenizer(name).pad_token_id} & set(ids):
            decoded = tokenizer(name).decode(ids)
            again = tokenizer(name).encode(decoded)
            assert again == ids
            assert tokenizer(name).decode(again) == decoded


def company_changes_nothing(name: str, given_texts: list[str], side: Any, multiple: Any) -> None:
    """Other texts in the batch, padding, and where the batch is cut."""
    ours = tokenizer(name)
    alone = [ours.encode(text) for text in given_texts]
    padded = ours(
        given_texts,
        padding=True,
        padding_side=side,
        pad_to_multiple_of=multiple,
        return_tensors="np",
    )
    rows, masks = padded["input_ids"], padded["attention_mask"]
    assert [row[mask == 1].tolist() for row, mask in zip(rows, masks, strict=True)] == alone
    assert set(rows[masks == 0].tolist()) <= {ours.pad_token_id}
    assert masks.shape[1] == -(-max(map(len, alone)) // (multiple or 1)) * (multiple or 1)
    for cut in range(len(given_texts) + 1):
        begun = ours.encode_batch_arrays(given_texts[:cut])
        arrays = begun + ours.encode_batch_arrays(given_texts[cut:])
        assert [array.tolist() for array in arrays] == alone
    assert all(array.dtype == np.uint16 for array in arrays)


class Property(NamedTuple):
    """What must hold, on what, and how many of a hundred examples it gets."""

    check: Callable[..., None]
    given: tuple[st.SearchStrategy[Any], ...]
    share: int


PROPERTIES = {
    prop.check.__name__: prop
    for prop in (
        Property(openai_is_as_described, (texts,), 40),
        Property(hf_spacy_is_as_described, (texts,), 20),
        Property(both_bert_paths_agree, (texts,), 20),
        Property(encoding_what_was_decoded_is_stable, (texts,), 10),
        Property(
            company_changes_nothing,
            (
                st.sampled_from(["openai", "hf-spacy", "bert", "fast"]),
                st.lists(texts, min_size=1, max_size=4),
                st.sampled_from(["left", "right"]),
                st.none() | st.integers(1, 5),
            ),
            10,
        ),
    )
}


def search(name: str, examples: int, start: int = SEED) -> None:
    """Look for a counter-example among `examples` texts, the same ones for the same start."""
    check, strategies, _ = PROPERTIES[name]
    profile = settings(
        max_examples=examples,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    seed(start)(profile(given(*strategies)(check)))()
