"""OpenAIGPTTokenizer's own behaviour: which path is chosen, saved and honoured, and its calling."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken
from transformers import OpenAIGPTTokenizer as TransformersTokenizer

from ogpt import notices
from ogpt.errors import BackendMissing, TokenizerError
from ogpt.notices import OgptNotice
from ogpt.tokens.bpe_tokenizer import BPETokenizer
from ogpt.tokens.english_rules import EnglishRules
from ogpt.tokens.fast import OpenAIGPTTokenizerFast
from ogpt.tokens.fixing import Fixer
from ogpt.tokens.open_tokenizer import open_tokenizer
from ogpt.tokens.tokenizer import OpenAIGPTTokenizer
from tests.tokens.four import NAMES, TEXT, every_tokenizer, fresh
from tests.tokens.real import learned

INSTALL = "pip install 'ogpt[original]'"


def undecided(**options: Any) -> OpenAIGPTTokenizer:
    return OpenAIGPTTokenizer(vocab=learned().get_vocab(), merges=learned().merges, **options)


@pytest.fixture
def absent(monkeypatch):
    """Make packages look as if they were not installed."""

    def hide(*names: str) -> None:
        find_spec, version = importlib.util.find_spec, importlib.metadata.version

        def hidden_version(name: str) -> str:
            if name in names:
                raise importlib.metadata.PackageNotFoundError(name)
            return version(name)

        monkeypatch.setattr(
            importlib.util,
            "find_spec",
            lambda name, *a: None if name in names else find_spec(name, *a),
        )
        monkeypatch.setattr(importlib.metadata, "version", hidden_version)
        for name in names:
            for module in [key for key in sys.modules if key.partition(".")[0] == name]:
                monkeypatch.delitem(sys.modules, module)
            monkeypatch.setitem(sys.modules, name, None)

    return hide


# ---- which path


def test_openai_where_the_packages_are() -> None:
    with notices.collecting() as told:
        tokenizer = undecided()
    assert told == []
    assert tokenizer.pre_tokenizer == "openai"
    assert not tokenizer.is_fast


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        (("spacy",), "spacy not installed"),
        (("ftfy",), "ftfy not installed"),
        (("spacy", "ftfy"), "spacy and ftfy not installed"),
    ],
)
def test_bert_where_they_are_not(absent, missing: tuple[str, ...], reason: str) -> None:
    absent(*missing)
    with notices.collecting() as told:
        tokenizer = undecided()
    assert [(notice.kind, notice.fields) for notice in told] == [
        ("bert-words", {"reason": reason, "command": INSTALL})
    ]
    assert tokenizer.pre_tokenizer == "bert"
    assert tokenizer.encode("I don't — Mr. É") == fresh("fast").encode("I don't — Mr. É")


@pytest.mark.parametrize("order", ["openai", "hf-spacy"])
@pytest.mark.parametrize("missing", ["spacy", "ftfy"])
def test_asked_for_without_the_packages(absent, order: str, missing: str) -> None:
    absent(missing)
    with pytest.raises(BackendMissing, match="2018 tokenization needs ftfy and spaCy") as caught:
        fresh(order)
    assert missing in str(caught.value)
    assert caught.value.hint == INSTALL


def test_each_package_is_asked_for_where_it_is_used(absent) -> None:
    absent("spacy", "ftfy")
    for kind in (EnglishRules, Fixer):
        with pytest.raises(BackendMissing, match="needs ftfy and spaCy: import of") as caught:
            kind()
        assert caught.value.hint == INSTALL


def test_a_path_that_there_is_not() -> None:
    for wrong in ("spacy", "", 5):
        with pytest.raises(
            TokenizerError,
            match=f"pre_tokenizer is {wrong!r}; allowed: 'openai', 'hf-spacy', 'bert'",
        ) as caught:
            undecided(pre_tokenizer=wrong)
        assert "pass one of these" in caught.value.hint


def test_the_paths_differ() -> None:
    text = "Mr. Smith doesn't—it’s\nÉ"
    found = {name: tuple(fresh(name).encode(text)) for name in NAMES}
    assert found["bert"] == found["fast"]
    assert len(set(found.values())) == 3
    assert len({fresh(name).fingerprint for name in NAMES}) == 3
    assert fresh("bert").fingerprint == fresh("fast").fingerprint


# ---- folders


def settings_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    return found


def change(folder: Path, **settings: Any) -> None:
    changed = {**settings_of(folder), **settings}
    kept = {name: value for name, value in changed.items() if value is not ...}
    (folder / "tokenizer_config.json").write_text(json.dumps(kept), "utf-8")


@pytest.fixture(params=["openai", "hf-spacy", "bert"])
def saved(request, tmp_path: Path) -> tuple[Path, BPETokenizer]:
    tokenizer = fresh(
        request.param,
        model_max_length=99,
        padding_side="left",
        pad_token="<pad>",
        additional_special_tokens=["<a>"],
    )
    tokenizer.add_tokens(["pydoc", AddedToken("Zope", single_word=True, lstrip=True)])
    tokenizer.save_pretrained(tmp_path / "tokenizer")
    return tmp_path / "tokenizer", tokenizer


def test_the_choice_is_saved_and_honoured(saved) -> None:
    folder, tokenizer = saved
    settings = settings_of(folder)
    assert settings["pre_tokenizer"] == tokenizer.pre_tokenizer
    for package in ("spacy", "ftfy"):
        version = None if tokenizer.pre_tokenizer == "bert" else importlib.metadata.version(package)
        assert settings.get(f"{package}_version") == version
    for opened in (OpenAIGPTTokenizer.from_pretrained(folder), open_tokenizer(folder)):
        with notices.collecting() as told:
            assert opened.pre_tokenizer == tokenizer.pre_tokenizer
            assert opened.fingerprint == tokenizer.fingerprint
            assert opened.encode(TEXT) == tokenizer.encode(TEXT) == opened(TEXT)["input_ids"]
            assert (opened.model_max_length, opened.padding_side) == (99, "left")
            assert opened.all_special_tokens == ["<unk>", "<pad>", "<a>"]
        assert told == []
        assert opened.is_fast == (tokenizer.pre_tokenizer == "bert" and opened.is_fast)


@pytest.mark.parametrize("missing", ["spacy", "ftfy"])
def test_a_folder_whose_packages_are_missing(saved, absent, missing: str) -> None:
    folder, tokenizer = saved
    absent(missing)
    for open_folder in (OpenAIGPTTokenizer.from_pretrained, open_tokenizer):
        if tokenizer.pre_tokenizer == "bert":
            assert open_folder(folder).encode(TEXT) == tokenizer.encode(TEXT)
            continue
        with pytest.raises(
            BackendMissing, match=f"{folder} needs {missing}, which is not installed"
        ) as caught:
            open_folder(folder)
        assert caught.value.hint == INSTALL


@pytest.mark.parametrize("saved", ["openai", "hf-spacy"], indirect=True)  # bert needs no packages
def test_a_folder_made_with_other_versions(saved) -> None:
    folder, _ = saved
    change(folder, spacy_version="2.0.0", ftfy_version="4.4.3")
    with notices.collecting() as told:
        OpenAIGPTTokenizer.from_pretrained(folder)
    fields = [notice.fields for notice in told]
    assert {notice.kind for notice in told} == {"other-version"}
    assert [(field["package"], field["made_with"]) for field in fields] == [
        ("spacy", "2.0.0"),
        ("ftfy", "4.4.3"),
    ]
    assert all(field["here"] == importlib.metadata.version(field["package"]) for field in fields)
    change(folder, spacy_version=..., ftfy_version=...)
    with notices.collecting() as told:
        OpenAIGPTTokenizer.from_pretrained(folder)
    assert told == []


def test_another_path_asked_for_is_told(saved) -> None:
    folder, tokenizer = saved
    for asked in ("openai", "hf-spacy", "bert"):
        with notices.collecting() as told:
            opened = OpenAIGPTTokenizer.from_pretrained(folder, pre_tokenizer=asked)
        assert opened.pre_tokenizer == asked
        made_with = tokenizer.pre_tokenizer
        fields = {"path": folder, "made_with": made_with, "asked": asked}
        expected = [] if asked == made_with else [("pre-tokenizer-changed", fields)]
        assert [(notice.kind, notice.fields) for notice in told] == expected


def test_the_fast_class_refuses_the_other_paths(saved) -> None:
    folder, tokenizer = saved
    if tokenizer.pre_tokenizer == "bert":
        assert OpenAIGPTTokenizerFast.from_pretrained(folder).encode(TEXT) == tokenizer.encode(TEXT)
        return
    with pytest.raises(
        TokenizerError,
        match=f"made with the pre-tokenization '{tokenizer.pre_tokenizer}'; "
        "allowed for OpenAIGPTTokenizerFast: 'bert'",
    ) as caught:
        OpenAIGPTTokenizerFast.from_pretrained(folder)
    assert "use OpenAIGPTTokenizer" in caught.value.hint


def test_a_folder_with_a_path_that_there_is_not(saved) -> None:
    folder, _ = saved
    change(folder, pre_tokenizer="moses")
    for open_folder in (OpenAIGPTTokenizer.from_pretrained, open_tokenizer):
        with pytest.raises(TokenizerError, match="pre_tokenizer is 'moses'; allowed") as caught:
            open_folder(folder)
        assert "pass one of these" in caught.value.hint


def test_open_tokenizer_where_the_folder_does_not_say(tmp_path: Path, absent) -> None:
    learned().save_vocabulary(tmp_path)
    assert open_tokenizer(tmp_path).pre_tokenizer == "openai"
    assert OpenAIGPTTokenizer.from_pretrained(tmp_path).pre_tokenizer == "openai"
    absent("spacy")
    with notices.collecting() as told:
        opened = open_tokenizer(tmp_path)
    assert isinstance(opened, OpenAIGPTTokenizerFast)
    assert [notice.kind for notice in told] == ["bert-words"]
    with pytest.warns(OgptNotice, match="not as GPT-1 was trained: spacy not installed"):
        assert OpenAIGPTTokenizer.from_pretrained(tmp_path).pre_tokenizer == "bert"


@every_tokenizer
def test_folders_of_transformers(tmp_path: Path, name: str) -> None:
    """5: tokenizer.json and tokenizer_config.json; 4: the vocabulary and what was added."""
    theirs = TransformersTokenizer(vocab=learned().get_vocab(), merges=learned().merges)
    theirs.add_special_tokens({"pad_token": "<pad>", "extra_special_tokens": ["<a>"]})
    theirs.add_tokens(["pydoc"])
    theirs.save_pretrained(tmp_path / "5")
    four = tmp_path / "4"
    four.mkdir()
    learned().save_vocabulary(four)
    (four / "added_tokens.json").write_text('{"<pad>": 1000, "<a>": 1001, "pydoc": 1002}')
    (four / "special_tokens_map.json").write_text(
        '{"pad_token": "<pad>", "additional_special_tokens": ["<a>"], "unk_token": "<unk>"}'
    )
    (four / "tokenizer_config.json").write_text(
        '{"model_max_length": 512, "tokenizer_class": "OpenAIGPTTokenizer"}'
    )
    made = fresh(name, pad_token="<pad>", additional_special_tokens=["<a>"])
    made.add_tokens(["pydoc"])
    kind = type(made)
    options = {} if name == "fast" else {"pre_tokenizer": name}
    for folder in (tmp_path / "5", four):
        with notices.collecting() as told:
            ours = kind.from_pretrained(folder, **options)
        assert told == []
        assert ours.all_special_tokens == ["<unk>", "<pad>", "<a>"]
        assert ours.convert_tokens_to_ids(["<pad>", "<a>", "pydoc"]) == [1000, 1001, 1002]
        assert ours.encode(TEXT) == made.encode(TEXT)
        assert ours.model_max_length == 512


def test_save_vocabulary(tmp_path: Path) -> None:
    tokenizer = fresh()
    for prefix in (None, "pre"):
        files = tokenizer.save_vocabulary(tmp_path, prefix)
        again = OpenAIGPTTokenizer(*files, pre_tokenizer="openai")
        assert again.fingerprint == tokenizer.fingerprint
    assert {path.name for path in tmp_path.iterdir()} == {
        "vocab.json",
        "merges.txt",
        "pre-vocab.json",
        "pre-merges.txt",
    }
