"""Arguments of generate() against transformers' own generate(), each with a planted fault."""

import time
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from ogpt.errors import ConfigError, ContextTooLong, DecoderError, SamplingError
from ogpt.generation.searching import assistant as assistants
from ogpt.generation.searching import stepper, text
from ogpt.model.generate import entry, inner_states, stopping
from ogpt.notices import collecting
from tests.model.lstms import lstm
from tests.model.parity import random_model, theirs

transformers.logging.set_verbosity_error()

V = 50
IDS = torch.tensor([[3, 1, 4, 1], [5, 9, 2, 6]])
PADDED = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
SIZE = {"vocab_size": V, "n_positions": 24, "n_embd": 12, "n_head": 3, "n_layer": 2}
DICT = {"return_dict_in_generate": True}


@pytest.fixture
def model() -> Any:
    return random_model(4, **SIZE).double()


@pytest.fixture
def small() -> Any:
    """Another, smaller model."""
    return random_model(9, **{**SIZE, "n_layer": 1}).double()


def same(model: Any, ids: Tensor = IDS, **asked: Any) -> bool:
    """Whether both generate the same."""
    asked = {"max_new_tokens": 6, "do_sample": False, **asked}
    return torch.equal(model.generate(ids, **asked), theirs(model).generate(ids, **asked))


class TestAllowedTokens:
    @staticmethod
    def allowed(prompt: int, ids: Tensor) -> list[int]:
        """Another set for each prompt, which depends on the text."""
        last = int(ids[-1])
        return [(last * 7 + 11 * prompt + each) % V for each in range(3)]

    @pytest.mark.parametrize("asked", [{}, {"num_beams": 3}, {"num_beams": 2, "eos_token_id": 7}])
    def test_they_are_those_of_transformers(self, model: Any, asked: dict[str, Any]) -> None:
        asked = {**asked, "pad_token_id": 0}
        assert same(model, prefix_allowed_tokens_fn=self.allowed, **asked)
        found = model.generate(IDS, prefix_allowed_tokens_fn=self.allowed, max_new_tokens=3)
        assert not torch.equal(found, model.generate(IDS, max_new_tokens=3))

    def test_the_number_of_the_prompt_counts(self, model: Any) -> None:
        def first(prompt: int, ids: Tensor) -> list[int]:
            return self.allowed(0, ids)

        found = [
            model.generate(IDS, prefix_allowed_tokens_fn=fn, max_new_tokens=6)
            for fn in (self.allowed, first)
        ]
        assert not torch.equal(*found)

    def test_where_other_rules_forbid_them(self, model: Any) -> None:
        asked = {"eos_token_id": 7, "min_new_tokens": 3, "pad_token_id": 0}
        assert same(model, prefix_allowed_tokens_fn=lambda prompt, ids: [7], **asked)

    def test_it_sees_its_row_without_padding(self, model: Any) -> None:
        seen = []

        def look(prompt: int, ids: Tensor) -> list[int]:
            seen.append((prompt, ids.tolist()))
            return [5]

        asked = {"attention_mask": PADDED, "max_new_tokens": 1}
        model.generate(IDS, prefix_allowed_tokens_fn=look, **asked)
        assert seen == [(0, [4, 1]), (1, [5, 9, 2, 6])]

    @pytest.mark.parametrize("given", [[], [50], [-1], [1.5]])
    def test_what_it_cannot_return(self, model: Any, given: list[Any]) -> None:
        with pytest.raises(SamplingError, match=r"returned \[.*allowed: one id or more") as caught:
            model.generate(IDS, prefix_allowed_tokens_fn=lambda prompt, ids: given)
        assert "may follow" in caught.value.hint


