"""Pipelines answer as transformers' do, where those are right, and whatever else is in a batch."""

import doctest
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers

import ogpt
from ogpt.config.model import OpenAIGPTConfig
from ogpt.errors import (
    BackendMissing,
    ConfigError,
    ContextTooLong,
    DataError,
    SamplingError,
    TokenizerError,
    UnknownArgument,
    VocabularyMismatch,
)
from ogpt.generation.texts.writer import Writer
from ogpt.model.classification import OpenAIGPTForSequenceClassification
from ogpt.model.double_heads import OpenAIGPTDoubleHeadsModel
from ogpt.model.heads import OpenAIGPTLMHeadModel
from ogpt.model.transformer import OpenAIGPTModel
from ogpt.notices import OgptNotice, collecting
from ogpt.pipelines import feature_extraction as features
from ogpt.pipelines import pipeline as opening
from ogpt.pipelines import text_classification as classification
from ogpt.pipelines import text_generation as generation
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.tokens.merge_learning import learn_merges
from ogpt.tokens.word_counting import count_words

TEXTS = ["The future of AI is bright.", "my dog is cute", "Hello, is my cat bright, too?"]
POSITIONS = 24


@pytest.fixture(scope="module")
def tokenizer() -> OpenAIGPTTokenizerFast:
    vocab, merges = learn_merges(count_words(TEXTS * 3), 60)
    return OpenAIGPTTokenizerFast(vocab=vocab, merges=merges)


def tiny(vocab_size: int, **fields: Any) -> OpenAIGPTConfig:
    sizes = {"n_positions": POSITIONS, "n_embd": 16, "n_layer": 2, "n_head": 2}
    return OpenAIGPTConfig(vocab_size=vocab_size, initializer_range=0.5, **{**sizes, **fields})


@pytest.fixture(scope="module")
def model(tokenizer: OpenAIGPTTokenizerFast) -> OpenAIGPTLMHeadModel:
    torch.manual_seed(1)
    return OpenAIGPTLMHeadModel(tiny(len(tokenizer))).eval()


@pytest.fixture(scope="module")
def folder(
    tmp_path_factory: pytest.TempPathFactory,
    tokenizer: OpenAIGPTTokenizerFast,
    model: OpenAIGPTLMHeadModel,
) -> Path:
    path = tmp_path_factory.mktemp("language")
    tokenizer.save_pretrained(path)
    model.save_pretrained(path)
    return path


KINDS: dict[str, dict[str, Any]] = {
    "three": {"id2label": {0: "bad", 1: "so-so", 2: "good"}},
    "one": {"num_labels": 1},
    "number": {"num_labels": 2, "problem_type": "regression"},
    "several": {"num_labels": 3, "problem_type": "multi_label_classification"},
}


@pytest.fixture(scope="module")
def classifiers(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: OpenAIGPTTokenizerFast
) -> dict[str, Path]:
    torch.manual_seed(2)
    paths = {}
    for kind, fields in KINDS.items():
        paths[kind] = tmp_path_factory.mktemp(kind)
        tokenizer.save_pretrained(paths[kind])
        config = tiny(len(tokenizer), **fields)
        OpenAIGPTForSequenceClassification(config).save_pretrained(paths[kind])
    return paths


def same(ours: Any, theirs: Any, tolerance: float = 1e-5) -> bool:
    """Whether two answers have one structure, and numbers that are close."""
    if isinstance(theirs, dict):
        return (
            isinstance(ours, dict)
            and ours.keys() == theirs.keys()
            and all(same(ours[key], theirs[key], tolerance) for key in theirs)
        )
    if isinstance(theirs, list):
        return (
            isinstance(ours, list)
            and len(ours) == len(theirs)
            and all(same(*pair, tolerance) for pair in zip(ours, theirs, strict=True))
        )
    if isinstance(theirs, float):
        return type(ours) is float and abs(ours - theirs) < tolerance
    return type(ours) is type(theirs) and ours == theirs


# ---- classification

