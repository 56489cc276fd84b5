"""The order of rules, user's rules and filters against transformers' own generate()."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LogitsProcessor, LogitsProcessorList, WatermarkingConfig
from transformers import OpenAIGPTConfig as TheirConfig
from transformers import OpenAIGPTLMHeadModel as TheirModel

from ogpt.errors import SamplingError, TokenOutOfRange
from ogpt.generation.choosing import processors, warpers
from ogpt.generation.choosing import rules as the_rules
from ogpt.generation.choosing.rules import (
    Rule,
    apply,
    in_place,
    last_rules,
    require_choice,
    rules,
    warp,
)
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.generation.searching.sampling import search
from tests.markov import StandInDecoder

V = 17
EOS = 3


@pytest.fixture(scope="module")
def model() -> TheirModel:
    torch.manual_seed(0)
    config = TheirConfig(vocab_size=V, n_positions=32, n_embd=16, n_layer=2, n_head=2)
    model = TheirModel(config).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(8 if weight.ndim > 1 else 1)  # logits of both signs, far from ties
    return model


class Float64Decoder(StandInDecoder):
    """Transformers' model as a decoder whose logits stay float64."""

    def __init__(self, model: TheirModel, slots: int = 2) -> None:
        super().__init__(lambda held: logits_of(model, held), V, n_positions=32, slots=slots)

    def _logits(self, slot: int) -> np.ndarray:
        return self.logits_of(tuple(self.held[slot]))


def logits_of(model: TheirModel, held: Sequence[int]) -> np.ndarray:
    with torch.no_grad():
        return model(torch.tensor([held])).logits[0, -1].numpy()


class Bent(LogitsProcessor):
    """A user's processor that neither a bias nor a temperature can change places with."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return bend(scores) + 0.01 * input_ids[:, -1:] * input_ids.shape[1]


def bend(logits: Any) -> Any:
    return logits * abs(logits) / 4 + 0.5


def bent(ids: Sequence[int], n_prompt: int, logits: np.ndarray) -> np.ndarray:
    return bend(logits) + 0.01 * ids[-1] * len(ids)


def random_settings(rng: np.random.Generator) -> dict[str, Any]:
    """Some of the settings, each with a value that can be."""

    def some(size: int) -> list[int]:
        return [int(i) for i in rng.choice(np.arange(5, V), size=size, replace=False)]

    choices: dict[str, Any] = {
        "sequence_bias": {(some(1)[0],): 2.0, tuple(some(2)): -4.0, (5,): -1.5},
        "repetition_penalty": float(rng.choice([0.7, 1.3, 2.5])),
        "no_repeat_ngram_size": int(rng.integers(2, 4)),
        "bad_words_ids": [some(1), some(2), [EOS], some(1)],
        "min_new_tokens": int(rng.integers(1, 6)),
        "forced_bos_token_id": 2,
        "forced_eos_token_id": [EOS, 2],
        "suppress_tokens": [*some(2), 4],
        "begin_suppress_tokens": some(6),
        "eos_token_id": [EOS, 1],
        "encoder_repetition_penalty": float(rng.choice([0.7, 1.6])),
        "encoder_no_repeat_ngram_size": 2,
        "exponential_decay_length_penalty": (int(rng.integers(0, 3)), 1.6),
        "renormalize_logits": True,
        "watermarking_config": WatermarkingConfig(greenlist_ratio=0.4),
    }
    if rng.random() < 0.7:
        choices |= {
            "do_sample": True,
            "temperature": float(rng.choice([0.6, 1.7])),
            "top_k": int(rng.integers(2, V + 5)),
            "top_p": float(rng.choice([0.5, 0.9])),
            "min_p": float(rng.choice([0.01, 0.2])),
            "typical_p": float(rng.choice([0.4, 0.95])),
            "epsilon_cutoff": float(rng.choice([0.02, 0.2])),
            "eta_cutoff": float(rng.choice([0.05, 0.4])),
        }
    chosen = {name: value for name, value in choices.items() if rng.random() < 0.6}
    return {"do_sample": False, "top_k": 0, "eos_token_id": [EOS], **chosen, "max_new_tokens": 7}


Case = tuple[GenerationSettings, list[int], list[int], list[np.ndarray], list[np.ndarray], bool]


def their_case(model: TheirModel, seed: int) -> Case:
    """(settings, prompt, new ids, logits, scores, with a user's processor) of a generate()."""
    rng = np.random.default_rng(seed)
    asked = random_settings(rng)
    prompt = [int(i) for i in rng.integers(0, V, size=int(rng.choice([1, 2, 6])))]
    user = bool(rng.random() < 0.5)
    torch.manual_seed(seed)
    found = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.int64),
        logits_processor=LogitsProcessorList([Bent()] if user else []),
        return_dict_in_generate=True,
        output_scores=True,
        output_logits=True,
        pad_token_id=0,
        **asked,
    )
    return (
        GenerationSettings(**asked),
        prompt,
        found.sequences[0, len(prompt) :].tolist(),
        [row[0].numpy() for row in found.logits],
        [row[0].numpy() for row in found.scores],
        user,
    )


