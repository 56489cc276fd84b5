"""generate(): the arguments and tensors of transformers around the searches of ogpt.generation.

There are three ways to one result. Eagerly, a search of ogpt.generation runs over the decoder and
has every setting. With jit_compile=True, or inside a tf.function of the caller, the whole loop is
one graph.

Padding is removed before a search and added again afterwards. Each row is processed as if it were
alone, so left padding, right padding and no padding give the same text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import ContextTooLong, SamplingError, UnknownArgument
from ogpt.generation.choosing.arguments import Arguments, read_arguments
from ogpt.generation.choosing.defaults import merged, read_defaults, write_defaults
from ogpt.generation.choosing.effects import tell_without_effect
from ogpt.generation.choosing.generation_config import GenerationConfig
from ogpt.generation.choosing.rules import Rule
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.logits import Logits
from ogpt.generation.searching.beam import beam_search
from ogpt.generation.searching.contrastive import contrastive_search
from ogpt.generation.searching.sampling import search, slides
from ogpt.generation.searching.text import Hypothesis
from ogpt.generation.texts.recording import Record, padding_id, transition_scores
from ogpt.generation.texts.request import tell_length
from ogpt.tf.decoder.kept_decoder import TFKeptDecoder
from ogpt.tf.decoder.tensorflow_decoder import TensorFlowDecoder
from ogpt.tf.dropout import draw_seed
from ogpt.tf.generate.compiled import (
    TFCompiledLoops,
    check_compiled,
    random_table,
    whole_loop,
)
from ogpt.tf.generate.prompts import (
    TFPrompts,
    inner,
    prompt_ids,
    prompt_shape,
    read_rows,
    sequences,
)
from ogpt.tf.generate.whole_loop import TFLoopInputs, TFLoopOutput
from ogpt.tf.inputs import mask_rows, to_rows
from ogpt.tf.language_model import TFLanguageModel
from ogpt.tf.outputs import TFGenerateBeamDecoderOnlyOutput, TFGenerateDecoderOnlyOutput
from ogpt.tf.tensors import Tensor

TFLogitsProcessor = Callable[[Tensor, Tensor], Tensor]
"""A function of (ids so far (1, T), logits (1, V)) that returns new logits (1, V). As in
transformers, but it gets one row at a time, without its padding."""

TFGenerateOutput = TFGenerateDecoderOnlyOutput | TFGenerateBeamDecoderOnlyOutput

_NOT_HERE = {
    "inputs_embeds": "pass input_ids, or use the PyTorch classes",
    "token_type_ids": "omit it, or use the PyTorch classes",
    "stopping_criteria": "use eos_token_id, or the PyTorch classes",
    "stop_strings": "use ogpt.generate(..., stop=[...], decoder='tensorflow')",
    "streamer": "use ogpt generate --decoder tensorflow, which streams",
    "tokenizer": "omit it: only stop_strings need it",
    "position_ids": "omit it: positions follow from attention_mask",
    "assistant_model": "omit it, or use the PyTorch classes",
    "output_attentions": "call the model itself on the sequences",
    "output_hidden_states": "call the model itself on the sequences",
}
"""Arguments of the PyTorch classes that these do not have, and what to do instead."""


class TFGenerativeLanguageModel(TFLanguageModel):
    """A language model with `generate`: base of the models with a language-model head."""

    def __init__(self, config: OpenAIGPTConfig, **options: Any) -> None:
        super().__init__(config, **options)
        self.generation_config: Any = GenerationConfig()
        """Default arguments of `generate`, saved in generation_config.json. A dict, or any object
        with `to_dict()`, may replace it."""
        self._compiled_loops = TFCompiledLoops()
        self._kept_decoder = TFKeptDecoder()

    @tf.autograph.experimental.do_not_convert  # type: ignore[untyped-decorator]  # TensorFlow's
    def generate(
        self,
        input_ids: Tensor | None = None,
        generation_config: Any = None,
        logits_processor: Sequence[TFLogitsProcessor] | None = None,
        *,
        inputs: Tensor | None = None,
        attention_mask: Tensor | None = None,
        jit_compile: bool = False,
        **arguments: Any,
    ) -> Tensor | TFGenerateOutput:
        """Generate a continuation of each prompt in a batch.

        The default is greedy search; do_sample, num_beams, num_beam_groups and penalty_alpha select
        another one. Beyond n_positions, greedy search and sampling use a sliding window, with a
        notice; the other searches raise an error. There is no dropout.

        `tf.function(model.generate, jit_compile=True)` works too. There, ids have no values when
        they are checked: one outside the vocabulary gives an undefined result. Rows have
        max_new_tokens new tokens, padded. Arguments that are not tensors, such as max_new_tokens,
        compile again for each value; so does each shape of the prompts. seed may be a tensor: then
        the random numbers are TensorFlow's.

        Args:
            input_ids: (B, T) prompts, or (T,) for one; by default the start token.
            generation_config: Arguments by name: a dict, or any object with `to_dict()`. They
                override those of the model folder; arguments of the call override both, and None
                switches an argument off.
            logits_processor: Applied after our own processors and before the temperature. Not with
                jit_compile or in a tf.function.
            inputs: Another name for input_ids.
            attention_mask: (B, T), 0 for padding on either side. Without it, pad tokens at the ends
                of a prompt count as padding, with a notice.
            jit_compile: Compile the whole loop with XLA, once for each number of prompts, power of
                two that their length is padded to, and set of settings. It has no beam groups,
                beam sampling, contrastive search and sliding window.
            **arguments: Names and defaults of transformers, as in the PyTorch classes:
                max_new_tokens, do_sample, top_k, num_beams, eos_token_id,
                return_dict_in_generate and so on. With a seed, a prompt gets the same continuation
                in any batch, and with or without jit_compile; without, the generator that
                keras.utils.set_random_seed sets seeds the call.

        Returns:
            (B * num_return_sequences, longest), in the dtype of input_ids: the prompts as passed,
            then their continuations, padded with pad_token_id (or else the first end token). With
            return_dict_in_generate a TFGenerateDecoderOnlyOutput or
            TFGenerateBeamDecoderOnlyOutput.

        Raises:
            ConfigError: a shape of prompts or mask that does not fit.
            ContextTooLong: a search without a sliding window exceeds n_positions.
            SamplingError: an argument outside its range or not possible in a compiled loop, or a
                prompt without tokens.
            TokenOutOfRange: an id outside the vocabulary.
            UnknownArgument: an argument that `generate` does not have.
        """
        given = merged(self.config, self.generation_config, generation_config, arguments)
        for name in _NOT_HERE.keys() & given.keys():
            if given[name] is None or given[name] is False:
                continue
            raise UnknownArgument(
                f"generate has no argument {name} in TensorFlow; allowed: input_ids, "
                "attention_mask, logits_processor and the settings of transformers",
                hint=_NOT_HERE[name],
            )
        ids = prompt_ids(input_ids, inputs, given.get("bos_token_id"))
        if tf.inside_function():
            return self._traced(ids, attention_mask, given, logits_processor)
        batch = read_rows(self, ids, attention_mask, given)
        seeded = given.get("seed") is not None
        if given.get("do_sample") and not seeded:
            given["seed"] = int(draw_seed(self.transformer.seed_generator))
        room = self.config.n_positions - max(batch.ends)
        asked = read_arguments(given, batch.ids.shape[1], self.config.parity.length, room)
        tell_without_effect(asked.settings, batch.rows)
        if jit_compile or batch.shifted:
            check_compiled(asked, logits_processor)
            _check_room(self, max(batch.ends), asked.settings)
            out = self._compiled_loops.run(self, batch, asked.settings, seeded, jit_compile)
            return _from_loop(batch, out, asked, ids.dtype)
        _check_room(self, max(batch.ends), asked.settings, batch)
        return self._searched(batch, asked, seeded, logits_processor or (), ids.dtype)

    def _searched(
        self,
        batch: TFPrompts,
        asked: Arguments,
        seeded: bool,
        processors: Sequence[TFLogitsProcessor],
        dtype: Any,
    ) -> Tensor | TFGenerateOutput:
        """The result of a search of ogpt.generation."""
        settings = asked.settings
        each = settings.num_return_sequences
        record = Record(asked)
        # contrastive search holds its top_k candidates, the others their texts or beams
        slots = settings.top_k if settings.penalty_alpha else max(each, settings.num_beams)
        with self._kept_decoder.lent(self, len(batch.rows) * slots) as decoder:
            found = _found(decoder, batch.rows, settings, seeded, processors, record)
        whole = sequences(batch.ids, [one.ids for one in found], padding_id(settings), each, dtype)
        if not asked.as_dict:
            return whole
        scores, logits = map(_steps, record.steps(len(found), settings))
        if settings.num_beams == 1:
            return TFGenerateDecoderOnlyOutput(whole, scores, logits)
        longest = max(len(one.ids) for one in found)
        indices = [[*one.beam_indices, *[-1] * (longest - len(one.ids))] for one in found]
        return TFGenerateBeamDecoderOnlyOutput(
            sequences=whole,
            sequences_scores=tf.constant([one.score for one in found], tf.float64),
            scores=scores,
            logits=logits,
            beam_indices=tf.constant(indices, tf.int32),
        )

    def _traced(
        self,
        ids: Tensor,
        mask: Tensor | None,
        given: dict[str, Any],
        processors: Sequence[TFLogitsProcessor] | None,
    ) -> Tensor | TFGenerateOutput:
        """The loop inside a graph of the caller, for whatever shape and device that has."""
        config = self.config
        shape = prompt_shape(ids, config.n_embd)
        B, T = shape.N, shape.T
        seed = given.get("seed")
        if hasattr(seed, "dtype"):
            del given["seed"]
        known = isinstance(T, int)
        if not known and given.get("max_new_tokens") is None:
            raise SamplingError(
                "max_new_tokens is None for prompts whose length the graph does not know; allowed: "
                "1 or more",
                hint="pass max_new_tokens",
            )
        room = config.n_positions - T if known else 0
        asked = read_arguments(given, T if known else 0, config.parity.length, room)
        settings = asked.settings
        check_compiled(asked, processors)
        if known:
            _check_room(self, T, settings)
        rows = ops.cast(ops.reshape(ids, (B, T)), "int32")
        kept = inner(rows, given)
        if mask is not None:
            kept = mask_rows(to_rows(mask, shape, "attention_mask"), shape, config.n_head)
        elif kept is None:
            kept = tf.ones((B, T), tf.bool)
        numbers = None
        if settings.do_sample:
            numbers = self._traced_numbers(settings, B, seed)
        out = whole_loop(self, TFLoopInputs(rows, kept, 0, numbers), settings)
        column = tf.range(settings.max_new_tokens)
        new = tf.where(column < out.lengths[:, None], out.new, padding_id(settings))
        prompts = tf.repeat(rows, settings.num_return_sequences, axis=0)
        whole = ops.cast(tf.concat([prompts, new], 1), ids.dtype)
        return _output(whole, out, asked)

    def _traced_numbers(self, settings: GenerationSettings, B: Any, seed: Any) -> Tensor:
        """The random numbers of a loop in a graph, (R, max_new_tokens)."""
        if isinstance(seed, int) and isinstance(B, int):  # those of every other decoder
            return random_table(settings, B, seeded=True)
        if seed is None:
            seed = draw_seed(self.transformer.seed_generator)
        key = tf.stack([tf.cast(seed, tf.int64), tf.constant(0, tf.int64)])
        size = (B * settings.num_return_sequences, settings.max_new_tokens)
        return tf.random.stateless_uniform(size, key, dtype=tf.float64)

    def compute_transition_scores(
        self,
        sequences: Tensor,
        scores: Sequence[Tensor],
        beam_indices: Tensor | None = None,
        normalize_logits: bool = False,
    ) -> Tensor:
        """The score of each generated token, (rows, new tokens).

        Args:
            sequences: From the output of `generate`, (rows, longest).
            scores: From the same output.
            beam_indices: From the same output, for beam search.
            normalize_logits: Turn scores into log-probabilities first. Those of beams already are.
        """
        beams = None if beam_indices is None else np.asarray(beam_indices)
        steps = [np.asarray(step) for step in scores]
        found = transition_scores(np.asarray(sequences), steps, beams, normalize_logits)
        return tf.constant(found)

    def read_beside(self, folder: Path) -> None:
        """Read generation_config.json, if the folder has one."""
        self.generation_config = read_defaults(folder) or self.generation_config

    def write_beside(self, folder: Path) -> None:
        """Write generation_config.json."""
        write_defaults(folder, self.config, self.generation_config)


def _found(
    decoder: TensorFlowDecoder,
    prompts: Sequence[Sequence[int]],
    settings: GenerationSettings,
    seeded: bool,
    processors: Sequence[TFLogitsProcessor],
    record: Record,
) -> list[Hypothesis]:
    """The continuations of all prompts; those without beams have no score."""
    each = settings.num_return_sequences
    n_rows = len(prompts) * each
    extra = [_as_rule(processor) for processor in processors]
    # Random numbers are keyed by (seed, number of the text). With a seed of the caller every
    # prompt counts from 0, so that its text does not depend on the batch.
    numbers = () if seeded else range(0, n_rows, each)
    watch = None
    if record.wanted:
        watch = record.beams if settings.num_beams > 1 else record.row
    if settings.num_beams > 1:
        best = beam_search(decoder, prompts, settings, extra=extra, watch=watch, numbers=numbers)
        return [hypothesis for prompt in best for hypothesis in prompt]
    if settings.penalty_alpha:
        tokens = contrastive_search(decoder, prompts, settings, extra=extra, watch=watch)
    else:
        tokens = search(decoder, prompts, settings, extra=extra, watch=watch, numbers=numbers)
    found = [Hypothesis([], 0.0, [], [], []) for _ in range(n_rows)]
    for token in tokens:  # decoding happens here, token by token
        found[token.continuation].ids.append(token.id)
    return found


def _check_room(
    model: TFLanguageModel,
    longest: int,
    settings: GenerationSettings,
    batch: TFPrompts | None = None,
) -> None:
    """Warn if a text exceeds the context length, or refuse it if it cannot slide.

    Args:
        model: For its context length.
        longest: Position of the last first new token.
        settings: Of the call.
        batch: Prompts that may slide; None: the loop has no window.

    Raises:
        ContextTooLong: the search has no sliding window.
    """
    n_positions = model.config.n_positions
    # contrastive search processes its last token too, to compare its hidden state
    most = settings.max_new_tokens + (settings.penalty_alpha > 0)
    if longest <= n_positions and not slides(n_positions, longest, most):
        return
    if batch is not None and settings.num_beams == 1 and not settings.penalty_alpha:
        tell_length(n_positions, batch.rows, settings)
        return
    raise ContextTooLong(
        f"a prompt ends at position {longest} and {settings.max_new_tokens} new tokens were "
        f"requested; the context length is {n_positions}, and only greedy search and sampling "
        "without jit_compile have a sliding window",
        hint="shorten the prompt or lower max_new_tokens",
    )


def _from_loop(batch: TFPrompts, out: TFLoopOutput, asked: Arguments, dtype: Any) -> Any:
    """The result of a loop, as short as its longest text."""
    settings = asked.settings
    lengths = out.lengths.numpy()
    new = out.new.numpy()
    continuations = [new[row, :length].tolist() for row, length in enumerate(lengths)]
    each = settings.num_return_sequences
    whole = sequences(batch.ids, continuations, padding_id(settings), each, dtype)
    return _output(whole, out, asked, int(lengths.max()))


def _output(whole: Tensor, out: TFLoopOutput, asked: Arguments, longest: int | None = None) -> Any:
    """The sequences, or the output object that was asked for."""
    if not asked.as_dict:
        return whole
    if out.scores is None:
        return TFGenerateDecoderOnlyOutput(whole)
    assert out.beam_indices is not None  # beams have both
    return TFGenerateBeamDecoderOnlyOutput(
        whole, out.scores, beam_indices=out.beam_indices[:, :longest]
    )


def _steps(steps: list[Logits] | None) -> tuple[Tensor, ...] | None:
    return None if steps is None else tuple(map(tf.constant, steps))


def _as_rule(processor: TFLogitsProcessor) -> Rule:
    """A caller's processor of tensors as a logits processor of arrays."""

    def rule(ids: Sequence[int], n_prompt: int, logits: Logits) -> Logits:
        found: Logits = np.array(processor(tf.constant([list(ids)]), tf.constant(logits)[None])[0])
        return found

    return rule