INPUTS: dict[str, Any] = {
    "text": TEXTS[0],
    "texts": TEXTS,
    "one text": TEXTS[:1],
    "pair": {"text": TEXTS[0], "text_pair": TEXTS[1]},
    "pairs": [{"text": TEXTS[0], "text_pair": TEXTS[1]}, {"text": TEXTS[2], "text_pair": "my"}],
}
OPTIONS: list[dict[str, Any]] = [
    {},
    {"top_k": 1},
    {"top_k": 2},
    {"top_k": None},
    {"function_to_apply": "sigmoid"},
    {"function_to_apply": "softmax", "top_k": None},
    {"function_to_apply": "NONE"},
]


@pytest.mark.parametrize("kind", KINDS)
def test_labels_and_scores_are_transformers(kind: str, classifiers: dict[str, Path]) -> None:
    for made in ({}, {"top_k": None}, {"function_to_apply": "none"}):
        ours = ogpt.pipeline("text-classification", classifiers[kind], **made)
        theirs = transformers.pipeline("text-classification", str(classifiers[kind]), **made)
        for options in OPTIONS:
            for inputs in INPUTS.values():
                expected = theirs(inputs, **options)
                assert same(ours(inputs, **options), expected), (made, options, inputs)
                if not isinstance(inputs, dict):
                    assert same(ours(inputs, batch_size=2, **options), expected)


def test_a_planted_fault_in_scores_is_seen(classifiers: dict[str, Path]) -> None:
    ours = ogpt.pipeline("text-classification", classifiers["several"])
    theirs = transformers.pipeline("text-classification", str(classifiers["several"]))
    assert not same(ours(TEXTS, function_to_apply="softmax"), theirs(TEXTS))
    assert not same(ours([text[:-2] for text in TEXTS]), theirs(TEXTS))
    assert not same(ours(TEXTS[0]), theirs(TEXTS[0])[0])


def test_the_label_is_the_configurations(classifiers: dict[str, Path]) -> None:
    classify = ogpt.pipeline("sentiment-analysis", classifiers["three"])
    [best] = classify(TEXTS[1])
    every = classify(TEXTS[1], top_k=None)
    assert {one["label"] for one in every} == {"bad", "so-so", "good"}
    assert every[0] == best
    assert sum(one["score"] for one in every) == pytest.approx(1, abs=1e-6)
    assert sum(one["score"] for one in classify(TEXTS[1], top_k=2)) < 1


def test_all_scores_as_transformers_4_gave_them(classifiers: dict[str, Path]) -> None:
    """Transformers 5 has this argument no more: in the order of the ids, in one list more."""
    classify = ogpt.pipeline("text-classification", classifiers["three"])
    [scores] = classify(TEXTS[1], return_all_scores=True)
    assert [one["label"] for one in scores] == ["bad", "so-so", "good"]
    assert classify(TEXTS[:2], return_all_scores=True)[1] == scores
    assert classify(TEXTS[1], return_all_scores=False) == classify(TEXTS[1])
    assert classify(TEXTS[1], return_all_scores=True, top_k=3) == classify(TEXTS[1], top_k=3)


def test_a_batch_of_classes_changes_nothing(classifiers: dict[str, Path]) -> None:
    classify = ogpt.pipeline("text-classification", classifiers["three"], batch_size=3)
    assert classify.tokenizer.pad_token is None
    assert same(classify(TEXTS), [classify(text)[0] for text in TEXTS], 1e-6)
    mixed = [TEXTS[0], {"text": TEXTS[0]}, {"text": TEXTS[0], "text_pair": ""}]
    assert same(classify(mixed), classify(TEXTS[:1]) * 3, 1e-6)


def test_long_texts_are_cut_with_a_notice(classifiers: dict[str, Path]) -> None:
    classify = ogpt.pipeline("text-classification", classifiers["three"])
    long = "my dog is cute " * 20
    for options, length in [({}, POSITIONS), ({"max_length": 5}, 5), ({"max_length": 99}, 24)]:
        with collecting() as notices:
            found = classify([long, "my dog"], truncation=True, **options)
        [notice] = notices
        assert notice.kind == "text-truncated"
        assert (notice.fields["count"], notice.fields["max_length"]) == (1, length)
        kept = classify.tokenizer.encode(long)[:length]
        scores = classify.model(torch.tensor([kept])).logits.softmax(-1)
        assert found[0]["score"] == pytest.approx(scores.max().item(), abs=1e-6)
    with collecting() as notices:
        classify(long)
    assert [notice.kind for notice in notices] == ["text-truncated"]
    with pytest.raises(ContextTooLong, match="24"):
        classify(long, truncation=False)


