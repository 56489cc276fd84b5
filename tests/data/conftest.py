"""What the tests of the data room share: a tokenizer of single characters, streams of numbers."""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from ogpt.data.manifest import Shard, shard_names
from ogpt.data.shards import TokenStream
from ogpt.tokens.fast import OpenAIGPTTokenizerFast

MakeStream = Callable[..., TokenStream]


@pytest.fixture(scope="session")
def characters() -> OpenAIGPTTokenizerFast:
    """One token for each character; words end in `</w>`."""
    alphabet = string.ascii_lowercase + string.digits + string.punctuation
    tokens = ["<unk>", *alphabet, *(f"{character}</w>" for character in alphabet)]
    return OpenAIGPTTokenizerFast(
        vocab={token: index for index, token in enumerate(tokens)}, merges=[]
    )


@pytest.fixture
def make_stream(tmp_path: Path) -> MakeStream:
    """Make a TokenStream whose token i is i, over several shards of documents of given lengths."""

    def make(
        *shards: Sequence[int], vocab_size: int = 60_000, dtype: str = "uint16"
    ) -> TokenStream:
        folder = tmp_path / "stream"
        folder.mkdir(exist_ok=True)
        records = []
        first = 0
        for number, lengths in enumerate(shards):
            file, documents_file = shard_names("train", number)
            np.arange(first, first + sum(lengths)).astype(dtype).tofile(folder / file)
            np.array(lengths, "<u4").tofile(folder / documents_file)
            records.append(
                Shard(file, sum(lengths), "", documents_file, len(lengths), "", sum(lengths))
            )
            first += sum(lengths)
        return TokenStream(folder, records, dtype, vocab_size)

    return make
