"""generate() beyond plain ids: sampling, padding, embeddings, stop strings, configurations."""

import copy
import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import Tensor

from ogpt.errors import (
    CheckpointError,
    ConfigError,
    ContextTooLong,
    SamplingError,
    TokenOutOfRange,
    UnknownArgument,
)
from ogpt.generation.choosing.settings import GenerationSettings
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.notices import collecting
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from tests.generation.naive import WholeDecoder, naive_beams, naive_contrastive
from tests.markov import chi_square_limit
from tests.model.parity import random_model, theirs

transformers.logging.set_verbosity_error()

V, N_POSITIONS = 20, 24
IDS = torch.tensor([[3, 1, 4, 1], [5, 9, 2, 6]])
SIZE = {"vocab_size": V, "n_positions": N_POSITIONS, "n_embd": 12, "n_head": 3, "n_layer": 2}


@pytest.fixture
def model() -> Any:
    return random_model(4, **SIZE).double()


def kinds(told: list[Any]) -> list[str]:
    return [notice.fields.get("setting", notice.kind) for notice in told]


def greedy(model: Any, row: list[int], count: int, **inputs: Any) -> list[int]:
    """Greedy continuation without a cache: all tokens are processed again for each new one."""
    ids = list(row)
    for _ in range(count):
        ids.append(int(model(torch.tensor([ids]), **inputs).logits[0, -1].argmax()))
    return ids[len(row) :]


class TestSampling:
    def test_a_seed_decides_alone_or_in_any_batch(self, model: Any) -> None:
        asked = {"do_sample": True, "max_new_tokens": 8, "seed": 7}
        both = model.generate(IDS, **asked)
        assert torch.equal(both, model.generate(IDS, **asked))
        for row in range(2):
            assert torch.equal(model.generate(IDS[row : row + 1], **asked)[0], both[row])
        assert not torch.equal(both, model.generate(IDS, **{**asked, "seed": 8}))

    @pytest.mark.parametrize("num_beams", [1, 3])
    def test_without_a_seed_torchs_generator_decides(self, model: Any, num_beams: int) -> None:
        asked = {"do_sample": True, "max_new_tokens": 8, "num_beams": num_beams}
        torch.manual_seed(3)
        first, second = model.generate(IDS, **asked), model.generate(IDS, **asked)
        assert not torch.equal(first, second)
        torch.manual_seed(3)
        assert torch.equal(first, model.generate(IDS, **asked, seed=None))
        state = torch.get_rng_state()
        model.generate(IDS, max_new_tokens=3)
        model.generate(IDS, max_new_tokens=3, do_sample=True, seed=1)
        assert torch.equal(state, torch.get_rng_state())  # not without sampling

    @pytest.mark.parametrize("num_beams", [1, 3])
    def test_equal_prompts_of_a_batch_differ_without_a_seed(
        self, model: Any, num_beams: int
    ) -> None:
        same = IDS[:1].repeat(6, 1)
        asked = {"do_sample": True, "max_new_tokens": 9, "num_beams": num_beams}
        torch.manual_seed(0)
        found = {tuple(row) for row in model.generate(same, **asked).tolist()}
        assert len(found) == 6
        seeded = {tuple(row) for row in model.generate(same, **asked, seed=5).tolist()}
        assert len(seeded) == 1

    def test_continuations_of_one_prompt_differ_and_stand_together(self, model: Any) -> None:
        torch.manual_seed(1)
        found = model.generate(IDS, do_sample=True, max_new_tokens=9, num_return_sequences=3)
        assert found.shape == (6, 13)
        assert torch.equal(found[:, :4], IDS.repeat_interleave(3, dim=0))
        assert len({tuple(row) for row in found.tolist()}) == 6

    @pytest.mark.parametrize(
        ("asked", "rows"),
        [
            ({"top_k": 0}, "batch"),
            ({}, "continuations"),  # transformers' default: top_k=50, more than there are
            ({"top_k": None}, "continuations"),
            ({"top_k": 4, "temperature": 0.7}, "batch"),
            ({"top_k": None, "top_p": 0.6, "temperature": 1.5}, "continuations"),
            ({"top_k": 9, "top_p": 0.8, "repetition_penalty": 1.7}, "continuations"),
        ],
    )
    def test_the_distribution_is_the_exact_one(
        self, model: Any, asked: dict[str, Any], rows: str
    ) -> None:
        draws = 1000
        torch.manual_seed(11)
        prompts, more = IDS[:1], {"num_return_sequences": draws}
        if rows == "batch":
            prompts, more = IDS[:1].repeat(draws, 1), {}
        found = model.generate(prompts, do_sample=True, max_new_tokens=2, **asked, **more)
        first, second = found[:, 4].numpy(), found[:, 5].numpy()
        freedom, statistic = 0, 0.0
        likely = int(np.bincount(first).argmax())
        for drawn, text in (
            (first, IDS[0].tolist()),
            (second[first == likely], [*IDS[0].tolist(), likely]),
        ):
            expected = exact(model, text, **asked) * len(drawn)
            counts = np.bincount(drawn, minlength=V)
            possible = expected > 0
            assert counts[~possible].sum() == 0
            statistic += float(((counts - expected)[possible] ** 2 / expected[possible]).sum())
            freedom += int(possible.sum()) - 1
        assert statistic < chi_square_limit(freedom)
        flat = np.full(V, len(first) / V)  # the test can see the difference
        assert ((np.bincount(first, minlength=V) - flat) ** 2 / flat).sum() > chi_square_limit(V)


