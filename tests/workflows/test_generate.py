import itertools
import json
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ogpt.config.model import OpenAIGPTConfig
from ogpt.decoding.floor import read_bandwidth
from ogpt.errors import (
    ConfigError,
    ContextTooLong,
    DataError,
    DecoderError,
    OgptError,
    OutputExists,
    SamplingError,
    TokenOutOfRange,
    UnknownArgument,
)
from ogpt.folders.model_folder import ModelFolder
from ogpt.generation.choosing.effects import tell_without_effect
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.protocol.decoder import Abilities, Part
from ogpt.generation.searching.beam import beam_search
from ogpt.generation.searching.contrastive import contrastive_search
from ogpt.generation.texts.statistics import Statistics
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.notices import OgptNotice, collecting
from ogpt.storage import only_writer_of
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.workflows import generate as generating
from ogpt.workflows.generate import Generations, generate_file, generate_with
from tests.markov import StandInDecoder, StandInTokenizer, contextual, log_softmax, markov

TOKENIZER = StandInTokenizer()
SIZE = len(TOKENIZER)


def writes(*pieces: str, vocab_size: int = SIZE, **options: int) -> StandInDecoder:
    """A decoder that goes through the pieces in turn, whatever the prompt, from its last token."""
    vocab = TOKENIZER.get_vocab()
    table = np.full((vocab_size, vocab_size), -60.0, dtype=np.float32)
    for now, after in itertools.pairwise(vocab[piece] for piece in pieces):
        assert (table[now] == -60).all(), "each piece needs one successor"
        table[now, after] = 0
    return markov(table, **options)


def greedy(**options: int) -> GenerationSettings:
    return GenerationSettings(do_sample=False, **options)


def test_the_text_goes_on_from_the_prompt_as_it_was_typed() -> None:
    decoder = writes("b</w>", "c", "d</w>", "a", "e</w>", ".</w>")
    for typed, expected in [("A B", " cd ae ."), ("A  b ", "cd ae ."), ("a b\n", "cd ae .")]:
        [one] = generate_with(decoder, TOKENIZER, typed, greedy(max_new_tokens=5))
        assert (one.prompt, one.text) == (typed, expected)
        assert one.n_prompt_tokens == 2
        assert one.finish_reason == "length"
        assert TOKENIZER.decode(one.ids) == expected.strip()
        assert len(one.log_probs) == 5
        assert one.log_probs[0] == pytest.approx(0, abs=1e-6)


def test_ids_go_on_within_a_word() -> None:
    decoder = writes("b", "c", "d</w>", "a</w>")
    [one] = generate_with(
        decoder, TOKENIZER, ids=[TOKENIZER.get_vocab()["b"]], settings=greedy(max_new_tokens=3)
    )
    assert (one.prompt, one.text) == ("b", "cd a")
    ends = np.array([TOKENIZER.get_vocab()["d</w>"]])
    [one] = generate_with(decoder, TOKENIZER, ids=ends, settings=greedy(max_new_tokens=1))
    assert (one.prompt, one.text) == ("d", " a")


def test_text_streams_as_it_will_stand() -> None:
    shown: dict[int, list[str]] = {0: [], 1: [], 2: []}
    settings = GenerationSettings(max_new_tokens=12, num_return_sequences=3)
    written = generate_with(
        contextual(SIZE),
        TOKENIZER,
        "a b",
        settings,
        on_text=lambda i, text: shown[i].append(text),
    )
    for i, one in enumerate(written):
        assert "".join(shown[i]) == one.text == " " + TOKENIZER.decode(one.ids)
        assert all(shown[i])
        assert len(shown[i]) > 2
    assert len({one.text for one in written}) == 3


def test_stop_strings_end_the_text_and_stay_out_of_it() -> None:
    decoder = writes("b</w>", "c", "d</w>", ".</w>", "a", "e</w>", "f</w>")
    for stop, text, n_ids in [
        ([". a"], " cd ", 4),
        (". AE", " cd ", 5),  # as this vocabulary writes it
        (["e", "d"], " c", 2),
        (["h", "ae"], " cd . ", 5),
    ]:
        [one] = generate_with(decoder, TOKENIZER, "b", greedy(max_new_tokens=6), stop=stop)
        assert (one.text, len(one.ids), one.finish_reason) == (text, n_ids, "stop")
        assert len(one.log_probs) == n_ids


def test_a_stop_string_counts_after_the_minimum() -> None:
    decoder = writes("b</w>", "c</w>", "d</w>", "b</w>")
    settings = greedy(max_new_tokens=9, min_new_tokens=3)
    [one] = generate_with(decoder, TOKENIZER, "b", settings, stop="c")
    assert (one.text, one.finish_reason) == (" c d b ", "stop")


def test_a_stop_string_that_cannot_occur_is_told() -> None:
    with collecting() as notices:
        [one] = generate_with(
            writes("b</w>", "b</w>"), TOKENIZER, "b", greedy(max_new_tokens=2), stop=["\n", "e"]
        )
    assert [notice.message for notice in notices] == [
        "stop='\\n' has no effect: the vocabulary cannot spell it"
    ]
    assert one.text == " b b"


