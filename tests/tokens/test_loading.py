"""Arguments and files of transformers' from_pretrained: followed, or told; never lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from tokenizers import AddedToken

from ogpt import notices
from ogpt.errors import HubError, TokenizerError
from ogpt.layout import ADDED_TOKENS_FILE, SPECIAL_TOKENS_FILE, TOKENIZER_CONFIG_FILE
from ogpt.tokens import saved_tokenizer
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer
from tests.golden.tokenizer_cases import MERGES, VOCAB, maker

TOY = [
    *("l", "o", "w", "e", "r", "s", "t", "i", "d", "n", "w</w>", "r</w>", "t</w>", "lo", "low"),
    *("er</w>", "low</w>", "lowest</w>", "newer</w>", "wider</w>", "<unk>"),
]
"""The vocabulary of transformers' own tests of this tokenizer; three merges make few of it."""
FLAGGED = {"content": "zq", "single_word": True, "lstrip": False, "rstrip": True}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    maker(None, tmp_path)
    return tmp_path


def fast(folder: Path, **options: Any) -> OpenAIGPTTokenizerFast:
    return OpenAIGPTTokenizerFast.from_pretrained(folder, **options)


@pytest.mark.parametrize(
    "kind",
    [OpenAIGPTTokenizerFast, lambda *files: OpenAIGPTTokenizer(*files, pre_tokenizer="bert")],
)
def test_the_toy_vocabulary_of_transformers(tmp_path: Path, kind: Any) -> None:
    entries = {token: index for index, token in enumerate(TOY)}
    (tmp_path / "vocab.json").write_text(json.dumps(entries))
    (tmp_path / "merges.txt").write_text("#version: 0.2\nl o\nlo w\ne r</w>\n")
    with notices.collecting() as told:
        tokenizer = kind(tmp_path / "vocab.json", tmp_path / "merges.txt")
    assert [notice.kind for notice in told] == ["merges-missing"]
    tokens = tokenizer.tokenize("lower")
    assert (tokens, tokenizer.convert_tokens_to_ids([*tokens, "<unk>"])) == (
        ["low", "er</w>"],
        [14, 15, 20],
    )
    theirs = transformers.OpenAIGPTTokenizerFast.from_pretrained(tmp_path)
    for text in ("lower newer", "lowest low wider", "x low"):
        assert tokenizer.encode(text) == theirs.encode(text)
    assert tokenizer.get_vocab() == theirs.get_vocab()
    tokenizer.save_pretrained(tmp_path)
    with notices.collecting():
        assert fast(tmp_path).get_vocab() == theirs.get_vocab()


def test_the_vocabulary_itself_in_the_place_of_files() -> None:
    """Version 5 takes it as the first arguments, merges also as text."""
    text = list(map(" ".join, MERGES))
    for merges in (MERGES, text):
        tokenizer = OpenAIGPTTokenizerFast(VOCAB, merges)
        assert tokenizer.encode("the cat") == [VOCAB["the</w>"], VOCAB["cat</w>"]]
    assert tokenizer.merges == MERGES


def test_arguments_by_their_names(folder: Path) -> None:
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(
        pretrained_model_name_or_path=folder,
        do_lower_case=True,
        use_fast=True,
        trust_remote_code=False,
        max_len=99,
        padding_side="left",
        split_special_tokens=True,
        model_input_names=["input_ids"],
    )
    assert (tokenizer.model_max_length, tokenizer.padding_side) == (99, "left")
    assert (tokenizer.name_or_path, tokenizer.split_special_tokens) == (str(folder), True)
    assert list(tokenizer("the")) == ["input_ids"]
    assert f"Fast(name_or_path={str(folder)!r}, pre_tokenizer='bert'" in repr(tokenizer)
    written = tokenizer.save_pretrained(save_directory=folder / "saved")
    assert len(written) == 4
    again = fast(folder / "saved")
    assert (again.model_input_names, again.split_special_tokens) == (["input_ids"], True)


