"""generate(): transformers' arguments and tensors around the searches of ogpt.generation.

Padding is taken off before and put on again after: a row is read as if it stood alone, so left
padding, right padding and none give the same text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import CheckpointError, ContextTooLong, SamplingError
from ogpt.generation.choosing.arguments import Arguments, GenerationConfig, read_arguments
from ogpt.generation.choosing.processors import Logits
from ogpt.generation.choosing.rules import Rule
from ogpt.generation.choosing.settings import MAX_SEED, GenerationSettings
from ogpt.generation.searching.beam import Hypothesis, beam_search
from ogpt.generation.searching.contrastive import contrastive_search
from ogpt.generation.searching.search import search, slides
from ogpt.generation.texts.request import tell_length, tell_without_effect
from ogpt.generation.texts.writer import Vocabulary
from ogpt.model.decoder.torch_decoder import TorchDecoder
from ogpt.model.evaluating import evaluating
from ogpt.model.generate.prompts import Prompts, padding, prompt_ids, read_prompts, sequences
from ogpt.model.generate.recording import Record
from ogpt.model.generate.stopping import StoppingCriteria, Stops
from ogpt.model.language_model import LanguageModel
from ogpt.model.outputs import GenerateBeamDecoderOnlyOutput, GenerateDecoderOnlyOutput
from ogpt.reading import parse_json
from ogpt.storage import write_json

LogitsProcessor = Callable[[Tensor, Tensor], Tensor]
"""Given (ids so far (1, T), logits (1, V)), returns new logits (1, V): as in transformers, but for
each row by itself, without its padding."""

GENERATION_FILE = "generation_config.json"
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
_LENGTHS = {"max_length", "max_new_tokens"}

GenerateOutput = GenerateDecoderOnlyOutput | GenerateBeamDecoderOnlyOutput


class Streamer(Protocol):
    """transformers' streamers: told the prompt's ids, then each new id, then the end."""

    def put(self, value: Tensor) -> None: ...  # noqa: D102  # the class says it

    def end(self) -> None: ...  # noqa: D102


class GenerativeLanguageModel(LanguageModel):
    """A language model with `generate`: base of the models with a language-model head."""

    def __init__(self, config: OpenAIGPTConfig) -> None:
        super().__init__(config)
        self.generation_config: Any = GenerationConfig()
        """Arguments of `generate` that a call need not repeat; kept in generation_config.json. It
        may be replaced by a dict, or by anything with `to_dict()`."""

    def generate(
        self,
        input_ids: Tensor | None = None,
        generation_config: Any = None,
        logits_processor: Sequence[LogitsProcessor] | None = None,
        stopping_criteria: Sequence[StoppingCriteria] | None = None,
        *,
        inputs: Tensor | None = None,
        streamer: Streamer | None = None,
        tokenizer: Vocabulary | None = None,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        **arguments: Any,
    ) -> Tensor | GenerateOutput:
        """Continue each row of a batch.

        Greedy by default; do_sample, num_beams, num_beam_groups and penalty_alpha choose another
        search. Greedy search and sampling slide beyond n_positions, with a notice; the others
        refuse. Weights get no gradient.

        Args:
            input_ids: (B, T) prompts, or (T,) for one; without any, the start token.
            generation_config: Arguments by name: a dict, or anything with `to_dict()`; they go
                before those of the model folder, and arguments of the call before both. An
                argument of the call that is None is switched off.
            logits_processor: Applied after our rules and before the temperature.
            stopping_criteria: End a row early.
            inputs: Another name for input_ids.
            streamer: For one prompt without beams: told each token as it comes.
            tokenizer: The model's; stop_strings need it.
            attention_mask: (B, T), 0 for padding, on either side. Without it, pad tokens at the
                ends of prompts are taken for padding, with a notice.
            token_type_ids: (B, T); new tokens take the last one of their row.
            inputs_embeds: (B, T, C) in place of input_ids; then new tokens alone are returned.
            **arguments: By transformers' names, with its defaults: max_new_tokens or max_length (20
                new ones without either, as far as there are positions), min_new_tokens, min_length,
                do_sample, temperature, top_k (50), top_p, min_p, typical_p, repetition_penalty,
                no_repeat_ngram_size, bad_words_ids, suppress_tokens, begin_suppress_tokens,
                forced_bos_token_id, forced_eos_token_id, sequence_bias, num_beams,
                num_beam_groups, diversity_penalty, length_penalty, early_stopping, penalty_alpha,
                num_return_sequences, eos_token_id, pad_token_id, stop_strings,
                return_dict_in_generate, output_scores, output_logits; ours besides:
                frequency_penalty, presence_penalty, and seed: with it a prompt is continued in the
                same way in every batch; without, torch's generator decides, for each row anew.

        Returns:
            (B * num_return_sequences, longest) int64: prompts as given, then what follows, filled
            up with pad_token_id (else the first end token). With return_dict_in_generate a
            GenerateDecoderOnlyOutput or GenerateBeamDecoderOnlyOutput.

        Raises:
            ConfigError: prompts or a mask of a shape that does not fit.
            ContextTooLong: a search that does not slide outgrows n_positions.
            SamplingError: an argument outside its range, no token in a prompt, or stop strings
                without a tokenizer.
            TokenOutOfRange: an id outside the vocabulary.
            UnknownArgument: an argument that `generate` has not.
        """
        given = _given(self, generation_config, arguments)
        if inputs_embeds is None or input_ids is not None:
            input_ids = prompt_ids(input_ids, inputs, given.get("bos_token_id"), self.device)
        if attention_mask is None and input_ids is not None:
            attention_mask = padding(input_ids, given)
        seeded = given.get("seed") is not None
        if given.get("do_sample") and not seeded:  # torch.manual_seed decides
            given["seed"] = int(torch.randint(MAX_SEED >> 2, (), dtype=torch.int64))
        rows = read_prompts(self, input_ids, attention_mask, token_type_ids, inputs_embeds)
        room = self.config.n_positions - max(opening.next_position for opening in rows.openings)
        asked = read_arguments(given, rows.width, self.config.parity.length, room)
        settings = asked.settings
        tell_without_effect(settings, [opening.ids for opening in rows.openings])
        _check_room(self, rows, settings)
        n_rows = len(rows.openings) * settings.num_return_sequences
        stops = Stops(rows, asked, tokenizer, stopping_criteria or (), n_rows)
        _check_streamer(streamer, n_rows, settings)
        record = Record(asked)
        extra = [_as_rule(processor, self.device) for processor in logits_processor or ()]
        prompts = [opening.ids for opening in rows.openings]
        numbers = () if seeded else range(0, n_rows, settings.num_return_sequences)
        each = max(settings.num_return_sequences, settings.num_beams)
        slots = settings.top_k if settings.penalty_alpha else each
        with evaluating(self):
            decoder = TorchDecoder(self, len(prompts) * slots, rows.openings)
            read = None if all(opening.plain for opening in rows.openings) else decoder.open
            if settings.num_beams > 1:
                beam_watch = record.beams if record.wanted else None
                found = beam_search(
                    decoder, prompts, settings, stops.of_beam, extra, beam_watch, read, numbers
                )
                return _beam_output(rows, found, asked, record)
            watch = record.row if record.wanted else None
            asked_of = (decoder, prompts, settings, stops.of_token, extra, watch, read)
            if settings.penalty_alpha:
                tokens = contrastive_search(*asked_of)
            else:
                tokens = search(*asked_of, numbers)
            continuations: list[list[int]] = [[] for _ in range(n_rows)]
            if streamer is not None:
                streamer.put(rows.ids[0].cpu())
            for token in tokens:
                continuations[token.continuation].append(token.id)
                if streamer is not None:
                    streamer.put(torch.tensor([token.id]))
            if streamer is not None:
                streamer.end()
        whole = sequences(rows, continuations, settings)
        if not asked.as_dict:
            return whole
        scores, logits = record.steps(n_rows, settings, self.device)
        return GenerateDecoderOnlyOutput(whole, scores, logits)

    def compute_transition_scores(
        self,
        sequences: Tensor,
        scores: Sequence[Tensor],
        beam_indices: Tensor | None = None,
        normalize_logits: bool = False,
    ) -> Tensor:
        """The score of each new token of a generation, (rows, new tokens).

        Args:
            sequences: Of the output of `generate`, (rows, longest).
            scores: Of the same output.
            beam_indices: Of the same output, with beams.
            normalize_logits: Turn scores into log-probabilities first; those of beams are.
        """
        stacked = torch.stack(list(scores), dim=1)  # (rows or beams, steps, V)
        if normalize_logits:
            stacked = stacked.log_softmax(-1)
        if beam_indices is None:
            new = sequences[:, sequences.shape[1] - stacked.shape[1] :]
            return stacked.gather(-1, new[..., None])[..., 0]
        new = sequences[:, sequences.shape[1] - beam_indices.shape[1] :]  # steps may be more
        steps = torch.arange(new.shape[1], device=new.device)
        return stacked[beam_indices.clamp(min=0), steps, new].masked_fill(beam_indices < 0, 0.0)

    def read_beside(self, folder: Path) -> None:
        """Take generation_config.json of a model folder, where there is one."""
        file = folder / GENERATION_FILE
        if not file.exists():
            return
        try:
            values = parse_json(file.read_text("utf-8"))
            told = {k: v for k, v in values.items() if not k.startswith("_")}
        except (OSError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"{file} is damaged: {error!r}",
                hint="restore it from a copy of the model, or delete it: it holds only defaults",
            ) from error
        self.generation_config = GenerationConfig(told)

    def write_beside(self, folder: Path) -> None:
        """Write generation_config.json."""
        values = {**_tokens(self.config), **_by_name(self.generation_config)}
        bias = values.get("sequence_bias")
        if isinstance(bias, Mapping):  # JSON has no tuples for keys
            values["sequence_bias"] = [[list(ids), value] for ids, value in bias.items()]
        write_json(folder / GENERATION_FILE, values)


def _tokens(config: OpenAIGPTConfig) -> dict[str, Any]:
    return {name: value for name in _TOKENS if (value := getattr(config, name)) is not None}


def _by_name(configured: Any) -> dict[str, Any]:
    """What a generation configuration says, without what it leaves open.

    Raises:
        SamplingError: it is none.
    """
    if configured is not None and not isinstance(configured, Mapping):
        to_dict = getattr(configured, "to_diff_dict", None) or getattr(configured, "to_dict", None)
        if to_dict is None:
            raise SamplingError(
                f"generation_config is {type(configured).__name__}; allowed: a dict, or an object "
                "with to_dict()",
                hint="give the arguments by name",
            )
        configured = to_dict()
    told = (configured or {}).items()
    return {name: value for name, value in told if value is not None and not name.startswith("_")}


def _given(
    model: GenerativeLanguageModel, configured: Any, arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """The arguments of a call over those of configurations."""
    given = _tokens(model.config)
    for layer in (_by_name(model.generation_config), _by_name(configured), arguments):
        if any(layer.get(name) is not None for name in _LENGTHS):  # not against one of another kind
            given = {name: value for name, value in given.items() if name not in _LENGTHS}
        given = {**given, **layer}
    return given


def _check_room(model: LanguageModel, rows: Prompts, settings: GenerationSettings) -> None:
    """Give notice of a text that will slide, and refuse one that cannot.

    Raises:
        ContextTooLong: the search, or what the prompts are made of, does not slide.
    """
    n_positions = model.config.n_positions
    longest = max(opening.next_position for opening in rows.openings)
    plain = all(opening.plain for opening in rows.openings)
    # contrastive search reads its last token too, to choose it
    most = settings.max_new_tokens + (settings.penalty_alpha > 0)
    if longest <= n_positions and not slides(n_positions, longest, most):
        return
    if plain and settings.num_beams == 1 and not settings.penalty_alpha:
        tell_length(n_positions, [opening.ids for opening in rows.openings], settings)
        return
    raise ContextTooLong(
        f"a prompt ends at position {longest} and {settings.max_new_tokens} new tokens are asked "
        f"for; the model has {n_positions} positions, and only greedy search and sampling from "
        "token ids slide",
        hint="shorten the prompt or lower max_new_tokens",
    )


def _beam_output(
    rows: Prompts, found: Sequence[Sequence[Hypothesis]], asked: Arguments, record: Record
) -> Tensor | GenerateBeamDecoderOnlyOutput:
    best = [hypothesis for prompt in found for hypothesis in prompt]
    whole = sequences(rows, [one.ids for one in best], asked.settings)
    if not asked.as_dict:
        return whole
    longest = max(len(one.ids) for one in best)
    indices = [[*one.beam_indices, *[-1] * (longest - len(one.ids))] for one in best]
    device = whole.device
    scores, logits = record.steps(len(best), asked.settings, device)
    return GenerateBeamDecoderOnlyOutput(
        sequences=whole,
        sequences_scores=torch.tensor(
            [one.score for one in best], dtype=torch.float64, device=device
        ),
        scores=scores,
        logits=logits,
        beam_indices=torch.tensor(indices, device=device),
    )


def _as_rule(processor: LogitsProcessor, device: torch.device) -> Rule:
    """A caller's processor of tensors as a rule of arrays."""

    def rule(ids: Sequence[int], n_prompt: int, logits: Logits) -> Logits:
        row = torch.tensor([list(ids)], device=device)
        given = torch.from_numpy(logits.copy())[None].to(device)
        found: Logits = processor(row, given)[0].cpu().numpy()
        return found

    return rule


def _check_streamer(streamer: Streamer | None, n_rows: int, settings: GenerationSettings) -> None:
    if streamer is not None and (n_rows > 1 or settings.num_beams > 1):
        raise SamplingError(
            f"a streamer was given for {n_rows} rows and {settings.num_beams} beams; allowed: one "
            "row without beams",
            hint="call generate for each prompt, or leave the streamer out",
        )