# ---- features


def test_features_are_transformers(folder: Path) -> None:
    ours = ogpt.pipeline("feature-extraction", folder)
    theirs = transformers.pipeline("feature-extraction", str(folder))
    assert same(ours(TEXTS[0]), theirs(TEXTS[0]))
    assert same(ours(TEXTS), theirs(TEXTS))
    tensors = ours(TEXTS, return_tensors=True, batch_size=2)
    expected = theirs(TEXTS, return_tensors=True)
    torch.testing.assert_close(tensors, expected, atol=1e-5, rtol=1e-5)
    assert not same(ours([TEXTS[0].replace("is", "my")]), theirs(TEXTS[:1]))  # planted: one token
    moved = [[states[0][1:] + states[0][:1]] for states in ours(TEXTS)]
    assert not same(moved, theirs(TEXTS))  # planted: rows off by one


def test_a_batch_of_features_has_no_padding(folder: Path) -> None:
    """Transformers gives every text of a batch the rows of the longest one."""
    extract = ogpt.pipeline("feature-extraction", folder, batch_size=3)
    found = extract(TEXTS)
    lengths = [len(ids) for ids in extract.tokenizer(TEXTS)["input_ids"]]
    assert len(set(lengths)) > 1
    assert [len(states[0]) for states in found] == lengths
    assert same(found, [extract(text) for text in TEXTS], 1e-5)


def test_features_of_every_class(
    folder: Path, classifiers: dict[str, Path], tokenizer: OpenAIGPTTokenizerFast, tmp_path: Path
) -> None:
    """The transformer's states, whatever the head, and no notice about it."""
    whole = OpenAIGPTLMHeadModel.from_pretrained(folder)
    expected = ogpt.pipeline("feature-extraction", folder)(TEXTS[1])
    for one in (whole, whole.transformer):
        assert ogpt.pipeline("feature-extraction", one, tokenizer)(TEXTS[1]) == expected
    whole.transformer.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    bare = ogpt.pipeline("feature-extraction", tmp_path)
    assert type(bare.model) is OpenAIGPTModel
    assert bare(TEXTS[1]) == expected
    classifier = ogpt.pipeline("feature-extraction", classifiers["three"])
    [states] = classifier(TEXTS[1])
    assert len(states[0]) == 16


def test_arguments_for_the_tokenizer(folder: Path) -> None:
    extract = ogpt.pipeline("feature-extraction", folder)
    with collecting() as notices:
        short = extract(TEXTS[0], tokenize_kwargs={"truncation": True, "max_length": 3})
        assert extract(TEXTS[0], tokenize_kwargs=None, max_length=3) == short
    assert len(short[0]) == 3
    assert [notice.fields["max_length"] for notice in notices] == [3, 3]
    with pytest.raises(UnknownArgument, match="has no argument max_lenght") as caught:
        extract(TEXTS[0], tokenize_kwargs={"max_lenght": 3})
    assert caught.value.hint == "did you mean max_length?"


def test_padding_has_no_effect_and_says_so(folder: Path) -> None:
    extract = ogpt.pipeline("feature-extraction", folder)
    with pytest.warns(OgptNotice, match="padding has no effect: a pipeline pads"):
        assert extract(TEXTS, padding=True, batch_size=2) == extract(TEXTS, batch_size=2)


# ---- generation


@pytest.fixture(scope="module")
def write(folder: Path) -> Any:
    return ogpt.pipeline("text-generation", folder)


@pytest.mark.parametrize(
    "options",
    [
        {"max_new_tokens": 8},
        {"max_length": 16},
        {"max_new_tokens": 6, "num_beams": 3, "num_return_sequences": 2},
        {"max_new_tokens": 6, "repetition_penalty": 1.5, "no_repeat_ngram_size": 2},
    ],
)
def test_greedy_and_beam_ids_are_transformers(
    options: dict[str, Any], folder: Path, write: Any
) -> None:
    theirs = transformers.pipeline("text-generation", str(folder))
    for inputs in (TEXTS[0], TEXTS):
        expected = theirs(inputs, do_sample=False, return_tensors=True, **options)
        for size in (1, 3):
            found = write(inputs, do_sample=False, return_tensors=True, batch_size=size, **options)
            assert found == expected
    other = write(TEXTS, do_sample=False, return_tensors=True, **options, bad_words_ids=[[3], [5]])
    assert other != theirs(TEXTS, do_sample=False, return_tensors=True, **options)  # planted


