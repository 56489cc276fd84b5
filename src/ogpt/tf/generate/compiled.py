"""Loops compiled by XLA, one for each shape of prompts and set of settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from ogpt.errors import SamplingError
from ogpt.generation.choosing.arguments import Arguments
from ogpt.generation.choosing.random_numbers import uniforms
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.summaries import check_largest
from ogpt.notices import tell
from ogpt.tf.decoder.kept_decoder import same
from ogpt.tf.generate.beam_loop import search_beams
from ogpt.tf.generate.processing import check_supported
from ogpt.tf.generate.prompts import TFPrompts
from ogpt.tf.generate.whole_loop import TFLoopInputs, TFLoopOutput, continue_rows
from ogpt.tf.language_model import TFLanguageModel
from ogpt.tf.tensors import Tensor

_SMALLEST = 16  # tokens of the narrowest bucket


def whole_loop(
    model: TFLanguageModel, given: TFLoopInputs, settings: GenerationSettings
) -> TFLoopOutput:
    """The search that the settings ask for, as TensorFlow operations.

    Args:
        model: Computes the logits.
        given: The prompts.
        settings: How the search goes.
    """
    search = search_beams if settings.num_beams > 1 else continue_rows
    return search(model, given, settings)


class TFCompiledLoops:
    """The compiled loops of one model.

    Prompts are padded to a bucket: a power of two of columns. So one compilation serves all prompts
    of a bucket, with the same number of rows and the same settings; the seed may differ.
    """

    def __init__(self) -> None:
        self._loops: dict[Any, Any] = {}
        self._variables: list[Any] = []

    def run(
        self,
        model: TFLanguageModel,
        batch: TFPrompts,
        settings: GenerationSettings,
        seeded: bool,
        jit_compile: bool,
    ) -> TFLoopOutput:
        """Continue a batch of prompts.

        Args:
            model: The model, always the same.
            batch: The prompts.
            settings: How the search goes (`processing.check_supported`).
            seeded: The seed is the caller's: every prompt counts its continuations from 0.
            jit_compile: Compile with XLA, with a notice; False: a graph of TensorFlow.

        Raises:
            DecoderError: a logit is NaN or infinite.
            SamplingError: the rules left no token to choose, or too few continuations.
        """
        B, T = batch.ids.shape
        W = bucket(T)
        variables = list(model.variables)
        if not same(variables, self._variables):
            self._loops, self._variables = {}, variables
        key = (B, W, jit_compile, repr(replace(settings, seed=0)), repr(model.config.parity))
        if key not in self._loops:
            if jit_compile:
                prompts = f"generate() for {B} prompts of at most {W} tokens"
                tell(
                    "compiling", what=prompts, each="number of prompts, length and set of settings"
                )
            self._loops[key] = tf.function(
                lambda given: whole_loop(model, given, replace(settings, seed=0)),
                jit_compile=jit_compile,
                autograph=False,
            )
        ids = tf.constant(np.pad(batch.ids, ((0, 0), (W - T, 0))), tf.int32)
        kept = tf.constant(np.pad(batch.kept, ((0, 0), (W - T, 0))))
        numbers = random_table(settings, B, seeded) if settings.do_sample else None
        out = self._loops[key](TFLoopInputs(ids, kept, tf.constant(W - T), numbers))
        if not out.finite:
            check_largest(np.nan)
        if not out.fits:
            raise SamplingError(
                "after all rules a text has no token left, or a prompt fewer than "
                f"{settings.num_return_sequences} continuations; allowed: one token at least at "
                "each step",
                hint="ban fewer tokens, lower min_new_tokens or no_repeat_ngram_size, or lower "
                "num_return_sequences",
            )
        return out


def check_compiled(asked: Arguments, processors: Sequence[Any] | None) -> None:
    """Check that a compiled loop has what is asked for.

    Args:
        asked: The arguments of the call.
        processors: Logits processors of the caller.

    Raises:
        SamplingError: it has not.
    """
    check_supported(asked.settings)
    for name, wanted in (
        ("logits_processor", bool(processors)),
        ("output_scores", asked.output_scores),
        ("output_logits", asked.output_logits),
    ):
        if wanted:
            raise SamplingError(
                f"{name} is set; allowed: only without jit_compile and outside a tf.function",
                hint="omit it, or omit jit_compile",
            )


def bucket(width: int) -> int:
    """Columns that prompts of `width` tokens are padded to."""
    return max(_SMALLEST, 1 << (width - 1).bit_length())


def random_table(settings: GenerationSettings, prompts: int, seeded: bool) -> Tensor:
    """The random numbers of all texts, (R, max_new_tokens): those that other decoders use.

    Args:
        settings: The seed, and how many continuations each prompt has.
        prompts: Number of prompts.
        seeded: As in TFCompiledLoops.run.
    """
    each = settings.num_return_sequences
    numbers = [row % each if seeded else row for row in range(prompts * each)]
    rows = [uniforms(settings.seed, number, 0, settings.max_new_tokens) for number in numbers]
    return tf.constant(np.stack(rows), tf.float64)