def test_an_end_token_ends_the_text_and_is_no_text() -> None:
    tokenizer = StandInTokenizer(eos=True)
    table = np.full((len(tokenizer),) * 2, -60.0, dtype=np.float32)
    end = tokenizer.get_vocab()["<eos>"]
    table[:, end] = 0
    settings = GenerationSettings(do_sample=False, eos_token_id=(end, 99))
    [one] = generate_with(markov(table, n_positions=64), tokenizer, "a", settings)
    assert (one.text, one.ids, one.finish_reason) == ("", [end], "stop")


class Hidden(StandInDecoder):
    """With hidden states, which make every token as like as the others."""

    def _hidden(self, parts: Sequence[Part]) -> tuple[np.ndarray, ...]:
        return tuple(np.eye(8)[[token % 8 for token in ids]] for _, ids, _ in parts)


def hidden(slots: int) -> Hidden:
    decoder = Hidden(contextual(SIZE).logits_of, SIZE, 16, slots)
    decoder.abilities = Abilities(True, False, False, True)
    return decoder


def test_contrastive_search_streams_and_stops_as_others_do() -> None:
    settings = greedy(penalty_alpha=0.5, top_k=3, max_new_tokens=6)
    prompts = ["a b", "c", "d e f"]
    shown: dict[int, list[str]] = {0: [], 1: [], 2: []}
    found = generate_with(
        hidden(slots=7),  # enough for two prompts at a time
        TOKENIZER,
        prompts,
        settings,
        top_logprobs=2,
        on_text=lambda number, text: shown[number].append(text),
    )
    expected = contrastive_search(hidden(9), [TOKENIZER.encode(text) for text in prompts], settings)
    ids: dict[int, list[int]] = {0: [], 1: [], 2: []}
    for token in expected:
        ids[token.continuation].append(token.id)
    for number, one in enumerate(found):
        assert (one.prompt, one.ids) == (prompts[number], ids[number])
        assert "".join(shown[number]) == one.text == " " + TOKENIZER.decode(one.ids)
        assert [len(top) for top in one.top_log_probs] == [2] * 6
    assert len({tuple(one.ids) for one in found}) == 3
    stop = found[1].text[3:5]
    [stopped] = generate_with(hidden(3), TOKENIZER, "c", settings, stop=stop)
    assert stopped.text == found[1].text[: found[1].text.index(stop)]
    assert stopped.finish_reason == "stop"


def test_contrastive_search_does_not_slide() -> None:
    settings = greedy(penalty_alpha=0.5, top_k=3, max_new_tokens=12)
    assert generate_with(hidden(3), TOKENIZER, "a a a a", settings)  # 16 positions
    decoder = hidden(3)
    with pytest.raises(ContextTooLong, match="5 tokens and up to 12 new"):
        generate_with(decoder, TOKENIZER, "a a a a a", settings)
    assert decoder.calls == []


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"do_sample": True, "top_k": 3},
        {"num_beams": 3},
        {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.5},
        {"penalty_alpha": 0.4, "top_k": 2},
    ],
)
def test_the_most_likely_tokens_are_told_by_every_search(asked: dict[str, Any]) -> None:
    settings = GenerationSettings(**{"do_sample": False, "max_new_tokens": 5, **asked})
    decoder = hidden(slots=4)
    [one] = generate_with(decoder, TOKENIZER, "a b", settings, top_logprobs=3)
    held = TOKENIZER.encode("a b")
    assert len(one.top_log_probs) == len(one.ids) == 5
    for token_id, log_prob, top in zip(one.ids, one.log_probs, one.top_log_probs, strict=True):
        exact = log_softmax(decoder.logits_of(tuple(held)).astype(np.float32))
        best = np.argsort(-exact, kind="stable")[:3]
        assert [each[0] for each in top] == best.tolist()
        assert [each[1] for each in top] == pytest.approx(exact[best].tolist(), abs=1e-5)
        assert log_prob == pytest.approx(float(exact[token_id]), abs=1e-5)
        held.append(token_id)
    [without] = generate_with(decoder, TOKENIZER, "a b", settings)
    assert replace(one, top_log_probs=[]) == without
    for wrong, allowed in ((-1, "0 or more"), (SIZE + 1, f"0 to {SIZE}")):
        with pytest.raises(SamplingError, match=f"top_logprobs is {wrong}; allowed: {allowed}"):
            generate_with(decoder, TOKENIZER, "a b", settings, top_logprobs=wrong)


