"""generate(): the arguments and tensors of transformers around the searches of ogpt.generation.

Padding is removed before a search and added again afterwards. Each row is processed as if it were
alone, so left padding, right padding and no padding give the same text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ogpt.config.model import OpenAIGPTConfig
from ogpt.config.ranges import MAX_SEED
from ogpt.errors import ContextTooLong, SamplingError
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
from ogpt.generation.texts.recording import Record, transition_scores
from ogpt.generation.texts.request import tell_length
from ogpt.generation.texts.writer import TokenizerLike
from ogpt.model.decoder.torch_decoder import TorchDecoder
from ogpt.model.evaluating import evaluating
from ogpt.model.generate.assisting import AllowedTokens, allowed_ids, assistant_of, drafting_of
from ogpt.model.generate.inner_states import InnerStates, PromptInputs
from ogpt.model.generate.prompts import Prompts, padding, prompt_ids, read_prompts, sequences
from ogpt.model.generate.stopping import StoppingCriteria, Stops
from ogpt.model.language_model import LanguageModel
from ogpt.model.outputs import GenerateBeamDecoderOnlyOutput, GenerateDecoderOnlyOutput
from ogpt.model.tensors import array_of
from ogpt.weights.precision import as_floats

LogitsProcessor = Callable[[Tensor, Tensor], Tensor]
"""A function of (ids so far (1, T), logits (1, V)) that returns new logits (1, V). As in
transformers, but it gets one row at a time, without its padding."""

GenerateOutput = GenerateDecoderOnlyOutput | GenerateBeamDecoderOnlyOutput


class Streamer(Protocol):
    """A streamer, as in transformers: it receives the prompt, then each new token, then the end."""

    def put(self, value: Tensor) -> None:
        """Receive ids: those of the prompt (T,), then each new one (1,)."""

    def end(self) -> None:
        """Receive the end of the text."""


class GenerativeLanguageModel(LanguageModel):
    """A language model with `generate`: base of the models with a language-model head."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__(config)
        self.generation_config: Any = GenerationConfig()
        """Default arguments of `generate`, saved in generation_config.json. A dict, or any object
        with `to_dict()`, may replace it."""

    def generate(
        self,
        input_ids: Tensor | None = None,
        generation_config: Any = None,
        logits_processor: Sequence[LogitsProcessor] | None = None,
        stopping_criteria: Sequence[StoppingCriteria] | None = None,
        prefix_allowed_tokens_fn: AllowedTokens | None = None,
        synced_gpus: bool | None = None,
        assistant_model: LanguageModel | None = None,
        streamer: Streamer | None = None,
        *,
        inputs: Tensor | None = None,
        tokenizer: TokenizerLike | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **arguments: Any,
    ) -> Tensor | GenerateOutput:
        """Generate a continuation of each prompt in a batch.

        The default is greedy search; do_sample, num_beams, num_beam_groups and penalty_alpha select
        another one. Beyond n_positions, greedy search and sampling use a sliding window, with a
        notice; the other searches raise an error. Dropout is off, and nothing gets a gradient.

        Args:
            input_ids: (B, T) prompts, or (T,) for one; by default the start token.
            generation_config: Arguments by name: a dict, or any object with `to_dict()`. They
                override those of the model folder; arguments of the call override both, and None
                switches an argument off.
            logits_processor: Applied after our own processors and before the temperature.
            stopping_criteria: End rows early.
            prefix_allowed_tokens_fn: Receives the number of the prompt and the ids of a row so far,
                without padding, and returns the ids that may follow.
            synced_gpus: Must be False.
            assistant_model: A smaller model with the same vocabulary: it drafts tokens, which this
                model checks several at a time. Changes no token but for rounding. Rows are
                generated one after the other. Not with beams or contrastive search.
            streamer: Receives each new token. One prompt, no beams.
            inputs: Another name for input_ids.
            tokenizer: The tokenizer of the model; needed for stop_strings.
            attention_mask: (B, T), 0 for padding on either side. Without it, pad tokens at the ends
                of a prompt count as padding, with a notice.
            token_type_ids: (B, T); new tokens repeat the last one of their row.
            position_ids: (B, T); new tokens count on from the last one of their row.
            inputs_embeds: (B, T, C) in place of input_ids; only new tokens are returned.
            **arguments: Names and defaults of transformers: max_new_tokens or max_length (by
                default 20 new tokens, or as many as fit), min_new_tokens, min_length, max_time,
                do_sample, temperature, top_k (50), top_p, min_p, typical_p, epsilon_cutoff,
                eta_cutoff, repetition_penalty, encoder_repetition_penalty, no_repeat_ngram_size,
                encoder_no_repeat_ngram_size, bad_words_ids, suppress_tokens, begin_suppress_tokens,
                forced_bos_token_id, forced_eos_token_id, sequence_bias,
                exponential_decay_length_penalty, remove_invalid_values, renormalize_logits,
                watermarking_config, num_beams, num_beam_groups, diversity_penalty, length_penalty,
                early_stopping, penalty_alpha, num_return_sequences, eos_token_id, pad_token_id,
                stop_strings, num_assistant_tokens, num_assistant_tokens_schedule,
                assistant_confidence_threshold, return_dict_in_generate, output_scores,
                output_logits, output_attentions, output_hidden_states. Our own: frequency_penalty,
                presence_penalty, and seed. With a seed, a prompt gets the same continuation in any
                batch; without, torch's generator seeds the call and each row differs.

        Returns:
            (B * num_return_sequences, longest) int64: the prompts as passed, then their
            continuations, padded with pad_token_id (or else the first end token). With
            return_dict_in_generate a GenerateDecoderOnlyOutput or GenerateBeamDecoderOnlyOutput.

        Raises:
            ConfigError: a shape of prompts or mask that does not fit.
            ContextTooLong: a search without a sliding window exceeds n_positions.
            SamplingError: an argument outside its range, a prompt without tokens, or stop strings
                without a tokenizer.
            TokenOutOfRange: an id outside the vocabulary.
            UnknownArgument: an argument that `generate` does not have.
        """
        arguments |= {"synced_gpus": synced_gpus}
        if prefix_allowed_tokens_fn is not None:
            allowed = allowed_ids(prefix_allowed_tokens_fn, self.device)
            arguments |= {"prefix_allowed_tokens_fn": allowed}
        given = merged(self.config, self.generation_config, generation_config, arguments)
        given = {**drafting_of(assistant_model), **given}
        if inputs_embeds is None or input_ids is not None:
            input_ids = prompt_ids(input_ids, inputs, given.get("bos_token_id"), self.device)
        if attention_mask is None and input_ids is not None:
            attention_mask = padding(input_ids, given)
        seeded = given.get("seed") is not None
        if given.get("do_sample") and not seeded:  # torch.manual_seed makes it reproducible
            given["seed"] = int(torch.randint(MAX_SEED >> 2, (), dtype=torch.int64))
        passed = PromptInputs(
            input_ids, attention_mask, token_type_ids, position_ids, inputs_embeds
        )
        batch = read_prompts(self, passed)
        room = self.config.n_positions - max(prompt.next_position for prompt in batch.rows)
        asked = read_arguments(given, batch.width, self.config.parity.length, room)
        settings = asked.settings
        states = InnerStates(self, passed, asked)
        tell_without_effect(settings, [prompt.ids for prompt in batch.rows])
        _check_room(self, batch, settings)
        n_rows = len(batch.rows) * settings.num_return_sequences
        record = Record(asked)
        stops = Stops(batch, asked, tokenizer, stopping_criteria or (), n_rows, record)
        _check_streamer(streamer, n_rows, settings)
        extra = [_as_rule(processor, self.device) for processor in logits_processor or ()]
        assistant = assistant_of(assistant_model, batch, asked, self.config.vocab_size)
        if assistant is not None:
            stops.check_alone()
        prompts = [prompt.ids for prompt in batch.rows]
        # Random numbers are keyed by (seed, number of the text). With a seed of the caller every
        # prompt counts from 0, so that its text does not depend on the batch.
        numbers = () if seeded else range(0, n_rows, settings.num_return_sequences)
        # contrastive search holds its top_k candidates, the others their texts or beams
        each = max(settings.num_return_sequences, settings.num_beams)
        slots = settings.top_k if settings.penalty_alpha else each
        # a text that is alone has drafts
        slots = 1 if assistant is not None else len(prompts) * slots
        with ExitStack() as stack:
            for model in (self, assistant_model):
                if model is not None:
                    stack.enter_context(evaluating(model))
            decoder = TorchDecoder(self, slots, batch.rows)
            read = None if all(prompt.plain for prompt in batch.rows) else decoder.open
            if settings.num_beams > 1:
                beam_watch = states.watched(record.beams if record.wanted else None)
                extra += states.rules
                found = beam_search(
                    decoder, prompts, settings, stops.of_beams, extra, beam_watch, read, numbers
                )
                return _beam_output(batch, found, asked, record, states)
            watch = record.row if record.wanted else None
            asked_of = (decoder, prompts, settings, stops.of_tokens, extra, watch, read)
            if settings.penalty_alpha:
                tokens = contrastive_search(*asked_of)
            else:
                tokens = search(*asked_of, numbers, assistant=assistant)
            continuations: list[list[int]] = [[] for _ in range(n_rows)]
            if streamer is not None:
                streamer.put(batch.ids[0].cpu())
            for token in tokens:  # decoding happens here, token by token
                continuations[token.continuation].append(token.id)
                if streamer is not None:
                    streamer.put(torch.tensor([token.id]))
            if streamer is not None:
                streamer.end()
            whole = sequences(batch, continuations, settings)
            if not asked.as_dict:
                return whole
            scores, logits = _tensors(record, n_rows, settings, self.device)
            return GenerateDecoderOnlyOutput(whole, scores, logits, *states.of_rows(whole))

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
        steps = [as_floats(array_of(step)) for step in scores]
        beams = None if beam_indices is None else array_of(beam_indices).data
        found = transition_scores(array_of(sequences).data, steps, beams, normalize_logits)
        return torch.from_numpy(found).to(sequences.device)

    def read_beside(self, folder: Path) -> None:
        """Read generation_config.json, if the folder has one."""
        self.generation_config = read_defaults(folder) or self.generation_config

    def write_beside(self, folder: Path) -> None:
        """Write generation_config.json."""
        write_defaults(folder, self.config, self.generation_config)