def test_the_prompt_is_kept_and_joined_by_one_space(folder: Path, write: Any) -> None:
    theirs = transformers.pipeline("text-generation", str(folder))
    options = {"do_sample": False, "max_new_tokens": 5}
    for prompt in ("The FUTURE of  AI is", "Hello,", "my dog ", "my dog\n"):
        [one] = write(prompt, **options)
        [ids] = write(prompt, return_tensors=True, **options)
        new = ids["generated_token_ids"][len(write.tokenizer.encode(prompt)) :]
        words = write.tokenizer.decode(new)
        space = "" if prompt[-1].isspace() else " "
        assert one == {"generated_text": prompt + space + words}
        [glued] = theirs(prompt, **options)
        assert glued["generated_text"] == prompt + words  # wrong where there is no white space
        [alone] = write(prompt, return_full_text=False, **options)
        assert prompt + alone["generated_text"] == one["generated_text"]
        writer = Writer(write.tokenizer, after_word=bool(space))
        written = "".join(map(writer.write, new)) + writer.finish()
        assert alone["generated_text"] == written
        [ours] = ogpt.generate(folder, prompt, **options)
        assert ours.text == written


def test_shapes_of_the_answers(write: Any) -> None:
    options = {"max_new_tokens": 2, "num_return_sequences": 2, "seed": 7}
    one = write(TEXTS[0], **options)
    assert [[*record] for record in one] == [["generated_text"]] * 2
    assert one[0] != one[1]
    assert write(TEXTS, **options) == [write(text, **options) for text in TEXTS]
    assert write(text_inputs=TEXTS[:1], **options) == [one]
    assert write([], **options) == []
    stream = write(iter(TEXTS), batch_size=2, **options)
    assert isinstance(stream, Iterator)
    assert list(stream) == write(tuple(TEXTS), **options)


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 3},
        {"seed": 3, "max_length": 14},
        {"seed": 3, "min_length": 12, "max_new_tokens": 7, "eos_token_id": 4},
        {"do_sample": False, "eos_token_id": [4, 9], "max_new_tokens": 9},
        {"seed": 5, "stop_sequence": "i", "num_return_sequences": 2, "max_new_tokens": 7},
        {"do_sample": False, "num_return_sequences": 2, "num_beams": 2, "max_new_tokens": 4},
    ],
)
def test_a_batch_of_prompts_changes_nothing(options: dict[str, Any], write: Any) -> None:
    """There is no padding token, and lengths are those of each prompt."""
    for tensors in (False, True):
        alone = [write(text, return_tensors=tensors, **options) for text in TEXTS]
        assert write(TEXTS, batch_size=3, return_tensors=tensors, **options) == alone
    lengths = [len(one["generated_token_ids"]) for answer in alone for one in answer]
    assert (len(set(lengths)) > 1) == (len(options) > 1 and "max_length" not in options)