def our_scores(settings: GenerationSettings, given: list[Rule], case: Case) -> list[np.ndarray]:
    """Scores along the ids that transformers chose."""
    _, prompt, new, logits, _, _ = case
    found = []
    for step, row in enumerate(logits):
        scores = apply(given, [*prompt, *new[:step]], len(prompt), row)
        if settings.do_sample:
            scores = in_place(*warp(settings, scores), len(row))
        scores = apply(last_rules(settings), [*prompt, *new[:step]], len(prompt), scores)
        assert scores.dtype == np.float32
        found.append(scores)
    return found


def close(ours: list[np.ndarray], theirs: list[np.ndarray]) -> bool:
    assert not np.isnan(ours).any()
    return np.allclose(ours, theirs, rtol=1e-5, atol=1e-5)  # theirs are float32, whatever the model


@pytest.fixture(scope="module")
def cases(model: TheirModel) -> list[Case]:
    return [their_case(model, seed) for seed in range(150)]


def test_scores_are_those_of_transformers(cases: list[Case]) -> None:
    for case in cases:
        settings, *_, theirs, user = case
        assert close(our_scores(settings, rules(settings, V, [bent] * user), case), theirs)


def test_greedy_ids_logits_and_scores_are_those_of_transformers(
    cases: list[Case], model: TheirModel
) -> None:
    greedy = [case for case in cases if not case[0].do_sample]
    assert len(greedy) > 20
    for settings, prompt, new, logits, scores, user in greedy:
        watched: list[tuple[int, np.ndarray, np.ndarray]] = []
        tokens = list(
            search(
                Float64Decoder(model),
                [prompt],
                settings,
                extra=[bent] * user,
                watch=lambda *told, seen=watched: seen.append(told),
            )
        )
        assert [token.id for token in tokens] == new
        assert [told[0] for told in watched] == [0] * len(new)
        assert all(told[1].dtype == told[2].dtype == np.float64 for told in watched)
        assert close([told[1] for told in watched], logits)
        assert close([told[2] for told in watched], scores)


def swapped(given: list[Rule]) -> list[Rule]:
    return given[::-1]


def user_first(given: list[Rule]) -> list[Rule]:
    return [given[-1], *given[:-1]]


@pytest.mark.parametrize("fault", [swapped, user_first])
def test_planted_faults_in_the_order_are_seen(
    cases: list[Case], fault: Callable[[list[Rule]], list[Rule]]
) -> None:
    seen = 0
    for case in cases:
        settings, *_, theirs, user = case
        if user:
            seen += not close(our_scores(settings, fault(rules(settings, V, [bent])), case), theirs)
    assert seen > 10


def test_planted_faults_in_counting_are_seen(cases: list[Case]) -> None:
    """A minimum, a first or a last token off by one."""
    for name in ("min_new_tokens", "begin_suppress_tokens", "forced_eos_token_id"):
        seen = 0
        for case in cases:
            settings, *_, theirs, user = case
            if getattr(settings, name):
                given = [
                    lambda ids, n, logits, rule=rule: rule(ids, n - 1, logits)
                    for rule in rules(settings, V, [bent] * user)
                ]
                seen += not close(our_scores(settings, given, case), theirs)
        assert seen > 3