def _check_room(model: LanguageModel, batch: Prompts, settings: GenerationSettings) -> None:
    """Warn if a text exceeds the context length, or refuse it if it cannot slide.

    Raises:
        ContextTooLong: the search, or prompts of more than ids, have no sliding window.
    """
    n_positions = model.config.n_positions
    longest = max(prompt.next_position for prompt in batch.rows)
    plain = all(prompt.plain for prompt in batch.rows)
    # contrastive search processes its last token too, to compare its hidden state
    most = settings.max_new_tokens + (settings.penalty_alpha > 0)
    if longest <= n_positions and not slides(n_positions, longest, most):
        return
    if plain and settings.num_beams == 1 and not settings.penalty_alpha:
        tell_length(n_positions, [prompt.ids for prompt in batch.rows], settings)
        return
    raise ContextTooLong(
        f"a prompt ends at position {longest} and {settings.max_new_tokens} new tokens were "
        f"requested; the context length is {n_positions}, and only greedy search and sampling from "
        "token ids have a sliding window",
        hint="shorten the prompt or lower max_new_tokens",
    )


def _beam_output(
    batch: Prompts,
    found: Sequence[Sequence[Hypothesis]],
    asked: Arguments,
    record: Record,
    states: InnerStates,
) -> Tensor | GenerateBeamDecoderOnlyOutput:
    best = [hypothesis for prompt in found for hypothesis in prompt]
    whole = sequences(batch, [one.ids for one in best], asked.settings)
    if not asked.as_dict:
        return whole
    longest = max(len(one.ids) for one in best)
    indices = [[*one.beam_indices, *[-1] * (longest - len(one.ids))] for one in best]
    device = whole.device
    scores, logits = _tensors(record, len(best), asked.settings, device)
    attentions, hidden_states = states.of_beams()
    return GenerateBeamDecoderOnlyOutput(
        sequences=whole,
        sequences_scores=torch.tensor(
            [one.score for one in best], dtype=torch.float64, device=device
        ),
        scores=scores,
        logits=logits,
        beam_indices=torch.tensor(indices, device=device),
        attentions=attentions,
        hidden_states=hidden_states,
    )


def _tensors(
    record: Record, n_rows: int, settings: GenerationSettings, device: torch.device
) -> list[tuple[Tensor, ...] | None]:
    """Scores and logits of each step, (rows, V); None if not requested."""
    return [
        None if steps is None else tuple(torch.from_numpy(step).to(device) for step in steps)
        for steps in record.steps(n_rows, settings)
    ]


def _as_rule(processor: LogitsProcessor, device: torch.device) -> Rule:
    """A caller's processor of tensors as a logits processor of arrays."""

    def rule(ids: Sequence[int], n_prompt: int, logits: Logits) -> Logits:
        row = torch.tensor([list(ids)], device=device)
        given = torch.from_numpy(logits.copy())[None].to(device)
        found: Logits = processor(row, given)[0].cpu().numpy()
        return found

    return rule


def _check_streamer(streamer: Streamer | None, n_rows: int, settings: GenerationSettings) -> None:
    if streamer is not None and (n_rows > 1 or settings.num_beams > 1):
        raise SamplingError(
            f"a streamer was passed with {n_rows} rows and {settings.num_beams} beams; allowed: "
            "one row without beams",
            hint="call generate for each prompt, or omit the streamer",
        )
