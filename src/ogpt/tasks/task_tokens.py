"""Start, delimiter and extract tokens in a tokenizer (paper, section 3.3)."""

from __future__ import annotations

from ogpt.errors import TokenizerError
from ogpt.tasks.transforms import DELIMITER, EXTRACT, START, TaskTokens
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.template import Template


def add_task_tokens(tokenizer: BPETokenizer) -> TaskTokens:
    """Append the three tokens to a tokenizer, and make it put them around texts.

    One text becomes start, text, extract; a pair becomes start, first, delimiter, second, extract.
    The model needs as many rows more (`resize_token_embeddings`).

    Args:
        tokenizer: Is changed. Tokens that it has already stay where they are.

    Returns:
        Their ids.
    """
    tokenizer.add_tokens([START, DELIMITER, EXTRACT], special_tokens=True)
    special = dict.fromkeys([*tokenizer.additional_special_tokens, START, DELIMITER, EXTRACT])
    tokenizer.additional_special_tokens = list(special)
    # the delimiter never ends a sequence, so it can pad without a fourth token: the last token that
    # is no padding is the extract token
    tokenizer.pad_token = DELIMITER
    tokenizer.template = Template(START, DELIMITER, EXTRACT)
    return task_tokens(tokenizer)


def task_tokens(tokenizer: BPETokenizer) -> TaskTokens:
    """Ids of the three tokens in the tokenizer of a fine-tuned model.

    Raises:
        TokenizerError: it lacks one.
    """
    vocab = tokenizer.get_vocab()
    for token in (START, DELIMITER, EXTRACT):
        if token not in vocab:
            raise TokenizerError(
                f"the tokenizer has no token {token!r}, which a fine-tuned model needs",
                hint="use the tokenizer that lies in the fine-tuned model's folder",
            )
    return TaskTokens(vocab[START], vocab[DELIMITER], vocab[EXTRACT])