class TestInvalidValues:
    def broken(self, model: Any) -> Any:
        """Logits of three tokens are NaN, inf and -inf."""
        with torch.no_grad():
            weight = model.transformer.tokens_embed.weight
            weight[40] = torch.nan
            for token, sign in ((41, 1), (42, -1)):
                weight[token] = 0
                weight[token, 0] = sign * torch.inf
        return model

    @pytest.mark.parametrize("asked", [{}, {"num_beams": 3}, {"penalty_alpha": 0.5, "top_k": 3}])
    def test_they_are_replaced(self, model: Any, asked: dict[str, Any]) -> None:
        banned = {"suppress_tokens": [40, 41, 42], "max_new_tokens": 5}
        whole = model.generate(IDS[:1], **banned)
        broken = self.broken(model)
        with pytest.raises(DecoderError, match="largest logit is"):
            broken.generate(IDS[:1], **banned, **asked)
        found = broken.generate(IDS[:1], remove_invalid_values=True, **banned, **asked)
        assert not torch.isin(found, torch.tensor([40, 41, 42])).any()
        if not asked:
            assert torch.equal(found, whole)

    def test_as_in_transformers(self, model: Any) -> None:
        broken = self.broken(model)
        asked = {"remove_invalid_values": True, "suppress_tokens": [41, 42], **DICT}
        asked |= {"max_new_tokens": 5, "output_scores": True, "do_sample": False}
        ours, expected = (m.generate(IDS, **asked) for m in (broken, theirs(broken)))
        assert torch.equal(ours.sequences, expected.sequences)
        torch.testing.assert_close(ours.scores[0][:, :41].float(), expected.scores[0][:, :41])
        assert (ours.scores[0][:, 40] == 0).all()

    def test_an_infinite_one_is_the_most_probable(self, model: Any) -> None:
        broken = self.broken(model)
        found = broken.generate(IDS, remove_invalid_values=True, max_new_tokens=1)
        assert set(found[:, -1].tolist()) <= {41, 42}
        assert same(broken, remove_invalid_values=True, max_new_tokens=1)

    def test_a_planted_fault(self, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stepper, "finite", np.zeros_like)
        assert not same(self.broken(model), remove_invalid_values=True, suppress_tokens=[41, 42])


