"""`ogpt score`: log-probability of a text, or of candidate continuations."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from ogpt.config.described import check_names
from ogpt.decoding.choice import open_decoder
from ogpt.decoding.options import DecoderOptions
from ogpt.errors import ConfigError
from ogpt.folders.model_folder import ModelFolder
from ogpt.generation.protocol.likelihood import check_stride, score_choices
from ogpt.generation.protocol.likelihood import score as score_windows
from ogpt.generation.texts.text_scores import Score, encode_scored, fit_choices, score_of
from ogpt.tokens.texts import as_texts


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
    rows = [encode_scored(tokenizer, one, 1 if choices else 2) for one in texts]
    if not choices:
        with closing(open_decoder(folder, options, **named)) as opened:
            read = (np.concatenate([*score_windows(opened, [ids], stride)]) for ids in rows)
            of_texts = zip(texts, rows, read, strict=True)
            return [score_of(tokenizer, one, ids, each.tolist()) for one, ids, each in of_texts]
    endings = [encode_scored(tokenizer, choice, 1) for choice in choices]
    context, endings = fit_choices(rows[0], endings, n_positions)
    with closing(open_decoder(folder, options, **named)) as opened:
        found = score_choices(opened, context, endings)
    parts = zip(choices, endings, found, strict=True)
    return [score_of(tokenizer, choice, ending, scores[0]) for choice, ending, scores in parts]
