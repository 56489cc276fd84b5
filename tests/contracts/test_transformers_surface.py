"""Every public name and argument of transformers' tokenizers is ours, or has a reason."""

from __future__ import annotations

from typing import Any

import pytest

from ogpt.hub import HubOptions, push_folder
from ogpt.tokens.batch_encoding import BatchEncoding
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.tokens.special_tokens import LISTS, NAMES
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer
from tests.contracts.surfaces import UPLOAD, Comparison, named
from tests.golden.tokenizer_surface import of_transformers

STEPS = "a step of transformers' own calls"
LOADER = "a table of transformers' loader"
ABSENT = {
    "add_bos_token": "GPT-1 has no such token; `template` puts tokens around texts",
    "add_eos_token": "GPT-1 has no such token; `template` puts tokens around texts",
    "as_target_tokenizer": "deprecated in version 4: text_target does it",
    "bpe": "a step of the slow class of version 4: tokenize does it",
    "convert_added_tokens": STEPS,
    "convert_to_native_format": STEPS,
    "get_response_parser": "tool calls of chat models",
    "model": LOADER,
    "parse_response": "tool calls of chat models",
    "prepare_for_tokenization": STEPS,
    "prepare_seq2seq_batch": "deprecated in version 4: text_target does it",
    "pretrained_vocab_files_map": LOADER,
    "register_for_auto_class": "the Auto classes are transformers' own",
    "sanitize_special_tokens": "deprecated in version 4: tokens that are missing are refused",
    "save_chat_templates": STEPS,
    "set_truncation_and_padding": STEPS,
    "slow_tokenizer_class": LOADER,
    "update_post_processor": "GPT-1 has no such tokens; `template` puts tokens around texts",
}
"""Names that our tokenizers do not have, and why."""
ABSENT_ARGUMENTS = {
    "clean_up_tokenization": {"out_string": "the name in version 4; by position"},
    "push_to_hub": {
        "commit_description": UPLOAD,
        "create_pr": UPLOAD,
        "max_shard_size": "for weights",
        "safe_serialization": "for weights",
        "tags": UPLOAD,
        "use_temp_dir": "a temporary folder is always used",
    },
    "save_pretrained": {"save_format": "the other format is Mistral's"},
}
"""Arguments that our methods do not have, and why."""


CALL = named(BPETokenizer.__call__)
PASSED_ON: dict[str, set[str]] = {
    "apply_chat_template": {"padding", "truncation", "max_length", "return_tensors"},
    "batch_decode": named(BPETokenizer.decode),
    "batch_encode_plus": CALL,
    "encode": CALL,
    "encode_message_with_chat_template": named(BPETokenizer.apply_chat_template),
    "encode_plus": CALL,
    "from_pretrained": {*HubOptions.__annotations__, "trust_remote_code"},
    "prepare_for_model": CALL,
    "push_to_hub": named(push_folder),
    "save_pretrained": named(push_folder),
    "__init__": named(BPETokenizer.__init__) | {*NAMES, *LISTS},
}
"""What a method hands on to another one, by name."""

COMPARISON = Comparison(
    file="tokenizer_surface",
    ours={
        "tokenizer": [OpenAIGPTTokenizer, OpenAIGPTTokenizerFast],
        "batch_encoding": [BatchEncoding],
    },
    absent={"tokenizer": ABSENT},
    absent_arguments={"tokenizer": ABSENT_ARGUMENTS},
    passed_on=PASSED_ON,
)


def test_nothing_of_version_4_is_missing() -> None:
    assert COMPARISON.lacking(COMPARISON.recorded()) == []


def test_nothing_of_the_installed_version_is_missing() -> None:
    pytest.importorskip("transformers")
    assert COMPARISON.lacking(of_transformers()) == []


def test_no_reason_is_out_of_date() -> None:
    assert COMPARISON.outdated() == []


@pytest.mark.parametrize(
    ("name", "signature", "found"),
    [
        ("no_such_method", [["text"]], "no_such_method"),
        ("decode", [["token_ids", "no_such_argument"]], "decode(no_such_argument)"),
        ("decode", [["skip_special_tokens", "token_ids"]], "decode(skip_special_tokens)"),
        ("no_such_value", None, "no_such_value"),
    ],
)
def test_a_planted_gap_is_found(name: str, signature: Any, found: str) -> None:
    gaps = COMPARISON.lacking({"tokenizer": {name: signature}})
    assert f"OpenAIGPTTokenizerFast.{found}" in gaps
