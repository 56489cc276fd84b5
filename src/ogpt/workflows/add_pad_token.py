"""`ogpt.add_pad_token`: a padding token for a tokenizer and its model; GPT-1 has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ogpt.config.model import TOKENIZER_FINGERPRINT
from ogpt.folders.model_folder import check_vocabulary
from ogpt.tokens.bpe_tokenizer import BPETokenizer

if TYPE_CHECKING:
    from ogpt.model.pretrained import OpenAIGPTPreTrainedModel


def add_pad_token(
    tokenizer: BPETokenizer, model: OpenAIGPTPreTrainedModel, pad_token: str = "<pad>"
) -> int:
    """Add a padding token to a tokenizer and its model together; GPT-1 has none.

    Args:
        tokenizer: The model's tokenizer; it is changed.
        model: A model of ogpt; it is changed.
        pad_token: The token; one that the vocabulary already has is used as it is.

    Returns:
        The id of the token. A new token gets a new id, and a new row in the model.

    Raises:
        VocabularyMismatch: the two do not belong together.
    """
    check_vocabulary(tokenizer, model.config, "memory")
    tokenizer.add_special_tokens({"pad_token": pad_token})
    pad_id: int = tokenizer.convert_tokens_to_ids(pad_token)
    if len(tokenizer) > model.config.vocab_size:
        model.resize_token_embeddings(len(tokenizer))
    model.config.pad_token_id = pad_id
    setattr(model.config, TOKENIZER_FINGERPRINT, tokenizer.fingerprint)
    return pad_id
