"""Stand-ins for a model and its tokenizer: exact, small, and strict about the protocol."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np

from ogpt.errors import DecoderError
from ogpt.generation.protocol.decoder import Abilities, Computed, Part, Scores, Want
from ogpt.generation.protocol.slots import (
    check_cut,
    check_open,
    check_parts,
    check_slot,
    check_targets,
)


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

    def run(self, parts: Sequence[Part], *, hidden: bool = False) -> Computed:
        self.calls.append(" ".join(["run", *(f"{part.slot}+{len(part.ids)}" for part in parts)]))
        if hidden and not self.abilities.hidden_states:
            raise DecoderError("hidden is True; allowed: False", hint="use another decoder")
        parts = self._checked(parts)
        rows = [_wanted(self._append(slot, ids), want) for slot, ids, want in parts]
        return Computed(np.concatenate(rows), self._hidden(parts) if hidden else None)

    def score(self, slot: int, ids: Sequence[int], targets: Sequence[int], top: int = 0) -> Scores:
        labels = check_targets(ids, targets, top, self.vocab_size)
        self.calls.append(f"score {slot} {len(ids)}")
        [part] = self._checked([Part(slot, ids)])
        log_probs = log_softmax(self._append(*part[:2]))
        order = np.argsort(-log_probs, axis=1, kind="stable")[:, :top]
        return Scores(
            log_probs[np.arange(len(ids)), labels],
            order,
            np.take_along_axis(log_probs, order, 1),
        )

    def length(self, slot: int) -> int:
        check_open(not self.closed)
        return len(self.held[check_slot(slot, self.slots)])

    def truncate(self, slot: int, length: int) -> None:
        del self.held[slot][check_cut(slot, length, self.length(slot)) :]

    def copy(self, source: int, target: int) -> None:
        self.calls.append(f"copy {source} {target}")
        for slot in (source, target):
            self.length(slot)
        self.held[target] = list(self.held[source])

    def free(self, slot: int) -> None:
        self.truncate(slot, 0)

    def close(self) -> None:
        self.closed = True

    def _checked(self, parts: Sequence[Part]) -> list[Part]:
        check_open(not self.closed)
        return check_parts(parts, list(map(len, self.held)), self.n_positions, self.vocab_size)

    def _append(self, slot: int, ids: Sequence[int]) -> np.ndarray:
        rows = []
        for token_id in ids:
            self.held[slot].append(token_id)
            rows.append(self._logits(slot))
        return np.stack(rows)

    def _logits(self, slot: int) -> np.ndarray:
        return np.asarray(self.logits_of(tuple(self.held[slot])), dtype=np.float32)

    def _hidden(self, parts: Sequence[Part]) -> tuple[np.ndarray, ...]:
        raise NotImplementedError


def _wanted(rows: np.ndarray, want: Want) -> np.ndarray:
    return {"none": rows[:0], "last": rows[-1:], "all": rows}[want]


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

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
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
