"""Which class reads a tokenizer folder."""

from __future__ import annotations

from pathlib import Path

from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.tokens.folder import read_settings
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer, available_pre_tokenizer


def open_tokenizer(folder: str | Path) -> BPETokenizer:
    """The tokenizer of a folder, with the pre-tokenisation that it was saved with.

    A folder that does not say (one of OpenAI's or transformers') is read in the 2018 order where
    spaCy and ftfy are installed, otherwise by BERT's rules, with a notice.

    Raises:
        TokenizerError: the folder is missing or damaged.
        BackendMissing: a package that its pre-tokenisation needs is not installed.
    """
    saved = read_settings(Path(folder)).get("pre_tokenizer")
    chosen = available_pre_tokenizer() if saved is None else saved
    if chosen == "bert":
        return OpenAIGPTTokenizerFast.from_pretrained(folder)
    return OpenAIGPTTokenizer.from_pretrained(
        folder, **({"pre_tokenizer": chosen} if saved is None else {})
    )