def test_texts_are_banned_and_favoured() -> None:
    table = np.zeros((SIZE, SIZE), dtype=np.float32)
    vocab = TOKENIZER.get_vocab()
    table[:, vocab["a</w>"]] = 9
    table[:, vocab["b"]] = 8
    table[vocab["b"], vocab["c</w>"]] = 20
    decoder = markov(table, n_positions=64)

    def text(**options: Any) -> str:
        return generate_with(decoder, TOKENIZER, "d", greedy(max_new_tokens=4), **options)[0].text

    assert text() == " a a a a"
    assert text(ban=["A"]) == " bc bc"
    assert text(bias={"e": 10.0}) == " e e e e"
    assert text(bias={"a": -2.0}) == " bc bc"
    with collecting() as notices:
        assert text(ban=["x", " "], bias={"y": 3.0}) == " a a a a"
    assert [notice.fields["setting"] for notice in notices] == ["ban='x'", "ban=' '", "bias='y'"]


def test_speculation_shows_in_no_text() -> None:
    """Streamed words, stop strings, statistics: all as without."""
    decoder = writes("a</w>", "b", "c</w>", "d</w>", "a</w>", n_positions=600)
    shown: list[str] = []
    found = generate_with(
        decoder,
        TOKENIZER,
        "a bc d",
        greedy(max_new_tokens=500),
        on_text=lambda number, text: shown.append(text),
    )
    plain = generate_with(
        decoder, TOKENIZER, "a bc d", greedy(max_new_tokens=500, prompt_lookup_num_tokens=0)
    )
    assert found == plain
    assert "".join(shown) == found[0].text
    assert found.statistics.new_tokens == 500
    with collecting() as notices:
        generate_with(
            contextual(SIZE),
            TOKENIZER,
            "a",
            greedy(num_beams=2, max_new_tokens=2, prompt_lookup_num_tokens=3),
        )
    assert [notice.message for notice in notices] == [
        "prompt_lookup_num_tokens has no effect: "
        "beam search and contrastive search do not use prompt lookup"
    ]


def test_beams_come_best_first() -> None:
    decoder = contextual(SIZE, slots=6)
    settings = greedy(num_beams=3, num_return_sequences=2, max_new_tokens=4)
    shown: list[tuple[int, str]] = []
    found = generate_with(
        decoder, TOKENIZER, ["a b", "c"], settings, on_text=lambda i, text: shown.append((i, text))
    )
    prompts = [TOKENIZER.encode(text) for text in ("a b", "c")]
    expected = beam_search(contextual(SIZE, slots=6), prompts, settings)
    assert [one.ids for one in found] == [one.ids for best in expected for one in best]
    assert [one.prompt for one in found] == ["a b", "a b", "c", "c"]
    assert shown == list(enumerate(one.text for one in found))
    for one, best in zip(found, itertools.chain.from_iterable(expected), strict=True):
        assert one.text == " " + TOKENIZER.decode(one.ids)
        assert sum(one.log_probs) / 4 == pytest.approx(best.score, rel=1e-5)
        assert (one.finish_reason, len(one.log_probs)) == ("length", 4)
    assert found.statistics.new_tokens == 16
    assert 0 < found.statistics.seconds_to_first_token < found.statistics.seconds
    alone = generate_with(contextual(SIZE, slots=3), TOKENIZER, ["a b", "c"], settings)
    assert alone == found
    assert decoder.held == [[]] * 6


def test_beams_end_at_stop_strings_and_end_tokens() -> None:
    settings = greedy(num_beams=2, max_new_tokens=6, eos_token_id=(SIZE - 1,))
    for prompt in ("a", "b c", "d"):
        [plain] = generate_with(contextual(SIZE), TOKENIZER, prompt, settings)
        at = len(plain.text) // 2
        stop = plain.text[at : at + 3]
        [one] = generate_with(contextual(SIZE), TOKENIZER, prompt, settings, stop=[stop])
        assert stop not in one.text
    decoder = writes("b</w>", "c", "d</w>", ".</w>", "a", "e</w>", "f</w>", n_positions=32)
    settings = greedy(num_beams=2, max_new_tokens=6)
    [one] = generate_with(decoder, TOKENIZER, "b", settings, stop=". ae")
    assert (one.text, one.finish_reason, len(one.ids)) == (" cd ", "stop", 5)
    tokenizer = StandInTokenizer(eos=True)
    end = tokenizer.get_vocab()["<eos>"]
    table = np.full((len(tokenizer),) * 2, -60.0, dtype=np.float32)
    table[:, end] = 0
    settings = greedy(num_beams=2, eos_token_id=(end,), max_new_tokens=5)
    [one] = generate_with(markov(table), tokenizer, "a", settings)
    assert (one.text, one.ids, one.finish_reason) == ("", [end], "stop")


def test_beams_do_not_slide() -> None:
    decoder = contextual(SIZE, n_positions=8)
    generate_with(decoder, TOKENIZER, "a a a a", greedy(num_beams=2, max_new_tokens=5))
    decoder.calls.clear()
    with pytest.raises(ContextTooLong, match=r"4 tokens and up to 5 new .* is 8") as caught:
        generate_with(decoder, TOKENIZER, "a a a a", greedy(num_beams=2, max_new_tokens=6))
    assert "max_new_tokens" in caught.value.hint
    assert decoder.calls == []


