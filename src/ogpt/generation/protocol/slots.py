"""The checks of every decoder, made before it computes or changes anything.

They return plain ints, so that a decoder can pass them to C or to a tensor. What is no whole number
is a TypeError.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import get_args

from ogpt.errors import ContextTooLong, DecoderError, TokenOutOfRange
from ogpt.generation.protocol.decoder import Part, Want

_WANTS = get_args(Want)


def check_open(is_open: bool) -> None:
    """Check that a decoder was not closed.

    Raises:
        DecoderError: it was.
    """
    if not is_open:
        raise DecoderError("the decoder was used after close()", hint="open another decoder")


def check_slots(slots: Sequence[int], count: int) -> list[int]:
    """Check that slots differ and that a decoder with `count` slots has them.

    Raises:
        DecoderError: a slot twice, or outside 0 to count - 1.
    """
    found = [index(slot) for slot in slots]
    least, most = min(found, default=0), max(found, default=0)
    if len(set(found)) != len(found) or least < 0 or most >= count:
        raise DecoderError(
            f"slots are {found}; allowed: 0 to {count - 1}, each once",
            hint="open the decoder with more slots, or name each slot once",
        )
    return found


def check_slot(slot: int, count: int) -> int:
    """As `check_slots`, for one of them: it is asked for at every token."""
    found = index(slot)
    return found if 0 <= found < count else check_slots([found], count)[0]


def check_parts(
    parts: Sequence[Part], taken: Sequence[int], n_positions: int, vocab_size: int
) -> list[Part]:
    """Check the parts of a call of `Decoder.run`.

    Args:
        parts: As the caller passed them.
        taken: Positions in use, for each slot of the decoder.
        n_positions: Positions of a slot.
        vocab_size: V.

    Raises:
        DecoderError: no parts, a slot that does not exist or has two parts, a part without tokens,
            or an unknown `want`.
        ContextTooLong: a slot without room for its tokens.
        TokenOutOfRange: an id outside the vocabulary.
    """
    if not parts:
        raise DecoderError("the call has 0 parts; allowed: 1 or more", hint="pass a part")
    slots = check_slots([part.slot for part in parts], len(taken))
    checked = []
    for slot, (_, ids, want) in zip(slots, parts, strict=True):
        if want not in _WANTS:
            raise DecoderError(
                f"want is {want!r}; allowed: {', '.join(_WANTS)}", hint="pass one of these"
            )
        if len(ids) == 0:  # of an array, `not ids` would be ambiguous
            raise DecoderError(
                f"the part of slot {slot} has 0 tokens; allowed: 1 or more",
                hint="omit slots that have nothing to append",
            )
        checked.append(Part(slot, check_ids(ids, vocab_size), want))
        check_room(taken[slot], len(ids), n_positions)
    return checked


def check_ids(ids: Sequence[int], vocab_size: int) -> list[int]:
    """Check token ids, at least one.

    Raises:
        TokenOutOfRange: an id outside the vocabulary.
    """
    found = list(map(index, ids))
    if min(found) < 0 or max(found) >= vocab_size:
        place = next(i for i, token in enumerate(found) if not 0 <= token < vocab_size)
        raise TokenOutOfRange(
            f"token id {found[place]} at place {place}; allowed: 0 to {vocab_size - 1}",
            hint="check that the tokenizer belongs to the model",
        )
    return found


def check_room(taken: int, count: int, n_positions: int) -> None:
    """Check that `count` more tokens fit into a slot.

    Raises:
        ContextTooLong: they do not.
    """
    if taken + count > n_positions:
        raise ContextTooLong(
            f"{taken} positions are in use and {count} tokens follow; the context length is "
            f"{n_positions}",
            hint="truncate the slot, or call generate(), which uses a sliding window",
        )


def check_cut(slot: int, length: int, held: int) -> int:
    """Check the length that a slot is truncated to; return it.

    Raises:
        DecoderError: it is below 0 or above `held`, the number of tokens in the slot.
    """
    length = index(length)
    if not 0 <= length <= held:
        raise DecoderError(
            f"length is {length} for slot {slot}; allowed: 0 to {held}",
            hint=f"pass 0 to {held}, the number of tokens in the slot",
        )
    return length


def check_targets(
    ids: Sequence[int], targets: Sequence[int], top: int, vocab_size: int
) -> list[int]:
    """Check the targets and the number of top tokens of `Decoder.score`; return the targets.

    Raises:
        DecoderError: not one target for each id, no ids, or `top` outside 0 to vocab_size.
        TokenOutOfRange: a target outside the vocabulary.
    """
    if len(targets) != len(ids) or not len(ids):
        raise DecoderError(
            f"{len(targets)} targets for {len(ids)} ids; allowed: 1 or more ids, with one target "
            "each",
            hint="pass the token that follows each id",
        )
    if not 0 <= top <= vocab_size:
        raise DecoderError(
            f"top is {top}; allowed: 0 to {vocab_size}", hint=f"pass 0 to {vocab_size}"
        )
    return check_ids(targets, vocab_size)
