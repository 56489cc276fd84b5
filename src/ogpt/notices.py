"""Notices: report what would otherwise be silent, such as truncation, fallback or a lowered dtype.

Call `tell(kind, **fields)` where the decision is made and before the work starts, so that
`--strict` can turn it into an error with nothing half-done. A notice goes to the sink of the
innermost `listening` block of the current context, or to `warnings` if there is none.
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
        "the text exceeds the context length of {n_positions} tokens: each time the context is "
        "full, only the last {kept} tokens are kept"
    ),
    "prompt-cut": (
        "{prompt} has {tokens} tokens, and the context length is {n_positions}: using only the "
        "last {n_positions} tokens"
    ),
    "prefix-cut": (
        "the text has {tokens} tokens, and the context length is {n_positions}: using only the "
        "last {kept} tokens before the choices, to leave room for the longest choice"
    ),
    "compiling": "compiling {what} with XLA: this takes a while, once for each {each}",
    "compile-unavailable": "training without torch.compile: {reason}",
    "no-accelerator": (
        "device {device} was requested, but there is no accelerator: running the model on the CPU"
    ),
    "native-decoder-unused": "using PyTorch instead of the native decoder: {reason}",
    "static-decoder-unused": (
        "decoding on the GPU without CUDA graphs, which is several times slower: {reason}"
    ),
    "precision-emulated": (
        "this processor has no instructions for {precision}: it is slower here than float32"
    ),
    "few-documents": (
        "the text has too few documents for a validation set of whole documents: using about its "
        "last {bytes} bytes instead"
    ),
    "fewer-merges": ("the text yields only {entries} vocabulary entries; {asked} were requested"),
    "bert-words": (
        "splitting text by BERT's rules, not as GPT-1 was trained: {reason} ({command})"
    ),
    "pre-tokenizer-changed": (
        "the tokenizer in {path} was made with the pre-tokenization {made_with!r}; using "
        "{asked!r}, which gives different ids"
    ),
    "template-ignored": (
        "the post-processor in the tokenizer.json of {path} is not start, text, end; its special "
        "tokens are not put around texts, as transformers would do"
    ),
    "merges-missing": (
        "{path} has no merges for {count} words of the vocabulary, such as {example!r}: keeping "
        "them, but no text becomes them (download the file again if it is incomplete)"
    ),
    "other-version": (
        "the tokenizer in {path} was made with {package} {made_with}; using the installed {here}, "
        "which may split words differently"
    ),
    "tokenizer-grown": (
        "the tokenizer of the model in {path} has tokens that the model was not trained with: "
        "{tokens}"
    ),
    "shards-before-growth": (
        "the shards in {path} were made before tokens were added to the tokenizer in {tokenizer}: "
        "text that has one of them was split into other tokens ({tokens})"
    ),
    "comparison-omitted": (
        "the model in {path} has no tokenizer: the quantized one is not compared with it on a text"
    ),
    "tokenizer-unfit": "nothing can be generated with this model: {reason}",
    "characters-left-out": (
        "{count} rare characters are not in the vocabulary: encoding them as <unk>"
    ),
    "prompt-unknown": "{count} of {total} prompt tokens are unknown to this vocabulary",
    "weights-left-out": "{format} cannot store some weights: omitting {names}",
    "padding-assumed": (
        "there is no attention_mask: treating {count} pad tokens ({pad_token_id}) at the ends of "
        "prompts as padding"
    ),
    "padding-read": (
        "there is no attention_mask: reading {count} pad tokens ({pad_token_id}) at the start of "
        "rows as text"
    ),
    "one-label": (
        "cross-entropy over one label is always 0: nothing is learned (problem_type='regression' "
        "learns a number)"
    ),
    "setting-without-effect": "{setting} has no effect: {reason}",
    "warmup-shortened": (
        "the warm-up of {warmup_steps} steps outlasts the run of {total_steps}: warming up for "
        "{used} steps instead, so that the learning rate still falls to 0"
    ),
    "unknown-setting": (
        "{name} is not a field of the configuration: keeping it, but nothing uses it ({advice})"
    ),
    "fields-ignored": "ignoring fields that the request does not have: {names}",
    "not-reproducible": (
        "the decoder {decoder} computes a text a little differently beside other texts: the same "
        "request and seed can give other tokens"
    ),
    "open-without-key": (
        "listening on {host} without an API key: everyone who reaches this address can use the "
        "server (--api-key)"
    ),
    "arguments-ignored": "ignoring arguments that no model accepts: {names}",
    "nothing-to-learn": "all labels are {ignored}, the value to ignore: the loss is zero",
    "adapter-on-head": (
        "PEFT adapts {layer} and sees no layer of the transformer: load the model with "
        "ogpt.integrations.transformers to adapt those"
    ),
    "weights-not-from-file": "{name}: {report}",
    "dtype-narrowed": "the file stores {stored}: rounding the weights to {dtype}",
    "run-started": "no run to resume in {path}: starting a new one",
    "checkpoint-set-aside": "{path} is incomplete and is skipped: {reason}",
    "hub-not-reached": (
        "could not look up {repo_id} on the Hub ({reason}): using the cached copy, commit {commit}"
    ),
    "checkpoint-parts-ignored": (
        "{path} holds more than weights: reading only {read!r} and ignoring {ignored}"
    ),
    "heads-assumed": (
        "OpenAI's files do not store the number of attention heads: assuming {n_head}, with 64 of "
        "the {n_embd} channels each"
    ),
    "characters-escaped": (
        "standard output is {encoding}, which lacks {count} characters of the text: writing them "
        "as escapes such as \\u6771 (PYTHONIOENCODING=utf-8 writes them unchanged)"
    ),
    "documents-skipped": "{count} {what} were skipped: {reason}",
    "classes-imbalanced": (
        "the class {most!r} has {many} training examples and {least!r} has {few}: rare classes "
        "are learned badly (--set finetune.class_weights=true gives them more weight)"
    ),
    "rows-repeated": "{count} of {total} training examples{of} repeat others, word for word",
    "rows-leaked": (
        "{count} of {total} examples of {split} are {source} examples too, word for word: its "
        "scores are too high"
    ),
    "data-found-twice": "{name} is there {count} times: reading {path}",
    "split-missing": "{task} has no {split} files in {folder} ({files})",
    "validation-split": (
        "{task} is published without a validation set: using {count} of its {total} training "
        "examples, chosen with the seed {seed}"
    ),
    "other-release": (
        "{task} in {folder} is another release than the paper's ({release}): scores on the two do "
        "not compare"
    ),
    "rows-differ": (
        "{split} of {task} has {rows:,} examples; {release} is published with {published:,}"
    ),
    "rows-dropped": "{count} rows{of} are left out: {reason}",
    "probes-missing": "measuring without {names}, which are not in {folder}",
    "probe-rows-cut": (
        "the probes use {rows} rows of each set, chosen with the seed {seed}, of {names} (--set "
        "training.probe_rows=0 uses all)"
    ),
    "score-undefined": "{name} is not defined: {reason}; the score is {score}",
    "examples-cut": (
        "{count} of {total} examples of {what} are too long for the model: {tokens} tokens are cut"
    ),
    "examples-skipped": (
        "{count} of {total} examples of {what} are too long for the model, and are left out"
    ),
    "text-unknown": (
        "{share:.1%} of the tokens of {what} are unknown to the vocabulary ({count} of {total})"
    ),
    "vowel-signs-dropped": (
        "the default rules of splitting text drop vowel signs, {share:.1%} of the characters of "
        "this text: the tokenizer option --pre-tokenizer bytes keeps them"
    ),
    "output-inside-data": (
        "--out lies inside {spec}, which is read as text: what is in --out is not read"
    ),
    "only-ogpt": "other libraries cannot load this model, or load it wrongly: {reason}",
    "text-truncated": (
        "truncating {count} of {total} texts to {max_length} tokens; {lost} tokens are dropped"
    ),
    "rare-words-dropped": (
        "the text has more than {limit} distinct words: the rarest are not counted"
    ),
}
"""Each kind of notice, and its text: what is done now, and why."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One decision that the user did not ask for."""

    kind: str
    fields: dict[str, Any]

    @property
    def message(self) -> str:
        """The text of the notice."""
        return KINDS[self.kind].format(**self.fields)


