"""POST /v1/completions: what it answers, whole and streamed, alone and among others."""

import gzip
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest

import ogpt
from ogpt.decoding.native.native_decoder import NativeDecoder
from ogpt.errors import WeightsError
from ogpt.generation.protocol.decoder import Abilities
from ogpt.generation.searching.text import Token
from ogpt.generation.texts.request import Prompt
from ogpt.serving import completion_plan
from ogpt.serving.completion_plan import CompletionPlan
from ogpt.serving.completion_request import CompletionRequest
from ogpt.serving.completion_response import CompletionChoice, json_of
from ogpt.serving.completion_text import CompletionText
from ogpt.serving.engine import Engine
from ogpt.serving.request_stream import Piece
from tests.serving.calls import CLIENT, PATH, answer, chunks, joined, post, refusal
from tests.serving.running import PATIENCE, Running, running, started, until
from tests.serving.small import VOCAB
from tests.tokens.byte_level import byte_tokenizer

Body = dict[str, Any]

IDS = [3, 12, 5, 14]
KINDS: dict[str, Body] = {
    "sampling": {"prompt": "a bad cab", "seed": 7, "max_tokens": 12},
    "several": {"prompt": ["a bad", "head", "a bad"], "seed": 1, "n": 2, "temperature": 0.7},
    "greedy": {"prompt": "a bad cab", "temperature": 0, "max_tokens": 30},
    "ids": {"prompt": IDS, "seed": -1, "return_token_ids": True},
    "lists of ids": {"prompt": [IDS, [9]], "seed": 2, "logprobs": 0, "echo": True},
    "filters": {"prompt": "head", "seed": 5, "top_k": 9, "top_p": 0.9, "min_p": 0.01},
    "penalties": {
        "prompt": "head",
        "seed": 5,
        "presence_penalty": 1,
        "frequency_penalty": 0.5,
        "repetition_penalty": 1.3,
    },
    "logprobs": {"prompt": "a bad", "seed": 3, "logprobs": 3, "n": 2},
    "named by id": {
        "prompt": "a bad",
        "seed": 3,
        "logprobs": 1,
        "return_tokens_as_token_ids": True,
    },
    "stop": {"prompt": "a bad", "seed": 4, "max_tokens": 60, "stop": ["b", "ef", "."]},
    "stop ids": {"prompt": "a bad", "seed": 4, "max_tokens": 60, "stop_token_ids": [3, 11]},
    "echo": {"prompt": "a bad cab", "seed": 9, "echo": True, "logprobs": 2},
    "echo alone": {"prompt": ["a bad", "cab"], "seed": 9, "echo": True},
    "scored": {"prompt": "a bad cab", "max_tokens": 0, "echo": True, "logprobs": 2},
    "prompt": {"prompt": ["a bad cab", "a"], "seed": 9, "prompt_logprobs": 2, "max_tokens": 2},
    "long": {"prompt": [5, 6, 7, 14] * 30, "seed": 9, "prompt_logprobs": 1, "max_tokens": 60},
    "beams": {"prompt": "a bad", "use_beam_search": True, "best_of": 4, "n": 2, "logprobs": 1},
    "contrastive": {"prompt": "a bad", "penalty_alpha": 0.6, "top_k": 4, "logprobs": 1},
    "n-grams": {"prompt": "a bad cab", "temperature": 0, "no_repeat_ngram_size": 2},
    "typical": {"prompt": "a bad", "seed": 3, "typical_p": 0.8},
    "readable": {"prompt": "a bad", "seed": 8, "surface": "readable", "max_tokens": 40},
    "constrained": {
        "prompt": "a bad",
        "seed": 8,
        "logit_bias": {"3": 5.0, "4": -100},
        "bad_words": ["cab"],
        "allowed_token_ids": [3, 4, 12, 13, 14],
        "min_tokens": 3,
        "stop": "a",
    },
    "truncated": {"prompt": "a bad cab", "seed": 8, "truncate_prompt_tokens": 2, "echo": True},
}


