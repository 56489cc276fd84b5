"""`assistant_model` of ogpt.generate: fewer calls of the model, and the same text."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from ogpt.config.model import TOKENIZER_FINGERPRINT, OpenAIGPTConfig
from ogpt.decoding.native.native_decoder import NativeDecoder
from ogpt.errors import DecoderError, SamplingError, UnknownArgument, VocabularyMismatch
from ogpt.generation.protocol.decoder import Decoder, Part
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.notices import collecting
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.workflows import generate as generating
from ogpt.workflows.generate import Generations
from tests.markov import StandInTokenizer

PIECES = StandInTokenizer().pieces
MODEL: dict[str, Any] = {"n_embd": 16, "n_layer": 2, "n_head": 2}
SMALL: dict[str, Any] = {"n_embd": 8, "n_layer": 1, "n_head": 1}


def save(folder: Path, **changes: Any) -> Path:
    """A model with random weights that are unlikely to be near a tie."""
    vocab = {piece: i for i, piece in enumerate(PIECES)}
    OpenAIGPTTokenizerFast(vocab=vocab, merges=[]).save_pretrained(folder)
    torch.manual_seed(3)
    given = {"vocab_size": len(vocab), "n_positions": 12, **changes}
    model = OpenAIGPTLMHeadModel(OpenAIGPTConfig(**given))
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(12 if weight.ndim > 1 else 1)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("model"), **MODEL)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("small"), **SMALL)


def generate(folder: Path, **options: Any) -> Generations:
    given = {"max_new_tokens": 9, "decoder": "native", "threads": 1, **options}
    with collecting():
        return generating.generate(folder, ["a bc", "d"], **given)


@pytest.mark.parametrize(
    "asked",
    [
        {"do_sample": False},
        {"do_sample": False, "max_new_tokens": 30},  # slides
        {"do_sample": False, "repetition_penalty": 1.4, "ban": ["e"], "top_logprobs": 2},
        {"do_sample": False, "dtype": "int8"},
        {"seed": 5, "temperature": 0.7, "num_return_sequences": 2},
    ],
    ids=str,
)
def test_the_native_decoder_generates_the_same_bits(
    folder: Path, small: Path, asked: dict[str, Any]
) -> None:
    alone = generate(folder, **asked)
    for drafts in ({}, {"num_assistant_tokens": 3, "assistant_confidence_threshold": 0.0}):
        assert generate(folder, assistant_model=small, **drafts, **asked) == alone


def test_the_torch_decoder_generates_the_same_tokens(folder: Path, small: Path) -> None:
    asked = {"do_sample": False, "decoder": "torch"}
    found = generate(folder, assistant_model=small, **asked)
    assert [one.ids for one in found] == [one.ids for one in generate(folder, **asked)]


def test_wrong_drafts_that_stay_change_the_text(
    folder: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The planted fault: the comparison above sees a slot that is not truncated."""
    asked = {"do_sample": False, "max_new_tokens": 4}
    alone = generate(folder, **asked)
    cut = NativeDecoder.truncate
    monkeypatch.setattr(
        NativeDecoder,
        "truncate",
        lambda self, slot, length: None if length else cut(self, slot, length),
    )
    drafts = {"num_assistant_tokens": 2, "assistant_confidence_threshold": 0.0}
    found = generate(folder, assistant_model=small, **asked, **drafts)
    assert found != alone


def test_a_good_assistant_saves_calls(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoders: list[Decoder] = []
    calls: list[tuple[Decoder, int]] = []
    run, open_decoder = NativeDecoder.run, generating.open_decoder

    def opened(*given: Any, **options: Any) -> Decoder:
        decoders.append(open_decoder(*given, **options))
        return decoders[-1]

    def counted(self: NativeDecoder, parts: Sequence[Part], **options: Any) -> Any:
        calls.append((self, len(parts[0].ids)))
        return run(self, parts, **options)

    monkeypatch.setattr(generating, "open_decoder", opened)
    monkeypatch.setattr(NativeDecoder, "run", counted)
    drafts = {"num_assistant_tokens": 4, "assistant_confidence_threshold": 0.0}
    generate(folder, do_sample=False, assistant_model=folder, **drafts)
    model, assistant = decoders
    assert (model.slots, assistant.slots) == (1, 1)
    # each prompt, then one token and the drafted ones, all of which are right
    assert [count for decoder, count in calls if decoder is model] == [3, 5, 3, 1, 5, 3]
    for decoder in decoders:
        with pytest.raises(DecoderError, match="after close"):
            decoder.length(0)


def test_what_cannot_assist_is_refused_before_weights_are_read(
    folder: Path, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*given: object, **options: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr(generating, "open_decoder", never)
    more = save(tmp_path / "more", **SMALL, vocab_size=len(PIECES) + 1)
    with pytest.raises(SamplingError, match=r"vocabulary of 20 tokens; allowed: 19") as caught:
        generate(folder, assistant_model=more)
    assert caught.value.hint == "use an assistant with the tokenizer of the model"
    other = save(tmp_path / "other", **SMALL, **{TOKENIZER_FINGERPRINT: "0" * 64})
    with pytest.raises(VocabularyMismatch, match=r"other was trained with another tokenizer"):
        generate(folder, assistant_model=other)
    for asked, match in (
        ({"num_beams": 2}, "num_beams is 2; allowed with assistant_model: 1"),
        ({"penalty_alpha": 0.5, "top_k": 2}, "penalty_alpha is 0.5; allowed with assistant_model"),
        ({"num_assistant_tokens": 0}, "num_assistant_tokens is 0; allowed: 1 or more"),
    ):
        with pytest.raises(SamplingError, match=match):
            generate(folder, assistant_model=small, **asked)
    with pytest.raises(UnknownArgument) as unknown:
        generate(folder, assistant=small)
    assert unknown.value.hint == "did you mean assistant_model?"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"num_assistant_tokens": 3}, "num_assistant_tokens has no effect: there is no assistant"),
        (
            {"assistant_model": True, "prompt_lookup_num_tokens": 3},
            "prompt_lookup_num_tokens has no effect: assistant_model drafts",
        ),
    ],
)
def test_settings_without_effect_are_reported(
    folder: Path, small: Path, asked: dict[str, Any], said: str
) -> None:
    if "assistant_model" in asked:
        asked = {**asked, "assistant_model": small}
    with collecting() as notices:
        generating.generate(folder, "a", max_new_tokens=2, threads=1, do_sample=False, **asked)
    assert [one.message.startswith(said) for one in notices] == [True]


def test_rows_of_a_file_are_the_same(folder: Path, small: Path, tmp_path: Path) -> None:
    data, out, other = (tmp_path / name for name in ("in.jsonl", "out.jsonl", "other.jsonl"))
    data.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in ("a b", "c", "d e")))
    asked: dict[str, Any] = {"max_new_tokens": 6, "decoder": "native", "threads": 1}
    generating.generate_file(folder, data, out, assistant_model=small, **asked)
    generating.generate_file(folder, data, other, **asked)
    assert out.read_bytes() == other.read_bytes()
    assert generating.generate_file(folder, data, out, **asked).kept == 3
