"""Which class reads a tokenizer folder."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from ogpt.hub import HubOptions
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer, available_pre_tokenizer
from ogpt.tokens.tokenizer_folder import read_settings, tokenizer_folder


def open_tokenizer(folder: str | Path, **hub: Unpack[HubOptions]) -> BPETokenizer:
    """The tokenizer of a folder or Hub id, with the pre-tokenisation that it was saved with.

    A folder that does not say (one of OpenAI's or transformers') is read in the 2018 order where
    spaCy and ftfy are installed, otherwise by BERT's rules, with a notice.

    Args:
        folder: a folder with a tokenizer, or an id of the Hub.
        **hub: how to fetch from the Hub, as `ogpt.hub.model_folder`.

    Raises:
        TokenizerError: the folder is missing or damaged.
        BackendMissing: a package that its pre-tokenisation needs is not installed.
        HubError: no such model on the Hub, or no way to get it.
    """
    folder = tokenizer_folder(folder, dict(hub))
    saved = read_settings(folder).get("pre_tokenizer")
    chosen = available_pre_tokenizer() if saved is None else saved
    if chosen == "bert":
        return OpenAIGPTTokenizerFast.from_pretrained(folder)
    return OpenAIGPTTokenizer.from_pretrained(
        folder, **({"pre_tokenizer": chosen} if saved is None else {})
    )