def test_the_share_of_the_floor() -> None:
    found = Statistics(11, 1.0, 3.0, weight_bytes=100)
    assert found.share_of_floor(1_000) == pytest.approx(10 * 0.1 / 2)
    assert found.why_no_share is None
    for other, why in (
        (replace(found, texts=2), "several texts share"),
        (replace(found, new_tokens=1), "only one token"),
        (replace(found, weight_bytes=None), "only the native decoder"),
    ):
        assert other.share_of_floor(1_000) is None
        assert why in str(other.why_no_share)


def test_penalties_and_bans_reach_the_text() -> None:
    table = np.zeros((SIZE, SIZE), dtype=np.float32)
    table[:, [2, 3, 4]] = [9, 8, 7]
    settings = greedy(
        max_new_tokens=4, suppress_tokens=[2], bad_words_ids=[[3, 3]], frequency_penalty=1.5
    )
    [one] = generate_with(markov(table, n_positions=64), TOKENIZER, "a", settings)
    assert one.ids == [3, 4, 3, 4]


def test_rows_of_the_model_that_are_no_token_are_never_written() -> None:
    table = np.zeros((SIZE + 5, SIZE + 5), dtype=np.float32)
    table[:, SIZE:] = 20
    settings = GenerationSettings(max_new_tokens=40)
    [one] = generate_with(markov(table, n_positions=64), TOKENIZER, "a", settings)
    assert max(one.ids) < SIZE


def test_a_seed_writes_the_same_text_alone_and_among_others() -> None:
    def ids(prompt: str | list[str], **options: int) -> list[list[int]]:
        settings = GenerationSettings(max_new_tokens=10, temperature=1.3, **options)
        slots = 3
        return [
            one.ids
            for one in generate_with(contextual(SIZE, slots=slots), TOKENIZER, prompt, settings)
        ]

    several = ids(["a b", "c"], seed=5, num_return_sequences=4)
    assert several[:1] == ids("a b", seed=5)
    assert several[4:] == ids("c", seed=5, num_return_sequences=4)
    assert several[:1] != ids("a b", seed=6)


def test_statistics_count_new_tokens_over_time() -> None:
    settings = GenerationSettings(max_new_tokens=7, num_return_sequences=2)
    written = generate_with(contextual(SIZE), TOKENIZER, "a", settings)
    assert isinstance(written, Generations)
    found = written.statistics
    assert found.new_tokens == 14
    assert 0 < found.seconds_to_first_token < found.seconds
    assert found.tokens_per_s == 14 / found.seconds


@pytest.mark.parametrize(
    ("n_words", "new", "kinds"),
    [
        (4, 4, []),
        (4, 5, []),
        (4, 6, ["context-slides"]),
        (9, 1, ["prompt-cut"]),
        (9, 2, ["prompt-cut", "context-slides"]),
    ],
)
def test_texts_beyond_the_model_are_told(n_words: int, new: int, kinds: list[str]) -> None:
    decoder = contextual(SIZE, n_positions=8)
    settings = GenerationSettings(max_new_tokens=new, num_return_sequences=2)
    with collecting() as notices:
        written = generate_with(decoder, TOKENIZER, "a " * n_words, settings)
    assert [notice.kind for notice in notices] == kinds
    assert [len(one.ids) for one in written] == [new, new]
    if "prompt-cut" in kinds:
        assert "9 tokens, and the context length is 8" in notices[0].message
    if "context-slides" in kinds:
        assert "context length of 8 tokens" in notices[-1].message
        assert "last 4 tokens" in notices[-1].message


def test_unknown_prompt_tokens_are_told_before_the_work() -> None:
    decoder = contextual(SIZE)
    with pytest.warns(OgptNotice, match="2 of 4 prompt tokens are unknown"):
        generate_with(decoder, TOKENIZER, "a x y b", GenerationSettings(max_new_tokens=1))
    with collecting() as notices:  # ids were chosen, not misread
        generate_with(decoder, TOKENIZER, ids=[0], settings=GenerationSettings(max_new_tokens=1))
    assert notices == []


def test_sampling_settings_without_sampling_are_told() -> None:
    settings = GenerationSettings(
        do_sample=False, temperature=0.5, top_k=3, seed=7, max_new_tokens=1
    )
    with collecting() as notices:
        generate_with(contextual(SIZE), TOKENIZER, "a", settings)
    assert [notice.message for notice in notices] == [
        f"{name} has no effect: sampling is disabled" for name in ("temperature", "top_k", "seed")
    ]