def test_the_defaults(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """256 tokens sampled at temperature 0.7, as transformers 5, within the model's positions."""
    asked: list[dict[str, Any]] = []
    generate = write.model.generate

    def recorded(*tensors: Any, **options: Any) -> Any:
        asked.append(options)
        return generate(*tensors, **options)

    monkeypatch.setattr(write.model, "generate", recorded)
    names = ("do_sample", "temperature", "max_new_tokens", "max_length")

    def seen(prompt: str = TEXTS[1], **options: Any) -> tuple[Any, ...]:
        write(prompt, **options)
        return tuple(asked[-1].get(name) for name in names)

    n_prompt = len(write.tokenizer.encode(TEXTS[1]))
    assert seen() == (True, 0.7, POSITIONS - n_prompt, None)
    assert seen(max_length=9) == (True, 0.7, None, 9)
    assert seen(temperature=2.0, max_new_tokens=3) == (True, 2.0, 3, None)
    assert seen(do_sample=False, max_new_tokens=3) == (False, None, 3, None)
    assert seen(penalty_alpha=0.5, top_k=3, max_new_tokens=2) == (False, None, 2, None)
    settings = transformers.GenerationConfig(max_new_tokens=2, temperature=1.5)
    assert seen(generation_config=settings) == (True, 1.5, 2, None)
    assert seen(generation_config={"do_sample": False, "max_length": 9}) == (False, None, None, 9)
    monkeypatch.setattr(write.model, "generation_config", {"temperature": 0.5, "max_length": 8})
    assert seen() == (True, 0.5, None, 8)
    assert seen(temperature=None) == (True, 0.5, None, 8)
    monkeypatch.setattr(write.model, "generation_config", {"temperature": None, "max_length": None})
    assert seen() == (True, 0.7, POSITIONS - n_prompt, None)
    monkeypatch.setattr(write.model, "generation_config", {"return_dict_in_generate": True})
    of_task = {"text-generation": {"do_sample": True, "temperature": 0.9, "max_length": 10}}
    monkeypatch.setattr(write.model.config, "task_specific_params", of_task)
    assert seen() == (True, 0.9, None, 10)
    assert seen(max_new_tokens=4) == (True, 0.9, 4, None)


def test_the_default_length_ends_with_the_positions(write: Any) -> None:
    full = write.tokenizer.decode(write.tokenizer.encode("my dog " * 20)[:POSITIONS])
    [one] = write(full, return_tensors=True)
    assert len(one["generated_token_ids"]) == POSITIONS + 1
    with pytest.warns(OgptNotice, match="exceeds the context length of 24 tokens"):
        write(full, max_new_tokens=3)


def test_long_default_length(tokenizer: OpenAIGPTTokenizerFast) -> None:
    model = OpenAIGPTLMHeadModel(tiny(len(tokenizer), n_positions=300, n_layer=1))
    [one] = ogpt.pipeline("text-generation", model, tokenizer)("my dog", return_tensors=True)
    assert len(one["generated_token_ids"]) == 256 + len(tokenizer.encode("my dog"))


def test_text_of_special_tokens_and_punctuation(tokenizer: OpenAIGPTTokenizerFast) -> None:
    special = OpenAIGPTTokenizerFast(
        vocab=tokenizer.get_vocab(), merges=tokenizer.merges, eos_token="<end>"
    )
    end, comma, dog = special.eos_token_id, *map(special.encode, [",", "my"])
    torch.manual_seed(0)
    model = OpenAIGPTLMHeadModel(tiny(len(special)))
    write = ogpt.pipeline("text-generation", model, special, do_sample=False, max_new_tokens=4)

    def follows(*ids: int) -> Any:
        wanted = iter(ids)

        def only(seen: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
            forced = torch.full_like(logits, -1e4)
            forced[0, next(wanted)] = 0
            return forced

        return {"logits_processor": [only], "max_new_tokens": len(ids)}

    [one] = write("My", **follows(comma[0], dog[0], end, dog[0]))
    assert one["generated_text"] == "My , my my"
    [one] = write("My", skip_special_tokens=False, **follows(dog[0], end))
    assert one["generated_text"] == "My my <end>"
    [one] = write("My", **follows(end), eos_token_id=end)
    assert one["generated_text"] == "My"
    [one] = write("My", clean_up_tokenization_spaces=True, **follows(comma[0], dog[0]))
    assert one["generated_text"] == "My, my"
    special.clean_up_tokenization_spaces = True
    [one] = write("My", **follows(comma[0], dog[0]))
    assert one["generated_text"] == "My, my"
    [one] = write("My", clean_up_tokenization_spaces=False, **follows(comma[0], dog[0]))
    assert one["generated_text"] == "My , my"
    forced = follows(comma[0], dog[0], dog[0], comma[0])
    [one] = write("My", stop_sequence=["my my"], **forced)
    assert one["generated_text"] == "My, my my"


def test_rows_without_a_token_are_never_written(tokenizer: OpenAIGPTTokenizerFast) -> None:
    torch.manual_seed(3)
    model = OpenAIGPTLMHeadModel(tiny(len(tokenizer) + 200))
    write = ogpt.pipeline("text-generation", model, tokenizer, return_tensors=True)
    [one] = write(TEXTS[0], suppress_tokens=[5])
    assert max(one["generated_token_ids"]) < len(tokenizer)


def test_notices_of_prompts(write: Any) -> None:
    n_tokens = len(write.tokenizer.encode("my dog 日本 dog"))
    with collecting() as notices:
        write(["my dog", "日本 dog"], max_new_tokens=1, pad_token_id=0)
    assert [notice.message for notice in notices] == [
        "pad_token_id has no effect: a pipeline pads each batch as needed, and removes the padding",
        f"2 of {n_tokens} prompt tokens are unknown to this vocabulary",
    ]


def test_a_text_that_is_not_unicode_is_refused(write: Any) -> None:
    with pytest.raises(SamplingError, match="text 2 is not UTF-8: character 1 of"):
        write(["my dog", "a\udce9"], max_new_tokens=1)


@pytest.mark.parametrize("pair", [False, True])
def test_half_a_surrogate_pair_is_no_text(
    pair: bool, folder: Path, classifiers: dict[str, Path]
) -> None:
    """A tokenizer drops it, so that the answer would be about another text."""
    classify = ogpt.pipeline("text-classification", classifiers["three"])
    extract = ogpt.pipeline("feature-extraction", folder)
    wrong: Any = {"text": "my", "text_pair": "a\udce9"} if pair else "a\udce9"
    with pytest.raises(SamplingError, match="text 2 is not UTF-8: character 1 of") as caught:
        classify(["my dog", wrong])
    assert "pass UTF-8 text" in caught.value.hint
    with pytest.raises(SamplingError, match="text 2 is not UTF-8: character 1 of"):
        extract(["my dog", "a\udce9"])


def test_a_streamer_is_told(write: Any) -> None:
    told: list[int] = []

    class Streamer:
        def put(self, value: torch.Tensor) -> None:
            told.extend(value.tolist())

        def end(self) -> None:
            told.append(-1)

    [one] = write(
        "my dog", streamer=Streamer(), return_tensors=True, do_sample=False, max_new_tokens=2
    )
    assert told == [*one["generated_token_ids"], -1]


def test_the_double_heads_model_writes_too(
    tokenizer: OpenAIGPTTokenizerFast, tmp_path: Path
) -> None:
    torch.manual_seed(4)
    OpenAIGPTDoubleHeadsModel(tiny(len(tokenizer))).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    write = ogpt.pipeline("text-generation", tmp_path)
    assert type(write.model) is OpenAIGPTDoubleHeadsModel
    assert write("my dog", max_new_tokens=2)[0]["generated_text"].startswith("my dog ")


# ---- what is wrong with a call


def test_texts_that_cannot_be(write: Any, folder: Path) -> None:
    for pipe in (write, ogpt.pipeline("feature-extraction", folder)):
        with pytest.raises(DataError, match=r"text 2, ' \\n', has no tokens") as caught:
            pipe(["my", " \n"])
        assert caught.value.hint == "omit empty texts"
        with pytest.raises(DataError, match="text 4, '', has"):  # counted over all batches
            list(pipe(iter(["my", "dog", "my", ""]), batch_size=2))
        with pytest.raises(SamplingError, match="text 3 is not UTF-8"):
            list(pipe(iter(["my", "dog", "\udce9"]), batch_size=2))
        for inputs in (5, ["my", 5], [{"role": "user", "content": "my"}]):
            with pytest.raises(TokenizerError, match="; allowed: str") as damaged:
                pipe(inputs)
            assert "a list of texts" in damaged.value.hint


def test_pairs_that_cannot_be(classifiers: dict[str, Path]) -> None:
    classify = ogpt.pipeline("text-classification", classifiers["three"])
    for one in ({"text_pair": "my"}, {"text": "my", "pair": "dog"}):
        with pytest.raises(DataError, match=f"has the keys '{next(iter(one))}'") as caught:
            classify([one])
        assert "'text_pair': ..." in caught.value.hint
    with pytest.raises(TokenizerError, match=r"a text is \['my', 'dog'\], list"):
        classify([["my", "dog"]])
    with pytest.raises(TokenizerError, match="the text is 5, int"):
        classify(5)
    assert classify([]) == []


@pytest.mark.parametrize(
    ("task", "options", "said"),
    [
        ("text-classification", {"top_k": 0}, "top_k is 0; allowed: a whole number, 1 or more"),
        ("text-classification", {"top_k": "all"}, "top_k is 'all'"),
        ("text-classification", {"function_to_apply": "tanh"}, "function_to_apply is 'tanh'"),
        ("text-generation", {"batch_size": 0}, "batch_size is 0; allowed: a whole number, 1"),
        ("text-generation", {"return_tensors": True, "return_full_text": True}, "both given"),
    ],
)
def test_values_that_cannot_be(task: str, options: dict[str, Any], said: str) -> None:
    """Found before the model is looked for."""
    with pytest.raises(ConfigError, match=said) as caught:
        ogpt.pipeline(task, "no-such-folder/here/at-all", **options)
    assert "omit it" in caught.value.hint or "omit return" in caught.value.hint


def test_names_that_are_not(write: Any) -> None:
    with pytest.raises(UnknownArgument, match="has no argument max_new_token") as caught:
        ogpt.pipeline("text-generation", "no-such/folder/at-all", max_new_token=4)
    assert caught.value.hint == "did you mean max_new_tokens?"
    with pytest.raises(UnknownArgument, match="text-generation has no argument colour") as caught:
        write("my", colour="red")
    assert caught.value.hint == "omit it"
    with pytest.raises(ConfigError, match="task is 'text-generator'; allowed: text-gen") as wrong:
        ogpt.pipeline("text-generator", "x")
    assert wrong.value.hint == "did you mean text-generation?"
    with pytest.raises(ConfigError, match="task is 'zzz'") as wrong:
        ogpt.pipeline("zzz", "x")
    assert wrong.value.hint == "choose one of these"


def test_values_that_generate_refuses(write: Any) -> None:
    with pytest.raises(SamplingError, match="temperature is 0"):
        write("my", temperature=0)
    with pytest.raises(SamplingError, match=r"max_length is 2; allowed: more than the \d tokens"):
        write(["my dog is cute", "my"], max_length=2, batch_size=2)
    with pytest.raises(SamplingError, match="generation_config is int"):
        write("my", generation_config=5)


# ---- what a pipeline is made of


def test_a_model_object(model: OpenAIGPTLMHeadModel, tokenizer: OpenAIGPTTokenizerFast) -> None:
    write = ogpt.pipeline("text-generation", model, tokenizer)
    assert write.model is model
    assert write.device == torch.device("cpu")
    model.train()
    write("my dog", max_new_tokens=1)
    ogpt.pipeline("feature-extraction", model, tokenizer)("my dog")
    assert model.training
    model.eval()
    assert tokenizer.padding_side == "right"
    with pytest.raises(ConfigError, match="tokenizer is None; allowed: a folder") as caught:
        ogpt.pipeline("text-generation", model)
    assert "OpenAIGPTTokenizer.from_pretrained" in caught.value.hint
    with pytest.raises(ConfigError, match="revision, dtype given with a model that is") as caught:
        ogpt.pipeline("text-generation", model, tokenizer, dtype="bfloat16", revision="main")
    assert caught.value.hint == "pass it where the model is loaded"


def test_a_model_without_the_head(
    model: OpenAIGPTLMHeadModel, tokenizer: OpenAIGPTTokenizerFast
) -> None:
    for task, given, said in [
        ("text-generation", model.transformer, "is of the class OpenAIGPTModel; allowed: .*"),
        ("sentiment-analysis", model, "OpenAIGPTLMHeadModel.* OpenAIGPTForSequenceClassification"),
        ("feature-extraction", None, "is missing; allowed: a model folder, a run"),
    ]:
        with pytest.raises(ConfigError, match=said) as caught:
            ogpt.pipeline(task, given, tokenizer)
        assert "openai-community/openai-gpt" in caught.value.hint


def test_a_folder_without_the_head(folder: Path, classifiers: dict[str, Path]) -> None:
    with pytest.warns(OgptNotice, match=r"randomly initialized, needs training: score\.weight"):
        ogpt.pipeline("text-classification", folder)
    with pytest.warns(OgptNotice, match=r"in the file but not in the model: score\.weight"):
        write = ogpt.pipeline("text-generation", classifiers["three"])
    assert type(write.model) is OpenAIGPTLMHeadModel


def test_a_tokenizer_beside_the_model(
    folder: Path, tokenizer: OpenAIGPTTokenizerFast, tmp_path: Path
) -> None:
    expected = ogpt.pipeline("feature-extraction", folder)(TEXTS[0])
    tokenizer.save_pretrained(tmp_path)
    for given in (tokenizer, tmp_path, str(tmp_path)):
        assert ogpt.pipeline("feature-extraction", folder, given)(TEXTS[0]) == expected
    bigger = OpenAIGPTTokenizerFast(
        vocab=tokenizer.get_vocab(), merges=tokenizer.merges, pad_token="<pad>"
    )
    with pytest.raises(VocabularyMismatch, match="rows"):
        ogpt.pipeline("feature-extraction", folder, bigger)


def test_a_run_serves(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "checkpoints" / "step-1")
    (tmp_path / "run.json").write_text(json.dumps({"best": "step-1", "last": "step-1"}))
    found = ogpt.pipeline("feature-extraction", tmp_path)(TEXTS[0])
    assert found == ogpt.pipeline("feature-extraction", folder)(TEXTS[0])


def test_what_is_loaded_and_how(folder: Path) -> None:
    for options in (
        {"dtype": torch.bfloat16},
        {"torch_dtype": "bfloat16", "device_map": "auto"},
        {"model_kwargs": {"dtype": "bfloat16"}, "device_map": "cpu"},
    ):
        pipe = ogpt.pipeline("feature-extraction", folder, local_files_only=True, **options)
        assert pipe.model.dtype == torch.bfloat16
        assert len(pipe("my dog")[0]) == len(pipe.tokenizer.encode("my dog"))
    eager = ogpt.pipeline("feature-extraction", folder, attn_implementation="eager")
    assert eager.model.base_model.attn_implementation == "eager"


def test_a_list_is_reported(folder: Path) -> None:
    events: list[tuple[str, dict[str, Any]]] = []
    pipe = ogpt.pipeline(
        "feature-extraction", folder, reporter=lambda kind, /, **f: events.append((kind, f))
    )
    pipe("my dog")
    pipe(["my dog"])
    assert events == []
    pipe(TEXTS)
    assert events[-1] == (
        "progress",
        {"task": "feature-extraction", "done": 3, "total": 3, "unit": "texts"},
    )


# ---- devices


@pytest.fixture
def without_accelerator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: None)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 0)