def test_same_choices_whole_and_streamed_alone_and_among_others(server: Running) -> None:
    alone = {kind: answer(server.url, **body)["choices"] for kind, body in KINDS.items()}
    streamed = {kind: joined(chunks(server.url, **body)) for kind, body in KINDS.items()}
    assert streamed == alone
    calls: list[Callable[..., Any]] = [
        lambda body: answer(server.url, **body)["choices"],
        lambda body: joined(chunks(server.url, **body)),
    ]
    with ThreadPoolExecutor(2 * len(KINDS)) as pool:
        together = {
            kind: [pool.submit(call, body) for call in calls] for kind, body in KINDS.items()
        }
        for kind, found in together.items():
            assert [each.result() for each in found] == [alone[kind]] * 2, kind
    # the comparison sees a token that differs
    assert answer(server.url, **{**KINDS["sampling"], "seed": 8})["choices"] != alone["sampling"]


def test_the_shape_of_openai(server: Running) -> None:
    found = answer(server.url, prompt="a bad", max_tokens=3, seed=1)
    assert set(found) == {
        "id",
        "object",
        "created",
        "model",
        "choices",
        "usage",
        "system_fingerprint",
        "warnings",
    }
    assert (found["object"], found["model"], found["warnings"]) == ("text_completion", "small", [])
    assert found["id"].startswith("cmpl-")
    [choice] = found["choices"]
    assert set(choice) == {"index", "text", "logprobs", "finish_reason", "stop_reason"}
    assert (choice["index"], choice["logprobs"], choice["finish_reason"]) == (0, None, "length")
    assert found["usage"] == {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}


def test_the_chunks_of_a_stream(server: Running) -> None:
    body: Body = {"prompt": ["a bad", "head"], "max_tokens": 5, "seed": 1}
    plain = chunks(server.url, **body)
    assert all("usage" not in chunk and len(chunk["choices"]) == 1 for chunk in plain)
    assert len({chunk["id"] for chunk in plain}) == 1
    *parts, last = chunks(server.url, **body, stream_options={"include_usage": True})
    assert last["choices"] == []
    assert all(part["usage"] is None for part in parts)
    assert last["usage"] == {"prompt_tokens": 8, "completion_tokens": 10, "total_tokens": 18}
    stats = {"continuous_usage_stats": True}
    counted = chunks(server.url, **body, logprobs=0, stream_options=stats)
    totals = [chunk["usage"]["completion_tokens"] for chunk in counted]
    assert totals == list(range(1, 11))


@pytest.mark.parametrize("ids", [False, True])
def test_a_piece_is_written_as_the_choice_that_it_is(ids: bool) -> None:
    """Most pieces do not become a CompletionChoice first."""
    text = 'a "bad" \\ h\u00e9 \n\u2028\U0001f600'
    plan = CompletionPlan([Prompt("a", [3], True)], None, 1, None)
    tokenizer = byte_tokenizer()
    written = CompletionText(CompletionRequest(prompt="a", return_token_ids=ids), plan, tokenizer)
    found = written.piece(Piece(2, text, Token(0, 7, -1.0, None), None))
    fields: Body = {"logprobs": None, "finish_reason": None, "stop_reason": None}
    choice = CompletionChoice(index=2, text=text, **fields, **({"token_ids": [7]} if ids else {}))
    assert found == json_of(choice)
    empty = written.piece(Piece(2, "", Token(0, 7, -1.0, None), None))
    assert (empty is None) == (not ids)
    assert written.completion_tokens == 2


def test_log_probabilities_are_those_of_the_model(server: Running, small_folder: Path) -> None:
    [one] = ogpt.generate(small_folder, "a bad", max_new_tokens=6, seed=3, top_logprobs=3)
    body: Body = {"prompt": "a bad", "max_tokens": 6, "seed": 3, "logprobs": 3}
    [choice] = answer(server.url, **body)["choices"]
    logprobs = choice["logprobs"]
    assert choice["text"] == one.text
    assert logprobs["token_logprobs"] == one.log_probs
    names = list(VOCAB)
    assert logprobs["tokens"] == [names[token_id] for token_id in one.ids]
    for top, own, token_id in zip(
        logprobs["top_logprobs"], one.top_log_probs, one.ids, strict=True
    ):
        expected = {names[each]: log_prob for each, log_prob in own}
        assert {names[token_id], *expected} == set(top)
        assert expected.items() <= top.items()
    [scored] = ogpt.score(small_folder, "a bad")
    [echoed] = answer(server.url, **body, echo=True)["choices"]
    assert echoed["text"] == "a bad" + one.text
    first, *others = echoed["logprobs"]["token_logprobs"]
    assert first is None
    assert echoed["logprobs"]["top_logprobs"][0] is None
    assert others == [*scored.log_probs, *one.log_probs]