def exact(
    model: Any,
    text: list[int],
    top_k: int | None = 0,
    top_p: float = 1.0,
    temperature: float = 1.0,
    repetition_penalty: float = 1.0,
) -> np.ndarray:
    """Probabilities of the next token, by sorting and plain sums."""
    logits = model(torch.tensor([text])).logits[0, -1].tolist()
    for token in set(text):
        factor = repetition_penalty if logits[token] < 0 else 1 / repetition_penalty
        logits[token] *= factor
    weights = np.exp(np.array(logits) / temperature)
    order = np.argsort(-weights)[: top_k or V]
    mass = np.cumsum(weights[order]) / weights[order].sum()
    order = order[: int((mass < top_p).sum()) + 1]
    found = np.zeros(V)
    found[order] = weights[order] / weights[order].sum()
    return found


class TestPadding:
    @pytest.mark.parametrize("asked", [{}, {"num_beams": 3}, {"penalty_alpha": 0.6, "top_k": 4}])
    def test_left_right_none_and_holes_are_the_same(
        self, model: Any, asked: dict[str, Any]
    ) -> None:
        asked = {**asked, "max_new_tokens": 6}
        alone = model.generate(torch.tensor([[3, 1, 4]]), **asked)[0, 3:]
        shapes = [
            ([0, 0, 3, 1, 4], [0, 0, 1, 1, 1]),
            ([3, 1, 4, 0, 0], [1, 1, 1, 0, 0]),
            ([3, 7, 1, 7, 4], [1, 0, 1, 0, 1]),
        ]
        ids, mask = (torch.tensor(part) for part in zip(*shapes, strict=True))
        found = model.generate(ids, attention_mask=mask, **asked)
        assert torch.equal(found[:, :5], ids)
        assert torch.equal(found[:, 5:], alone.expand(3, -1))
        for kind in (torch.bool, torch.float32):
            assert torch.equal(model.generate(ids, attention_mask=mask.to(kind), **asked), found)

    def test_pad_tokens_without_a_mask_are_padding(self, model: Any) -> None:
        ids = torch.tensor([[0, 0, 3, 1], [5, 0, 2, 0]])
        mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 0]])
        asked = {"max_new_tokens": 5}
        with collecting() as told:
            found = model.generate(ids, **asked, pad_token_id=0)
        assert [notice.fields for notice in told] == [{"count": 3, "pad_token_id": 0}]
        assert torch.equal(found, model.generate(ids, attention_mask=mask, **asked))
        # a pad token that also ends texts, or that is all of a prompt, is text
        plain = model.generate(ids, **asked)
        for meant in ({"eos_token_id": 0}, {"eos_token_id": [7, 0]}):
            asked_too = {**asked, **meant, "min_new_tokens": 5, "pad_token_id": 0}
            asked_without = {**asked, "suppress_tokens": [0, 7]}
            if isinstance(meant["eos_token_id"], int):
                asked_without["suppress_tokens"] = [0]
            assert torch.equal(
                model.generate(ids, **asked_too), model.generate(ids, **asked_without)
            )
        alone = torch.tensor([[0, 0]])
        assert torch.equal(
            model.generate(alone, **asked, pad_token_id=0), model.generate(alone, **asked)
        )
        assert plain.shape == (2, 9)

    def test_rows_that_end_are_filled_up(self, model: Any) -> None:
        """Version 5.23 fills up beams with an end token where the pad token is 0 (#47286)."""
        for asked in ({}, {"num_beams": 2, "num_return_sequences": 2}):
            filled = 0
            for end in range(V):
                ends = {"eos_token_id": [end, 19], "max_new_tokens": 6, **asked}
                for pad, filler in ((0, 0), (17, 17), (None, end)):
                    for row in model.generate(IDS, pad_token_id=pad, **ends)[:, 4:].tolist():
                        over = [place for place, token in enumerate(row) if token in (end, 19)]
                        if over:
                            assert set(row[over[0] + 1 :]) <= {filler}
                            filled += 1
            assert filled > 9

    def test_one_prompt_without_its_batch(self, model: Any) -> None:
        found = model.generate(torch.tensor([3, 1, 4]), max_new_tokens=3)
        assert found.tolist() == [[3, 1, 4, *greedy(model, [3, 1, 4], 3)]]
        assert found.dtype == torch.int64
        assert model.generate(IDS.int(), max_new_tokens=1).dtype == torch.int64


