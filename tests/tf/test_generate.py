"""generate() of the TensorFlow classes writes what PyTorch's writes, eagerly and as one graph."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import torch
from keras import ops

from ogpt.errors import (
    ConfigError,
    ContextTooLong,
    DecoderError,
    OgptError,
    SamplingError,
    TokenOutOfRange,
    UnknownArgument,
)
from ogpt.generation.choosing.arguments import read_arguments
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.notices import OgptNotice, collecting
from ogpt.tf.cache import TFLoopState
from ogpt.tf.generate import whole_loop as loop_file
from ogpt.tf.generate.compiled import whole_loop
from ogpt.tf.generate.whole_loop import TFLoopInputs
from ogpt.tf.heads import TFOpenAIGPTLMHeadModel
from ogpt.tf.outputs import TFGenerateBeamDecoderOnlyOutput, TFGenerateDecoderOnlyOutput
from tests.model.small import small
from tests.tf.twins import drawn_model, tf_small, twin

pytestmark = pytest.mark.slow

IDS = torch.tensor([[3, 1, 4, 1, 5], [0, 0, 9, 2, 6]])
MASK = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
BATCH = {"attention_mask": MASK, "pad_token_id": 0}
Asked = dict[str, Any]


def numpys(given: Asked) -> Asked:
    return {k: v.numpy() if isinstance(v, torch.Tensor) else v for k, v in given.items()}


def generated(model: Any, other: Any, ids: torch.Tensor = IDS, **asked: Any) -> tuple[Any, Any]:
    """What both models write."""
    return other.generate(ids.numpy(), **numpys(asked)), model.generate(ids, **asked)


# ---- 100 random cases in float64


def drawn_prompts(draw: random.Random, vocab_size: int) -> Asked:
    """Prompts padded on the left, on the right or with holes."""
    B, T = draw.randint(1, 3), draw.randint(1, 6)
    mask = torch.ones(B, T, dtype=torch.int64)
    side = draw.choice(["left", "right", "holes", "none"])
    for row in range(B):
        count = draw.randint(0, T - 1)
        if side == "holes":
            mask[row, draw.sample(range(T), count)] = 0
        elif side != "none":
            mask[row, slice(0, count) if side == "left" else slice(T - count, T)] = 0
    return {"input_ids": torch.randint(1, vocab_size, (B, T)), "attention_mask": mask}


def drawn_search(draw: random.Random, vocab_size: int) -> Asked:
    """Greedy search or beams, with end tokens and rules."""
    ids = [draw.randrange(vocab_size) for _ in range(6)]
    asked: Asked = {"max_new_tokens": draw.randint(1, 6), "pad_token_id": 0}
    if draw.random() < 0.6:
        asked["eos_token_id"] = ids[: draw.randint(1, 2)]
    if draw.random() < 0.6:
        asked["num_beams"] = draw.randint(2, 4)
        asked["num_return_sequences"] = draw.randint(1, 2)
        asked["length_penalty"] = draw.choice([0.0, 1.0, -1.0, 2.0])
        asked["early_stopping"] = draw.choice([True, False, "never"])
    rules: Asked = {
        "repetition_penalty": 1.4,
        "no_repeat_ngram_size": 2,
        "suppress_tokens": ids[2:4],
        "min_new_tokens": 1,
        "bad_words_ids": [ids[4:]],
        "sequence_bias": {(ids[2],): 1.0},
    }
    return {**asked, **{name: rules[name] for name in draw.sample(sorted(rules), 2)}}


def in_a_loop(other: Any, given: Asked) -> tuple[np.ndarray, bool]:
    """The new tokens of the compiled loop's operations, run without compiling them; whether all
    prompts have as many continuations as were asked for."""
    asked = {k: v for k, v in given.items() if k not in ("input_ids", "attention_mask")}
    settings = read_arguments(asked, given["input_ids"].shape[1]).settings
    ids = tf.constant(given["input_ids"].numpy(), tf.int32)
    kept = tf.constant(given["attention_mask"].numpy() > 0)
    out = whole_loop(other, TFLoopInputs(ids, kept, 0, None), settings)
    assert out.finite
    return out.new.numpy()[:, : int(out.lengths.numpy().max())], bool(out.fits)


@pytest.mark.parametrize("seed", range(10))
def test_greedy_and_beam_search_in_100_random_cases(seed: int) -> None:
    """Ten models, ten calls of each: PyTorch's ids, eagerly and by the loop."""
    draw = random.Random(f"generate {seed}")
    torch.manual_seed(seed)
    tied = draw.random() < 0.7
    sizes = {"n_positions": 14, "initializer_range": 0.5, "tie_word_embeddings": tied}
    kind = draw.choice([OpenAIGPTLMHeadModel, OpenAIGPTDoubleHeadsModel])
    model = drawn_model(draw, kind, **sizes).double()
    other = twin(model, dtype="float64")
    V = model.config.vocab_size
    for _ in range(10):
        given = {**drawn_prompts(draw, V), **drawn_search(draw, V)}
        with collecting():  # of settings without effect
            try:
                expected = model.generate(**given).numpy()
            except SamplingError:
                with pytest.raises(SamplingError):
                    other.generate(**numpys(given))
                assert not in_a_loop(other, given)[1]
                continue
            found = other.generate(**numpys(given)).numpy()
            new, fits = in_a_loop(other, given)
        assert np.array_equal(found, expected), given
        assert fits
        assert np.array_equal(new, expected[:, given["input_ids"].shape[1] :]), given