@pytest.mark.parametrize(
    ("setting", "made"),
    [
        ({"do_lower_case": False}, {}),
        ({"use_fast": False}, {}),
        ({"trust_remote_code": True}, {}),
        ({"strip_accents": False}, {}),
        ({"strip_accents": True}, {"pre_tokenizer": "openai"}),
        ({"add_bos_token": True}, {}),
    ],
)
def test_what_is_not_followed_is_told(folder: Path, setting: dict[str, Any], made: Any) -> None:
    kind = OpenAIGPTTokenizer if made else OpenAIGPTTokenizerFast
    (name, value) = next(iter(setting.items()))
    if name != "add_bos_token":
        with notices.collecting() as told:
            kind.from_pretrained(folder, **made, **setting)
        assert [notice.fields.get("setting") for notice in told] == [f"{name}={value}"]
        with notices.collecting() as told:
            kind.from_pretrained(folder, **made, **{name: not value})
        assert told == []
    (folder / TOKENIZER_CONFIG_FILE).write_text(json.dumps(setting))
    with notices.collecting() as told:
        kind.from_pretrained(folder, **made)
    assert [notice.fields.get("setting") for notice in told] == [f"{name}={value}"]


def test_what_saving_does_not_follow(folder: Path, tmp_path: Path) -> None:
    with notices.collecting() as told:
        fast(folder).save_pretrained(tmp_path / "out", legacy_format=False)
    assert [notice.fields["setting"] for notice in told] == ["legacy_format=False"]
    with pytest.raises(TokenizerError, match="filename_prefix is 'a'; allowed: None") as caught:
        fast(folder).save_pretrained(tmp_path / "other", filename_prefix="a")
    assert "save_vocabulary" in caught.value.hint
    assert not (tmp_path / "other").exists()


def test_pushing_a_tokenizer(folder: Path, tmp_path: Path, monkeypatch) -> None:
    pushed: list[Any] = []

    def push(source: str, repo_id: str, **options: Any) -> str:
        names = sorted(file.name for file in Path(source).iterdir())
        pushed.append((repo_id, options["tokenizer_only"], names))
        return "the address"

    monkeypatch.setattr(saved_tokenizer, "push_folder", push)
    assert fast(folder).push_to_hub("me/gpt") == "the address"
    fast(folder).save_pretrained(tmp_path / "mine", push_to_hub=True)
    files = ["merges.txt", "tokenizer.json", "tokenizer_config.json", "vocab.json"]
    assert pushed == [("me/gpt", True, files), ("mine", True, files)]


def test_a_folder_without_a_model_may_be_pushed_as_a_tokenizer(folder: Path) -> None:
    with pytest.raises(HubError, match="is not a Hub id"):
        fast(folder).push_to_hub("no/such/id")


# ---- flags in the files of every version


@pytest.mark.parametrize("held", ["id", "name"])
def test_flags_of_old_folders(folder: Path, held: str) -> None:
    """special_tokens_map.json has flags, added_tokens.json ids, before 4.34."""
    (folder / SPECIAL_TOKENS_FILE).write_text(json.dumps({"eos_token": FLAGGED}))
    if held == "id":
        (folder / ADDED_TOKENS_FILE).write_text(json.dumps({"zq": len(VOCAB), "plain": 73}))
    tokenizer = fast(folder)
    token = tokenizer.added_tokens_decoder[len(VOCAB)]
    assert (token.single_word, token.rstrip, token.special) == (True, True, True)
    assert tokenizer.eos_token_id == len(VOCAB)
    assert tokenizer.eos_token_id not in tokenizer.encode("azqb")
    assert held == "name" or not tokenizer.added_tokens_decoder[73].special


def test_flags_of_a_token_beside_its_name(folder: Path) -> None:
    settings = {"pad_token": {"__type": "AddedToken", **FLAGGED, "normalized": False}}
    settings["additional_special_tokens"] = [{**FLAGGED, "content": "<x>"}]
    (folder / TOKENIZER_CONFIG_FILE).write_text(json.dumps(settings))
    tokenizer = fast(folder)
    assert [token.single_word for token in tokenizer.added_tokens_decoder.values()] == [
        False,
        True,
        True,
    ]
    assert (tokenizer.pad_token, tokenizer.additional_special_tokens) == ("zq", ["<x>"])
    assert fast(folder, pad_token="<p>").pad_token == "<p>"