def test_a_forced_first_token_is_for_prompts_of_one_token() -> None:
    settings = greedy(max_new_tokens=2, forced_bos_token_id=3)
    with collecting() as notices:
        [one] = generate_with(contextual(SIZE), TOKENIZER, "a", settings)
    assert (one.ids[0], notices) == (3, [])
    with collecting() as notices:
        generate_with(contextual(SIZE), TOKENIZER, "a b", settings)
    assert [notice.message for notice in notices] == [
        "forced_bos_token_id has no effect: no prompt has exactly one token"
    ]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, []),
        ({"min_p": 0.1, "typical_p": 0.9, "top_p": 0.5}, []),
        (
            {"do_sample": False, "min_p": 0.1, "typical_p": 0.9, "top_p": 0.5},
            ["top_p", "min_p", "typical_p"],
        ),
        ({"do_sample": False, "top_k": 4, "penalty_alpha": 0.5}, []),
        ({"length_penalty": 2.0, "early_stopping": True}, ["length_penalty", "early_stopping"]),
        ({"length_penalty": 2.0, "early_stopping": "never", "num_beams": 2}, []),
        ({"diversity_penalty": 2.0, "num_beams": 2}, ["diversity_penalty"]),
        ({"num_beams": 2, "top_k": 5, "do_sample": False}, ["top_k"]),
        ({"forced_bos_token_id": 2}, []),  # the prompts are not known
        ({"do_sample": False, "eta_cutoff": 0.1}, ["eta_cutoff"]),
        ({"exponential_decay_length_penalty": (2, 1.1)}, ["exponential_decay_length_penalty"]),
    ],
)
def test_settings_without_effect_are_told(asked: dict, told: list[str]) -> None:
    with collecting() as notices:
        tell_without_effect(GenerationSettings(**asked))
    assert [notice.fields["setting"] for notice in notices] == told


@pytest.mark.parametrize(
    ("request_", "error", "message", "hint"),
    [
        ({}, SamplingError, "neither prompt nor ids given; allowed: one of the two", "as text"),
        ({"prompt": "a", "ids": [1]}, SamplingError, "prompt and ids given; allowed: one", "text"),
        ({"prompt": ""}, SamplingError, "the prompt '' has no tokens; at least one", "one word"),
        ({"prompt": " \n"}, SamplingError, r"prompt ' \\n' has no tokens", "one word"),
        ({"prompt": []}, SamplingError, "prompt is an empty list; allowed: one", "pass one"),
        ({"ids": []}, SamplingError, "ids has no tokens; at least one", "one token id"),
        (
            {"ids": [3, SIZE]},
            TokenOutOfRange,
            f"the id at position 1 is {SIZE}; allowed: 0 to {SIZE - 1}",
            "this model's tokenizer",
        ),
        (
            {"ids": [-1]},
            TokenOutOfRange,
            "position 0 is -1; allowed: 0 to",
            "this model's tokenizer",
        ),
        ({"prompt": "a", "stop": ["b", ""]}, SamplingError, r"stop is \['b', ''\]", "omit"),
        ({"prompt": "a", "stop": ""}, SamplingError, "allowed: texts of one character", "omit"),
    ],
)
def test_requests_that_cannot_be_are_refused(request_, error, message, hint) -> None:
    decoder = contextual(SIZE)
    with pytest.raises(error, match=message) as caught:
        generate_with(decoder, TOKENIZER, **request_)
    assert hint in caught.value.hint
    assert decoder.calls == []


# ---- model folders


