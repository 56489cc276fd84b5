"""generate() equals transformers' in float64: ids, scores, logits and beams, over random cases."""

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from ogpt.config.model import OpenAIGPTConfig
from ogpt.generation.choosing import processors
from ogpt.generation.protocol.decoder import Computed
from ogpt.generation.searching import beam
from ogpt.model.decoder.torch_decoder import TorchDecoder
from ogpt.model.generate import entry as generate
from ogpt.model.generate.prompts import read_prompts
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.notices import collecting
from tests.golden.formula import formula
from tests.model.parity import random_model, theirs

transformers.logging.set_verbosity_error()

CASES = 200
GOLDEN = Path(__file__).parents[1] / "golden"
TOLERANCE = 1e-5  # transformers takes scores and logits to float32
SHOW = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}


def case(seed: int) -> tuple[OpenAIGPTLMHeadModel, dict[str, Any], bool]:
    """A model, arguments for both, and whether they ask for beams (every second case)."""
    draw = random.Random(seed)
    V = draw.randint(12, 30)
    n_positions = draw.randint(14, 24)
    size = {"n_head": 2, "n_embd": 8, "n_layer": draw.randint(1, 2)}
    model = random_model(seed, vocab_size=V, n_positions=n_positions, **size).double()
    B, T = draw.randint(1, 3), draw.randint(1, 6)
    pad = draw.randrange(1, V)  # version 5.23 fills up beams with an end token where the pad is 0
    others = [token for token in range(V) if token != pad]
    ids = torch.tensor([[draw.choice(others) for _ in range(T)] for _ in range(B)])
    mask = torch.ones_like(ids)
    asked: dict[str, Any] = {"do_sample": False, "pad_token_id": pad}
    if draw.random() < 0.5:
        # transformers penalises padding as if it were text: where it is never written, that is moot
        asked["suppress_tokens"] = [pad, draw.randrange(V)]
        for row in range(B):
            mask[row, : draw.randint(0, T - 1)] = 0
        ids = ids.masked_fill(mask == 0, pad)
    n_new = draw.randint(1, 7)
    asked |= draw.choice([{"max_new_tokens": n_new}, {"max_length": T + n_new}])
    n_eos = draw.randint(0, 3)
    if n_eos:
        ends = draw.sample(others, n_eos)
        asked["eos_token_id"] = ends if n_eos > 1 else ends[0]
        asked |= draw.choice([{}, {"min_new_tokens": draw.randint(0, n_new)}, {"min_length": T}])

    def maybe(name: str, value: Any) -> None:
        if draw.random() < 0.25:
            asked[name] = value

    def token() -> int:
        return draw.choice(others)

    maybe("repetition_penalty", draw.choice([0.5, 1.3, 3.0]))
    maybe("no_repeat_ngram_size", draw.choice([2, 3]))
    maybe("bad_words_ids", [[token()], [token(), token()]])
    maybe("begin_suppress_tokens", [token(), token()])
    maybe("forced_eos_token_id", token())
    maybe("sequence_bias", {(token(),): 1.5, (token(), token()): -3.0})
    if T == 1:
        maybe("forced_bos_token_id", token())
    for name in ("forced_eos_token_id", "forced_bos_token_id"):
        if asked.get(name) in asked.get("suppress_tokens", []):
            del asked[name]
    with_beams = seed % 2 == 1
    if with_beams:
        asked["num_beams"] = draw.randint(2, 4)
        asked["length_penalty"] = draw.choice([-1.0, 0.0, 0.5, 1.0, 2.0])
        asked["early_stopping"] = draw.choice([True, False, "never"])
        asked["num_return_sequences"] = draw.randint(1, asked["num_beams"])
    return model, {"input_ids": ids, "attention_mask": mask, **asked, **SHOW}, with_beams


