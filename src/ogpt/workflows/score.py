"""`ogpt score`: how likely a model holds a text, or each of several ways to go on from one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ogpt.decoding.choice import open_decoder
from ogpt.errors import ContextTooLong, SamplingError
from ogpt.folders.model_folder import load_tokenizer, resolve
from ogpt.generation.protocol.likelihood import check_stride, score_choices
from ogpt.generation.protocol.likelihood import score as score_windows
from ogpt.generation.protocol.perplexity import perplexity
from ogpt.generation.texts.writer import Vocabulary
from ogpt.notices import tell
from ogpt.weights.model_weights import folder_config


@dataclass(frozen=True, slots=True)
class Score:
    """How likely a text is under a model."""

    text: str
    log_prob: float
    """Sum over its scored tokens, natural logarithm; the first token of a text that follows
    nothing is not scored."""
    mean: float
    """log_prob for each scored token."""
    per_byte: float
    """log_prob for each UTF-8 byte of the text, as if the tokens that are not scored cost the
    mean: comparable between vocabularies."""
    perplexity: float
    """exp(-mean)."""
    tokens: list[str]
    """The scored tokens."""
    log_probs: list[float]
    """Of each of them."""


def score(
    model: str | Path,
    text: str,
    *,
    choices: Sequence[str] = (),
    stride: int = 0,
    decoder: str = "auto",
    dtype: str = "auto",
    threads: int = 0,
) -> list[Score]:
    """Log-probabilities of a text, or of choices that follow it.

    A text longer than the model's positions is read in windows (`protocol.likelihood`).
    Choices are read as words of their own, and share one reading of the text before them.

    Args:
        model: A model folder or a run.
        text: What is scored; with choices, what they follow.
        choices: Texts of one token or more.
        stride: Tokens from one window to the next, as `ogpt.workflows.evaluate.evaluate`.
        decoder: Which implementation scores (`ogpt.decoding.choice`).
        dtype: Precision of its weights.
        threads: Threads it may use; 0 for all cores.

    Returns:
        The score of the text, or of each choice, in their order.

    Raises:
        SamplingError: a text with too few tokens, or a choice without any.
        ConfigError: a stride outside its range.
        ContextTooLong: a choice outgrows the model's positions.
        CheckpointError, TokenizerError, WeightsError: a model that is missing or damaged.
        BackendMissing: the decoder's package is not installed.
    """
    folder = resolve(model)
    config = folder_config(folder)
    check_stride(stride, config.n_positions)
    tokenizer = load_tokenizer(folder, config)
    ids = _encode(tokenizer, text, 1 if choices else 2)
    endings = [_encode(tokenizer, choice, 1) for choice in choices]
    ids = _shortened(ids, endings, config.n_positions)
    with closing(
        open_decoder(folder, config=config, decoder=decoder, dtype=dtype, threads=threads)
    ) as opened:
        if not choices:
            log_probs = np.concatenate(list(score_windows(opened, [ids], stride)))
            return [_score(tokenizer, text, ids, log_probs.tolist())]
        found = score_choices(opened, ids, endings)
    parts = zip(choices, endings, found, strict=True)
    return [_score(tokenizer, choice, ending, scores[0]) for choice, ending, scores in parts]


def _encode(tokenizer: Vocabulary, text: str, least: int) -> list[int]:
    ids = tokenizer.encode(text)
    if len(ids) < least:
        raise SamplingError(
            f"the text {text!r} has {len(ids)} tokens; at least {least} "
            f"{'is' if least == 1 else 'are'} needed",
            hint="give at least one word"
            if least == 1
            else "a first token follows nothing and is not scored: give a longer text",
        )
    unknown = sum(token_id == tokenizer.unk_token_id for token_id in ids)
    if unknown:
        tell("prompt-unknown", count=unknown, total=len(ids))
    return ids


def _shortened(ids: list[int], choices: Sequence[Sequence[int]], n_positions: int) -> list[int]:
    """What is read before the choices: as much of the end as leaves room for the longest."""
    longest = max(map(len, choices), default=0)
    if longest > n_positions:
        raise ContextTooLong(
            f"a choice has {longest} tokens; the model has {n_positions} positions",
            hint="score shorter choices",
        )
    kept = n_positions - longest + 1  # the last token of a choice is not read
    if choices and len(ids) > kept:
        tell("prefix-cut", tokens=len(ids), kept=kept, n_positions=n_positions)
        return ids[-kept:]
    return ids


def _score(
    tokenizer: Vocabulary, text: str, ids: Sequence[int], log_probs: Sequence[float]
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