@pytest.mark.parametrize(
    ("where", "name", "fault"),
    [
        (
            processors,
            "decay_length",
            lambda x, ends, since, factor: DECAY(x, ends, since + 1, factor),
        ),
        (processors, "renormalize", lambda x: x),
        (processors, "no_repeat_ngram", lambda x, ids, size, source=None: NGRAM(x, ids, size)),
        (the_rules, "watermark", lambda config, ids, n, x: MARK(config, ids[:-1] or ids, n, x)),
        (warpers, "epsilon_cutoff", lambda x, epsilon, least: np.arange(len(x))),
        (
            warpers,
            "eta_cutoff",
            lambda x, epsilon, least: warpers.epsilon_cutoff(x, epsilon, least),
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_planted_faults_in_newer_rules_are_seen(
    cases: list[Case], monkeypatch: pytest.MonkeyPatch, where: Any, name: str, fault: Any
) -> None:
    monkeypatch.setattr(where, name, fault)
    seen = 0
    for case in cases:
        settings, *_, theirs, user = case
        seen += not close(our_scores(settings, rules(settings, V, [bent] * user), case), theirs)
    assert seen > 3


DECAY, NGRAM, MARK = processors.decay_length, processors.no_repeat_ngram, the_rules.watermark


def test_a_decay_that_would_overflow_ends_the_text() -> None:
    settings = GenerationSettings(
        eos_token_id=[1], exponential_decay_length_penalty=(0, 9.0), max_new_tokens=900
    )
    for dtype in (np.float32, np.float64):
        found = apply(rules(settings, 3), [0] * 800, 0, np.array([5, -2, 1], dtype=dtype))
        assert np.isfinite(found).all()
        assert found.argmax() == 1


def test_a_user_rule_in_place_of_nothing() -> None:
    logits = np.arange(5.0)
    assert rules(GenerationSettings(), 5) == []
    assert apply([], [1], 1, logits) is logits
    given = rules(GenerationSettings(suppress_tokens=[4]), 5, [lambda ids, n, x: x * n])
    np.testing.assert_array_equal(apply(given, [1, 2], 2, logits), [0, 2, 4, 6, -np.inf])
    np.testing.assert_array_equal(logits, np.arange(5.0))


def test_frequency_and_presence_count_new_tokens_only() -> None:
    settings = GenerationSettings(frequency_penalty=0.5, presence_penalty=-2)
    found = apply(rules(settings, 4), [0, 0, 1, 2, 1, 1], 2, np.zeros(4))
    np.testing.assert_array_equal(found, [0, 0.5, 1.5, 0])


def test_a_rule_that_changes_the_shape_is_refused() -> None:
    with pytest.raises(SamplingError, match=r"of shape \(2,\); allowed: \(5,\)") as caught:
        apply([lambda ids, n, x: x[:2]], [1], 1, np.zeros(5))
    assert "as many logits" in caught.value.hint


@pytest.mark.parametrize("largest", ["-inf", "nan", "inf"])
def test_something_must_be_left_to_choose(largest: str) -> None:
    with pytest.raises(
        SamplingError, match=f"largest of 5 logits is {largest}; allowed: a finite"
    ) as caught:
        require_choice(np.full(5, float(largest)))
    assert "ban fewer tokens" in caught.value.hint


def test_a_search_with_nothing_left_is_refused(model: TheirModel) -> None:
    decoder = Float64Decoder(model)
    asked = GenerationSettings(suppress_tokens=range(V))
    with pytest.raises(SamplingError, match="largest of 17 logits is -inf"):
        list(search(decoder, [[1]], asked))
    assert decoder.held == [[], []]


@pytest.mark.parametrize(
    "setting",
    [
        {"suppress_tokens": [2, 5]},
        {"allowed_token_ids": [5]},
        {"begin_suppress_tokens": [5]},
        {"bad_words_ids": [[1], [2, 5]]},
        {"sequence_bias": {(5, 1): 1.0}},
        {"forced_bos_token_id": 5},
        {"forced_eos_token_id": [5]},
    ],
)
def test_ids_outside_the_vocabulary_are_refused(setting: dict[str, Any]) -> None:
    [name] = setting
    with pytest.raises(TokenOutOfRange, match=f"{name} has the id 5; allowed: 0 to 4") as caught:
        rules(GenerationSettings(**setting), 5)
    assert "own tokenizer" in caught.value.hint


def test_end_tokens_outside_the_vocabulary_never_end_a_text(model: TheirModel) -> None:
    asked = GenerationSettings(eos_token_id=[99], min_new_tokens=2, max_new_tokens=3)
    assert rules(asked, V) == []
    assert len(list(search(Float64Decoder(model), [[1]], asked))) == 3


def test_with_beams_enough_is_left_to_go_on() -> None:
    logits = np.log(np.array([0.97, 0.01, 0.01, 0.006, 0.004]))
    for name, value in (
        *(("top_k", 1), ("top_p", 0.5), ("min_p", 0.9), ("typical_p", 0.5)),
        *(("epsilon_cutoff", 0.9), ("eta_cutoff", 0.9)),
    ):
        for eos, least in (((), 2), ((0,), 2), ((0, 1, 2), 4)):
            asked = GenerationSettings(num_beams=3, eos_token_id=eos, **{name: value})
            assert len(warp(asked, logits)[0]) >= least
            alone = GenerationSettings(eos_token_id=eos, **{name: value})
            assert len(warp(alone, logits)[0]) == 1