@pytest.mark.usefixtures("without_accelerator")
def test_devices_without_an_accelerator(
    folder: Path, model: OpenAIGPTLMHeadModel, tokenizer: OpenAIGPTTokenizerFast
) -> None:
    for device in (None, -1, "cpu", torch.device("cpu")):
        assert ogpt.pipeline("text-generation", folder, device=device).device.type == "cpu"
    assert ogpt.pipeline("text-generation", model, tokenizer, device=-1).model is model
    with pytest.warns(OgptNotice, match="device 0 was requested, but there is no accelerator"):
        assert ogpt.pipeline("text-generation", folder, device=0).device.type == "cpu"
    for device in ("cuda:0", "gpu", -2, torch.device("meta"), 1.5):
        with pytest.raises(ConfigError, match=r"allowed: -1 or 'cpu'$") as caught:
            ogpt.pipeline("text-generation", folder, device=device)
        assert caught.value.hint == "omit it to use the best one"
        assert repr(device) in str(caught.value)


def test_devices_with_accelerators(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available: cuda)
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 2)
    for given, found in [
        (None, "cuda"),
        (0, "cuda:0"),
        (1, "cuda:1"),
        ("cuda", "cuda"),
        (torch.device("cuda:1"), "cuda:1"),
        (-1, "cpu"),
        ("cpu", "cpu"),
    ]:
        assert opening._device(given) == torch.device(found)
    for device in (2, "cuda:2", "mps", -3):
        with pytest.raises(ConfigError, match=r"allowed: -1 or 'cpu', 0 to 1$"):
            opening._device(device)


def test_without_torch(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("ogpt.model.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendMissing, match="a pipeline needs PyTorch") as caught:
        ogpt.pipeline("text-generation", folder)
    assert caught.value.hint == "pip install 'ogpt[torch]'"


@pytest.mark.parametrize("module", [opening, features, classification, generation])
def test_the_examples(module: ModuleType) -> None:
    failed, tried = doctest.testmod(module)
    assert failed == 0
    assert tried >= 5