def test_offsets_show_where_tokens_begin(server: Running) -> None:
    plain: Body = {"prompt": "a bad cab"}
    for prompt in (
        plain,
        {**plain, "echo": True},
        {"prompt": "A  BAD \u00e9 cab, ", "echo": True},
        {**plain, "echo": True, "truncate_prompt_tokens": 2},
        {**plain, "echo": True, "truncate_prompt_tokens": 2, "truncation_side": "right"},
        {"prompt": [3, 4, 12, 5], "echo": True},
    ):
        [choice] = answer(server.url, **prompt, seed=6, max_tokens=12, logprobs=0)["choices"]
        logprobs = choice["logprobs"]
        for token, offset in zip(logprobs["tokens"], logprobs["text_offset"], strict=True):
            assert choice["text"].startswith(token.removesuffix("</w>"), offset)


def test_prompt_log_probabilities(server: Running, small_folder: Path) -> None:
    text = " ".join(["head", "a", "cab"] * 20)  # beyond the context: a sliding window
    [score] = ogpt.score(small_folder, text)
    body: Body = {"prompt": text, "prompt_logprobs": 2, "max_tokens": 0}
    [choice] = answer(server.url, **body)["choices"]
    assert (choice["text"], choice["finish_reason"]) == ("", "length")
    first, *others = choice["prompt_logprobs"]
    assert first is None
    tokens = score.tokens
    assert len(others) == len(tokens)
    for found, token, log_prob in zip(others, tokens, score.log_probs, strict=True):
        own = found[str(VOCAB[token])]
        assert own["logprob"] == log_prob
        assert own["decoded_token"] == token.removesuffix("</w>")
        ranked = {each["rank"]: each["logprob"] for each in found.values() if each["rank"]}
        assert set(ranked) == {1, 2}
        assert ranked[1] >= ranked[2] >= min(each["logprob"] for each in found.values())
    parts = chunks(server.url, **body)
    assert len(parts) > 4  # as windows are scored
    assert joined(parts)[0]["prompt_logprobs"] == choice["prompt_logprobs"]


def test_why_a_continuation_ended(server: Running) -> None:
    body: Body = {"prompt": "a bad", "seed": 4, "max_tokens": 200}
    [choice] = answer(server.url, **body, stop=["zz", "B"])["choices"]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", "B")
    assert "b" not in choice["text"]
    [choice] = answer(server.url, **body, stop_token_ids=[VOCAB["c"]])["choices"]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", VOCAB["c"])
    [choice] = answer(server.url, **{**body, "max_tokens": 4000}, max_time=0.03)["choices"]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("max_time", None)
    [choice] = answer(server.url, **{**body, "max_tokens": 2})["choices"]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("length", None)


@pytest.mark.parametrize("most", [0, 4])
def test_a_prompt_that_is_not_scored_in_time_is_answered(server: Running, most: int) -> None:
    """With its tokens, which have no log-probabilities, and the finish reason of the deadline."""
    body = {"prompt": [IDS, [9, 3]], "echo": True, "logprobs": 1, "prompt_logprobs": 1, "seed": 1}
    for found in (
        answer(server.url, **body, max_tokens=most, max_time=1e-9)["choices"],
        joined(chunks(server.url, **body, max_tokens=most, max_time=1e-9)),
    ):
        for choice, ids in zip(found, body["prompt"], strict=True):
            assert choice["finish_reason"] == "max_time"
            reported = choice["logprobs"]
            assert len(reported["tokens"]) == len(reported["text_offset"]) >= len(ids)
            assert reported["token_logprobs"][: len(ids)] == [None] * len(ids)
            assert choice["prompt_logprobs"] == [None] * len(ids)
    whole = answer(server.url, **body, max_tokens=most)["choices"]
    assert [choice["finish_reason"] for choice in whole] == ["length"] * 2
    assert None not in whole[0]["logprobs"]["token_logprobs"][1:]


