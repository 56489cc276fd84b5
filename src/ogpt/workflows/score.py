"""`ogpt score`: log-probability of a text, or of candidate continuations."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ogpt.config.described import check_names
from ogpt.decoding.choice import open_decoder
from ogpt.decoding.options import DecoderOptions
from ogpt.errors import ConfigError, ContextTooLong, SamplingError
from ogpt.folders.model_folder import ModelFolder
from ogpt.generation.protocol.likelihood import check_stride, cut_prefix, score_choices
from ogpt.generation.protocol.likelihood import score as score_windows
from ogpt.generation.protocol.perplexity import perplexity
from ogpt.generation.texts.request import check_unicode, tell_unknown
from ogpt.generation.texts.writer import TokenizerLike
from ogpt.tokens.texts import as_texts


@dataclass(frozen=True, slots=True)
class Score:
    """Log-probability of a text under a model."""

    text: str
    log_prob: float
    """Sum over the scored tokens, in nats. The first token of a text without context is not
    scored."""
    mean: float
    """log_prob per scored token."""
    per_byte: float
    """log_prob per UTF-8 byte of the text, which compares models of different vocabularies. Tokens
    that are not scored count with the mean."""
    perplexity: float
    """exp(-mean)."""
    tokens: list[str]
    """The scored tokens."""
    log_probs: list[float]
    """Log-probability of each of them."""


def score(
    model: str | Path | ModelFolder,
    text: str | Sequence[str],
    *,
    choices: Sequence[str] = (),
    stride: int = 0,
    options: DecoderOptions | None = None,
    **named: Any,
) -> list[Score]:
    """Score a text or several, or candidate continuations of a text, by log-probability.

    A text beyond the context length is scored with a sliding window (`protocol.likelihood`).
    Choices are tokenized by themselves; the text before them is processed once for all.

    Args:
        model: A model folder, a run, or an id of the Hub.
        text: The text to score, or several; with choices, the one text before them.
        choices: Continuations of the text, of one token or more.
        stride: Stride of the sliding window in tokens; 0 uses half a window.
        options: Which decoder scores, and how it runs.
        **named: Fields of DecoderOptions (decoder, dtype, threads, ...), in place of those in
            `options`.

    Returns:
        The score of each text, or of each choice, in their order.

    Raises:
        SamplingError: a text with too few tokens, a choice without any, or text that is not
            Unicode.
        TokenizerError: what is no text.
        ConfigError: a stride or an option outside its range, or choices for several texts.
        UnknownArgument: a name that is no field of DecoderOptions.
        ContextTooLong: a choice is longer than the context length.
        CheckpointError, TokenizerError, WeightsError: a model that is missing or damaged.
        BackendMissing: the decoder's package is not installed.
    """
    check_names(score, named, DecoderOptions)
    if isinstance(choices, str):
        choices = [choices]
    texts = as_texts(text)
    if choices and len(texts) != 1:
        raise ConfigError(
            f"there are {len(texts)} texts and {len(choices)} choices; allowed: one text with "
            "choices",
            hint="call score once for each text",
        )
    folder = ModelFolder.open(model)
    n_positions, tokenizer = folder.config.n_positions, folder.tokenizer
    check_stride(stride, n_positions)
    rows = [_encode(tokenizer, one, 1 if choices else 2) for one in texts]
    endings = [_encode(tokenizer, choice, 1) for choice in choices]
    context = _shortened(rows[0], endings, n_positions) if choices else []
    with closing(open_decoder(folder, options, **named)) as opened:
        if not choices:
            read = (np.concatenate([*score_windows(opened, [ids], stride)]) for ids in rows)
            of_texts = zip(texts, rows, read, strict=True)
            return [_score(tokenizer, one, ids, each.tolist()) for one, ids, each in of_texts]
        found = score_choices(opened, context, endings)
    parts = zip(choices, endings, found, strict=True)
    return [_score(tokenizer, choice, ending, scores[0]) for choice, ending, scores in parts]


def _encode(tokenizer: TokenizerLike, text: str, least: int) -> list[int]:
    check_unicode("the text", text)
    ids = tokenizer.encode(text, add_special_tokens=False)
    if len(ids) < least:
        raise SamplingError(
            f"the text {text!r} has {len(ids)} tokens; at least {least} "
            f"{'is' if least == 1 else 'are'} needed",
            hint="pass at least one word"
            if least == 1
            else "pass a longer text: the first token has no context and is not scored",
        )
    tell_unknown(tokenizer, ids)
    return ids


def _shortened(ids: list[int], choices: Sequence[Sequence[int]], n_positions: int) -> list[int]:
    """The context of the choices: the end of the text that leaves room for the longest choice."""
    longest = max(map(len, choices))
    if longest > n_positions:
        raise ContextTooLong(
            f"a choice has {longest} tokens; the model has {n_positions} positions",
            hint="score shorter choices",
        )
    return cut_prefix(ids, longest, n_positions)


def _score(
    tokenizer: TokenizerLike, text: str, ids: Sequence[int], log_probs: Sequence[float]
) -> Score:
    total = float(np.sum(log_probs, dtype=np.float64))
    mean = total / len(log_probs)
    return Score(
        text=text,
        log_prob=total,
        mean=mean,
        per_byte=mean * len(ids) / len(text.encode(errors="replace")),
        perplexity=perplexity(-mean),
        tokens=tokenizer.convert_ids_to_tokens(list(ids[-len(log_probs) :])),
        log_probs=list(log_probs),
    )