class TestInputs:
    def test_token_types_go_on_with_the_last(self, model: Any) -> None:
        types = torch.tensor([[7, 7, 8, 8], [8, 7, 7, 7]])
        found = model.generate(IDS, token_type_ids=types, max_new_tokens=4)
        for row, kind in zip(range(2), types.tolist(), strict=True):
            ids = IDS[row].tolist()
            for _ in range(4):
                kinds_so_far = torch.tensor([[*kind, *[kind[-1]] * (len(ids) - 4)]])
                out = model(torch.tensor([ids]), token_type_ids=kinds_so_far)
                ids.append(int(out.logits[0, -1].argmax()))
            assert found[row].tolist() == ids
        expected = theirs(model).generate(
            IDS, token_type_ids=types, max_new_tokens=4, do_sample=False
        )
        assert torch.equal(found, expected)
        assert not torch.equal(found, model.generate(IDS, max_new_tokens=4))
        beams = {"num_beams": 3, "max_new_tokens": 4}
        assert torch.equal(
            model.generate(IDS, token_type_ids=types, **beams),
            theirs(model).generate(IDS, token_type_ids=types, **beams),
        )

    @pytest.mark.parametrize(
        "asked",
        [
            {},
            {"num_beams": 3},
            {"penalty_alpha": 0.6, "top_k": 4},
            {"do_sample": True, "seed": 2, "num_return_sequences": 2},
        ],
    )
    def test_embeddings_continue_like_their_ids(self, model: Any, asked: dict[str, Any]) -> None:
        embeds = model.transformer.tokens_embed(IDS)
        mask = torch.tensor([[0, 1, 1, 1], [1, 1, 1, 1]])
        asked = {**asked, "max_new_tokens": 5, "attention_mask": mask}
        found = model.generate(inputs_embeds=embeds, **asked)
        assert torch.equal(found, model.generate(IDS, **asked)[:, 4:])
        one = model.generate(inputs_embeds=embeds[0].detach(), max_length=7)
        assert torch.equal(one, model.generate(IDS[:1], max_length=7)[:, 4:])

    def test_embeddings_of_no_token(self, model: Any) -> None:
        embeds = torch.randn(1, 3, 12, dtype=torch.float64)
        found = model.generate(inputs_embeds=embeds, max_new_tokens=3)[0].tolist()
        for place, token in enumerate(found):
            new = model.transformer.tokens_embed(torch.tensor([found[:place]], dtype=torch.int64))
            logits = model(inputs_embeds=torch.cat([embeds, new], dim=1)).logits
            assert int(logits[0, -1].argmax()) == token

    def test_the_arguments_of_the_documentation(self, model: Any) -> None:
        tokenizer = toy_tokenizer()
        model.resize_token_embeddings(len(tokenizer))
        model.resize_position_embeddings(64)
        assert tokenizer.eos_token_id is None
        inputs = tokenizer("the cat", return_tensors="pt")
        torch.manual_seed(0)
        found = model.generate(
            **inputs,
            max_length=50,
            do_sample=True,
            top_k=50,
            top_p=0.95,
            use_cache=True,
            pad_token_id=tokenizer.eos_token_id,
        )
        assert found.shape == (1, 50)
        assert tokenizer.decode(found[0], skip_special_tokens=True).startswith("the cat")
        wanted = model.generate(**inputs)
        assert wanted.shape[1] == inputs["input_ids"].shape[1] + 20
        for other in (
            model.generate(inputs["input_ids"]),
            model.generate(inputs=inputs["input_ids"], logits_processor=None),
            model.generate(inputs["input_ids"], None, None, None, top_p=None, temperature=None),
        ):
            assert torch.equal(other, wanted)

    def test_a_text_from_its_start_token(self, model: Any) -> None:
        found = model.generate(bos_token_id=5, max_new_tokens=3)
        assert found.tolist() == [[5, *greedy(model, [5], 3)]]
        model.config.bos_token_id = 6
        assert model.generate(max_new_tokens=1)[0, 0] == 6

    @pytest.mark.parametrize(
        ("asked", "match", "hint"),
        [
            ({}, "neither of", "as inputs_embeds"),
            ({"input_ids": IDS, "inputs": IDS}, "both passed", "omit inputs"),
            ({"input_ids": [[1, 2]]}, "the prompts are a list", "return_tensors='pt'"),
            ({"input_ids": IDS[None]}, r"\(1, 2, 4\); allowed: \(B, T\)", "view"),
            ({"input_ids": IDS, "attention_mask": IDS[:, :3]}, r"shape \(2, 3\)", "each token"),
            ({"input_ids": IDS, "attention_mask": -IDS}, "attention_mask holds -3", "mask == 0"),
            ({"input_ids": IDS, "token_type_ids": IDS[:, :3]}, "token_type_ids", "each token"),
            ({"inputs_embeds": torch.zeros(1, 2, 5)}, r"\(B, T, 12\)", "n_embd"),
        ],
    )
    def test_prompts_that_cannot_be(
        self, model: Any, asked: dict[str, Any], match: str, hint: str
    ) -> None:
        with pytest.raises(ConfigError, match=match) as caught:
            model.generate(**asked)
        assert hint in caught.value.hint

    def test_a_prompt_without_a_token_and_one_outside(self, model: Any) -> None:
        mask = torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0]])
        with pytest.raises(SamplingError, match="prompt 1 has no tokens") as caught:
            model.generate(IDS, attention_mask=mask)
        assert "attention_mask to 1" in caught.value.hint
        with pytest.raises(TokenOutOfRange, match="token id 20 was passed; allowed: 0 to 19"):
            model.generate(torch.tensor([[20]]))
        with pytest.raises(TokenOutOfRange, match="-1"):
            model.generate(IDS, token_type_ids=torch.tensor([[0, 0, 0, -1]]))