@pytest.mark.parametrize("more", [{}, {"n": 3}, {"use_beam_search": True, "best_of": 2}])
def test_a_prompt_with_log_probabilities_is_computed_once(
    server: Running, monkeypatch: pytest.MonkeyPatch, more: Body
) -> None:
    """The same bytes as of a request for its scores alone and one for the text alone."""
    body = {"prompt": [IDS, [9, 3]], "seed": 1, "max_tokens": 4, **more}
    asked = {"echo": True, "logprobs": 2}
    alone = answer(server.url, **body, logprobs=2)["choices"]
    scores_only = {"max_tokens": 0, "use_beam_search": None, "best_of": None}
    prompts = answer(server.url, **{**body, **scores_only}, **asked)["choices"]
    computed: list[int] = []
    for name in ("run", "score"):
        monkeypatch.setattr(NativeDecoder, name, counting(computed, getattr(NativeDecoder, name)))
    found = answer(server.url, **body, **asked)["choices"]
    copies = more.get("best_of", more.get("n", 1))
    assert sum(computed) == len(IDS) + 2 + 2 * copies * 3  # the last token is not processed
    for whole, prompt, text in zip(found, prompts, alone, strict=True):
        for field in ("tokens", "token_logprobs", "top_logprobs"):
            assert whole["logprobs"][field] == prompt["logprobs"][field] + text["logprobs"][field]
        assert whole["text"] == prompt["text"] + text["text"]
    if not more.get("use_beam_search"):
        assert joined(chunks(server.url, **body, **asked)) == found


def counting(computed: list[int], call: Callable[..., Any]) -> Callable[..., Any]:
    """A call of the decoder that appends the numbers of its tokens."""

    def counted(decoder: Any, first: Any, *rest: Any, **named: Any) -> Any:
        lengths = [len(rest[0])] if rest else [len(part.ids) for part in first]
        computed.extend(lengths)
        return call(decoder, first, *rest, **named)

    return counted


def test_log_probabilities_of_prompts_are_bounded(server: Running) -> None:
    """Each of n choices repeats those of its prompt."""
    long: Body = {"prompt": [5, 14] * 2000, "n": 16, "max_tokens": 1}
    for param, more, count in (
        ("logprobs", {"echo": True}, 192_048),
        ("prompt_logprobs", {}, 192_000),
    ):
        error = refusal(server.url, 400, **long, **more, **{param: 2})
        assert error["param"] == param
        assert f"are {count} numbers; allowed: at most 131072" in error["message"]