def test_a_name_in_the_call_keeps_the_flags_of_the_folder(folder: Path) -> None:
    made = fast(folder, eos_token=AddedToken("zq", single_word=True, normalized=False))
    made.save_pretrained(folder)
    again = fast(folder, pad_token="zq")
    assert again.added_tokens_decoder[len(VOCAB)].single_word
    again.add_special_tokens({"pad_token": "zq"})  # a string has no flags, as in transformers
    assert not again.added_tokens_decoder[len(VOCAB)].single_word
    assert again.special_tokens_map_extended["eos_token"] == "zq"
    made.unk_token = AddedToken("<unk>")
    assert made.unk_token == "<unk>"


@pytest.mark.parametrize("pre_tokenizer", ["bert", "bytes"])
def test_flags_through_transformers(tmp_path: Path, pre_tokenizer: Any) -> None:
    """Ours, saved; theirs, saved again; ours: the same ids at each step."""
    flags = {
        "eos_token": AddedToken("zq", single_word=True, normalized=False),
        "pad_token": AddedToken("<p>", lstrip=True, normalized=False),
        "additional_special_tokens": [AddedToken("<x>", rstrip=True, normalized=True)],
    }
    if pre_tokenizer == "bytes":
        from tests.tokens.byte_level import learned_bytes

        ours: BPETokenizer = learned_bytes(**flags)
    else:
        ours = OpenAIGPTTokenizer(vocab=VOCAB, merges=MERGES, pre_tokenizer=pre_tokenizer, **flags)
    ours.add_tokens([AddedToken("york", single_word=True, lstrip=True)])
    texts = ["azqb zq <p> <x>  a", "new york yorks", "a<X>b <P>"]
    ids = ours(texts)["input_ids"]
    ours.save_pretrained(tmp_path / "ours")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert theirs(texts)["input_ids"] == ids
    theirs.save_pretrained(tmp_path / "theirs")
    back = OpenAIGPTTokenizer.from_pretrained(
        tmp_path / "theirs", **({"pre_tokenizer": "bert"} if pre_tokenizer == "bert" else {})
    )
    assert back(texts)["input_ids"] == ids
    assert back.fingerprint == ours.fingerprint
    assert back.special_tokens_map == ours.special_tokens_map


def test_training_renames_and_adds_special_tokens() -> None:
    tokenizer = OpenAIGPTTokenizerFast(
        vocab=VOCAB,
        merges=MERGES,
        pad_token=AddedToken("<p>", lstrip=True, normalized=False),
        extra_special_tokens={"image_token": "<image>"},
        chat_template="x",
    )
    new = tokenizer.train_new_from_iterator(
        ["the cat"] * 4,
        13,
        length=4,
        new_special_tokens=["<new>"],
        special_tokens_map={"<p>": "<q>"},
    )
    assert (new.pad_token, new.additional_special_tokens) == ("<q>", ["<new>"])
    assert new.added_tokens_decoder[new.pad_token_id].lstrip  # type: ignore[index]
    assert (new.image_token, new.chat_template) == ("<image>", "x")  # type: ignore[attr-defined]


def test_lists_of_special_tokens_by_either_name() -> None:
    tokenizer = OpenAIGPTTokenizerFast(vocab=VOCAB, merges=MERGES, extra_special_tokens=["<a>"])
    assert tokenizer.additional_special_tokens == ["<a>"]
    tokenizer.extra_special_tokens = ["the</w>"]
    assert tokenizer.additional_special_tokens_ids == [VOCAB["the</w>"]]
    tokenizer.extra_special_tokens_ids = [5]
    assert tokenizer.all_special_tokens == ["<unk>", "e"]
    with pytest.raises(TokenizerError, match="additional_special_tokens is '<z>'") as caught:
        tokenizer.additional_special_tokens = ["<z>"]
    assert "{'additional_special_tokens': ['<z>']}" in caught.value.hint
    before = len(tokenizer)
    for bad in ({"pad_token": "<p>", "end": "<e>"}, {"extra_special_tokens": ["<p>", 5]}):
        with pytest.raises(TokenizerError, match="is not a special token"):
            tokenizer.add_special_tokens(bad)
    assert (len(tokenizer), tokenizer.pad_token) == (before, None)  # nothing is added half