class TestTime:
    @pytest.mark.parametrize("asked", [{}, {"num_beams": 3}, {"penalty_alpha": 0.6, "top_k": 3}])
    def test_a_text_ends_when_its_time_is_over(
        self, model: Any, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole = model.generate(IDS, max_new_tokens=9, **asked)
        assert torch.equal(model.generate(IDS, max_new_tokens=9, max_time=99, **asked), whole)
        assert model.generate(IDS, max_new_tokens=9, max_time=0, **asked).shape == (2, 5)

    def test_as_in_transformers(self, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        for asked in ({}, {"num_beams": 3}):
            assert same(model, max_time=0.0, **asked)
        monkeypatch.setattr(text.Choosing, "deadline", lambda self: lambda: False)
        assert not same(model, max_time=0.0)

    def test_the_clock_is_read_at_each_token(self, model: Any) -> None:
        def slow(ids: Tensor, scores: Tensor) -> Tensor:
            time.sleep(0.02)
            return scores

        asked = {"max_new_tokens": 20, "max_time": 0.05, "logits_processor": [slow]}
        assert 5 <= model.generate(IDS[:1], **asked).shape[1] < 24


def far(ours: Any, expected: Any) -> float:
    """The largest difference of inner states; inf where their shapes differ."""
    pairs = [
        (one, other)
        for steps in zip(ours, expected, strict=True)
        for one, other in zip(*steps, strict=True)
    ]
    if any(one.shape != other.shape for one, other in pairs):
        return float("inf")
    return max(float((one - other).abs().max()) for one, other in pairs)


class TestInnerStates:
    SHOW: ClassVar = {**DICT, "output_attentions": True, "output_hidden_states": True}

    def gaps(self, model: Any, ids: Tensor, **asked: Any) -> list[float]:
        asked = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 0, **self.SHOW, **asked}
        ours, expected = (m.generate(ids, **asked) for m in (model, theirs(model)))
        assert torch.equal(ours.sequences, expected.sequences)
        return [
            far(getattr(ours, name), getattr(expected, name))
            for name in ("attentions", "hidden_states")
        ]

    @pytest.mark.parametrize(
        "asked",
        [
            {},
            {"eos_token_id": [7, 12, 30]},
            {"num_beams": 3},
            {"num_beams": 2, "num_return_sequences": 2},
            {"token_type_ids": torch.tensor([[7, 7, 8, 8], [8, 7, 7, 7]])},
        ],
        ids=str,
    )
    def test_they_are_those_of_transformers(self, model: Any, asked: dict[str, Any]) -> None:
        assert max(self.gaps(model, IDS, **asked)) < 1e-9

    def test_planted_faults(self, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        forward = inner_states.InnerStates._forward
        monkeypatch.setattr(
            inner_states.InnerStates,
            "_forward",
            lambda self, new, each: forward(self, new + 1, each),
        )
        assert min(self.gaps(model, IDS)) > 1e-4
        assert min(self.gaps(model, IDS, num_beams=3)) > 1e-4

    def test_padding_and_embeddings_change_nothing(self, model: Any) -> None:
        asked = {**self.SHOW, "max_new_tokens": 3}
        alone = model.generate(IDS[:1, 2:], **asked)
        ids = IDS.masked_fill(PADDED == 0, -1)  # padding may be no token
        padded = model.generate(ids, attention_mask=PADDED, pad_token_id=-1, **asked)
        embeds = model.generate(
            inputs_embeds=model.transformer.tokens_embed(IDS[:1, 2:]).detach(), **asked
        )
        for step in range(3):
            wanted = alone.hidden_states[step][-1]
            torch.testing.assert_close(padded.hidden_states[step][-1][:1, 2:], wanted)
            torch.testing.assert_close(embeds.hidden_states[step][-1], wanted)
            torch.testing.assert_close(
                padded.attentions[step][0][:1, :, 2:, 2:], alone.attentions[step][0]
            )

    def test_one_of_the_two(self, model: Any) -> None:
        asked = {"max_new_tokens": 2, "num_beams": 2, **DICT}
        found = model.generate(IDS, output_hidden_states=True, **asked)
        assert found.attentions is None
        assert len(found.hidden_states) == 2
        del asked["num_beams"]
        found = model.generate(IDS, output_attentions=True, **asked)
        assert found.hidden_states is None
        assert len(found.attentions) == 2

    def test_what_has_none(self, model: Any) -> None:
        with pytest.raises(ContextTooLong, match=r"states of 25 tokens.*length is 24") as caught:
            model.generate(IDS, max_new_tokens=22, **self.SHOW)
        assert "shorten" in caught.value.hint
        with pytest.raises(DecoderError, match="an LSTM has no attentions") as caught:
            lstm().generate(IDS, max_new_tokens=2, **self.SHOW)
        assert "omit output_attentions" in caught.value.hint


class TestPositions:
    def test_the_usual_ones_are_those_of_the_mask(self, model: Any) -> None:
        places = (PADDED.cumsum(-1) - 1).masked_fill(PADDED == 0, 1)
        asked = {"attention_mask": PADDED, "max_new_tokens": 30}
        with collecting():
            found = model.generate(IDS, position_ids=places, **asked)
            assert torch.equal(found, model.generate(IDS, **asked))  # they slide

    @pytest.mark.parametrize("asked", [{}, {"num_beams": 3}])
    def test_others_go_on_from_the_last(self, model: Any, asked: dict[str, Any]) -> None:
        places = torch.tensor([[2, 3, 4, 5], [9, 10, 11, 12]])
        found = model.generate(IDS, position_ids=places, max_new_tokens=5, **asked)
        assert not torch.equal(found, model.generate(IDS, max_new_tokens=5, **asked))
        if asked:
            return
        for row, first in ((0, 2), (1, 9)):
            ids = IDS[row].tolist()
            for _ in range(5):
                at = torch.arange(first, first + len(ids))[None]
                logits = model(torch.tensor([ids]), position_ids=at).logits
                ids.append(int(logits[0, -1].argmax()))
            assert found[row].tolist() == ids

    def test_positions_that_cannot_be(self, model: Any) -> None:
        for places in ([0, 1, 2, 24], [-1, 0, 1, 2]):
            with pytest.raises(ConfigError, match="position_ids of prompt 0 are") as caught:
                model.generate(IDS, position_ids=torch.tensor(places))
            assert "attention_mask" in caught.value.hint


class Counting(transformers.StoppingCriteria):
    """Ends the rows whose text has a token of a set, and remembers what it saw."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.tokens = torch.tensor(tokens)
        self.seen: list[tuple[Tensor, Any]] = []

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        self.seen.append((input_ids.clone(), scores))
        return torch.isin(input_ids[:, 4:], self.tokens).any(-1)


class Lengths(Counting):
    """Ends the first row after two new tokens, the second after five."""

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        super().__call__(input_ids, scores)
        return torch.tensor([2, 5]) <= input_ids.shape[1] - 4


class LastRow(transformers.StoppingCriteria):
    """Ends the whole batch by its last row, as lm-evaluation-harness does."""

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> bool:
        return input_ids.shape[1] > 6 and int(input_ids[-1, -1]) % 2 == 0


class TestCriteria:
    SHOW: ClassVar = {**DICT, "output_scores": True, "do_sample": False, "pad_token_id": 0}

    def seen(self, model: Any, **asked: Any) -> list[Any]:
        """What a criterion sees, and what is generated."""
        criterion = Lengths([])
        asked["eos_token_id"] = 49  # transformers pads no row without an end token
        ids = model.generate(
            IDS, stopping_criteria=[criterion], max_new_tokens=8, **{**self.SHOW, **asked}
        )
        return [criterion.seen, ids.sequences]

    def test_they_see_the_batch_and_its_scores(self, model: Any) -> None:
        (ours, found), (expected, wanted) = (self.seen(m) for m in (model, theirs(model)))
        assert torch.equal(found, wanted)
        assert len(ours) == len(expected) > 2
        for (ids, scores), (other_ids, other_scores) in zip(ours, expected, strict=True):
            assert torch.equal(ids, other_ids)
            assert len(scores) == len(other_scores)
            running = (ids[:, -1] != 0).nonzero().flatten()
            torch.testing.assert_close(
                scores[-1][running].float(), other_scores[-1][running], atol=1e-5, rtol=1e-5
            )

    def test_without_scores_and_with_a_prompt_that_is_padded(self, model: Any) -> None:
        ours, _ = self.seen(model, output_scores=False, attention_mask=PADDED)
        assert all(scores is None for _, scores in ours)
        assert all(torch.equal(ids[:, :4], IDS) for ids, _ in ours)

    def test_a_criterion_of_the_whole_batch(self, model: Any) -> None:
        asked = {"stopping_criteria": [LastRow()], "max_new_tokens": 12, "pad_token_id": 0}
        assert same(model, **asked)
        assert model.generate(IDS, **asked).shape[1] < 16

    def test_beams_of_one_prompt(self, model: Any) -> None:
        asked = {"num_beams": 3, "output_scores": True}
        criteria = []
        for one in (model, theirs(model)):
            criteria.append(Counting([8, 11, 20, 33]))
            given = {**self.SHOW, **asked, "max_new_tokens": 5}
            found = one.generate(IDS[:1], stopping_criteria=[criteria[-1]], **given)
            criteria[-1].seen.append((found.sequences, None))
        ours, expected = (criterion.seen for criterion in criteria)
        for (ids, scores), (other_ids, other_scores) in zip(ours, expected, strict=True):
            assert torch.equal(ids, other_ids)
            if scores is not None:
                torch.testing.assert_close(
                    scores[-1].float(), other_scores[-1], atol=1e-5, rtol=1e-5
                )

    def test_a_planted_fault(self, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        meet = stopping.Stops._meet

        def all_of_them(self: Any, running: Sequence[int]) -> set[int]:
            return set(running) if meet(self, running) else set()

        monkeypatch.setattr(stopping.Stops, "_meet", all_of_them)
        (_, found), (_, wanted) = (self.seen(m) for m in (model, theirs(model)))
        assert not torch.equal(found, wanted)

    def test_another_number_of_answers(self, model: Any) -> None:
        with pytest.raises(SamplingError, match="returned 3 values for 2 rows") as caught:
            model.generate(
                IDS, stopping_criteria=[lambda ids, scores: torch.zeros(3)], pad_token_id=0
            )
        assert "(rows,)" in caught.value.hint


class TestAssistant:
    @pytest.mark.parametrize(
        "asked",
        [
            {},
            {"num_assistant_tokens": 3, "assistant_confidence_threshold": 0.0},
            {"num_assistant_tokens": 5, "num_assistant_tokens_schedule": "heuristic"},
            {"repetition_penalty": 1.4, "no_repeat_ngram_size": 3},
            {"do_sample": True, "seed": 3, "top_k": 8, "temperature": 0.8},
            {"do_sample": True, "seed": 3, "num_return_sequences": 2},
            {"eos_token_id": [7, 12, 30], "pad_token_id": 0},
            {"max_new_tokens": 40},  # slides
        ],
        ids=str,
    )
    def test_the_same_tokens_as_alone(self, model: Any, small: Any, asked: dict[str, Any]) -> None:
        asked = {"max_new_tokens": 18, **asked}
        with collecting():
            found = model.generate(IDS, assistant_model=small, **asked)
            drafting = {name for name in asked if "assistant" in name}
            alone = {name: value for name, value in asked.items() if name not in drafting}
            assert torch.equal(found, model.generate(IDS, **alone))

    def test_the_tokens_and_scores_of_transformers(self, model: Any, small: Any) -> None:
        asked = {"max_new_tokens": 12, "do_sample": False, **DICT, "output_scores": True}
        ours = model.generate(IDS[:1], assistant_model=small, **asked)
        expected = theirs(model).generate(IDS[:1], **asked)
        assert torch.equal(ours.sequences, expected.sequences)
        assert len(ours.scores) == len(expected.scores)
        for one, other in zip(ours.scores, expected.scores, strict=True):
            torch.testing.assert_close(one.float(), other, atol=1e-5, rtol=1e-5)

    def test_a_good_assistant_saves_calls(
        self, model: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls = []
        run = entry.TorchDecoder.run

        def counted(self: Any, parts: Any, hidden: bool = False) -> Any:
            calls.append((self.model is model, len(parts[0].ids)))
            return run(self, parts, hidden=hidden)

        monkeypatch.setattr(entry.TorchDecoder, "run", counted)
        twin = random_model(4, **SIZE).double()
        asked = {"max_new_tokens": 16, "assistant_confidence_threshold": 0.0}
        model.generate(IDS[:1], assistant_model=twin, num_assistant_tokens=4, **asked)
        # the prompt, then each time one token and four drafted ones
        assert [tokens for own, tokens in calls if own] == [4, 5, 5, 5]

    def test_the_assistants_own_defaults_and_schedule(self, model: Any, small: Any) -> None:
        made = []
        init = assistants.Assistant.__init__

        def kept(self: Any, *given: Any) -> None:
            init(self, *given)
            made.append(self)

        small.generation_config.num_assistant_tokens = 2
        small.generation_config.num_assistant_tokens_schedule = "heuristic"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(assistants.Assistant, "__init__", kept)
            model.generate(IDS[:1], assistant_model=small, max_new_tokens=2)
        [one] = made
        assert one._count == 2
        one.took(2, 2)
        assert one._count == 4
        one.took(4, 3)
        assert one._count == 3

    def test_a_planted_fault(self, model: Any, small: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Wrong drafts that stay in the slot."""
        cut = entry.TorchDecoder.truncate
        alone = model.generate(IDS[:1], max_new_tokens=6)
        monkeypatch.setattr(
            entry.TorchDecoder,
            "truncate",
            lambda self, slot, length: cut(self, slot, length) if length == 0 else None,
        )
        asked = {"assistant_model": small, "num_assistant_tokens": 2}
        found = model.generate(
            IDS[:1], max_new_tokens=6, assistant_confidence_threshold=0.0, **asked
        )
        assert not torch.equal(found, alone)

    def test_what_has_no_assistant(self, model: Any, small: Any) -> None:
        other = random_model(9, **{**SIZE, "vocab_size": V + 1}).double()
        for given, match in (
            (
                {"assistant_model": theirs(small)},
                "assistant_model is OpenAIGPTLMHeadModel; allowed",
            ),
            ({"assistant_model": other}, "vocabulary of 51 tokens; allowed: 50"),
            ({"num_beams": 2}, "num_beams is 2; allowed with assistant_model: 1"),
            ({"penalty_alpha": 0.5, "top_k": 2}, "penalty_alpha is 0.5; allowed with"),
            ({"token_type_ids": IDS}, "have embeddings, token types or positions"),
            ({"stopping_criteria": [LastRow()], "pad_token_id": 0}, "with 2 rows; allowed: one"),
        ):
            with pytest.raises(SamplingError, match=match) as caught:
                model.generate(IDS, **{"assistant_model": small, **given})
            assert caught.value.hint
        one = {"stopping_criteria": [LastRow()], "assistant_model": small, "max_new_tokens": 12}
        alone = {**one, "assistant_model": None}
        assert torch.equal(model.generate(IDS[:1], **one), model.generate(IDS[:1], **alone))


class TestTokens:
    def test_minus_one_ends_nothing(self, model: Any) -> None:
        whole = model.generate(IDS, max_new_tokens=5)
        for ends in (-1, [-1], torch.tensor([-1]), torch.tensor(-1)):
            assert torch.equal(model.generate(IDS, max_new_tokens=5, eos_token_id=ends), whole)
        assert same(model, eos_token_id=-1, pad_token_id=0)

    def test_rows_may_be_filled_with_minus_one(self, model: Any) -> None:
        end = int(model.generate(IDS, max_new_tokens=1)[0, -1])
        asked = {"eos_token_id": torch.tensor([end, 49]), "pad_token_id": -1, **DICT}
        found = model.generate(IDS, max_new_tokens=4, output_scores=True, **asked)
        assert found.sequences[0, 4:].tolist() == [end, -1, -1, -1]
        assert found.scores[1][0].isneginf().all()

    def test_a_list_of_one_pad_token(self, model: Any) -> None:
        end = int(model.generate(IDS, max_new_tokens=1)[0, -1])
        for pad in ([20], torch.tensor(20), torch.tensor([20])):
            found = model.generate(IDS, max_new_tokens=3, eos_token_id=end, pad_token_id=pad)
            assert found[0, 4:].tolist() == [end, 20, 20]


class TestWatermarks:
    @pytest.mark.parametrize("scheme", ["lefthash", "selfhash"])
    def test_the_detector_of_transformers_finds_it(self, model: Any, scheme: str) -> None:
        given = {"bias": 6.0, "seeding_scheme": scheme, "context_width": 2}
        if scheme == "lefthash":
            given["context_width"] = 1
        config = transformers.WatermarkingConfig(**given)
        assert same(model, watermarking_config=config, max_new_tokens=12)
        marked = model.generate(IDS, watermarking_config=given, max_new_tokens=19, do_sample=True)
        plain = model.generate(IDS, max_new_tokens=19, do_sample=True)
        of_model = theirs(model).config
        of_model.bos_token_id = 49
        detect = transformers.WatermarkDetector(of_model, "cpu", config)
        found, nothing = (detect(ids[:, 4:], return_dict=True) for ids in (marked, plain))
        assert min(found.z_score) > 3 > max(nothing.z_score)

    def test_the_tournament_of_synthid(self, model: Any) -> None:
        config = transformers.SynthIDTextWatermarkingConfig(ngram_len=3, keys=[654, 400, 836])
        assert same(model, watermarking_config=config, max_new_tokens=12)