@pytest.mark.parametrize("fault", ["positions", "padding seen", "cache as it was", "no mask"])
def test_faults_of_a_loop_are_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = small(seed=2, n_positions=24, initializer_range=0.6).double()
    other = twin(model, dtype="float64")
    asked = {"max_new_tokens": 8, "num_beams": 3, **BATCH}
    expected = model.generate(IDS, **asked).numpy()[:, 5:]
    given = {"input_ids": IDS, **asked}
    assert np.array_equal(in_a_loop(other, given)[0], expected)
    real = loop_file.read_prompts

    def wrong(*given: Any) -> Any:
        read = real(*given)
        if fault == "positions":
            return read._replace(positions=read.positions - 1)
        return read._replace(begins=read.begins * 0)

    if fault == "cache as it was":

        def kept(state: TFLoopState, places: Any) -> TFLoopState:
            new = len(places) != len(state.keys[0])  # prompts that are repeated, not beams
            return reorder(state, places) if new else state

        reorder = TFLoopState.rows
        monkeypatch.setattr(TFLoopState, "rows", kept)
    elif fault == "no mask":
        given["attention_mask"] = torch.ones_like(MASK)
    else:
        monkeypatch.setattr("ogpt.tf.generate.beam_loop.read_prompts", wrong)
    assert not np.array_equal(in_a_loop(other, given)[0], expected)


# ---- the arguments of PyTorch's


SEARCHES: dict[str, Asked] = {
    "greedy": {},
    "sampling": {"do_sample": True, "seed": 5, "num_return_sequences": 3},
    "filters": {"do_sample": True, "seed": 5, "top_k": 0, "top_p": 0.8, "temperature": 0.7},
    "beams": {"num_beams": 4, "num_return_sequences": 2, "eos_token_id": [7, 8]},
    "beam sampling": {"num_beams": 3, "do_sample": True, "seed": 1},
    "groups": {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 1.0},
    "contrastive": {"penalty_alpha": 0.6, "top_k": 4},
    "one": {"max_new_tokens": 1, "num_return_sequences": 2, "do_sample": True, "seed": 9},
}


@pytest.fixture(scope="module")
def pair() -> tuple[Any, Any]:
    model = small(n_positions=24).double()
    return model, twin(model, dtype="float64")


@pytest.mark.parametrize("search", SEARCHES)
def test_every_search_and_its_scores(pair: tuple[Any, Any], search: str) -> None:
    asked = {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}
    found, expected = generated(
        *pair, **{"max_new_tokens": 6, **asked, **BATCH, **SEARCHES[search]}
    )
    beams = "num_beams" in SEARCHES[search]
    kind = TFGenerateBeamDecoderOnlyOutput if beams else TFGenerateDecoderOnlyOutput
    assert isinstance(found, kind)
    assert [*found] == [name for name in expected if name in found]
    assert np.array_equal(found.sequences, expected.sequences)
    for name in ("scores", "logits"):
        for one, other in zip(found[name], expected[name], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9)
    if beams:
        np.testing.assert_allclose(found.sequences_scores, expected.sequences_scores, rtol=1e-12)
        assert np.array_equal(found.beam_indices, expected.beam_indices)
    for normalize in (False, True):
        scored = [
            given.compute_transition_scores(
                out.sequences, out.scores, out.get("beam_indices"), normalize
            )
            for given, out in zip(pair, (expected, found), strict=True)
        ]
        assert scored[0].shape == (len(expected.sequences), found.sequences.shape[1] - IDS.shape[1])
        np.testing.assert_allclose(scored[1], scored[0], rtol=1e-9)


