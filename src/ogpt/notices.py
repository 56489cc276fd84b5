"""The one channel for what would otherwise be silent: truncation, fallback, a lowered dtype.

`tell(kind, **fields)` is called where the decision is taken and before the work begins, so that
`--strict` can turn it into an error with nothing half-done. Notices go to the sinks of the
innermost `listening` block of the current context, or to `warnings` when there is none.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from ogpt.errors import StrictNotice

KINDS: dict[str, str] = {
    "context-slides": (
        "the text outgrows the model's {n_positions} positions: whenever it is full, the last "
        "{kept} tokens are read again and the older ones are forgotten"
    ),
    "prompt-cut": (
        "the prompt has {tokens} tokens and the model {n_positions} positions: only the last "
        "{n_positions} are read"
    ),
    "prefix-cut": (
        "the text has {tokens} tokens and the model {n_positions} positions: only the last {kept} "
        "are read before the choices, so that the longest has room"
    ),
    "compile-unavailable": "training runs without torch.compile: {reason}",
    "no-accelerator": (
        "device {device} was asked for and there is no accelerator: the model runs on the CPU"
    ),
    "native-decoder-unused": "PyTorch decodes, not the native decoder: {reason}",
    "static-decoder-unused": (
        "the GPU decodes without captured steps, which takes several times as long: {reason}"
    ),
    "precision-emulated": (
        "this processor has no instructions for {precision}: it is slower here than float32"
    ),
    "no-held-out-text": (
        "the text has too few documents to hold some out: about its last {bytes} bytes are "
        "held out instead"
    ),
    "fewer-merges": (
        "the text has only {entries} vocabulary entries to learn; {asked} were asked for"
    ),
    "bert-words": ("text is read by BERT's rules, not as GPT-1 was trained: {reason} ({command})"),
    "pre-tokenizer-changed": (
        "the tokenizer in {path} was made with the pre-tokenisation {made_with!r}; with {asked!r} "
        "it gives other ids"
    ),
    "other-version": (
        "the tokenizer in {path} was made with {package} {made_with}; {here} is installed, and may "
        "give other words"
    ),
    "characters-left-out": (
        "{count} rare characters are outside the vocabulary and will be read as <unk>"
    ),
    "prompt-unknown": "{count} of {total} prompt tokens are unknown to this vocabulary",
    "weights-left-out": "{format} has no place for some weights, which are left out: {names}",
    "padding-assumed": (
        "there is no attention_mask: {count} pad tokens ({pad_token_id}) at the ends of prompts "
        "are taken for padding"
    ),
    "setting-without-effect": "{setting} has no effect: {reason}",
    "unknown-setting": (
        "{name} is no field of a configuration: it is kept, and nothing reads it ({advice})"
    ),
    "arguments-ignored": "arguments that no model takes were left out: {names}",
    "nothing-to-learn": "every label is {ignored}, which counts nothing: the loss is zero",
    "weights-not-from-file": "{name}: {report}",
    "run-begun": "there is no run in {path} to resume: a new one is begun",
    "checkpoint-set-aside": "{path} is incomplete and was passed over: {reason}",
    "hub-not-reached": (
        "{repo_id} could not be looked up on the Hub ({reason}): the copy in the cache, commit "
        "{commit}, is used"
    ),
    "checkpoint-parts-ignored": (
        "{path} holds more than weights: only {read!r} is read, and not {ignored}"
    ),
    "heads-assumed": (
        "OpenAI's files do not tell the attention heads: {n_head} are assumed, 64 of the {n_embd} "
        "channels for each"
    ),
    "documents-skipped": "{count} {what} were skipped: {reason}",
    "text-truncated": (
        "{count} of {total} texts are cut to {max_length} tokens; {lost} tokens are left out"
    ),
    "rare-words-dropped": (
        "the text has more than {limit} different words: the rarest are left out of the count"
    ),
}


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that happened without being asked for."""

    kind: str
    fields: dict[str, Any]

    @property
    def message(self) -> str:
        """The notice as a sentence."""
        return KINDS[self.kind].format(**self.fields)


class OgptNotice(UserWarning):
    """The category of the warnings that notices become for users of the library."""


Sink = Callable[[Notice], None]


def _warn(notice: Notice) -> None:
    warnings.warn(notice.message, OgptNotice, stacklevel=4)


_sink: ContextVar[Sink] = ContextVar("ogpt_notice_sink", default=_warn)


def tell(kind: str, **fields: Any) -> None:
    """Give notice of `kind` (a key of KINDS) to whoever listens; each call counts as one.

    Raises:
        StrictNotice: the listener is strict.
    """
    _sink.get()(Notice(kind, fields))


@contextmanager
def listening(sink: Sink) -> Iterator[None]:
    """Send the notices told inside the block to `sink` instead of `warnings`."""
    token = _sink.set(sink)
    try:
        yield
    finally:
        _sink.reset(token)


@contextmanager
def collecting() -> Iterator[list[Notice]]:
    """Collect the notices told inside the block into the list that it yields."""
    notices: list[Notice] = []
    with listening(notices.append):
        yield notices


def refuse(notice: Notice) -> None:
    """The sink of --strict: the first notice is an error.

    Raises:
        StrictNotice: always.
    """
    raise StrictNotice(notice.message, hint="leave --strict out to go on with this notice")
