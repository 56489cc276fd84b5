"""Open the tokenizer of a folder with the class that it was saved with."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from ogpt.hub import HubOptions
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer, available_pre_tokenizer
from ogpt.tokens.tokenizer_folder import read_settings, tokenizer_folder


def open_tokenizer(folder: str | Path, **hub: Unpack[HubOptions]) -> BPETokenizer:
    """Open the tokenizer of a folder or Hub id, with the pre-tokenization that it was saved with.

    Folders of OpenAI and transformers do not store it: they are opened with the 2018 order if spaCy
    and ftfy are installed, otherwise with BERT's rules and a notice.

    Args:
        folder: A folder with a tokenizer, or a Hub id.
        **hub: Arguments of `ogpt.hub.model_folder`.

    Raises:
        TokenizerError: the folder is missing or damaged.
        BackendMissing: a package that its pre-tokenization needs is not installed.
        HubError: the download failed.
    """
    folder = tokenizer_folder(folder, dict(hub))
    saved = read_settings(folder).get("pre_tokenizer")
    chosen = available_pre_tokenizer() if saved is None else saved
    if chosen == "bert":
        return OpenAIGPTTokenizerFast.from_pretrained(folder)
    return OpenAIGPTTokenizer.from_pretrained(
        folder, **({"pre_tokenizer": chosen} if saved is None else {})
    )