def test_a_window_slides_and_processors_are_applied(pair: tuple[Any, Any]) -> None:
    with collecting() as notices:
        found, expected = generated(*pair, max_new_tokens=40, **BATCH)
    assert np.array_equal(found, expected)
    assert [notice.kind for notice in notices] == ["context-slides"] * 2
    _, other = pair

    def only_eleven(ids: Any, logits: Any) -> Any:
        assert ids.shape[0] == 1
        return tf.where(tf.range(logits.shape[-1]) == 11, logits, -np.inf)

    found = other.generate(IDS.numpy(), max_new_tokens=2, logits_processor=[only_eleven])
    assert found[:, 5:].numpy().tolist() == [[11, 11]] * 2


def test_padding_on_either_side_changes_nothing(pair: tuple[Any, Any]) -> None:
    _, other = pair
    alone = other.generate(np.array([[9, 2, 6]]), max_new_tokens=5).numpy()[0, 3:]
    right = np.array([[9, 2, 6, 0, 0], [3, 1, 4, 1, 5]], np.int32)
    for jit_compile in (False, True):
        asked = {"max_new_tokens": 5, "pad_token_id": 0, "jit_compile": jit_compile}
        with collecting() as notices:
            left = other.generate(IDS.numpy(), **asked)
            assert "treating 2 pad tokens (0) at the ends" in notices[0].message
            found = other.generate(right, **asked)
        assert found.dtype == tf.int32
        assert np.array_equal(left[1, 5:], alone)
        assert np.array_equal(found[0, 5:], alone)


@pytest.mark.parametrize("parity", ["transformers-4-tf", "transformers-4"])
def test_positions_of_padding(parity: str) -> None:
    model = small(parity=parity, n_positions=24).double()
    found, expected = generated(model, twin(model, dtype="float64"), max_new_tokens=5, **BATCH)
    assert np.array_equal(found, expected)


def test_without_a_seed_each_call_differs_and_keras_seeds_it() -> None:
    asked = {"do_sample": True, "max_new_tokens": 12}
    found = []
    for _ in range(2):
        tf.keras.utils.set_random_seed(4)
        other = tf_small(n_positions=24)
        found.append([other.generate(IDS.numpy(), **asked).numpy() for _ in range(2)])
    assert np.array_equal(found[0], found[1])
    assert not np.array_equal(found[0][0], found[0][1])
    same = other.generate(np.array([[3, 1], [3, 1]]), **asked).numpy()
    assert not np.array_equal(same[0], same[1])


def test_the_start_token_and_one_prompt_of_one_axis() -> None:
    model = small(bos_token_id=2)
    other = twin(model)
    assert np.array_equal(*generated(model, other, max_new_tokens=3, ids=torch.tensor([2, 5])))
    found = other.generate(max_new_tokens=3)
    assert np.array_equal(found, model.generate(max_new_tokens=3))
    assert np.array_equal(other.generate(inputs=np.array([[2]]), max_new_tokens=3), found)