class TestModel:
    def test_modes_and_weights_are_left_as_they_are(self) -> None:
        model = random_model(4, **SIZE, resid_pdrop=0.5).train()
        model.transformer.h[0].eval()
        model.transformer.h[1].requires_grad_(False)
        modes = [module.training for module in model.modules()]
        grads = [parameter.requires_grad for parameter in model.parameters()]
        found = model.generate(IDS, max_new_tokens=5)
        assert [module.training for module in model.modules()] == modes
        assert [parameter.requires_grad for parameter in model.parameters()] == grads
        assert not found.requires_grad
        assert all(parameter.grad is None for parameter in model.parameters())
        with pytest.raises(UnknownArgument):
            model.generate(IDS, temprature=1.0)
        with pytest.raises(ZeroDivisionError):
            model.generate(IDS, logits_processor=[lambda ids, scores: scores / (1 // 0)])
        assert [module.training for module in model.modules()] == modes
        assert torch.equal(model.eval().generate(IDS, max_new_tokens=5), found)
        model(IDS, labels=IDS).loss.backward()  # and it still trains

    def test_embeddings_that_need_a_gradient_and_checkpointing(self, model: Any) -> None:
        expected = model.generate(IDS, max_new_tokens=4)
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable()
        model.train()
        assert torch.equal(model.generate(IDS, max_new_tokens=4), expected)
        embeds = model.transformer.tokens_embed(IDS).detach().requires_grad_(True)
        found = model.generate(inputs_embeds=embeds, max_new_tokens=4)
        assert torch.equal(found, expected[:, 4:])
        assert embeds.grad is None

    def test_double_heads(self) -> None:
        model = random_model(5, OpenAIGPTDoubleHeadsModel, **SIZE).double()
        alone = OpenAIGPTLMHeadModel(model.config).double().eval()
        alone.load_state_dict(model.state_dict(), strict=False)
        for asked in ({}, {"num_beams": 3}):
            found = model.generate(IDS, max_new_tokens=6, **asked)
            assert torch.equal(found, theirs(alone).generate(IDS, max_new_tokens=6, **asked))

    def test_pruned_heads(self, model: Any) -> None:
        whole = model.generate(IDS, max_new_tokens=6)
        model.prune_heads({0: [0, 2], 1: [1]})
        found = model.generate(IDS, max_new_tokens=6)
        assert found[0, 4:].tolist() == greedy(model, IDS[0].tolist(), 6)
        assert not torch.equal(found, whole)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_narrow_types(self, model: Any, dtype: torch.dtype) -> None:
        model.to(dtype)
        show = {"return_dict_in_generate": True, "output_scores": True}
        for asked in ({}, {"num_beams": 2}, {"do_sample": True, "seed": 1}):
            found = model.generate(IDS, max_new_tokens=4, **asked, **show)
            assert found.sequences.shape == (2, 8)
            assert found.scores[0].dtype == torch.float32
        # the first token is the one that the model itself says
        expected = model(IDS).logits[:, -1].float().argmax(-1)
        assert torch.equal(model.generate(IDS, max_new_tokens=1)[:, -1], expected)

    def test_greedy_scores_become_log_probabilities(self, model: Any) -> None:
        show = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}
        asked = {"max_new_tokens": 4, "do_sample": False, **show}
        ours, expected = model.generate(IDS, **asked), theirs(model).generate(IDS, **asked)
        for normalize in (False, True):
            torch.testing.assert_close(
                model.compute_transition_scores(
                    ours.sequences, ours.scores, normalize_logits=normalize
                ).float(),
                theirs(model).compute_transition_scores(
                    expected.sequences, expected.scores, normalize_logits=normalize
                ),
                atol=1e-5,
                rtol=1e-5,
            )
        assert list(ours.keys()) == ["sequences", "scores", "logits"]
        assert ours[0] is ours.sequences
        only = model.generate(IDS, max_new_tokens=2, return_dict_in_generate=True)
        assert list(only.keys()) == ["sequences"]
        with_beams = model.generate(
            IDS, max_new_tokens=2, num_beams=2, return_dict_in_generate=True
        )
        assert list(with_beams.keys()) == ["sequences", "sequences_scores", "beam_indices"]

    def test_scores_of_a_row_that_has_ended_are_sure_of_the_pad(self, model: Any) -> None:
        text = model.generate(IDS, max_new_tokens=5)
        end = int(text[0, 4])
        if end in text[1].tolist():
            pytest.skip("both rows end")
        out = model.generate(
            IDS,
            max_new_tokens=3,
            eos_token_id=end,
            pad_token_id=2,
            return_dict_in_generate=True,
            output_scores=True,
        )
        assert out.sequences[0, 4:].tolist() == [end, 2, 2]
        assert out.scores[1][0].isfinite().nonzero().tolist() == [[2]]
        assert out.scores[1][0, 2] == 0

    def test_sampled_scores_are_what_was_drawn_from(self, model: Any) -> None:
        out = model.generate(
            IDS,
            do_sample=True,
            seed=3,
            top_k=4,
            temperature=0.5,
            max_new_tokens=2,
            return_dict_in_generate=True,
            output_scores=True,
            output_logits=True,
        )
        assert (out.scores[0].isfinite().sum(-1) == 4).all()
        kept = out.scores[0].isfinite()
        torch.testing.assert_close(out.scores[0][kept], out.logits[0][kept] / 0.5)
        torch.testing.assert_close(out.logits[0], model(IDS).logits[:, -1].detach())


def toy_tokenizer(folder: Path | None = None) -> OpenAIGPTTokenizerFast:
    """Words of letters, most of several tokens."""
    letters = "abcdefghijklmnopqrstuvwxyz.,"
    entries = ["<unk>", *letters, *(f"{letter}</w>" for letter in letters), "th", "the</w>", "ca"]
    tokenizer = OpenAIGPTTokenizerFast(
        vocab={entry: number for number, entry in enumerate(entries)},
        merges=[("t", "h"), ("th", "e</w>"), ("c", "a")],
    )
    if folder is None:
        return tokenizer
    tokenizer.save_pretrained(folder)
    return OpenAIGPTTokenizerFast.from_pretrained(folder)


class Scripted:
    """A processor that makes the model write a text."""

    def __init__(self, ids: list[int], n_prompt: int) -> None:
        self.ids = ids
        self.n_prompt = n_prompt

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        written = input_ids.shape[1] - self.n_prompt
        forced = torch.full_like(scores, -1e9)
        forced[:, self.ids[written % len(self.ids)]] = 0
        return forced


class TestStops:
    @pytest.fixture
    def speaker(self) -> Any:
        return random_model(8, **{**SIZE, "vocab_size": len(toy_tokenizer()), "n_positions": 64})

    def write(self, speaker: Any, text: str, tmp_path: Path, **asked: Any) -> str:
        tokenizer = toy_tokenizer(tmp_path)
        prompt = tokenizer("a", return_tensors="pt")
        script = Scripted(tokenizer(text)["input_ids"], prompt["input_ids"].shape[1])
        found = speaker.generate(
            **prompt, tokenizer=tokenizer, logits_processor=[script], max_new_tokens=30, **asked
        )
        return tokenizer.decode(found[0], clean_up_tokenization_spaces=False)

    @pytest.mark.parametrize("asked", [{}, {"num_beams": 2}, {"penalty_alpha": 0.5, "top_k": 2}])
    def test_stop_strings_that_span_tokens(
        self, speaker: Any, tmp_path: Path, asked: dict[str, Any]
    ) -> None:
        written = self.write(
            speaker, "the dog saw a cat . it ran", tmp_path, stop_strings="cat .", **asked
        )
        assert written == "a the dog saw a cat ."
        inside = self.write(speaker, "the dog saw", tmp_path, stop_strings=["zzz", "do"], **asked)
        assert inside == "a the do"

    def test_a_stop_string_as_the_vocabulary_writes_it(self, speaker: Any, tmp_path: Path) -> None:
        found = self.write(speaker, "the cat . it ran", tmp_path, stop_strings="Cat.")
        assert found == "a the cat ."

    def test_stop_strings_wait_for_the_minimum(self, speaker: Any, tmp_path: Path) -> None:
        found = self.write(speaker, "dog dog ran", tmp_path, stop_strings="dog", min_new_tokens=3)
        assert found == "a dog dog"

    def test_rows_stop_by_themselves(self, speaker: Any) -> None:
        tokenizer = toy_tokenizer()
        prompts = tokenizer(["a", "b"], return_tensors="pt")

        def script(ids: Tensor, scores: Tensor) -> Tensor:
            text = "cat ran off" if ids[0, 0] == prompts["input_ids"][0, 0] else "dog sat cat ran"
            return Scripted(tokenizer(text)["input_ids"], 1)(ids, scores)

        asked = {"stop_strings": ["cat"], "tokenizer": tokenizer, "logits_processor": [script]}
        found = speaker.generate(**prompts, **asked, max_new_tokens=20, pad_token_id=0)
        texts = [tokenizer.decode(row, skip_unknown=True) for row in found]
        assert texts == ["a cat", "b dog sat cat"]
        assert found[0, -1] == 0
        assert speaker.generate(**prompts, **asked, max_new_tokens=20, eos_token_id=3)[0, -1] == 3
        with pytest.raises(SamplingError, match="pad_token_id is None and 2 rows") as caught:
            speaker.generate(**prompts, **asked)
        assert "pad_token_id=0" in caught.value.hint

    def test_tokens_beyond_the_tokenizer(self, tmp_path: Path) -> None:
        speaker = random_model(8, **{**SIZE, "vocab_size": len(toy_tokenizer()) + 3})
        tokenizer = toy_tokenizer()
        beyond = len(tokenizer) + 1
        script = Scripted([beyond, *tokenizer("cat")["input_ids"]], 1)
        found = speaker.generate(
            torch.tensor([[1]]),
            tokenizer=tokenizer,
            stop_strings="cat",
            logits_processor=[script],
            max_new_tokens=12,
        )
        assert found[0, 1:].tolist() == [beyond, *tokenizer("cat")["input_ids"]]

    @pytest.mark.parametrize("stop", ["", ["x", ""], [3]])
    def test_stop_strings_that_cannot_be(self, speaker: Any, stop: Any) -> None:
        with pytest.raises(SamplingError, match=r"stop_strings holds (''|3); allowed") as caught:
            speaker.generate(IDS[:1], stop_strings=stop, tokenizer=toy_tokenizer())
        assert "omit it" in caught.value.hint

    def test_stop_strings_need_a_tokenizer(self, speaker: Any) -> None:
        with pytest.raises(
            SamplingError, match=r"stop_strings is \['cat'\] without a tokenizer"
        ) as e:
            speaker.generate(IDS[:1], stop_strings=["cat"])
        assert e.value.hint == "pass tokenizer=..."

    def test_a_stop_string_that_cannot_be_written(self, speaker: Any) -> None:
        with collecting() as told:
            speaker.generate(
                IDS[:1], stop_strings="日本", tokenizer=toy_tokenizer(), max_new_tokens=2
            )
        assert kinds(told) == ["stop_strings='日本'"]

    @pytest.mark.parametrize("asked", [{}, {"num_beams": 2}, {"penalty_alpha": 0.5, "top_k": 2}])
    def test_criteria(self, model: Any, asked: dict[str, Any]) -> None:
        seen = []

        def short(ids: Tensor, scores: Any) -> bool:
            seen.append(ids.shape)
            return ids.shape[1] >= 7

        found = model.generate(
            IDS[:1], max_new_tokens=9, stopping_criteria=[lambda ids, scores: False, short], **asked
        )
        assert found.shape == (1, 7)
        assert {shape[1] for shape in seen} == {5, 6, 7}
        assert ({shape[0] for shape in seen} == {1}) == ("num_beams" not in asked)
        given = transformers.StoppingCriteriaList([transformers.MaxLengthCriteria(max_length=6)])
        assert model.generate(IDS[:1], stopping_criteria=given, **asked).shape == (1, 6)

    def test_streamers_of_transformers(self, speaker: Any, capsys: Any, tmp_path: Path) -> None:
        tokenizer = toy_tokenizer(tmp_path)
        prompt = tokenizer("the cat", return_tensors="pt")
        found = speaker.generate(
            **prompt, max_new_tokens=12, streamer=transformers.TextStreamer(tokenizer)
        )
        written = capsys.readouterr().out
        assert written.strip() == tokenizer.decode(found[0]).strip()
        streamer = transformers.TextIteratorStreamer(tokenizer, skip_prompt=True, timeout=30)
        asked = {**prompt, "max_new_tokens": 12, "streamer": streamer}
        thread = threading.Thread(target=speaker.generate, kwargs=asked)
        thread.start()
        parts = list(streamer)
        thread.join()
        new = found[0, prompt["input_ids"].shape[1] :]
        assert "".join(parts).strip() == tokenizer.decode(new).strip()

    def test_a_streamer_is_told_each_token(self, model: Any) -> None:
        class Kept:
            values: list[Any]

            def __init__(self) -> None:
                self.values = []

            def put(self, value: Tensor) -> None:
                self.values.append(value.tolist())

            def end(self) -> None:
                self.values.append("end")

        for asked in ({}, {"penalty_alpha": 0.6, "top_k": 3}):
            kept = Kept()
            found = model.generate(IDS[:1], max_new_tokens=3, streamer=kept, **asked)
            new = [[token] for token in found[0, 4:].tolist()]
            assert kept.values == [IDS[0].tolist(), *new, "end"]
        for ids, asked in ((IDS, {}), (IDS[:1], {"num_beams": 3})):
            with pytest.raises(SamplingError, match=r"streamer was passed with \d rows and") as e:
                model.generate(ids, streamer=Kept(), **asked)
            assert "for each prompt" in e.value.hint


class TestProcessors:
    def test_processors_of_transformers(self, model: Any) -> None:
        given = transformers.LogitsProcessorList(
            [
                transformers.TemperatureLogitsWarper(0.5),
                transformers.NoRepeatNGramLogitsProcessor(2),
                transformers.SuppressTokensLogitsProcessor([3, 9], device="cpu"),
            ]
        )
        for asked in ({}, {"num_beams": 3}):
            asked = {**asked, "max_new_tokens": 8, "do_sample": False}
            found = model.generate(IDS, logits_processor=given, **asked)
            assert torch.equal(found, theirs(model).generate(IDS, logits_processor=given, **asked))
            assert not torch.equal(found, model.generate(IDS, **asked))

    def test_a_processor_sees_its_row_without_padding(self, model: Any) -> None:
        seen = []

        def look(ids: Tensor, scores: Tensor) -> Tensor:
            seen.append(ids.tolist())
            scores[:] = 0  # its own to change
            scores[0, 7] = 1
            return scores

        mask = torch.tensor([[0, 1, 1, 1]])
        out = model.generate(
            IDS[:1],
            attention_mask=mask,
            logits_processor=[look],
            max_new_tokens=2,
            return_dict_in_generate=True,
            output_logits=True,
        )
        assert seen == [[[1, 4, 1]], [[1, 4, 1, 7]]]
        assert out.sequences[0, 4:].tolist() == [7, 7]
        expected = model(IDS[:1, 1:]).logits[0, -1].detach()
        torch.testing.assert_close(out.logits[0][0], expected)

    def test_a_processor_that_loses_a_token_or_all(self, model: Any) -> None:
        with pytest.raises(SamplingError, match=r"of shape \(19,\); allowed: \(20,\)"):
            model.generate(IDS, logits_processor=[lambda ids, scores: scores[:, 1:]])
        with pytest.raises(SamplingError, match="largest of 20 logits is -inf") as caught:
            model.generate(IDS, suppress_tokens=list(range(V)))
        assert "ban fewer" in caught.value.hint


class TestConfigurations:
    def test_a_dict_an_object_and_the_models_own(self, model: Any, tmp_path: Path) -> None:
        expected = model.generate(IDS, max_new_tokens=3, num_beams=2)
        values = {"max_new_tokens": 3, "num_beams": 2}
        theirs_own = transformers.GenerationConfig(**values)
        for given in (values, theirs_own):
            assert torch.equal(model.generate(IDS, given), expected)
            assert torch.equal(model.generate(IDS, generation_config=given), expected)
        model.generation_config = theirs_own
        assert torch.equal(model.generate(IDS), expected)
        model.generation_config = {**values, "sequence_bias": {(3, 1): 2.0}, "bos_token_id": 7}
        biased = model.generate(IDS)
        model.config.pad_token_id = 7
        model.save_pretrained(tmp_path)
        stored = json.loads((tmp_path / "generation_config.json").read_text())
        assert stored == {
            **values,
            "sequence_bias": [[[3, 1], 2.0]],
            "bos_token_id": 7,
            "pad_token_id": 7,
        }
        again = OpenAIGPTLMHeadModel.from_pretrained(tmp_path)
        assert again.generation_config.to_diff_dict() == stored
        assert torch.equal(again.generate(IDS), biased)
        loaded = transformers.GenerationConfig.from_pretrained(tmp_path)
        assert (loaded.num_beams, loaded.pad_token_id) == (2, 7)

        class Older:
            def to_dict(self) -> dict[str, Any]:
                return {**values, "_from_model_config": True, "transformers_version": "4.40"}

        assert torch.equal(model.generate(IDS, Older(), sequence_bias=None), expected)

    def test_precedence(self, model: Any) -> None:
        model.config.eos_token_id = int(model.generate(IDS[:1], max_new_tokens=1)[0, -1])
        assert model.generate(IDS[:1], max_new_tokens=4).shape == (1, 5)
        model.generation_config = {"max_new_tokens": 4, "eos_token_id": 19, "do_sample": None}
        assert model.generate(IDS[:1]).shape == (1, 8)
        assert model.generate(IDS[:1], {"max_new_tokens": 3}).shape == (1, 7)
        assert model.generate(IDS[:1], {"max_new_tokens": 3}, max_new_tokens=2).shape == (1, 6)
        # a length of the call is not outdone by one of another kind
        assert model.generate(IDS[:1], max_length=9).shape == (1, 9)
        long = {"max_length": 10, "suppress_tokens": [19]}
        assert model.generate(IDS[:1], long).shape == (1, 10)
        # None switches off
        end = model.config.eos_token_id
        assert model.generate(IDS[:1], eos_token_id=end).shape == (1, 5)
        model.generation_config = {"max_new_tokens": 4}
        assert model.generate(IDS[:1], eos_token_id=None).shape == (1, 8)
        assert model.generate(IDS[:1], max_new_tokens=None).shape == (1, 5)

    def test_no_configuration_at_all(self, model: Any) -> None:
        with pytest.raises(SamplingError, match="generation_config is int; allowed: a dict") as e:
            model.generate(IDS, 5)
        assert e.value.hint == "pass the arguments by name"

    @pytest.mark.parametrize("text", ["{", "[1]", '{"do_sample": }'])
    def test_a_damaged_file(self, model: Any, tmp_path: Path, text: str) -> None:
        model.save_pretrained(tmp_path)
        (tmp_path / "generation_config.json").write_text(text)
        with pytest.raises(CheckpointError, match=r"generation_config\.json is damaged") as caught:
            OpenAIGPTLMHeadModel.from_pretrained(tmp_path)
        assert "only holds defaults" in caught.value.hint
        (tmp_path / "generation_config.json").unlink()
        assert OpenAIGPTLMHeadModel.from_pretrained(tmp_path).generation_config.to_diff_dict() == {}

    def test_an_argument_that_is_not_there(self, model: Any) -> None:
        with pytest.raises(UnknownArgument, match="no argument attention_masks; allowed") as e:
            model.generate(IDS, attention_masks=IDS)
        assert e.value.hint == "did you mean attention_mask?"


class TestLengths:
    def test_default_lengths(self, model: Any) -> None:
        model.resize_position_embeddings(40)
        assert model.generate(IDS).shape == (2, 24)
        model.resize_position_embeddings(11)  # as far as there are positions, like version 5.23
        found = model.generate(IDS)
        assert found.shape == (2, 11)
        with pytest.warns(UserWarning, match="default `max_length`"):
            assert torch.equal(found, theirs(model).generate(IDS))
        assert model.generate(IDS, num_beams=2).shape == (2, 11)
        assert model.generate(IDS, penalty_alpha=0.6, top_k=3).shape == (2, 11)

    def test_the_length_of_tensorflow(self) -> None:
        model = random_model(4, **SIZE, parity={"length": "total"})
        assert model.generate(IDS).shape == (2, 20)
        with pytest.raises(SamplingError, match="max_length is 20; allowed: more than the 21"):
            model.generate(torch.ones(1, 21, dtype=torch.int64))

    def test_texts_slide_beyond_the_positions(self, model: Any) -> None:
        with collecting() as told:
            found = model.generate(IDS[:1], max_new_tokens=40)[0].tolist()
        assert kinds(told) == ["context-slides"]
        ids, start = IDS[0].tolist(), 0
        while len(ids) < 44:
            if len(ids) - start > N_POSITIONS:
                start = len(ids) - N_POSITIONS // 2
            ids.append(int(model(torch.tensor([ids[start:]])).logits[0, -1].argmax()))
        assert found == ids

    def test_a_prompt_longer_than_the_positions(self, model: Any) -> None:
        prompt = torch.arange(30)[None] % V
        with collecting() as told:
            found = model.generate(prompt, max_new_tokens=1)
        assert kinds(told) == ["prompt-cut"]
        assert torch.equal(found[:, :30], prompt)
        assert found[0, -1] == model(prompt[:, -N_POSITIONS:]).logits[0, -1].argmax()
        with collecting() as told:
            assert model.generate(prompt).shape == (1, 50)
        assert kinds(told) == ["prompt-cut", "context-slides"]

    @pytest.mark.parametrize(
        ("asked", "most"),
        [
            ({"num_beams": 2}, 21),
            ({"penalty_alpha": 0.6, "top_k": 2}, 20),
            ({"token_type_ids": IDS}, 21),
            ({"inputs_embeds": torch.randn(2, 4, 12, dtype=torch.float64)}, 21),
            (
                {
                    "inputs_embeds": torch.randn(2, 4, 12, dtype=torch.float64),
                    "penalty_alpha": 0.6,
                    "top_k": 2,
                },
                20,
            ),
        ],
    )
    def test_what_does_not_slide(self, model: Any, asked: dict[str, Any], most: int) -> None:
        ids = None if "inputs_embeds" in asked else IDS
        assert model.generate(ids, max_new_tokens=most, **asked).shape[1] in (most, most + 4)
        match = f"ends at position 4 and {most + 1} new tokens.*length is 24"
        with pytest.raises(ContextTooLong, match=match) as caught:
            model.generate(ids, max_new_tokens=most + 1, **asked)
        assert "lower max_new_tokens" in caught.value.hint

    def test_padding_that_counts_does_not_slide(self) -> None:
        model = random_model(4, **SIZE, parity="transformers-4")
        mask = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
        found = model.generate(IDS, attention_mask=mask, max_new_tokens=21)
        assert found.shape == (2, 25)
        with pytest.raises(ContextTooLong, match="position 4 and 22 new"):
            model.generate(IDS, attention_mask=mask, max_new_tokens=22)


class TestOtherSearches:
    def peers(self, seed: int) -> tuple[Any, WholeDecoder]:
        model = random_model(seed, **{**SIZE, "n_embd": 6}).double()
        return model, WholeDecoder(theirs(model), 1)

    @pytest.mark.parametrize("seed", range(8))
    def test_diverse_beams_are_the_naive_ones(self, seed: int) -> None:
        model, whole = self.peers(seed)
        asked = {
            "num_beams": 4,
            "num_beam_groups": 2 + 2 * (seed % 2),
            "diversity_penalty": 0.3 + 0.2 * seed,
            "length_penalty": [0.5, 1.0, 2.0][seed % 3],
            "num_return_sequences": 3,
            "eos_token_id": [4] if seed % 2 else [],
            "max_new_tokens": 5,
            "do_sample": False,
        }
        settings = GenerationSettings(**asked)
        out = model.generate(IDS, **asked, pad_token_id=0, return_dict_in_generate=True)
        expected = [
            one
            for prompt in IDS.tolist()
            for one in naive_beams(whole.logits_after, prompt, settings)
        ]
        for row, score, (wanted_score, wanted) in zip(
            out.sequences[:, 4:].tolist(), out.sequences_scores.tolist(), expected, strict=True
        ):
            assert row[: len(wanted)] == wanted
            assert score == pytest.approx(wanted_score, abs=1e-9)

    @pytest.mark.parametrize("seed", range(8))
    def test_contrastive_search_is_the_naive_one(self, seed: int) -> None:
        model, whole = self.peers(seed)
        asked = {
            "penalty_alpha": [0.3, 0.6, 0.9, 1.0][seed % 4],
            "top_k": 2 + seed % 4,
            "max_new_tokens": 7,
            "do_sample": False,
            "eos_token_id": [4] if seed % 2 else [],
        }
        found = model.generate(IDS, **asked, pad_token_id=0)[:, 4:].tolist()
        for row, prompt in zip(found, IDS.tolist(), strict=True):
            wanted = naive_contrastive(whole, prompt, GenerationSettings(**asked))
            assert row[: len(wanted)] == wanted
            assert set(row[len(wanted) :]) <= {0}

    def test_contrastive_scores(self, model: Any) -> None:
        show = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}
        out = model.generate(IDS, penalty_alpha=0.6, top_k=3, max_new_tokens=3, **show)
        assert [step.shape for step in out.scores] == [(2, V)] * 3
        torch.testing.assert_close(out.logits[0], model(IDS).logits[:, -1].detach())
        assert torch.equal(out.scores[0], out.logits[0])


def test_generation_config_by_attribute() -> None:
    model = random_model(0, n_positions=20)
    assert model.generation_config.max_new_tokens is None
    model.generation_config.max_new_tokens = 3
    assert model.generate(torch.tensor([[1, 2]])).shape == (1, 5)
    assert copy.deepcopy(model.generation_config).to_diff_dict() == {"max_new_tokens": 3}