class OgptNotice(UserWarning):
    """Category of the warnings that notices become outside a `listening` block."""


Sink = Callable[[Notice], None]


def _warn(notice: Notice) -> None:
    # level 1 is _warn, 2 `tell`, 3 the function that decides, 4 its caller
    warnings.warn(notice.message, OgptNotice, stacklevel=4)


_sink: ContextVar[Sink] = ContextVar("ogpt_notice_sink", default=_warn)


def tell(kind: str, **fields: Any) -> None:
    """Emit one notice of `kind` (a key of KINDS) to the active sink.

    Args:
        kind: A key of KINDS.
        **fields: The values of the placeholders in its text.

    Raises:
        StrictNotice: the sink is `refuse` (--strict).
    """
    _sink.get()(Notice(kind, fields))


@contextmanager
def listening(sink: Sink) -> Iterator[None]:
    """Send the notices emitted inside the block to `sink` instead of `warnings`."""
    token = _sink.set(sink)
    try:
        yield
    finally:
        _sink.reset(token)


@contextmanager
def collecting() -> Iterator[list[Notice]]:
    """Collect the notices emitted inside the block in the list that it yields."""
    notices: list[Notice] = []
    with listening(notices.append):
        yield notices


@contextmanager
def each_once() -> Iterator[None]:
    """Pass on each notice of the block once: for several runs over the same data."""
    sink, seen = _sink.get(), set[str]()

    def pass_on(notice: Notice) -> None:
        if notice.message not in seen:
            seen.add(notice.message)
            sink(notice)

    with listening(pass_on):
        yield


@contextmanager
def keeping() -> Iterator[list[Notice]]:
    """Pass on the notices of the block, and keep them in the list that it yields."""
    sink, kept = _sink.get(), list[Notice]()

    def pass_on(notice: Notice) -> None:
        kept.append(notice)
        sink(notice)

    with listening(pass_on):
        yield kept


@contextmanager
def leaving_out(unwanted: Callable[[Notice], bool]) -> Iterator[None]:
    """Pass on the notices of the block that are not `unwanted`: where they would be wrong."""
    sink = _sink.get()

    def pass_on(notice: Notice) -> None:
        if not unwanted(notice):
            sink(notice)

    with listening(pass_on):
        yield


def refuse(notice: Notice) -> None:
    """Turn the first notice into an error: the sink of --strict.

    Raises:
        StrictNotice: always.
    """
    raise StrictNotice(notice.message, hint="omit --strict to continue past this notice")
