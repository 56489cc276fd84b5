"""Turn a batch of prompts into rows without padding, and continuations into a batch again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ogpt.errors import ConfigError, SamplingError
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.texts.recording import padding_id
from ogpt.model.decoder.bare_prompt import BarePrompt
from ogpt.model.generate.inner_states import PromptInputs
from ogpt.model.inputs import check_embedding_ids, check_mask, input_shape, to_rows
from ogpt.model.language_model import LanguageModel
from ogpt.notices import tell


class Prompts(NamedTuple):
    """The prompts of one call of generate()."""

    rows: list[BarePrompt]
    ids: Tensor
    """(B, T) as passed, padding included; (B, 0) for embeddings."""
    width: int
    """T: max_length counts padding too, as in transformers."""


def prompt_ids(
    input_ids: Tensor | None,
    inputs: Tensor | None,
    bos_token_id: int | None,
    device: torch.device,
) -> Tensor | None:
    """The prompts under either of their names; by default one start token.

    Returns:
        (B, T) or (T,); None if neither is passed and there is no start token.

    Raises:
        ConfigError: both names, or not a tensor.
    """
    if input_ids is not None and inputs is not None:
        raise ConfigError(
            "input_ids and inputs were both passed; allowed: one of the two",
            hint="omit inputs: it is another name for input_ids",
        )
    ids: Any = inputs if input_ids is None else input_ids
    if ids is None:
        return None if bos_token_id is None else torch.tensor([[bos_token_id]], device=device)
    if not isinstance(ids, Tensor):
        raise ConfigError(
            f"the prompts are a {type(ids).__name__}; allowed: a tensor (B, T) of token ids",
            hint="call the tokenizer with return_tensors='pt', and generate with **inputs",
        )
    found: Tensor = ids
    return found


def padding(ids: Tensor, given: Mapping[str, Any]) -> Tensor | None:
    """Make a mask for prompts without one: pad tokens at the ends of a row are padding.

    A pad token that is also the end token may belong to the text, so it stays.

    Args:
        ids: (..., T).
        given: The arguments of the call.

    Returns:
        In the shape of `ids`; None if there is no padding.
    """
    pad, ends = (given.get(name) for name in ("pad_token_id", "eos_token_id"))
    if not isinstance(pad, int) or pad in (ends if isinstance(ends, Sequence) else [ends]):
        return None
    token = ids.ne(pad)
    inside = token.cumsum(-1).bool() & token.flip(-1).cumsum(-1).flip(-1).bool()
    found = int((~inside).sum())
    if not found or not inside.any(-1).all():  # a prompt of nothing but pad tokens is deliberate
        return None
    tell("padding-assumed", count=found, pad_token_id=pad)
    return inside.long()


def read_prompts(model: LanguageModel, passed: PromptInputs) -> Prompts:
    """The prompts of a batch, each without its padding.

    Args:
        model: For its embeddings and its configuration.
        passed: By the caller.

    Raises:
        ConfigError: a shape that does not fit, or positions outside the context.
        SamplingError: a prompt without tokens.
        TokenOutOfRange: an id outside the vocabulary.
    """
    ids, mask, token_types, position_ids, embeds = passed
    shape = input_shape(ids, embeds, model.config.n_embd)
    if len(shape.leading) > 1:
        raise ConfigError(
            f"the prompts have the shape {(*shape.leading, shape.T)}; allowed: (B, T)",
            hint="flatten the choices: prompts.view(-1, prompts.shape[-1])",
        )
    kept = np.ones((shape.N, shape.T), dtype=bool)
    if mask is not None:
        given = to_rows(mask, shape, "attention_mask")
        kept = check_mask(given, shape.N, shape.T, shape.T, 1).cpu().numpy()
    counts_padding = model.config.parity.positions == "never"
    flat = torch.zeros(shape.N, 0, dtype=torch.int64, device=model.device)
    if ids is not None:
        flat = to_rows(ids, shape, "input_ids").long()
        inside = torch.from_numpy(kept).to(flat.device)  # padding may be no token, such as -1
        check_embedding_ids(
            flat.masked_fill(~inside, 0), model.transformer.tokens_embed, "token id"
        )
    types = None if token_types is None else to_rows(token_types, shape, "token_type_ids")
    given_places = None
    if position_ids is not None:
        given_places = to_rows(position_ids, shape, "position_ids").expand(shape.N, -1)
    rows = []
    for row, tokens in enumerate(kept):
        places = tokens.nonzero()[0].tolist()
        if not places:
            raise SamplingError(
                f"prompt {row} has no tokens; at least one is required",
                hint="set attention_mask to 1 for a token of each row",
            )
        plain = positions, following = list(range(len(places))), len(places)
        if given_places is not None:
            positions = given_places[row, places].tolist()
            following = positions[-1] + 1
            _check_positions(row, positions, model.config.n_positions)
        elif counts_padding:
            positions, following = places, shape.T
        moved = (positions, following) != plain
        rows.append(
            BarePrompt(
                ids=[] if ids is None else flat[row, places].tolist(),
                embeds=None
                if embeds is None
                else embeds.reshape(shape.N, shape.T, -1)[row, places],
                token_types=None if types is None else types[row, places].tolist(),
                positions=positions if moved else None,
                length=len(places),
                next_position=following,
            )
        )
    return Prompts(rows, flat, shape.T)


def _check_positions(row: int, positions: Sequence[int], n_positions: int) -> None:
    if min(positions) < 0 or max(positions) >= n_positions:
        raise ConfigError(
            f"position_ids of prompt {row} are {positions}; allowed: 0 to {n_positions - 1}",
            hint="omit position_ids: they follow from attention_mask",
        )


def sequences(
    batch: Prompts, continuations: Sequence[Sequence[int]], settings: GenerationSettings
) -> Tensor:
    """The prompts as passed and their continuations, padded, (rows, longest)."""
    longest = max(map(len, continuations))
    pad = padding_id(settings)
    new = torch.tensor([[*ids, *[pad] * (longest - len(ids))] for ids in continuations])
    prompts = batch.ids.repeat_interleave(settings.num_return_sequences, dim=0)
    return torch.cat([prompts, new.to(prompts)], dim=1)