def worst_gap(ours: Any, expected: Any, with_beams: bool) -> float:
    """The largest difference of scores, relative above 1; inf where ids, beams or counts differ."""
    if not torch.equal(ours.sequences, expected.sequences):
        return float("inf")
    if len(ours.scores) != len(expected.scores):
        return float("inf")
    pairs = []
    if with_beams:
        if not torch.equal(ours.beam_indices, expected.beam_indices):
            return float("inf")
        pairs.append((ours.sequences_scores, expected.sequences_scores))
    new = ours.sequences[:, -len(ours.scores) :]
    for step, (score, wanted) in enumerate(zip(ours.scores, expected.scores, strict=True)):
        # rows that have ended, and beams that are no more, are of no concern
        live = score.isfinite().sum(-1) > (0 if with_beams else 1)
        if with_beams:
            live &= wanted.amax(-1) > -1e8
        pairs.append((score[live], wanted[live]))
        raw, wanted_raw = ours.logits[step], expected.logits[step]
        pairs.append((raw[live], wanted_raw[live]))
        if not with_beams and live.any():
            assert (score[live].argmax(-1) == new[live, step]).all()
    gaps = [0.0]
    for mine, their in pairs:
        forbidden = mine == -torch.inf
        if not torch.equal(forbidden, their.double() == -torch.inf):
            return float("inf")
        far = (mine - their)[~forbidden].abs() / their[~forbidden].abs().clamp(min=1)
        gaps += far.tolist()
    return max(gaps)


def both(model: OpenAIGPTLMHeadModel, asked: dict[str, Any]) -> tuple[Any, Any]:
    with collecting():
        ours = model.generate(**asked)
    return ours, theirs(model).generate(**asked)


@pytest.mark.parametrize("seed", range(CASES))
def test_greedy_and_beams_equal_transformers(seed: int) -> None:
    model, asked, with_beams = case(seed)
    ours, expected = both(model, asked)
    assert worst_gap(ours, expected, with_beams) < TOLERANCE
    if with_beams:
        found = model.compute_transition_scores(ours.sequences, ours.scores, ours.beam_indices)
        wanted = theirs(model).compute_transition_scores(
            expected.sequences, expected.scores, expected.beam_indices
        )
        torch.testing.assert_close(found, wanted.double(), atol=TOLERANCE, rtol=0)


def _shifted(model: Any, *inputs: Any) -> Any:
    batch = read_prompts(model, *inputs)
    places = [list(range(1, 1 + one.length)) for one in batch.rows]
    moved = [
        one._replace(positions=place, next_position=one.length + 1)
        for one, place in zip(batch.rows, places, strict=True)
    ]
    return batch._replace(rows=moved)


def _with_padding(model: Any, passed: Any) -> Any:
    return read_prompts(model, passed._replace(attention_mask=None))


def _a_little_off(self: Any, parts: Any, hidden: bool = False) -> Computed:
    found = RUN(self, parts, hidden=hidden)
    return found._replace(logits=found.logits * 1.0001)