def test_calls_share_a_decoder_one_at_a_time() -> None:
    other = tf_small(n_positions=24)
    kept = other._kept_decoder
    alone = other.generate(IDS.numpy()[:1], max_new_tokens=4).numpy()
    both = other.generate(IDS.numpy(), max_new_tokens=4).numpy()
    with kept.lent(other, 1) as first, kept.lent(other, 1) as second:
        assert first.slots == 2  # of the larger call
        assert first is not second
    assert np.array_equal(other.generate(IDS.numpy()[:1], max_new_tokens=4), alone)
    assert np.array_equal(both[:1], alone)

    def stop(ids: Any, logits: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        other.generate(IDS.numpy(), logits_processor=[stop])
    assert not kept._kept  # its slots hold what was written
    assert np.array_equal(other.generate(IDS.numpy(), max_new_tokens=4), both)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_bfloat16(jit_compile: bool) -> None:
    """A token with a clear lead is chosen in every precision."""
    other = tf_small(n_positions=24)
    half = TFOpenAIGPTLMHeadModel(other.config, dtype="mixed_bfloat16")
    half.set_weights(other.get_weights())
    asked: Asked = {"max_new_tokens": 3, "sequence_bias": {(4,): 60.0, (4, 4): -90.0}}
    with collecting():  # that it compiles
        found = half.generate(IDS.numpy(), jit_compile=jit_compile, **asked).numpy()[:, 5:]
    expected = other.generate(IDS.numpy(), **asked).numpy()[:, 5:]
    assert np.array_equal(found == 4, expected == 4)
    assert (found[:, 0] == 4).all()


def test_defaults_of_a_folder(tmp_path: Path) -> None:
    model = small(eos_token_id=7)
    model.generation_config = {"max_new_tokens": 3, "sequence_bias": {(4,): 60.0}}
    model.save_pretrained(tmp_path / "torch")
    other = TFOpenAIGPTLMHeadModel.from_pretrained(tmp_path / "torch")
    assert other.generate(IDS.numpy()).numpy()[:, 5:].tolist() == [[4] * 3] * 2
    other.save_pretrained(tmp_path / "tf")
    again = OpenAIGPTLMHeadModel.from_pretrained(tmp_path / "tf")
    assert again.generate(IDS)[:, 5:].tolist() == [[4] * 3] * 2


BAD: list[Asked] = [
    {},
    {"input_ids": IDS.float()},
    {"input_ids": IDS + 40},
    {"input_ids": IDS[:, :0]},
    {"input_ids": IDS, "inputs": IDS},
    {"input_ids": IDS, "attention_mask": MASK[:, :4]},
    {"input_ids": IDS, "attention_mask": MASK * 0.5},
    {"input_ids": IDS, "attention_mask": MASK * torch.tensor([[1], [0]])},
    {"input_ids": IDS, "max_new_tokens": 0},
    {"input_ids": IDS, "max_length": 4},
    {"input_ids": IDS, "max_new_token": 4},
    {"input_ids": IDS, "temperature": -1.0},
    {"input_ids": IDS, "suppress_tokens": [40]},
    {"input_ids": IDS, "generation_config": 3},
    {"input_ids": IDS, "suppress_tokens": list(range(40))},
    {"input_ids": IDS, "num_beams": 2, "num_return_sequences": 2, "allowed_token_ids": [3],
     "max_new_tokens": 1},
]  # fmt: skip


@pytest.mark.parametrize("given", BAD, ids=lambda given: "-".join(given))
def test_errors_are_pytorchs(given: Asked) -> None:
    model, other = small(), tf_small()
    with pytest.raises(OgptError) as theirs, collecting():
        model.generate(**given)
    with pytest.raises(OgptError) as ours, collecting():
        other.generate(**numpys(given))
    assert type(ours.value) is type(theirs.value)
    same = {"torch.": "", "int64": "int32", "return_tensors='pt'": "return_tensors='tf'"}
    found, expected = (f"{error.value}; {error.value.hint}" for error in (ours, theirs))
    for old, new in same.items():
        expected = expected.replace(old, new)
    assert found.replace("int64", "int32") == expected


def test_what_the_tensorflow_classes_do_not_have() -> None:
    other = tf_small()
    for name in ("inputs_embeds", "token_type_ids", "stop_strings", "streamer", "tokenizer"):
        with pytest.raises(UnknownArgument, match=f"no argument {name} in TensorFlow") as caught:
            other.generate(IDS.numpy(), **{name: 1})
        assert caught.value.hint
    with pytest.raises(ConfigError, match="prompts are a list; allowed: a tensor") as wrong:
        other.generate([[1, 2]])
    assert "return_tensors='tf'" in wrong.value.hint
    with pytest.raises(ConfigError, match=r"shape \(1, 2, 5\); allowed: \(B, T\)"):
        other.generate(IDS.numpy()[None])
    with pytest.raises(ContextTooLong, match="a prompt ends at position 5 and 13 new tokens were"):
        other.generate(IDS.numpy(), max_new_tokens=13, num_beams=2)


# ---- compiled


@pytest.fixture
def told() -> Iterator[list[Any]]:
    with collecting() as notices:
        yield notices


def test_one_compilation_serves_a_bucket(told: list[Any]) -> None:
    model = small(n_positions=40)
    other = twin(model)
    asked: Asked = {"max_new_tokens": 4, "jit_compile": True, "do_sample": True, "pad_token_id": 0}
    draw = np.random.default_rng(0)
    for length, seed in ((3, 1), (9, 2), (16, None), (17, 1), (30, 3)):
        ids = draw.integers(1, 40, (2, length)).astype(np.int32)
        found = other.generate(ids, seed=seed, **asked)
        if seed is not None:  # without jit_compile the same numbers are drawn
            wanted = other.generate(ids, seed=seed, **asked | {"jit_compile": False})
            assert np.array_equal(found, wanted)
    kinds = [notice.fields for notice in told if notice.kind == "compiling"]
    prompts = (
        "generate() for 2 prompts of at most 16 tokens",
        "generate() for 2 prompts of at most 32 tokens",
    )
    assert tuple(one["what"] for one in kinds) == prompts
    loops = other._compiled_loops._loops
    assert [loop.experimental_get_tracing_count() for loop in loops.values()] == [1, 1]
    # the loops read the weights as they are
    for variable in other.variables:
        if "seed" not in variable.path:
            variable.assign(ops.roll(variable, 1, axis=-1))
    ids = IDS.numpy()
    wanted = other.generate(ids, seed=1, **asked | {"jit_compile": False})
    assert np.array_equal(other.generate(ids, seed=1, **asked), wanted)
    assert len([notice for notice in told if notice.kind == "compiling"]) == 2
    other.resize_token_embeddings(44)
    wanted = other.generate(ids, seed=1, **asked | {"jit_compile": False})
    assert np.array_equal(other.generate(ids, seed=1, **asked), wanted)
    assert len([notice for notice in told if notice.kind == "compiling"]) == 3


EVERYTHING: Asked = {
    "num_beams": 3,
    "num_return_sequences": 2,
    "eos_token_id": [7, 9],
    "repetition_penalty": 1.2,
    "no_repeat_ngram_size": 2,
    "bad_words_ids": [[3], [4, 5]],
    "min_new_tokens": 2,
    "forced_eos_token_id": [7],
    "return_dict_in_generate": True,
}


def test_beams_and_rules_compiled(told: list[Any]) -> None:
    model = small(n_positions=24).double()
    other = twin(model, dtype="float64")
    asked = {"max_new_tokens": 5, **BATCH, **EVERYTHING}
    found = other.generate(IDS.numpy(), jit_compile=True, **numpys(asked))
    expected = model.generate(IDS, **asked)
    assert isinstance(found, TFGenerateBeamDecoderOnlyOutput)
    assert np.array_equal(found.sequences, expected.sequences)
    assert np.array_equal(found.beam_indices, expected.beam_indices)
    np.testing.assert_allclose(found.sequences_scores, expected.sequences_scores, rtol=1e-12)


def test_what_a_compiled_loop_refuses(told: list[Any]) -> None:
    other = tf_small(n_positions=24)
    refused: list[tuple[Asked, type[OgptError], str]] = [
        ({"num_beams": 2, "do_sample": True}, SamplingError, "do_sample with num_beams is set"),
        ({"logits_processor": [print]}, SamplingError, "logits_processor is set; allowed: only"),
        (
            {"output_scores": True, "return_dict_in_generate": True},
            SamplingError,
            "output_scores is set; allowed: only without jit_compile",
        ),
        ({"max_new_tokens": 30}, ContextTooLong, "5 and 30 new tokens .* length is 24"),
        ({"input_ids": IDS.numpy() + 40}, TokenOutOfRange, "token id 49 was passed"),
    ]
    for asked, error, match in refused:
        with pytest.raises(error, match=match) as caught:
            other.generate(**{"input_ids": IDS.numpy(), "jit_compile": True, **asked})
        assert caught.value.hint
    assert not told  # nothing was compiled


def test_what_shows_in_a_compiled_loop_only() -> None:
    """Without XLA, which takes longer to compile and has the same operations."""
    other = tf_small(n_positions=24, parity="transformers-4")  # its padding needs a loop
    given = numpys({"input_ids": IDS, "max_new_tokens": 2, **BATCH})
    with pytest.raises(SamplingError, match="after all rules a text has no token left") as caught:
        other.generate(**given, suppress_tokens=list(range(40)))
    assert "ban fewer tokens" in caught.value.hint
    table = other.transformer.tokens_embed.embeddings
    table.assign(table.numpy() * np.nan)
    with pytest.raises(DecoderError, match="largest logit is nan; allowed: finite numbers"):
        other.generate(**given)


def test_a_compilation_announces_itself() -> None:
    other = tf_small(n_positions=24)
    with pytest.warns(OgptNotice, match="compiling .* for 2 prompts of at most 16 tokens with XLA"):
        other.generate(IDS.numpy(), max_new_tokens=1, jit_compile=True)


# ---- in the caller's own tf.function


def test_the_callers_own_compiled_function() -> None:
    model = small(n_positions=24).double()
    other = twin(model, dtype="float64")
    compiled = tf.function(other.generate, jit_compile=True)
    asked: Asked = {"max_new_tokens": 6, "eos_token_id": 11, "pad_token_id": 0}
    found = compiled(tf.constant(IDS.numpy()), attention_mask=tf.constant(MASK.numpy()), **asked)
    expected = model.generate(IDS, attention_mask=MASK, **asked).numpy()
    assert found.dtype == tf.int64
    assert found.shape == (2, 11)  # whatever the end tokens are
    assert np.array_equal(found[:, : expected.shape[1]], expected)
    assert not found[:, expected.shape[1] :].numpy().any()


def test_a_graph_of_any_shape() -> None:
    model = small(n_positions=24).double()
    other = twin(model, dtype="float64")
    spec = tf.TensorSpec([None, None], tf.int32)

    @tf.function(input_signature=[spec, tf.TensorSpec([], tf.int64)])
    def sample(ids: Any, seed: Any) -> Any:
        return other.generate(ids, seed=seed, do_sample=True, max_new_tokens=6)

    @tf.function(input_signature=[spec])
    def search(ids: Any) -> Any:
        return other.generate(
            ids, num_beams=2, max_new_tokens=4, pad_token_id=0, return_dict_in_generate=True
        )

    @tf.function(input_signature=[spec], autograph=False)  # AutoGraph has an error of its own
    def without_length(ids: Any) -> Any:
        return other.generate(ids)

    ids = IDS.numpy().astype(np.int32)
    for rows in (ids, ids[:1, :3]):  # padding on the left is found by its token
        out = search(rows)
        assert isinstance(out, TFGenerateBeamDecoderOnlyOutput)
        asked = {"num_beams": 2, "max_new_tokens": 4, "pad_token_id": 0}
        with collecting():
            expected = model.generate(torch.from_numpy(rows).long(), **asked)
        assert np.array_equal(out.sequences, expected)
    one, again, another = (sample(ids[:1], seed).numpy() for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, another)
    with pytest.raises(SamplingError, match="max_new_tokens is None for prompts whose length"):
        without_length(ids)


def test_seeds_in_a_graph() -> None:
    """A number draws what every decoder draws; none draws anew in each call."""
    other = tf_small(n_positions=24)
    ids = tf.constant(IDS.numpy())
    asked: Asked = {"do_sample": True, "max_new_tokens": 8, "num_return_sequences": 2}
    function = tf.function(other.generate)
    assert np.array_equal(function(ids, seed=3, **asked), other.generate(ids, seed=3, **asked))
    first, second = function(ids, **asked).numpy(), function(ids, **asked).numpy()
    assert not np.array_equal(first, second)
    assert function.experimental_get_tracing_count() == 2
    with pytest.raises(ContextTooLong, match="only greedy search and sampling without jit_compile"):
        function(ids, max_new_tokens=21)


def test_the_random_numbers_of_a_graph_are_uniform() -> None:
    """Ten tokens with known probabilities, drawn 20,000 times: within four standard deviations."""
    other = tf_small(n_positions=24)
    ids = tf.constant(IDS.numpy()[:1])
    logits = other(ids).logits[0, -1].numpy().astype(np.float64)
    best = np.argsort(-logits)[:10]
    expected = np.exp(logits[best]) / np.exp(logits[best]).sum()
    asked: Asked = {"do_sample": True, "top_k": 10, "max_new_tokens": 1}
    drawn = tf.function(other.generate)(ids, num_return_sequences=20_000, **asked).numpy()[:, 5]
    shares = np.array([(drawn == token).mean() for token in best])
    assert np.isclose(shares.sum(), 1)
    assert (abs(shares - expected) < 4 * np.sqrt(expected * (1 - expected) / 20_000)).all()
