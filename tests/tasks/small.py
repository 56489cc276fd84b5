"""A small tokenizer and examples for tests of tasks."""

from ogpt.notices import collecting
from ogpt.tasks.example import Example, Family
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.tokens.merge_learning import learn_merges
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer, PreTokenizer
from ogpt.tokens.word_counting import count_words

TEXTS = [
    "a good film with a good end",
    "a bad film",
    "what a good story this is , and how bad the end",
    "bad bad bad",
]


def tokenizer(pre_tokenizer: PreTokenizer = "bert") -> OpenAIGPTTokenizerFast | OpenAIGPTTokenizer:
    with collecting():  # fewer merges than asked for
        if pre_tokenizer == "bytes":
            from ogpt.tokens.byte_words import ByteWords
            from ogpt.tokens.merge_learning import learn_byte_merges

            vocab, merges = learn_byte_merges(count_words(TEXTS, ByteWords()), 300)
            return OpenAIGPTTokenizer(vocab=vocab, merges=merges, pre_tokenizer="bytes")
        vocab, merges = learn_merges(count_words(TEXTS), 120)
    if pre_tokenizer == "bert":
        return OpenAIGPTTokenizerFast(vocab=vocab, merges=merges)
    return OpenAIGPTTokenizer(vocab=vocab, merges=merges, pre_tokenizer=pre_tokenizer)


def examples(family: Family, count: int = 8) -> list[Example]:
    """Examples of a family, of different lengths, labelled in turn."""
    made = []
    for index in range(count):
        first, second = TEXTS[index % 4], TEXTS[(index + 1) % 4]
        if family == "classification":
            made.append(Example((first,), ("good", "bad")[index % 2], f"row {index}"))
        elif family == "entailment":
            made.append(Example((first, second), ("yes", "no")[index % 2], f"row {index}"))
        elif family == "similarity":
            made.append(Example((first, second), index / 2, f"row {index}"))
        else:
            texts = (first, "", second, "a bad end")
            made.append(Example(texts, index % 2, f"row {index}"))
    return made