def _first_half(logits: Any, ids: Any, penalty: float) -> Any:
    return REPETITION(logits, ids[: len(ids) // 2], penalty)


REPETITION = processors.repetition_penalty
RUN = TorchDecoder.run
FAULTS = {
    "a bias that is not added": (processors, "sequence_bias", lambda logits, ids, bias: logits),
    "a ban that is forgotten": (processors, "ban", lambda logits, ids: logits),
    "half of the text penalised": (processors, "repetition_penalty", _first_half),
    "a force that is none": (processors, "force", lambda logits, ids: logits),
    "no length penalty": (beam, "_per_length", lambda score, length, settings: score),
    "beams in another order": (beam, "_best", lambda scored: list(scored)),
    "too few candidates": (beam, "top_k", lambda row, k: row.argsort()[-(k // 2) :]),
    "beams mixed up": (TorchDecoder, "copy", lambda self, source, target: None),
    "logits a little off": (TorchDecoder, "run", _a_little_off),
    "positions off by one": (generate, "read_prompts", _shifted),
    "padding read as text": (generate, "read_prompts", _with_padding),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_caught(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(*FAULTS[fault])
    worst = 0.0
    for seed in range(CASES):
        model, asked, with_beams = case(seed)
        worst = max(worst, worst_gap(*both(model, asked), with_beams))
        if worst > 2 * TOLERANCE:
            return
    pytest.fail(f"at most {worst}")


def golden_model(parity: str, config: dict[str, Any], factors: dict[str, float]) -> Any:
    """The model of a golden file, its weights made by the formula."""
    model = OpenAIGPTLMHeadModel(OpenAIGPTConfig(**config, parity=parity)).eval()
    own = model.stored_tensors()
    arrays = formula({name: tensor.shape for name, tensor in own.items()}, factors)
    for name, array in arrays.items():
        own[name].copy_(torch.from_numpy(array))
    return model


def test_golden_ids_of_the_tiny_model() -> None:
    golden = json.loads((GOLDEN / "model_tiny_4.57.6.json").read_text("utf-8"))
    size = {"vocab_size": 11, "n_positions": 8, "n_embd": 8, "n_layer": 2, "n_head": 2}
    model = golden_model("ogpt", size, {})
    assert sorted(model.stored_tensors()) == golden["param_order"]
    prompt = torch.tensor([[1, 2, 3]])
    greedy = model.generate(prompt, max_new_tokens=5)
    assert greedy.tolist() == golden["greedy"] == [[1, 2, 3, 5, 7, 5, 7, 5]]
    beams = model.generate(prompt, max_new_tokens=5, num_beams=4)
    assert beams.tolist() == golden["beam4"] == [[1, 2, 3, 5, 7, 5, 7, 5]]


def run_golden(parity: str, file: str, name: str, masked: bool = True) -> tuple[Any, Any]:
    """What a model gives for a recorded call, and the record."""
    with gzip.open(GOLDEN / "transformers_4.57.6" / f"{file}.json.gz", "rt") as lines:
        golden = json.load(lines)["models"]["lm_long"]
    recorded = golden["cases"][name]
    model = golden_model(parity, golden["config"], golden["factors"])
    given = {key: torch.tensor(value) for key, value in recorded["in"].items()}
    if not masked:
        given["attention_mask"] = torch.ones_like(given["input_ids"])
    asked = {**given, **recorded["generate"], **SHOW}
    return model.generate(**asked), recorded["out"]


@pytest.mark.parametrize("name", ["default_length", "unpadded", "left", "beams"])
def test_version_4_by_its_parity(name: str) -> None:
    found, recorded = run_golden("transformers-4", "pytorch", name)
    assert found.sequences.tolist() == recorded["sequences"]
    torch.testing.assert_close(
        torch.stack(found.scores), torch.tensor(recorded["scores"]), atol=2e-5, rtol=1e-5
    )
    if name == "beams":
        expected = torch.tensor(recorded["sequences_scores"]).double()
        torch.testing.assert_close(found.sequences_scores, expected, atol=2e-5, rtol=1e-5)


def test_positions_of_version_4_are_not_ours() -> None:
    found, recorded = run_golden("ogpt", "pytorch", "left")
    assert found.sequences.tolist()[0] != recorded["sequences"][0]


@pytest.mark.parametrize("name", ["default_length", "unpadded", "left", "beams"])
def test_tensorflow_of_version_4_by_its_parity(name: str) -> None:
    """Its length counts the prompt; its generate() reads padding as text, which ours never does."""
    found, recorded = run_golden("transformers-4-tf", "tensorflow", name, masked=False)
    assert found.sequences.tolist() == recorded["sequences"]
    torch.testing.assert_close(
        torch.stack(found.scores), torch.tensor(recorded["scores"]), atol=2e-5, rtol=1e-5
    )