def generate(*arguments: Any, **options: Any) -> Generations:
    return generating.generate(*arguments, threads=1, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with random weights, 12 positions, and an embedding row without a token."""
    folder = tmp_path_factory.mktemp("model")
    vocab = {piece: i for i, piece in enumerate(StandInTokenizer().pieces)}
    OpenAIGPTTokenizerFast(vocab=vocab, merges=[]).save_pretrained(folder)
    config = OpenAIGPTConfig(
        vocab_size=len(vocab) + 1, n_positions=12, n_embd=16, n_layer=2, n_head=2
    )
    torch.manual_seed(0)
    model = OpenAIGPTLMHeadModel(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(12 if weight.ndim > 1 else 1)  # unlikely to be near a tie
    model.save_pretrained(folder)
    return folder


def test_a_model_folder_writes_greedily_beyond_its_context(folder: Path) -> None:
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(folder)
    model = OpenAIGPTLMHeadModel.from_pretrained(folder).eval()
    with collecting() as notices:
        [one] = generate(folder, "a bc.", max_new_tokens=25, do_sample=False)
    assert [notice.kind for notice in notices] == ["context-slides"]
    context, expected, log_probs = tokenizer.encode("a bc."), [], []
    assert one.n_prompt_tokens == len(context)
    prompt = list(context)
    while len(expected) < 25:
        with torch.no_grad():
            logits = model(torch.tensor([context])).logits[0, -1].numpy()
        token_id = int(logits[:-1].argmax())  # the last row is no token
        expected.append(token_id)
        log_probs.append(float(log_softmax(logits)[token_id]))
        full = len(context) == 12
        context = [*prompt, *expected][-6:] if full else [*context, token_id]
    assert one.ids == expected
    assert one.text == " " + tokenizer.decode(expected)
    np.testing.assert_allclose(one.log_probs, log_probs, atol=1e-4)  # float32, another order


def test_a_model_folder_samples_by_seed(folder: Path) -> None:
    def texts(seed: int) -> list[str]:
        written = generate(folder, "a b", seed=seed, num_return_sequences=3, max_new_tokens=6)
        return [one.text for one in written]

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)


def test_the_end_token_of_the_configuration_ends_the_text(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    whole = generate(folder, "a", max_new_tokens=8, do_sample=False)[0].ids
    for eos_token_id in (whole[2], [whole[2]]):
        config = OpenAIGPTConfig.from_pretrained(folder)
        config.eos_token_id = eos_token_id
        config.save_pretrained(tmp_path)
        [one] = generate(tmp_path, "a", max_new_tokens=8, do_sample=False)
        first = whole.index(whole[2])
        assert (one.ids, one.finish_reason) == (whole[: first + 1], "stop")


def test_wrong_requests_are_refused_before_weights_are_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object, **options: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr(generating, "open_decoder", never)
    with pytest.raises(SamplingError, match="temperature is 0"):
        generate(folder, "a", temperature=0)
    with pytest.raises(SamplingError, match="has no tokens"):
        generate(folder, " ")
    with pytest.raises(TokenOutOfRange, match="position 1 is 99"):
        generate(folder, ids=[1, 99])


def test_the_decoder_is_closed_whatever_happens(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    decoders: list[StandInDecoder] = []

    def open_stand_in(model: object, options: object, slots: int) -> StandInDecoder:
        asked.append(slots)
        decoders.append(contextual(SIZE + 1, n_positions=12, slots=slots))
        return decoders[-1]

    monkeypatch.setattr(generating, "open_decoder", open_stand_in)
    generate(folder, "a", max_new_tokens=1, num_return_sequences=40)

    def fails(continuation: int, text: str) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        generate(folder, ["a", "b"], max_new_tokens=5, on_text=fails)
    generate(folder, "a", max_new_tokens=1, num_return_sequences=40, batch_size=32)
    assert asked == [generating.BATCH_SIZE, 2, 32]
    for decoder in decoders:
        with pytest.raises(DecoderError):
            decoder.length(0)
        assert decoder.held == [[]] * decoder.slots


def test_a_function_of_allowed_ids_by_prompt(folder: Path, tmp_path: Path) -> None:
    def allowed(prompt: int, ids: Sequence[int]) -> list[int]:
        return [3 + prompt] if len(ids) % 2 else [5]

    asked = {"prefix_allowed_tokens_fn": allowed, "max_new_tokens": 4}
    found = generating.generate(folder, ["a", "a"], **asked)
    assert [set(one.ids) for one in found] == [{3, 5}, {4, 5}]
    with pytest.raises(SamplingError, match=r"None for a file of prompts") as caught:
        generate_file(folder, tmp_path / "in", tmp_path / "out", **asked)
    assert "ogpt.generate" in caught.value.hint


def test_a_batch_of_none_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="batch_size is 0; allowed: 1 or more"):
        generate(folder, "a", batch_size=0)
    with pytest.raises(ConfigError, match="batch_size is -1"):
        generate_file(folder, tmp_path / "in", tmp_path / "out", batch_size=-1)


def test_a_model_folder_searches_with_beams(folder: Path) -> None:
    found = generate(folder, ["a b", "c"], num_beams=3, num_return_sequences=2, max_new_tokens=5)
    model = OpenAIGPTLMHeadModel.from_pretrained(folder)
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(folder)
    ids = torch.tensor([tokenizer.encode("a b")])
    expected = model.generate(ids, num_beams=3, num_return_sequences=2, max_new_tokens=5)
    row = [*ids[0].tolist(), *found[0].ids]
    assert row == expected[0].tolist()
    assert found.statistics.texts == 4


def test_the_native_decoder_tells_its_weights(folder: Path) -> None:
    found = generate(folder, "a b", max_new_tokens=3, decoder="native", dtype="int8").statistics
    config = OpenAIGPTConfig.from_pretrained(folder)
    weights = config.vocab_size * 16 + 2 * 12 * 16 * 16
    assert found.weight_bytes == int(weights * (1 + 4 / 64))
    assert generate(folder, "a", max_new_tokens=3, decoder="torch").statistics.weight_bytes is None
    assert read_bandwidth(1) > 1e8  # bytes a second


@pytest.mark.parametrize(
    "asked",
    [
        {"penalty_alpha": 0.6, "top_k": 3},
        {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0},
        {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2, "do_sample": False},
    ],
)
def test_every_search_and_setting_is_reached_by_name(folder: Path, asked: dict[str, Any]) -> None:
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(folder)
    model = OpenAIGPTLMHeadModel.from_pretrained(folder)
    for prompt, one in zip(
        ("a b", "c"), generate(folder, ["a b", "c"], max_new_tokens=6, **asked), strict=True
    ):
        ids = torch.tensor([tokenizer.encode(prompt)])
        [expected] = model.generate(ids, max_new_tokens=6, suppress_tokens=[SIZE], **asked).tolist()
        assert [*ids[0].tolist(), *one.ids] == expected


def test_names_that_are_no_setting_are_refused(folder: Path) -> None:
    with pytest.raises(UnknownArgument, match="no argument repetition_penality; allowed") as caught:
        generate(folder, "a", repetition_penality=1.2)
    assert caught.value.hint == "did you mean repetition_penalty?"
    with pytest.raises(UnknownArgument) as caught:
        generate(folder, "a", xyz=1)
    assert caught.value.hint == "omit it"


def rows(folder: Path, data: Path, out: Path, **options: Any) -> generating.FileResult:
    settings = GenerationSettings(max_new_tokens=4, **options)
    return generate_file(folder, data, out, settings, decoder="native", threads=1)


@pytest.mark.parametrize("options", [{}, {"num_beams": 2, "do_sample": False}])
def test_rows_of_a_file(folder: Path, tmp_path: Path, options: dict[str, Any]) -> None:
    data, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    prompts = [f"{a} {b}" for a in "abc" for b in "dace" for _ in range(2)]
    data.write_text("".join(json.dumps({"text": p, "id": i}) + "\n" for i, p in enumerate(prompts)))
    made = rows(folder, data, out, **options)
    assert (made.rows, made.kept) == (24, 0)
    assert made.statistics is not None
    assert made.statistics.new_tokens == 24 * 4
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [line["id"] for line in lines] == list(range(24))
    for line, prompt in zip(lines, prompts, strict=True):
        settings = {"do_sample": True} | options
        [alone] = generate(folder, prompt, max_new_tokens=4, decoder="native", **settings)
        assert (line["prompt"], line["text"]) == (prompt, alone.text)
        assert line["log_prob"] == sum(alone.log_probs)
    whole = out.read_bytes()
    out.write_bytes(whole[: len(whole) // 2])
    again = rows(folder, data, out, **options)
    assert 0 < again.kept < 24
    assert out.read_bytes() == whole
    done = rows(folder, data, out, **options)
    assert (done.kept, done.statistics) == (24, None)
    with pytest.raises(OutputExists, match="line 1 of"):
        rows(folder, data, out, repetition_penalty=1.5, **options)
    data.write_text(data.read_text().replace("a d", "a e", 1))
    with pytest.raises(OutputExists, match="line 1 of"):
        rows(folder, data, out, **options)
    assert out.read_bytes() == whole


def test_rows_go_on_at_another_speed(folder: Path, tmp_path: Path) -> None:
    """Prompt lookup changes no text, so requests with it count as the same; top_logprobs differ."""
    data, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    data.write_text(json.dumps({"prompt": "a b"}) + "\n")
    rows(folder, data, out)
    assert rows(folder, data, out, prompt_lookup_num_tokens=0).kept == 1
    settings = GenerationSettings(max_new_tokens=4)
    assert generate_file(folder, data, out, settings, decoder="native", batch_size=1).kept == 1
    with pytest.raises(OutputExists):
        generate_file(
            folder, data, out, GenerationSettings(max_new_tokens=4), top_logprobs=2, threads=1
        )


@pytest.mark.parametrize("other", [{"cache_dtype": "bfloat16"}, {"deterministic": True}])
def test_rows_of_other_bits_are_told_apart(
    folder: Path, tmp_path: Path, other: dict[str, Any]
) -> None:
    data, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    data.write_text(json.dumps({"prompt": "a b"}) + "\n")
    rows(folder, data, out)
    settings = GenerationSettings(max_new_tokens=4)
    with pytest.raises(OutputExists, match="line 1 of"):
        generate_file(folder, data, out, settings, decoder="native", threads=1, **other)


def test_how_to_decode_reaches_the_decoder(folder: Path) -> None:
    def log_probs(**how: Any) -> list[float]:
        settings: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False}
        return generate(folder, "a b", **settings, **how)[0].log_probs

    whole, half = log_probs(), log_probs(cache_dtype="bfloat16")
    assert whole != half
    np.testing.assert_allclose(whole[0], half[0], atol=0.2)
    assert log_probs(decoder="torch", deterministic=True) != whole  # another order of sums


@pytest.mark.parametrize(
    ("row", "options", "kind", "message"),
    [
        ({"prompt": " "}, {}, SamplingError, "' ' has no tokens; at least one"),
        ({"text": "a \ud83d"}, {}, SamplingError, "is not UTF-8: character 2 of .* is half"),
        (
            {"prompt": "a " * 10},
            {"num_beams": 2, "do_sample": False},
            ContextTooLong,
            "has 10 tokens and up to 3 new ones follow",
        ),
        ({"prompt": "a", "request": 1}, {}, DataError, "has the field 'request', which the output"),
    ],
)
def test_a_row_that_is_refused_is_named(
    folder: Path,
    tmp_path: Path,
    row: dict[str, Any],
    options: dict[str, Any],
    kind: type[OgptError],
    message: str,
) -> None:
    """Before any work: there is no output."""
    data, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    data.write_text(f"{json.dumps({'prompt': 'a'})}\n\n{json.dumps(row)}\n")
    with pytest.raises(kind, match=f"^line 3 of {re.escape(str(data))} {message}"):
        rows(folder, data, out, **options)
    assert not out.exists()


@pytest.mark.parametrize("beams", [1, 3])
def test_a_row_that_fails_on_the_way_is_named(folder: Path, tmp_path: Path, beams: int) -> None:
    """The rows before it are kept."""
    data, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    data.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in ("a", "a b")))
    every = range(ModelFolder.open(folder).config.vocab_size)
    # after `a b` nothing may follow
    banned: dict[str, Any] = {"bad_words_ids": [[*ids_of(folder, "a b"), one] for one in every]}
    if beams > 1:
        banned |= {"num_beams": beams, "num_return_sequences": beams, "do_sample": False}
    with pytest.raises(SamplingError, match=f"^line 2 of {re.escape(str(data))}: ") as caught:
        generate_file(folder, data, out, max_new_tokens=1, batch_size=1, threads=1, **banned)
    assert "ban fewer tokens" in caught.value.hint
    assert [json.loads(line)["prompt"] for line in out.read_text().splitlines()] == ["a"]
    with pytest.raises(SamplingError, match=r"^(after all rules|the prompt has only)"):
        generate(folder, "a b", max_new_tokens=1, **banned)


def ids_of(folder: Path, text: str) -> list[int]:
    return ModelFolder.open(folder).tokenizer.encode(text)


def test_a_row_that_is_cut_is_named(folder: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    longer = "a " * (ModelFolder.open(folder).config.n_positions + 1)
    data.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in ("a", longer)))
    with collecting() as notices:
        rows(folder, data, out)
    assert notices[0].message.startswith(f"line 2 of {data} has ")
    with collecting() as notices:
        generate(folder, ["a", longer], max_new_tokens=1)
    assert notices[0].message.startswith("prompt 2 has ")


@pytest.mark.parametrize("setting", ["stop", "ban"])
def test_text_that_is_not_unicode_is_refused(folder: Path, setting: str) -> None:
    with pytest.raises(SamplingError, match=r"the prompt is not UTF-8: character 4 of") as caught:
        generate(folder, "a ca\udce9")
    assert "iconv" in caught.value.hint
    with pytest.raises(SamplingError, match="prompt 2 is not UTF-8"):
        generate(folder, ["a", "\ud83d"])
    with pytest.raises(SamplingError, match=f"{setting} is not UTF-8: character 0"):
        generate(folder, "a", max_new_tokens=4, **{setting: ["\udce9"]})
    with pytest.raises(SamplingError, match="bias is not UTF-8: character 0"):
        generate(folder, "a", max_new_tokens=4, bias={"\udce9": 1.0})


def test_two_processes_do_not_write_one_file(folder: Path, tmp_path: Path) -> None:
    data, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    data.write_text(json.dumps({"prompt": "a b"}) + "\n")
    with only_writer_of(out), pytest.raises(OutputExists, match=f"process is writing {out}"):
        rows(folder, data, out)
    assert not out.exists()
    assert rows(folder, data, out).kept == 0
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_a_process_that_was_killed_goes_on(folder: Path, tmp_path: Path) -> None:
    """kill -9 at any moment: rows are whole, and the next call writes the rest of the same file."""
    data, out, whole = (tmp_path / name for name in ("in.jsonl", "out.jsonl", "whole.jsonl"))
    data.write_text(
        "".join(json.dumps({"prompt": f"{a} {b}"}) + "\n" for a in "abcd" for b in "abcdefgh")
    )
    words = f"--data {data} --out {out} --max-new-tokens 400 --seed 3 --threads 1 --decoder native"
    command = [sys.executable, "-m", "ogpt", "--quiet", "generate", str(folder), *words.split()]
    with subprocess.Popen(command) as process:
        until = time.monotonic() + 120
        while not (out.exists() and out.stat().st_size) and time.monotonic() < until:
            time.sleep(0.005)
        process.kill()
    left = out.read_bytes()
    assert left.startswith(b'{"prompt": "a a"')
    settings = GenerationSettings(max_new_tokens=400, seed=3)
    told: list[tuple[float, float]] = []

    def reporter(kind: str, **fields: Any) -> None:
        assert (kind, fields["task"], fields["unit"]) == ("progress", "generating", "rows")
        told.append((fields["done"], fields["total"]))

    with collecting():
        made = generate_file(
            folder, data, out, settings, decoder="native", threads=1, reporter=reporter
        )
        generate_file(folder, data, whole, settings, decoder="native", threads=1)
    assert 0 < made.kept == left.count(b"\n") < made.rows == 32
    assert told[0] == (made.kept, 32)
    assert told[-1] == (32, 32)
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("biased", [{"bias": {"c": 3.0}}, {"sequence_bias": {(1, 2): 3.0}}])
def test_rows_of_a_bias_are_resumed(
    folder: Path, tmp_path: Path, biased: dict[str, dict[Any, float]]
) -> None:
    data, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    data.write_text(json.dumps({"prompt": "a b"}) + "\n")
    assert rows(folder, data, out, **biased).kept == 0
    assert rows(folder, data, out, **biased).kept == 1
    with pytest.raises(OutputExists, match="line 1 of"):
        rows(folder, data, out)