def test_log_probabilities_of_new_tokens_are_bounded(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all prompts and continuations; a stream reports them one by one."""
    monkeypatch.setattr(completion_plan, "MOST_REPORTED", 2 * 2 * 6 * 5)
    body: Body = {"prompt": ["a bad", "head"], "n": 2, "max_tokens": 6, "seed": 1}
    choices = answer(server.url, **body, logprobs=4)["choices"]
    assert [len(choice["logprobs"]["tokens"]) for choice in choices] == [6] * 4
    more = {**body, "max_tokens": 7, "logprobs": 4}
    error = refusal(server.url, 400, **more)
    assert error["param"] == "logprobs"
    assert "logprobs are 140 numbers; allowed: at most 120" in error["message"]
    assert "with stream" in error["message"]
    assert len(joined(chunks(server.url, **more))) == 4
    assert refusal(server.url, 400, **{**more, "max_tokens": None})["message"].startswith(
        f"logprobs are {4 * 16 * 5} numbers"
    )


def test_the_best_of_several(server: Running) -> None:
    body: Body = {"prompt": ["a bad", "head"], "seed": 4, "max_tokens": 5, "logprobs": 0}
    every = answer(server.url, **body, n=4)
    found = answer(server.url, **body, n=2, best_of=4)
    assert found["usage"] == every["usage"]

    def mean(choice: Body) -> float:
        return float(sum(choice["logprobs"]["token_logprobs"]))

    for prompt in (0, 1):
        ranked = sorted(every["choices"][4 * prompt : 4 * prompt + 4], key=mean, reverse=True)
        best = found["choices"][2 * prompt : 2 * prompt + 2]
        assert [each["text"] for each in best] == [each["text"] for each in ranked[:2]]
        assert [each["index"] for each in best] == [2 * prompt, 2 * prompt + 1]


def test_without_a_seed_texts_differ(server: Running) -> None:
    body: Body = {"prompt": "a bad", "max_tokens": 20}
    assert answer(server.url, **body)["choices"] != answer(server.url, **body)["choices"]


def test_searches_and_penalties_have_an_effect(server: Running) -> None:
    body: Body = {"prompt": "a bad", "temperature": 0, "max_tokens": 30}
    plain = answer(server.url, **body)["choices"][0]["text"]
    for more in (
        {"no_repeat_ngram_size": 2},
        {"penalty_alpha": 0.9, "top_k": 4},
        {"repetition_penalty": 1.5},
        {"temperature": 1, "seed": 3, "typical_p": 0.2},
    ):
        found = answer(server.url, **{**body, **more})
        assert found["choices"][0]["text"] != plain, more
        assert found["warnings"] == [], more


def test_null_is_the_default(server: Running) -> None:
    body: Body = {"prompt": "a bad", "seed": 1}
    nulls = dict.fromkeys(("max_tokens", "n", "temperature", "stop", "logit_bias"))
    expected = answer(server.url, **body)["choices"]
    assert answer(server.url, **body, **nulls)["choices"] == expected
    assert answer(server.url, **body, logit_bias={})["choices"] == expected


def test_truncated_prompts(server: Running) -> None:
    body: Body = {"prompt": [3, 12, 5, 14], "seed": 8, "return_token_ids": True, "echo": True}
    for asked, kept, text in (
        ({"truncate_prompt_tokens": 2}, [5, 14], "ee"),
        ({"truncate_prompt_tokens": 2, "truncation_side": "right"}, [3, 12], "cc"),
        ({"truncate_prompt_tokens": -1}, [3, 12, 5, 14], "ccee"),
    ):
        found = answer(server.url, **body, **asked)
        assert found["choices"][0]["prompt_token_ids"] == kept
        assert found["usage"]["prompt_tokens"] == len(kept)
        assert bool(found["warnings"]) == (len(kept) < 4)
        alone = answer(server.url, prompt=kept, seed=8, return_token_ids=True)["choices"][0]
        assert found["choices"][0]["token_ids"] == alone["token_ids"]
        assert found["choices"][0]["text"].replace(" ", "").startswith(text)
        assert found["choices"][0]["text"].startswith(text[:2])


# ---- warnings


def test_what_is_ignored_or_truncated_is_reported(server: Running) -> None:
    body: Body = {"prompt": "a bad cab zz", "seed": 1, "max_tokens": 60, "suffix": "b", "beams": 3}
    found = answer(server.url, **body, truncate_prompt_tokens=5, é=1)["warnings"]
    assert [each["code"] for each in found] == [
        "fields-ignored",
        "text-truncated",
        "prompt-unknown",
        "setting-without-effect",
        "context-slides",
    ]
    assert "'beams', '\\xe9'" in found[0]["message"]
    assert "suffix" in found[3]["message"]
    first, *others = chunks(server.url, **body)
    assert first["warnings"][0]["code"] == "fields-ignored"
    assert all("warnings" not in each for each in others)


def test_a_strict_server_refuses_instead(small_folder: Path) -> None:
    with running({"small": small_folder}, strict=True, max_tokens=8) as url:
        found = answer(url, prompt="a bad", user="me")
        assert found["warnings"] == []
        assert found["usage"]["completion_tokens"] == 8  # 16 without this limit
        error = refusal(url, 400, prompt="a bad", beams=3)
        assert error["code"] == "strict"
        assert "'beams'" in error["message"]
        assert refusal(url, 400, prompt="a zz")["code"] == "strict"


def test_a_decoder_that_company_changes_is_reported(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    vary = Abilities(hidden_states=False, attentions=False, device_sampling=False, bitwise=False)
    monkeypatch.setattr(Engine, "abilities", vary)
    [warning] = answer(server.url, prompt="a bad")["warnings"]
    assert warning["code"] == "not-reproducible"
    assert "auto" in warning["message"]


# ---- refused


REFUSED: list[tuple[Body, str | None, str]] = [
    ({}, "prompt", "prompt is missing"),
    ({"prompt": 5}, "prompt", "seen: 5"),
    ({"prompt": []}, "prompt", "empty list"),
    ({"prompt": ""}, "prompt", "has no tokens"),
    ({"prompt": ["a", ""]}, "prompt", "prompt 2 '' has no tokens"),
    ({"prompt": [[1], []]}, "prompt", "ids of prompt 2 has no tokens"),
    ({"prompt": [[1], [19]]}, "prompt", "position 0 of prompt 2 is 19"),
    ({"prompt": [-1]}, "prompt", "greater than or equal to 0"),
    ({"prompt": [19]}, "prompt", "is 19; allowed: 0 to 18"),
    ({"prompt": [10**30]}, "prompt", "less than or equal"),
    ({"prompt": [1.5]}, "prompt", "seen"),
    ({"prompt": "a \ud83d"}, "prompt", "surrogate"),
    ({"prompt": [1] * 101}, "prompt", "101 tokens; allowed: at most 100"),
    ({"prompt": "a bad " * 10**5}, "prompt", "prompt has at least "),  # not tokenized
    ({"prompt": "a", "temperature": -1}, "temperature", "seen: -1"),
    ({"prompt": "a", "temperature": "1"}, "temperature", "valid number"),
    ({"prompt": "a", "top_p": 0}, "top_p", "greater than 0"),
    ({"prompt": "a", "top_p": True}, "top_p", "seen: True"),
    ({"prompt": "a", "n": 0}, "n", "greater than or equal to 1"),
    ({"prompt": "a", "n": 9}, "n", "n is 9; allowed: at most 8"),
    ({"prompt": "a", "n": 2**40}, "n", f"n is {2**40}; allowed: at most 8"),
    ({"prompt": ["a"] * 3, "n": 10**4299}, "n", "n is 1000"),
    ({"prompt": "a", "best_of": 2**40}, "best_of", "allowed: at most 8"),
    ({"prompt": ["a"] * 3, "n": 3}, "n", "asks for 9 continuations; allowed: at most 8"),
    ({"prompt": "a", "n": 2, "temperature": 0}, "n", "raise temperature"),
    ({"prompt": "a", "n": 2, "penalty_alpha": 0.6, "top_k": 4}, "n", "all continuations are eq"),
    ({"prompt": "a", "allowed_token_ids": []}, "allowed_token_ids", "one id or more"),
    ({"prompt": "a", "repetition_penalty": 1e-300}, "repetition_penalty", "0.001"),
    ({"prompt": "a", "n": 3, "best_of": 2}, "best_of", "at least n (3)"),
    ({"prompt": "a", "best_of": 2, "stream": True}, "best_of", "with stream"),
    ({"prompt": "a", "use_beam_search": True}, "best_of", "2 or more beams"),
    ({"prompt": "a", "use_beam_search": True, "best_of": 5}, "best_of", "at most 4"),
    ({"prompt": "a", "penalty_alpha": 0.6, "top_k": 5}, "top_k", "at most 4"),
    ({"prompt": "a", "penalty_alpha": 0.6}, "top_k", "2 or more with penalty_alpha"),
    ({"prompt": "a", "max_tokens": 0}, "max_tokens", "without echo"),
    ({"prompt": "a", "max_tokens": 0, "echo": True, "best_of": 2}, "best_of", "max_tokens 0"),
    ({"prompt": "a", "max_tokens": 999}, "max_tokens", "999; allowed: at most 50"),
    ({"prompt": "a", "max_tokens": 2**40}, "max_tokens", "allowed: at most 50"),
    ({"prompt": "a", "min_tokens": 20}, "min_tokens", "at most max_tokens (16)"),
    ({"prompt": "a", "logprobs": 9}, "logprobs", "9; allowed: at most 5"),
    ({"prompt": "a", "prompt_logprobs": 9}, "prompt_logprobs", "at most 5"),
    ({"prompt": "a", "stream_options": {}}, "stream_options", "with stream only"),
    ({"prompt": "a", "stream": True, "stream_options": {"x": 1}}, "stream_options", "not perm"),
    ({"prompt": "a", "stop": [""]}, "stop", "one character or more"),
    ({"prompt": "a", "stop": ["a"] * 65}, "stop", "at most 64"),
    ({"prompt": "a", "logit_bias": {"a": 1}}, "logit_bias", "token ids in decimal"),
    ({"prompt": "a", "logit_bias": {"19": 1}}, "logit_bias", "19; allowed: 0 to 18"),
    ({"prompt": "a", "logit_bias": {"1": 101}}, "logit_bias", "less than or equal to 100"),
    ({"prompt": "a", "logit_bias": {str(n): 1 for n in range(1025)}}, "logit_bias", "1024"),
    ({"prompt": "a", "allowed_token_ids": [19]}, "allowed_token_ids", "0 to 18"),
    ({"prompt": "a", "seed": 2**64}, "seed", "less than"),
    ({"prompt": "a", "truncate_prompt_tokens": 0}, "truncate_prompt_tokens", "-1, or 1"),
    ({"prompt": "a", "surface": "shiny"}, "surface", "'raw' or 'readable'"),
]


@pytest.fixture(scope="module")
def narrow(small_folder: Path) -> Any:
    limits: Body = {"max_prompt_tokens": 100, "max_n": 8, "max_tokens": 50, "max_logprobs": 5}
    with running({"small": small_folder}, slots=4, **limits) as url:
        yield url


def test_fields_that_cannot_be_served(narrow: str) -> None:
    for body, param, fragment in REFUSED:
        error = refusal(narrow, 400, **body)
        assert (error["param"], error["type"]) == (param, "invalid_request_error"), body
        assert fragment in error["message"], (body, error)


def test_with_beams_a_text_must_fit_the_context(narrow: str) -> None:
    beams: Body = {"prompt": [1] * 30, "use_beam_search": True, "best_of": 2}
    error = refusal(narrow, 400, **beams, max_tokens=40)
    assert error["code"] == "context_length_exceeded"
    assert "lower max_tokens" in error["message"]


@pytest.mark.parametrize(
    ("content", "fragment"),
    [
        (b"{", "not JSON"),
        (b"[1]", "the body is wrong"),
        (b'"a"', "the body is wrong"),
        (b"", "the body is empty"),
        (b'{"prompt": "a", "temperature": NaN}', "finite number"),
        (b'{"prompt": "a", "temperature": 1e999}', "finite number"),
        (b'{"prompt": "a", "max_tokens": ' + b"9" * 5000 + b"}", "5000 digits"),
        (b'{"prompt": ' + b"[" * 100_000 + b"}", "nested too deeply"),
        (b'{"prompt": "\xff"}', "not UTF-8: byte 12"),
    ],
)
def test_bodies_that_are_no_request(narrow: str, content: bytes, fragment: str) -> None:
    headers = {"content-type": "application/json"}
    response = CLIENT.post(f"{narrow}{PATH}", content=content, headers=headers)
    assert response.status_code == 400
    assert fragment in response.json()["error"]["message"]


def test_other_content_types_models_paths_and_methods(narrow: str) -> None:
    """Browsers send text/plain to other sites without asking these."""
    body = json.dumps({"prompt": "a"})
    headers = {"content-type": "text/plain"}
    response = CLIENT.post(f"{narrow}{PATH}", content=body, headers=headers)
    assert response.status_code == 415
    assert "application/json" in response.json()["error"]["message"]
    error = refusal(narrow, 404, prompt="a", model="larger \ud83d")
    assert (error["param"], error["code"]) == ("model", "model_not_found")
    assert "'small'" in error["message"]
    assert answer(narrow, prompt="a", model="default")["model"] == "small"
    packed = {"content-type": "application/json", "content-encoding": "gzip"}
    refused = CLIENT.post(f"{narrow}{PATH}", content=gzip.compress(body.encode()), headers=packed)
    assert refused.status_code == 415
    assert "'gzip'; allowed: none" in refused.json()["error"]["message"]
    chat = post(narrow, "/v1/chat/completions", messages=[])
    assert chat.status_code == 404
    assert "/v1/completions" in chat.json()["error"]["message"]
    assert CLIENT.get(f"{narrow}/nowhere").json()["error"]["code"] == "not_found"
    wrong = CLIENT.get(f"{narrow}{PATH}")
    assert (wrong.status_code, wrong.headers["allow"]) == (405, "POST")


# ---- load


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step takes a while, so that a text has not ended when its client leaves."""
    compute = NativeDecoder.run

    def run(*given: Any, **named: Any) -> Any:
        time.sleep(0.002)
        return compute(*given, **named)

    monkeypatch.setattr(NativeDecoder, "run", run)


def leave_after(url: str, seconds: float, **body: Any) -> None:
    with pytest.raises(httpx2.ReadTimeout):
        CLIENT.post(f"{url}{PATH}", json=body, timeout=httpx2.Timeout(10, read=seconds))


ENDLESS: Body = {"prompt": "a bad", "max_tokens": 4096, "temperature": 0}


@pytest.mark.parametrize("more", [{}, {"n": 3, "temperature": 1}, {"echo": True, "logprobs": 1}])
@pytest.mark.usefixtures("slow")
def test_a_client_that_leaves_cancels_its_request(server: Running, more: Body) -> None:
    def load() -> tuple[int, int]:
        counters = server.models.counters()["small"]
        return counters.running, counters.waiting

    before = server.models.counters()["small"].cancelled
    leave_after(server.url, 0.1, **{**ENDLESS, **more})
    until(lambda: load() == (0, 0))
    assert server.models.counters()["small"].cancelled > before


@pytest.mark.usefixtures("slow")
def test_a_client_that_leaves_its_stream_cancels_it(server: Running) -> None:
    before = server.models.counters()["small"].cancelled
    body = {**ENDLESS, "stream": True}
    with CLIENT.stream("POST", f"{server.url}{PATH}", json=body) as response:
        assert next(response.iter_lines()).startswith("data: ")
    until(lambda: server.models.counters()["small"].cancelled > before)
    until(lambda: server.models.counters()["small"].running == 0)


@pytest.mark.usefixtures("slow")
def test_a_full_queue_refuses(small_folder: Path) -> None:
    with running({"small": small_folder}, slots=1, max_queued=0) as url:
        body = {**ENDLESS, "stream": True}
        with CLIENT.stream("POST", f"{url}{PATH}", json=body) as response:
            lines = response.iter_lines()  # closed with its last reference
            assert next(lines)
            for stream in (False, True):
                refused = post(url, prompt="a", stream=stream)
                assert refused.status_code == 429
                assert int(refused.headers["retry-after"]) >= 1
                assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        until(lambda: post(url, prompt="a").status_code == 200)


def test_draining_finishes_what_runs(small_folder: Path) -> None:
    body: Body = {"prompt": "a bad", "max_tokens": 500, "seed": 1}
    with started({"small": small_folder}, drain_timeout=PATIENCE) as found:
        expected = answer(found.url, **body)["choices"]
        with CLIENT.stream(
            "POST", f"{found.url}{PATH}", json={**body, "stream": True}, timeout=30
        ) as response:
            lines = response.iter_lines()
            first = next(lines)
            found.server.should_exit = True
            *events, done, _ = [first, *lines]
        assert done == "data: [DONE]"
        parts = [json.loads(line.removeprefix("data: ")) for line in events if line]
        assert joined(parts) == expected
        found.thread.join(10)
        assert not found.thread.is_alive()
        with pytest.raises(httpx2.ConnectError):
            post(found.url, prompt="a")


@pytest.mark.usefixtures("slow")
def test_what_is_not_drained_in_time_ends_with_its_text(small_folder: Path) -> None:
    with (
        started({"small": small_folder}, drain_timeout=0.1) as found,
        ThreadPoolExecutor(2) as pool,
    ):
        whole, stream = (
            pool.submit(CLIENT.post, f"{found.url}{PATH}", json={**ENDLESS, "stream": streams})
            for streams in (False, True)
        )
        until(lambda: found.models.counters()["small"].generation_tokens > 2)
        found.server.should_exit = True
        answered = whole.result(20)
        *events, done, _ = stream.result(20).text.split("\n\n")
        streamed = joined([json.loads(event.removeprefix("data: ")) for event in events])
        assert answered.status_code == 200
        for choice in (answered.json()["choices"][0], streamed[0]):
            assert choice["text"]
            assert choice["finish_reason"] == "abort"
        assert done == "data: [DONE]"
        found.thread.join(10)
        assert not found.thread.is_alive()


def test_an_error_while_streaming_is_an_event(
    small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with started({"small": small_folder}) as found:
        answer(found.url, prompt="a")
        [model] = found.models.loaded()
        decoder = model.engine._batch.decoder
        calls = iter([False, False, True])

        def failing(parts: Any, *, hidden: bool = False) -> Any:
            if next(calls, False):
                raise MemoryError("no more")
            return type(decoder).run(decoder, parts, hidden=hidden)

        monkeypatch.setattr(decoder, "run", failing)
        body: Body = {"prompt": "head", "max_tokens": 50, "seed": 3}
        *_, last = chunks(found.url, **body)
        assert last["error"]["type"] == "server_error"
        assert "no more" in last["error"]["message"]
        assert answer(found.url, **body)["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("kind", [ValueError, partial(WeightsError, hint="check the folder")])
def test_faults_of_the_server_are_not_shown_to_clients(
    kind: Callable[[str], Exception],
    server: Running,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Errors of ours that are no client's fault name folders."""

    def broken(*given: Any) -> None:
        raise kind("secret of the server")

    with monkeypatch.context() as patched:
        patched.setattr(CompletionText, "piece", broken)
        [event] = chunks(server.url, prompt="a bad")
    with monkeypatch.context() as patched:
        patched.setattr(CompletionText, "best", broken)
        refused = refusal(server.url, 500, prompt="a bad")
    for error in (event["error"], refused):
        assert error["type"] == "server_error"
        assert "secret" not in error["message"]
        assert "its log says why" in error["message"]
    assert caplog.text.count("Error: secret of the server") >= 2
