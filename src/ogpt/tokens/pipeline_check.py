"""Check that the files of a folder are a GPT-1 tokenizer's, and not of another kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ogpt.errors import TokenizerError
from ogpt.layout import TOKENIZER_CONFIG_FILE
from ogpt.tokens.byte_words import is_byte_file
from ogpt.tokens.vocabulary import END_OF_WORD

_CLASSES = ("OpenAIGPTTokenizer", "PreTrainedTokenizer", "TokenizersBackend")
"""Classes of transformers that a GPT-1 tokenizer may name; the last two may be any tokenizer."""


def check_class(settings: dict[str, Any], folder: Path) -> None:
    """Refuse the folder of another kind of tokenizer, whose files may have the same names.

    Raises:
        TokenizerError: tokenizer_config.json names a class that is no GPT-1 tokenizer's.
    """
    named = str(settings.get("tokenizer_class") or _CLASSES[0])
    if named.removesuffix("Fast") not in _CLASSES:
        raise TokenizerError(
            f"{folder / TOKENIZER_CONFIG_FILE} has tokenizer_class = {named!r}; allowed: "
            f"{', '.join(_CLASSES)}",
            hint="use the tokenizer of a GPT-1 model (model type openai-gpt); if this one is "
            'byte-level, pass pre_tokenizer=\'bytes\', or write "pre_tokenizer": "bytes" to '
            f"{TOKENIZER_CONFIG_FILE}",
        )


def check_pipeline(pipeline: dict[str, Any], file: Path, pre_tokenizer: str | None) -> None:
    """Refuse a tokenizer.json that would give other ids than our BERT or byte-level pipeline.

    Raises:
        TokenizerError: it would.
    """
    if pre_tokenizer == "bytes":
        if not is_byte_file(pipeline):
            raise TokenizerError(
                f"{file} does not split text as the pre-tokenization 'bytes' of ogpt does",
                hint="use a tokenizer of ogpt train-tokenizer --pre-tokenizer bytes, or pass "
                "pre_tokenizer='bytes' to split text by ogpt's rules all the same",
            )
        return
    expected: dict[str, dict[str, tuple[Any, ...]]] = {
        "model": {"type": ("BPE",), "end_of_word_suffix": (END_OF_WORD,)},
        "normalizer": {
            "type": ("BertNormalizer",),
            "clean_text": (True,),
            "handle_chinese_chars": (True,),
            "strip_accents": (None, True),
            "lowercase": (True,),
        },
        "pre_tokenizer": {"type": ("BertPreTokenizer",)},
    }
    for part, settings in expected.items():
        for key, allowed in settings.items():
            seen = (pipeline.get(part) or {}).get(key)
            if seen not in allowed:
                raise TokenizerError(
                    f"{file} has {part}.{key} = {seen!r}; allowed: {allowed[0]!r}",
                    hint="use the tokenizer of a GPT-1 model (model type openai-gpt)",
                )
