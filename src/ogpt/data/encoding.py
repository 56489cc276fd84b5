"""Documents become token ids; an error names the document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from ogpt.errors import TokenizerError
from ogpt.tokens.bpe_tokenizer import BPETokenizer


def encode_documents(
    tokenizer: BPETokenizer, texts: Sequence[str], origins: Sequence[str]
) -> Sequence[NDArray[Any]]:
    """Encode texts together.

    Args:
        tokenizer: The tokenizer.
        texts: Texts of documents.
        origins: File and line of each.

    Raises:
        TokenizerError: a text cannot be encoded, with its origin.
    """
    try:
        return tokenizer.encode_batch_arrays(texts)
    except TokenizerError:
        for text, origin in zip(texts, origins, strict=True):
            try:
                tokenizer.encode_batch_arrays([text])
            except TokenizerError as error:
                raise in_document(error, origin) from error
        raise


def in_document(error: TokenizerError, origin: str) -> TokenizerError:
    """The same error with the origin of the text before its message."""
    return type(error)(f"{origin}: {error}", hint=error.hint)
