"""The paper's zero-shot heuristics (section 5, figure 2, right): tasks scored without fine-tuning.

Every heuristic works on a `Scorer`, so that any decoder or a model in training can be measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ogpt.errors import DataError
from ogpt.generation.protocol.decoder import Decoder
from ogpt.generation.protocol.likelihood import cut_prefix, score_choices
from ogpt.generation.texts.writer import TokenizerLike
from ogpt.tasks.example import Example
from ogpt.tasks.readers.pronouns import PronounCase

Scorer = Callable[[str, str], Sequence[float]]
"""(context, continuation) -> log-probability in nats of each token of the continuation. Context
may be ""; then the first token has no context and is left out."""


def decoder_scorer(decoder: Decoder, tokenizer: TokenizerLike) -> Scorer:
    """A scorer that computes log-probabilities with a decoder.

    A context that leaves too little room for the continuation loses its beginning, with a notice.
    The scorer raises ContextTooLong for a continuation longer than the context length.

    Args:
        decoder: Its first slot is used, and left empty.
        tokenizer: The tokenizer of its model.
    """

    def score(context: str, continuation: str) -> Sequence[float]:
        before = tokenizer.encode(context, add_special_tokens=False) if context else []
        ids = tokenizer.encode(continuation, add_special_tokens=False)
        if not before:
            before, ids = ids[:1], ids[1:]
        if not ids:
            return []
        before = cut_prefix(before, len(ids), decoder.n_positions)
        [found] = score_choices(decoder, before, [ids])
        return found.log_probs

    return score


def acceptability(score: Scorer, examples: Sequence[Example], acceptable: str) -> NDArray[np.bool_]:
    """CoLA: a sentence is acceptable where its mean token log-probability exceeds a threshold.

    The paper does not say how it chose the threshold. Here, no sentence is judged by a threshold
    that was chosen with its own label: the threshold with the best accuracy on the rows of even
    index decides the rows of odd index, and the reverse.

    Args:
        score: Scores a sentence without context.
        examples: Classification, at least 2, all with labels.
        acceptable: The label of acceptable sentences.

    Returns:
        Whether each sentence is found acceptable, (N,).

    Raises:
        DataError: fewer than 2 examples, no tokens to score, or a log-probability that is not
            finite.
    """
    if len(examples) < 2:
        raise DataError(
            f"there are {len(examples)} sentences to judge; allowed: 2 or more",
            hint="pass more labelled sentences: one half chooses the threshold of the other",
        )
    means = np.array([_mean(score, "", each.texts[0], each.place) for each in examples])
    gold = np.array([each.label == acceptable for each in examples])
    found = np.empty(len(examples), dtype=np.bool_)
    for half in (0, 1):
        found[half::2] = means[half::2] > best_threshold(means[1 - half :: 2], gold[1 - half :: 2])
    return found


def best_threshold(values: NDArray[np.float64], gold: NDArray[np.bool_]) -> float:
    """The threshold for which `value > threshold` agrees best with `gold`; of equals, the lowest.

    Candidates are -inf, the midpoints between neighbouring values, and inf.
    """
    ordered = np.unique(values)
    candidates = np.concatenate([[-np.inf], (ordered[:-1] + ordered[1:]) / 2, [np.inf]])
    agreements = ((values[None, :] > candidates[:, None]) == gold[None, :]).mean(1)
    return float(candidates[agreements.argmax()])


def sentiment(
    score: Scorer, examples: Sequence[Example], words: Sequence[str] = ("negative", "positive")
) -> NDArray[np.int64]:
    """SST-2: append "very" and choose the more probable of two words.

    Args:
        score: Scores a word after the sentence.
        examples: Classification.
        words: The word of each class, in the order of the classes.

    Returns:
        The class of each sentence, (N,).

    Raises:
        DataError: a log-probability that is not finite.
    """
    return np.array(
        [
            _best(score, [(f"{each.texts[0]} very", word) for word in words], each.place)
            for each in examples
        ],
        dtype=np.int64,
    )


def answers(score: Scorer, examples: Sequence[Example]) -> NDArray[np.int64]:
    """RACE: the answer with the highest mean token log-probability after document and question.

    Args:
        score: Scores an answer after "document question".
        examples: Multiple choice.

    Returns:
        The index of the answer chosen, (N,).

    Raises:
        DataError: a log-probability that is not finite.
    """
    found = []
    for each in examples:
        document, question, *choices = each.texts
        context = " ".join(part for part in (document, question) if part)
        found.append(_best(score, [(context, choice) for choice in choices], each.place))
    return np.array(found, dtype=np.int64)


def referents(score: Scorer, cases: Sequence[PronounCase]) -> NDArray[np.int64]:
    """DPRD, Winograd: replace the pronoun by each referent, compare the rest of the sentence.

    The rest is what follows the pronoun; the referent itself does not count, since a rare name
    would lose whatever follows.

    Args:
        score: Scores the rest after the beginning with its referent.
        cases: Sentences with a pronoun to resolve.

    Returns:
        The index of the candidate chosen, (N,).

    Raises:
        DataError: nothing follows the pronoun, or a log-probability that is not finite.
    """
    return np.array(
        [
            _best(
                score,
                [
                    (f"{each.before.rstrip()} {name}".strip(), each.after)
                    for name in each.candidates
                ],
                each.place,
            )
            for each in cases
        ],
        dtype=np.int64,
    )


def normalized(value: float, chance: float, best: float) -> float:
    """Figure 2's scale: 0 is chance, 1 the best known single model."""
    return (value - chance) / (best - chance)


def _best(score: Scorer, pairs: Sequence[tuple[str, str]], place: str) -> int:
    return int(np.argmax([_mean(score, *pair, place) for pair in pairs]))


def _mean(score: Scorer, context: str, continuation: str, place: str) -> float:
    log_probs = score(context, continuation)
    mean = math.fsum(log_probs) / len(log_probs) if log_probs else math.nan
    if not math.isfinite(mean):
        raise DataError(
            f"{place or 'a text'}: the mean log-probability of {continuation[:60]!r} is {mean} "
            f"over {len(log_probs)} tokens; allowed: a finite number over 1 token or more",
            hint="drop rows without text to score; if all rows fail, use another checkpoint",
        )
    return mean
