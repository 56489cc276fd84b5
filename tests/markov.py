"""Stand-ins for a model and its tokenizer: exact, small, and strict about the protocol."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np

from ogpt.errors import ContextTooLong, DecoderError, TokenOutOfRange
from ogpt.generation.protocol.decoder import Abilities, Scores, Want


class StandInDecoder:
    """The whole Decoder protocol over a function from the tokens held to logits."""

    def __init__(
        self,
        logits_of: Callable[[tuple[int, ...]], np.ndarray],
        vocab_size: int,
        n_positions: int = 16,
        slots: int = 4,
    ) -> None:
        self.n_positions = n_positions
        self.vocab_size = vocab_size
        self.slots = slots
        self.abilities = Abilities(False, False, False, True)
        self.logits_of = logits_of
        self.held: list[list[int]] = [[] for _ in range(slots)]
        self.calls: list[str] = []
        self.closed = False

    def extend(self, slot: int, ids: Sequence[int], want: Want = "last") -> np.ndarray | None:
        self.calls.append(f"extend {slot} {len(ids)}")
        self._check(slot, ids)
        rows = []
        for token_id in ids:
            self.held[slot].append(int(token_id))
            rows.append(self._logits(slot))
        return {"none": None, "last": rows[-1], "all": np.stack(rows)}[want]

    def read(self, slots: Sequence[int], prompts: Sequence[Sequence[int]]) -> np.ndarray:
        return np.stack([self.extend(*each) for each in zip(slots, prompts, strict=True)])

    def step(self, slots: Sequence[int], ids: Sequence[int]) -> np.ndarray:
        self.calls.append(f"step {' '.join(map(str, slots))}")
        if len(slots) != len(set(slots)) or len(slots) != len(ids) or not slots:
            raise DecoderError(f"slots {slots}; allowed: different ones, one id each", hint="fix")
        for slot, token_id in zip(slots, ids, strict=True):
            self._check(slot, [token_id])
        for slot, token_id in zip(slots, ids, strict=True):
            self.held[slot].append(int(token_id))
        return np.stack([self._logits(slot) for slot in slots])

    def score(self, slot: int, ids: Sequence[int], targets: Sequence[int], top: int = 0) -> Scores:
        self._check(slot, ids)
        self._check_ids(targets)
        if len(ids) != len(targets):
            raise DecoderError(f"{len(targets)} targets for {len(ids)} ids", hint="fix")
        logits = self.extend(slot, ids, "all")
        self.calls[-1] = f"score {slot} {len(ids)}"
        log_probs = log_softmax(logits)
        order = np.argsort(-log_probs, axis=1, kind="stable")[:, :top]
        return Scores(
            log_probs[np.arange(len(ids)), np.asarray(targets)],
            order,
            np.take_along_axis(log_probs, order, 1),
        )

    def length(self, slot: int) -> int:
        self._check_slot(slot)
        return len(self.held[slot])

    def truncate(self, slot: int, length: int) -> None:
        self._check_slot(slot)
        if not 0 <= length <= len(self.held[slot]):
            raise DecoderError(f"length {length} of {len(self.held[slot])}", hint="fix")
        del self.held[slot][length:]

    def copy(self, source: int, target: int) -> None:
        self.calls.append(f"copy {source} {target}")
        self._check_slot(source)
        self._check_slot(target)
        self.held[target] = list(self.held[source])

    def free(self, slot: int) -> None:
        self._check_slot(slot)
        self.held[slot] = []

    def close(self) -> None:
        self.closed = True

    def _logits(self, slot: int) -> np.ndarray:
        return np.asarray(self.logits_of(tuple(self.held[slot])), dtype=np.float32)

    def _check(self, slot: int, ids: Sequence[int]) -> None:
        self._check_slot(slot)
        if len(ids) == 0:
            raise DecoderError("no tokens; allowed: one or more", hint="fix")
        if len(self.held[slot]) + len(ids) > self.n_positions:
            raise ContextTooLong(
                f"{len(self.held[slot]) + len(ids)} tokens; allowed: {self.n_positions}", hint="cut"
            )
        self._check_ids(ids)

    def _check_slot(self, slot: int) -> None:
        if self.closed or not 0 <= slot < self.slots:
            raise DecoderError(f"slot {slot}; allowed: 0 to {self.slots - 1}", hint="fix")

    def _check_ids(self, ids: Sequence[int]) -> None:
        for token_id in ids:
            if not 0 <= token_id < self.vocab_size:
                raise TokenOutOfRange(f"id {token_id}", hint="fix")


def markov(table: np.ndarray, **options: int) -> StandInDecoder:
    """The next token depends on the last one: logits are a row of `table` (V, V)."""
    return StandInDecoder(lambda held: table[held[-1]], table.shape[0], **options)


def contextual(vocab_size: int, **options: int) -> StandInDecoder:
    """The next token depends on every token held, and on their order."""

    def logits_of(held: tuple[int, ...]) -> np.ndarray:
        seed = zlib.crc32(np.array(held, dtype=np.int64).tobytes())
        return np.random.default_rng(seed).normal(size=vocab_size) * 3

    return StandInDecoder(logits_of, vocab_size, **options)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return (shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))).astype(np.float32)


def chi_square_limit(freedom: int, chance: float = 1e-6) -> float:
    """What chi-square exceeds with `chance`, after Wilson and Hilferty 1931."""
    z = NormalDist().inv_cdf(1 - chance)
    return freedom * (1 - 2 / (9 * freedom) + z * (2 / (9 * freedom)) ** 0.5) ** 3


class StandInTokenizer:
    """Letters as pieces, with and without `</w>`: decoding as the Rust BPE decoder does it."""

    def __init__(self, letters: str = "abcdefgh.", eos: bool = False) -> None:
        pieces = ["<unk>", *letters, *(f"{letter}</w>" for letter in letters)]
        if eos:
            pieces.append("<eos>")
        self.pieces = pieces
        self.unk_token_id = 0

    def __len__(self) -> int:
        return len(self.pieces)

    def get_vocab(self) -> dict[str, int]:
        return {piece: token_id for token_id, piece in enumerate(self.pieces)}

    def encode(self, text: str) -> list[int]:
        vocab = self.get_vocab()
        words = text.lower().replace(".", " . ").split()
        pieces = [piece for word in words for piece in [*word[:-1], word[-1] + "</w>"]]
        return [vocab.get(piece, 0) for piece in pieces]

    def encode_batch_arrays(self, texts: Sequence[str]) -> list[np.ndarray]:
        return [np.array(self.encode(text), dtype=np.int64) for text in texts]

    def convert_ids_to_tokens(self, ids: Sequence[int]) -> list[str]:
        return [self.pieces[token_id] for token_id in ids]

    def decode(
        self, ids: Sequence[int], *, clean_up_tokenization_spaces: bool | None = None
    ) -> str:
        pieces = self.convert_ids_to_tokens(ids)
        spaced = [piece.replace("</w>", " ") for piece in pieces[:-1]]
        return "".join(spaced) + "".join(pieces[-1:]).replace("</w>", "")
